//! Lives of a program: start, output, end, start again.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use solo_process::wire::messages::{
    CloseInput, GetUsage, Kill, Signal, Start, Usage, exited::How, program_answer::Tell,
    program_request::Ask,
};

use crate::cell::{Cell, Program, command, python, shell};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("output_is_what_was_written_and_the_code_is_told", output_and_code),
    ("a_program_reads_what_is_sent_until_it_is_closed", input),
    ("signals_reach_the_program_and_are_told", signals),
    ("a_crash_is_told_with_its_signal", crash),
    ("a_second_start_is_fresh", fresh),
    ("the_tree_ends_with_the_program", tree),
    ("a_kill_ends_what_hides_in_sessions_of_its_own", kill_of_a_tree),
    ("orphans_are_reaped", orphans),
    ("one_program_runs_at_a_time", one_at_a_time),
    ("why_a_program_cannot_be_started_is_told_in_a_word", refusals),
    ("scripts_run", scripts),
    ("use_is_told", use_is_told),
    ("limits_of_a_process_hold", limits),
];

fn output_and_code() {
    let (_cell, mut program) = Cell::sealed();
    let mut streams = program.start(python(
        "import os; os.write(1, bytes(range(256)) * 3 + b'partial'); os.write(2, b'\\xff\\n'); os._exit(7)",
    ));
    let mut expected: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(3);
    expected.extend(b"partial");
    assert_eq!(streams.output_to_end(), expected);
    let mut errors = Vec::new();
    streams.error_output.expect("errors").read_to_end(&mut errors).expect("read");
    assert_eq!(errors, b"\xff\n");
    assert_eq!(program.exit(), How::Code(7));
}

fn input() {
    let (_cell, mut program) = Cell::sealed();
    let mut streams = program.start(Start { input: true, ..command(&["cat"]) });
    let mut input = streams.input.take().expect("input");
    input.write_all(b"a line\n").expect("written");
    assert_eq!(streams.line(), "a line");
    input.write_all(b"rest").expect("written");
    drop(input);
    assert!(matches!(program.ask(Ask::CloseInput(CloseInput {})).0, Tell::Done(_)));
    assert_eq!(streams.output_to_end(), b"rest");
    assert_eq!(program.exit(), How::Code(0));
    // Its streams have names, as daemons that log expect.
    let by_name = program.sh("echo x >/dev/stdout; echo y >>/proc/self/fd/1; echo z >/dev/stderr");
    assert_eq!(by_name, ("x\ny\n".into(), How::Code(0)));
    // Without input there is the end at once.
    assert_eq!(program.sh("cat; echo end"), ("end\n".into(), How::Code(0)));
}

fn signals() {
    let (_cell, mut program) = Cell::sealed();
    let signal = |number, whole_tree| Ask::Signal(Signal { number, whole_tree });
    let mut streams = program.start(shell(
        "trap 'echo hup' HUP; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.01; done",
    ));
    assert_eq!(streams.line(), "ready");
    assert!(matches!(program.ask(signal(1, false)).0, Tell::Done(_)));
    assert_eq!(streams.line(), "hup");
    for wrong in [0, 32, 64, 1_000] {
        assert_eq!(program.refused(signal(wrong, false)), "invalid");
    }
    program.ask(signal(15, true));
    assert_eq!(streams.output_to_end(), b"term\n");
    assert_eq!(program.exit(), How::Code(3));
    assert_eq!(program.refused(signal(15, false)), "not_running");
    program.start(command(&["sleep", "100"]));
    program.ask(signal(15, false));
    assert_eq!(program.exit(), How::Signal(15));
}

fn crash() {
    let (_cell, mut program) = Cell::sealed();
    assert_eq!(program.sh("kill -SEGV $$").1, How::Signal(11));
    // Signals that have no name are told too.
    assert_eq!(program.sh("kill -40 $$").1, How::Signal(40));
}

fn fresh() {
    let (_cell, mut program) = Cell::sealed();
    let leave =
        "mkdir -p /tmp/a/b; echo x >/tmp/a/b/file; chmod 0 /tmp/a/b /tmp/a; ln -s /usr /tmp/link
        echo x >/dev/shm/x; mkdir /run/solo/x; (setsid sleep 300 &) ; sleep 300 & kill -9 $$";
    assert_eq!(program.sh(leave).1, How::Signal(9));
    let look = "ls -A /tmp /dev/shm /run/solo; set -- /proc/[0-9]*; echo $#";
    let (seen, how) = program.sh(look);
    // The shell alone: the init hides.
    assert_eq!(seen, "/dev/shm:\n\n/run/solo:\n\n/tmp:\n1\n");
    assert_eq!(how, How::Code(0));
}

fn usage(program: &mut Program) -> Usage {
    match program.ask(Ask::GetUsage(GetUsage {})).0 {
        Tell::Usage(usage) => usage,
        other => panic!("{other:?}"),
    }
}

fn tree() {
    let (_cell, mut program) = Cell::sealed();
    // What is left of the tree holds the output open: it ends with the program.
    let script = "for i in 1 2 3; do (setsid sleep 300 &); sleep 300 & done; echo x; exit 5";
    assert_eq!(program.sh(script), ("x\n".into(), How::Code(5)));
    assert_eq!(usage(&mut program).processes, 0);
}

fn kill_of_a_tree() {
    let (cell, mut program) = Cell::sealed();
    let path = cell.build("tree");
    let mut streams = program.start(command(&[&path]));
    assert_eq!(streams.line(), "ready");
    assert_eq!(usage(&mut program).processes, 21);
    assert!(matches!(program.ask(Ask::Kill(Kill {})).0, Tell::Done(_)));
    assert_eq!(program.exit(), How::Signal(9));
    assert_eq!(usage(&mut program).processes, 0);
    streams.output_to_end();
    // Nobody is left to be killed.
    assert!(matches!(program.ask(Ask::Kill(Kill {})).0, Tell::Done(_)));
}

fn orphans() {
    let (_cell, mut program) = Cell::sealed();
    let mut streams = program.start(shell(
        "for i in $(seq 50); do (sh -c 'exit 0' &) ; done; sleep 0.1; echo done; exec sleep 300",
    ));
    assert_eq!(streams.line(), "done");
    let until = std::time::Instant::now() + crate::cell::LONG;
    while usage(&mut program).processes != 1 {
        assert!(std::time::Instant::now() < until, "{:?}", usage(&mut program));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn one_at_a_time() {
    let (_cell, mut program) = Cell::sealed();
    program.start(command(&["sleep", "300"]));
    assert_eq!(program.refused(Ask::Start(command(&["sleep", "1"]))), "running");
}

fn refusals() {
    let (cell, mut program) = Cell::sealed();
    let inside = cell.path("inside");
    let write = |name: &str, text: &str, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = inside.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        path.to_str().expect("text").to_owned()
    };
    let long = "x".repeat(200_000);
    let (plain, text, lost, hidden) = (
        write("plain", "#!/bin/sh\n", 0o644),
        write("text", "echo x\n", 0o755),
        write("lost", "#!/nowhere\n", 0o755),
        // Its owner may run it, and that is who the program is without root.
        write("hidden", "#!/bin/sh\n", 0o600),
    );
    for (words, reason) in [
        (&["/nowhere/x"][..], "not_found"),
        (&["no-such-program"], "not_found"),
        (&[&plain], "not_executable"),
        (&[&hidden], "not_executable"),
        (&["/usr"], "not_executable"),
        (&[&text], "format"),
        (&[&lost], "not_found"),
        (&["/etc/passwd"], "not_executable"),
        (&["echo", &long], "limit"),
        (&[""], "not_found"),
        (&["a\0b"], "invalid"),
    ] {
        assert_eq!(program.refused(Ask::Start(command(words))), reason, "{:?}", words[0]);
    }
    let gone = Start { directory: "/gone".into(), ..command(&["true"]) };
    assert_eq!(program.refused(Ask::Start(gone)), "directory");
    let socket = Start { socket: "/usr/x".into(), ..command(&["true"]) };
    assert_eq!(program.refused(Ask::Start(socket)), "socket");
    // A refusal is no obstacle.
    assert_eq!(program.sh("echo fine").0, "fine\n");
}

fn scripts() {
    let (cell, mut program) = Cell::sealed();
    let path = cell.path("inside").join("script");
    std::fs::write(&path, "#!/usr/bin/env -S sh -e\necho $0 $1 $HOME; pwd; umask; ulimit -c\n")
        .expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("set");
    let path = path.to_str().expect("text");
    let directory = "/usr/lib".to_owned();
    let mut streams = program.start(Start { directory, ..command(&[path, "one"]) });
    let text = String::from_utf8(streams.output_to_end()).expect("text");
    assert_eq!(text, format!("{path} one /tmp\n/usr/lib\n0022\n0\n"));
    assert_eq!(program.exit(), How::Code(0));
}

fn use_is_told() {
    let (_cell, mut program) = Cell::sealed();
    let mut streams = program.start(python(
        "import time
x = bytearray(32 << 20)
while time.process_time() < 0.2: pass
print('grown', flush=True); time.sleep(300)",
    ));
    assert_eq!(streams.line(), "grown");
    let used = usage(&mut program);
    assert_eq!(used.processes, 1);
    assert!(used.rss_bytes > 32 << 20, "{used:?}");
    assert!(used.user_micros + used.system_micros >= 150_000, "{used:?}");
    program.ask(Ask::Kill(Kill {}));
    let Tell::Exited(exited) = program.event() else { panic!("it ends") };
    assert!(exited.max_rss_bytes > 32 << 20, "{exited:?}");
    assert!(exited.user_micros + exited.system_micros >= 150_000, "{exited:?}");
    // Another life begins at nothing.
    program.start(command(&["true"]));
    let Tell::Exited(exited) = program.event() else { panic!("it ends") };
    assert!(exited.user_micros + exited.system_micros < 150_000, "{exited:?}");
}

fn limits() {
    let mut cell = Cell::prepared(&[]);
    let limits = solo_process::wire::messages::Limits {
        open_files: Some(64),
        file_bytes: Some(4_096),
        processes: Some(8),
    };
    let seal = cell.usual();
    let seal = solo_process::wire::messages::Seal { limits: Some(limits), ..seal };
    cell.seal(seal);
    let mut program = cell.program();
    let (seen, _) = program.sh("ulimit -n; ulimit -c; ulimit -u 2>/dev/null || echo 8");
    assert_eq!(seen, "64\n0\n8\n");
    assert_eq!(program.sh("head -c 8192 /dev/zero >/tmp/x; stat -c %s /tmp/x").0, "4096\n");
    let forks = "import os, time
n = 0
try:
    while n < 100:
        if os.fork() == 0: time.sleep(300)
        n += 1
except OSError: print(n, flush=True)";
    let mut streams = program.start(python(forks));
    // This one, and the init.
    assert_eq!(streams.line(), "6");
    assert_eq!(program.exit(), How::Code(0));
}
