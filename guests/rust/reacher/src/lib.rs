//! A program that reaches for what no service is given: files, sockets, names, HTTP, the environment of
//! whoever started Solo. Prints one line for each, `WHAT: reached` or `WHAT: ` and why not.
//!
//! Its argument is a TCP port of this machine on which somebody listens.

use std::fmt::Debug;

use wasip2::cli::{environment, stdin, stdout};
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

struct Reacher;

impl wasip2::exports::cli::run::Guest for Reacher {
    fn run() -> Result<(), ()> {
        let port = environment::get_arguments().get(1).and_then(|port| port.parse().ok());
        let port = port.ok_or(())?;
        say("files", directories())?;
        say("environment", variables())?;
        say("input", input())?;
        say("connect", connect(port))?;
        say("listen", listen())?;
        say("datagram", datagram())?;
        say("resolve", resolve())?;
        say("http", http(port))
    }
}

fn say<E: Debug>(what: &str, outcome: Result<(), E>) -> Result<(), ()> {
    let line = match outcome {
        Ok(()) => format!("{what}: reached\n"),
        Err(error) => format!("{what}: {error:?}\n"),
    };
    stdout::get_stdout().blocking_write_and_flush(line.as_bytes()).map_err(|_| ())
}

fn directories() -> Result<(), &'static str> {
    if preopens::get_directories().is_empty() { Err("none") } else { Ok(()) }
}

fn variables() -> Result<(), &'static str> {
    if environment::get_environment().is_empty() { Err("none") } else { Ok(()) }
}

fn input() -> Result<(), StreamError> {
    stdin::get_stdin().blocking_read(1).map(drop)
}

fn local(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) })
}

fn connect(port: u16) -> Result<(), ErrorCode> {
    let network = instance_network::instance_network();
    let socket = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&network, local(port))?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn listen() -> Result<(), ErrorCode> {
    let network = instance_network::instance_network();
    let socket = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&network, local(0))?;
    socket.subscribe().block();
    socket.finish_bind()
}

fn datagram() -> Result<(), ErrorCode> {
    let network = instance_network::instance_network();
    let socket = udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&network, local(0))?;
    socket.subscribe().block();
    socket.finish_bind()
}

fn resolve() -> Result<(), ErrorCode> {
    let network = instance_network::instance_network();
    let names = ip_name_lookup::resolve_addresses(&network, "localhost")?;
    names.subscribe().block();
    names.resolve_next_address().map(drop)
}

fn http(port: u16) -> Result<(), String> {
    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_scheme(Some(&Scheme::Http));
    let authority = format!("127.0.0.1:{port}");
    set.and_then(|()| request.set_authority(Some(&authority))).map_err(|()| "no request")?;
    let answer = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(_))) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

wasip2::cli::command::export!(Reacher);
