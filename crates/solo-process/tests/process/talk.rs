//! What a program tells, and connections to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use solo_process::wire::messages::{
    Connect, Descriptor, Kill, Start, exited::How, program_answer::Tell, program_request::Ask,
};

use crate::cell::{Cell, LONG, command, python, shell};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_program_tells_how_it_is", tells),
    ("a_flood_of_words_is_one_status", flood),
    ("a_web_server_inside_answers", web_server),
    ("a_port_that_nobody_listens_on_is_told", no_listener),
    ("a_socket_is_there_for_the_program", socket),
    ("what_notified_and_listened_can_do_so_again", again),
];

const NOTIFY: &str = "import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
";

fn notify(script: &str) -> Start {
    Start { notify: true, ..python(&format!("{NOTIFY}{script}")) }
}

fn tells() {
    let (_cell, mut program) = Cell::sealed();
    // The last words before the end count.
    program.start(notify("s.send(b'STATUS=warm\\nREADY=1\\nMAINPID=1'); s.send(b'STOPPING=1')"));
    let Tell::Status(status) = program.event() else { panic!("a status") };
    assert_eq!(status.text, "warm");
    assert!(matches!(program.event(), Tell::Ready(_)));
    assert!(matches!(program.event(), Tell::Stopping(_)));
    assert_eq!(program.exit(), How::Code(0));
    // Without being asked for there is no socket.
    assert_eq!(program.sh("echo $NOTIFY_SOCKET$SOLO_SOCKET").0, "\n");
}

fn flood() {
    let (_cell, mut program) = Cell::sealed();
    let script = "for i in range(50000): s.send(b'STATUS=%d' % i + b'x' * 2000)
s.send(b'\\xff' * 4000)
s.send(b'STATUS=last\\nREADY=1')
time.sleep(300)";
    let began = Instant::now();
    program.start(notify(script));
    let mut statuses = 0;
    loop {
        match program.event() {
            Tell::Ready(_) => break,
            Tell::Status(_) => statuses += 1,
            other => panic!("{other:?}"),
        }
    }
    let allowed = began.elapsed().as_millis() / 100 + 2;
    assert!(statuses <= allowed, "{statuses} of {allowed}");
    let (Tell::Welcome(welcome), _) = program.ask(hello()) else { panic!("welcome") };
    assert_eq!(welcome.running.expect("it runs").status, "last");
}

pub(crate) fn hello() -> Ask {
    Ask::Hello(solo_process::wire::messages::Hello { version: 1 })
}

fn web_server() {
    let (_cell, mut program) = Cell::sealed();
    let server =
        ["python3", "-m", "http.server", "80", "--bind", "127.0.0.1", "--directory", "/etc"];
    program.start(command(&server));
    let until = Instant::now() + LONG;
    let connect = || Ask::Connect(Connect { port: 80, timeout_millis: 0 });
    let mut handed = loop {
        match program.ask(connect()) {
            (Tell::Connected(_), handed) => break handed,
            (Tell::Failed(failed), _) => {
                assert_eq!(failed.reason, "refused");
                assert!(Instant::now() < until);
                std::thread::sleep(Duration::from_millis(10));
            }
            other => panic!("{other:?}"),
        }
    };
    let Some((Descriptor::Connection, socket)) = handed.pop() else { panic!("a connection") };
    let mut socket = TcpStream::from(socket);
    socket.set_nonblocking(false).expect("set");
    socket.set_read_timeout(Some(LONG)).expect("set");
    socket.write_all(b"GET /hosts HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("127.0.0.1 localhost solo\n::1 localhost solo\n"), "{answer}");
    program.ask(Ask::Kill(Kill {}));
    assert_eq!(program.exit(), How::Signal(9));
    // That it may listen there is a matter of its own network.
    let of_the_machine = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    assert_eq!(of_the_machine.expect("readable").trim(), "1024");
}

fn no_listener() {
    let (_cell, mut program) = Cell::sealed();
    let connect = |port| Ask::Connect(Connect { port, timeout_millis: 100 });
    let (Tell::Failed(failed), _) = program.ask(connect(9)) else { panic!("refused") };
    assert_eq!((failed.reason.as_str(), failed.errno), ("refused", nix::libc::ECONNREFUSED));
    assert_eq!(program.refused(connect(0)), "invalid");
    assert_eq!(program.refused(connect(70_000)), "invalid");
    // One that accepts nobody holds up nothing else.
    let mut streams = program.start(python(
        "import socket, time
s = socket.socket(); s.bind(('127.0.0.1', 8081)); s.listen(0)
c = []
for i in range(8):
    k = socket.socket(); k.setblocking(False); k.connect_ex(('127.0.0.1', 8081)); c.append(k)
print('full', flush=True); time.sleep(300)",
    ));
    assert_eq!(streams.line(), "full");
    assert_eq!(program.refused(connect(8081)), "deadline");
}

fn socket() {
    let (_cell, mut program) = Cell::sealed();
    let path = "/run/solo/service.sock".to_owned();
    let script = "import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SOLO_SOCKET']); s.send(b'from inside')";
    let streams = program.start(Start { socket: path, ..python(script) });
    let Some((Descriptor::Listener, listener)) = streams.other.into_iter().next() else {
        panic!("a listener")
    };
    let (mut peer, _): (UnixStream, _) =
        UnixListener::from(listener).accept().expect("a connection");
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("read");
    assert_eq!(text, "from inside");
    assert_eq!(program.exit(), How::Code(0));
}

fn again() {
    let (_cell, mut program) = Cell::sealed();
    for _ in 0..3 {
        let start = Start {
            notify: true,
            socket: "/run/solo/service.sock".into(),
            ..shell("test -S $NOTIFY_SOCKET && test -S $SOLO_SOCKET")
        };
        program.start(start);
        assert_eq!(program.exit(), How::Code(0));
    }
}
