//! The network of the machine.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use solo_sandbox::Layer;

use super::Test;
use super::attempt::{Outside, PRIVILEGES};

pub(super) const TESTS: &[Test] = &[
    ("sockets_with_a_name_cannot_be_reached", sockets_with_a_name_cannot_be_reached),
    (
        "the_loopback_of_the_machine_cannot_be_reached",
        the_loopback_of_the_machine_cannot_be_reached,
    ),
    (
        "the_addresses_of_the_machine_cannot_be_reached",
        the_addresses_of_the_machine_cannot_be_reached,
    ),
    ("there_is_no_way_to_the_metadata_of_a_cloud", there_is_no_way_to_the_metadata_of_a_cloud),
    ("sockets_are_of_the_usual_kinds", sockets_are_of_the_usual_kinds),
    ("the_name_of_the_machine_is_not_told", the_name_of_the_machine_is_not_told),
];

/// Where clouds tell a machine its secrets.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

fn sockets_with_a_name_cannot_be_reached() {
    let outside = Outside::new();
    let name = format!("solo-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = UnixListener::bind_addr(&address).expect("bound");
    let layers = [Layer::NetworkNamespace, Layer::Landlock];
    outside.attempt("abstract_socket", &layers).word(name).check();
}

fn reach(address: &str, listener: &TcpListener) {
    let outside = Outside::new();
    let port = listener.local_addr().expect("an address").port().to_string();
    let attempt = outside.attempt("connect", &[Layer::NetworkNamespace]).word("tcp");
    attempt.word(address).word(port).check();
}

fn the_loopback_of_the_machine_cannot_be_reached() {
    reach("127.0.0.1", &TcpListener::bind("127.0.0.1:0").expect("bound"));
    // Not every machine has version 6.
    match TcpListener::bind("[::1]:0") {
        Ok(listener) => reach("::1", &listener),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable, "{error}"),
    }
}

fn the_addresses_of_the_machine_cannot_be_reached() {
    // All of 127 is its own; any other address is found by asking for the way out, which sends nothing.
    let mut own = vec!["127.1.2.3".to_owned()];
    for (any, metadata) in [("0.0.0.0:0", METADATA[0]), ("[::]:0", METADATA[1])] {
        let found = UdpSocket::bind(any).and_then(|socket| {
            socket.connect((metadata, 80))?;
            socket.local_addr()
        });
        own.extend(found.map(|address| address.ip().to_string()));
    }
    for address in own {
        let host: std::net::IpAddr = address.parse().expect("an address");
        reach(&address, &TcpListener::bind((host, 0)).expect("bound"));
    }
}

fn there_is_no_way_to_the_metadata_of_a_cloud() {
    let outside = Outside::new();
    for address in METADATA {
        // By UDP, so that nothing is sent where there is a way.
        let attempt = outside.attempt("connect", &[Layer::NetworkNamespace]).word("udp");
        attempt.word(address).word("80").shown_where_there().check();
    }
}

fn sockets_are_of_the_usual_kinds() {
    let outside = Outside::new();
    let mut raw = PRIVILEGES.to_vec();
    raw.push(Layer::Seccomp);
    for way in ["icmp", "ip", "icmp6", "packet"] {
        outside.attempt("socket_kind", &raw).word(way).shown_to_root().check();
    }
    for way in ["crypto", "machine"] {
        let attempt = outside.attempt("socket_kind", &[Layer::Seccomp]);
        attempt.word(way).shown_where_there().check();
    }
}

fn the_name_of_the_machine_is_not_told() {
    let outside = Outside::new();
    let name = nix::unistd::gethostname().expect("a name").into_string().expect("text");
    outside.attempt("host_name", &[Layer::UtsNamespace]).word(name).check();
}
