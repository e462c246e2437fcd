//! What a program sees, and what it can do to the init of its sandbox.

use std::net::TcpListener;

use solo_process::wire::messages::{Seal, exited::How};

use crate::cell::{Cell, command};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_program_sees_nothing_of_the_machine", nothing_of_the_machine),
    ("a_program_starts_as_programs_expect_to", as_expected),
    ("a_program_cannot_reach_its_init", cannot_reach_init),
];

fn nothing_of_the_machine() {
    let (cell, mut program) = Cell::sealed();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let directory = cell.directory.path().display();
    let script = format!(
        "test -e {directory}/control && echo control; test -e {directory}/program && echo program
        test -e /root && echo root; test -e /etc/shadow && echo shadow; ls /var 2>/dev/null
        for p in /proc/[0-9]*; do test $p = /proc/$$ || echo $p; done
        tail -n +3 /proc/self/net/dev | cut -d: -f1 | tr -d ' '; hostname
        touch /usr/x 2>/dev/null && echo written; touch /x 2>/dev/null && echo written; id -u
        python3 -I -S -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))' 2>/dev/null && echo net
        grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status",
    );
    let (seen, _) = program.sh(&script);
    let expected = "tmp\nlo\nsolo\n1000\nCapBnd:\t0000000000000000\nCapEff:\t0000000000000000\n";
    let seen = seen.replace(
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n",
        "CapBnd:\t0000000000000000\nCapEff:\t0000000000000000\n",
    );
    assert_eq!(seen, format!("{expected}NoNewPrivs:\t1\nSeccomp:\t2\n"));
}

fn as_expected() {
    let (cell, mut program) = Cell::sealed();
    let (seen, _) = program.sh("env | sort; ls /proc/self/fd | wc -l
        test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leader");
    // `ls` has a fourth descriptor: the directory.
    let expected = "HOME=/tmp\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD=/\n4\nleader\n";
    assert_eq!(seen, expected);
    let mut streams = program.start(command(&["cat", "/proc/self/status"]));
    let status = String::from_utf8(streams.output_to_end()).expect("text");
    assert_eq!(signals(&status), [0, 0, 0]);
    // Its init blocks the end of children, ignores broken pipes, and handles nothing.
    let status = std::fs::read_to_string(format!("/proc/{}/status", cell.child.id()));
    assert_eq!(signals(&status.expect("readable")), [1 << 16, 1 << 12, 0]);
}

/// Blocked, ignored and handled ones of the 31 with a name.
fn signals(status: &str) -> [u64; 3] {
    ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("there");
        u64::from_str_radix(line.trim(), 16).expect("a number") & 0x7fff_ffff
    })
}

fn cannot_reach_init() {
    let mut cell = Cell::prepared(&[]);
    let seal = cell.usual();
    // Where the sockets are is no secret, and the directory of one of them is there.
    cell.seal(Seal {
        program_socket: cell.path("inside").join("program").to_str().expect("text").into(),
        ..seal
    });
    let mut program = crate::cell::Program::at(&cell.path("inside").join("program"));
    let path = cell.build("attack");
    let (control, host) = (cell.path("control"), cell.path("program"));
    let sockets = [control, host].map(|path| path.to_str().expect("text").to_owned());
    let mut streams = program.start(command(&[&path, &sockets[0], &sockets[1]]));
    let told = String::from_utf8(streams.output_to_end()).expect("text");
    assert_eq!(told, "done\n");
    assert_eq!(program.exit(), How::Code(0));
    // Who connects from inside is turned away, also where the socket could be seen.
    let inside = cell.path("inside").join("program");
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}'); print(s.recv(1))",
        inside.display()
    );
    let mut streams = program.start(crate::cell::python(&script));
    assert_eq!(streams.output_to_end(), b"b''\n");
    assert_eq!(program.exit(), How::Code(0));
    assert!(cell.is_alive());
}
