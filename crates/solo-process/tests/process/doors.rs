//! The two sockets: sealing, adoption, and peers that mean no good.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use solo_process::wire::messages::{
    ControlRequest, ProgramRequest, Seal, control_answer::Tell as Control, exited::How,
    program_answer::Tell, program_request::Ask,
};
use solo_process::wire::{VERSION, encode};
use solo_sandbox::Layer;

use crate::cell::{Cell, LONG, Streams, command, connect, shell};
use crate::talk::hello;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_prepared_cell_is_nobodys", prepared),
    ("what_holds_is_told_and_a_second_seal_is_refused", sealed_once),
    ("a_seal_that_cannot_be_ends_the_cell", seal_fails),
    ("a_layer_that_is_off_is_told", layer_off),
    ("a_cell_ends_with_the_heart", liveness),
    ("a_kernel_that_was_restarted_finds_its_cell", adoption_by_kernel),
    ("a_proxy_that_was_restarted_goes_on", adoption_by_proxy),
    ("garbage_costs_its_sender_the_connection", garbage),
    ("half_a_frame_holds_up_nobody", half_frame),
    ("a_flood_of_requests_is_answered_or_cut_off", flood),
];

fn prepared() {
    let mut cell = Cell::prepared(&[]);
    let mode = cell.path("control").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let identity = cell.hello();
    assert_eq!((identity.version, identity.cell.as_str()), (VERSION, "test"));
    assert_eq!(identity.sealed, None);
}

fn sealed_once() {
    let mut cell = Cell::prepared(&[]);
    let Control::Sealed(sealed) = cell.seal(cell.usual()) else { panic!("sealed") };
    assert_eq!(sealed.instance, "node-service-1");
    assert_eq!(sealed.holds.len(), Layer::ALL.len());
    for one in &sealed.holds {
        let expected = if one.layer == "control_group" { "not_used" } else { "holds" };
        assert_eq!(one.holding, expected, "{}", one.layer);
    }
    let mode = cell.path("program").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let again = Seal { instance: "another".into(), ..cell.usual() };
    let Control::Failed(failed) = cell.seal(again) else { panic!("refused") };
    assert_eq!(failed.action, "it is sealed already");
    assert_eq!(cell.hello().sealed.expect("sealed").instance, "node-service-1");
}

fn seal_fails() {
    // What is wrong with the request can be put right.
    let mut cell = Cell::prepared(&[]);
    let wrong = Seal { instance: String::new(), ..cell.usual() };
    assert!(matches!(cell.seal(wrong), Control::Failed(_)));
    // Half a sandbox is none.
    let mut wrong = cell.usual();
    wrong.entries.insert(0, {
        let what = solo_process::wire::messages::Bind { from: "/no/such".into(), access: 1 };
        let what = Some(solo_process::wire::messages::entry::What::Bind(what));
        solo_process::wire::messages::Entry { at: "/x".into(), what }
    });
    let Control::Failed(failed) = cell.seal(wrong) else { panic!("refused") };
    assert_eq!((failed.layer.as_str(), failed.action.as_str()), ("root", "make /x"));
    assert!(!failed.detail.is_empty() && !failed.remedy.is_empty());
    assert_eq!(cell.end().code(), Some(1));
}

fn layer_off() {
    let mut cell = Cell::prepared(&[Layer::Landlock]);
    let seal = Seal { without: vec!["seccomp".into()], ..cell.usual() };
    let Control::Sealed(sealed) = cell.seal(seal) else { panic!("sealed") };
    let off = sealed.holds.iter().filter(|one| one.holding == "switched_off");
    assert_eq!(off.map(|one| one.layer.as_str()).collect::<Vec<_>>(), ["landlock", "seccomp"]);
    assert_eq!(cell.program().sh("echo x").0, "x\n");
}

fn liveness() {
    let mut cell = Cell::prepared(&[]);
    drop(cell.alive.take());
    assert!(cell.end().success());
    let (mut cell, mut program) = Cell::sealed();
    let mut streams = program.start(shell("(setsid sleep 300 &); echo ready; exec sleep 300"));
    assert_eq!(streams.line(), "ready");
    drop(cell.alive.take());
    assert!(cell.end().success());
    // All who could write are gone.
    assert_eq!(streams.output_to_end(), b"");
}

fn adoption_by_kernel() {
    let (mut cell, mut program) = Cell::sealed();
    program.start(command(&["sleep", "300"]));
    cell.kernel = connect(&cell.path("control"));
    let identity = cell.hello();
    let sealed = identity.sealed.expect("sealed");
    assert_eq!(
        (sealed.instance.as_str(), sealed.holds.len()),
        ("node-service-1", Layer::ALL.len())
    );
    assert!(matches!(program.ask(hello()).0, Tell::Welcome(_)));
}

fn adoption_by_proxy() {
    let (cell, mut program) = Cell::sealed();
    let script = "echo one; read x; echo $x; read x; echo last $x; exit 4";
    let start = solo_process::wire::messages::Start { input: true, ..shell(script) };
    let mut streams = program.start(start);
    assert_eq!(streams.line(), "one");
    drop((program, streams));
    let mut program = cell.program();
    let (Tell::Welcome(welcome), handed) = program.ask(hello()) else { panic!("welcome") };
    assert_eq!(welcome.instance, "node-service-1");
    assert!(welcome.running.is_some_and(|running| running.pid > 1) && welcome.exited.is_none());
    let mut streams = Streams::of(handed);
    let mut input = streams.input.take().expect("input");
    input.write_all(b"two\n").expect("written");
    assert_eq!(streams.line(), "two");
    // A newer one takes its place, and is told what happened before it came.
    let mut newer = cell.program();
    assert!(matches!(newer.ask(hello()).0, Tell::Welcome(_)));
    let asked = ProgramRequest { id: 1, ask: Some(hello()) };
    let _ = program.connection.send(&asked, LONG);
    assert!(program.connection.receive::<ProgramRequest>(LONG).is_err());
    drop((program, newer));
    input.write_all(b"three\n").expect("written");
    let mut program = cell.program();
    let welcome = loop {
        let (Tell::Welcome(welcome), handed) = program.ask(hello()) else { panic!("welcome") };
        if let Some(exited) = welcome.exited {
            break (exited.how, Streams::of(handed));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(welcome.0, Some(How::Code(4)));
    drop(streams);
    assert_eq!({ welcome.1 }.output_to_end(), b"last three\n");
}

fn garbage() {
    let (mut cell, _program) = Cell::sealed();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for door in ["control", "program"] {
        for round in 0..200_usize {
            let mut socket = UnixStream::connect(cell.path(door)).expect("connected");
            let mut bytes = Vec::new();
            for _ in 0..round * 7 {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                bytes.extend(noise.to_le_bytes().iter().take(1));
            }
            match round % 4 {
                // A frame of garbage, one that is too large, one without content, nothing but noise.
                0 => {
                    let length = u32::try_from(bytes.len()).expect("short");
                    bytes.splice(0..0, length.to_be_bytes());
                }
                1 => bytes.splice(0..0, (1_048_577_u32).to_be_bytes()).for_each(drop),
                2 => bytes.splice(0..0, [0; 4]).for_each(drop),
                _ => {}
            }
            // It may be cut off meanwhile.
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            socket.set_read_timeout(Some(LONG)).expect("set");
            let mut answers = Vec::new();
            // The connection is closed, with answers to what happened to be a request or without.
            let end = socket.read_to_end(&mut answers);
            let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            assert!(!end.as_ref().is_err_and(timed_out), "{end:?}");
        }
    }
    assert!(cell.is_alive());
    cell.kernel = connect(&cell.path("control"));
    assert!(cell.hello().sealed.is_some());
    assert_eq!(cell.program().sh("echo fine").0, "fine\n");
}

fn half_frame() {
    let (mut cell, program) = Cell::sealed();
    let half = |door| {
        let mut socket = UnixStream::connect(cell.path(door)).expect("connected");
        let request = ProgramRequest { id: 1, ask: Some(Ask::Start(shell("echo no"))) };
        let frame = encode(&request).expect("encoded");
        socket.write_all(&frame[..frame.len() - 1]).expect("sent");
        socket
    };
    let halves = [half("control"), half("program")];
    drop(program);
    cell.kernel = connect(&cell.path("control"));
    assert!(cell.hello().sealed.is_some());
    assert_eq!(cell.program().sh("echo fine").0, "fine\n");
    drop(halves);
}

fn flood() {
    let (mut cell, mut program) = Cell::sealed();
    // Who asks without end and reads nothing.
    let mut socket = UnixStream::connect(cell.path("program")).expect("connected");
    socket.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
    let request = ProgramRequest { id: 1, ask: Some(hello()) };
    let frame = encode(&request).expect("encoded").repeat(1_000);
    let mut asked = 0;
    while asked < 10_000 && socket.write_all(&frame).is_ok() {
        asked += 1;
    }
    assert!(asked < 10_000, "there is no end");
    // The kernel is served meanwhile.
    let request = ControlRequest { id: 1, ask: None };
    cell.kernel.send(&request, LONG).expect("sent");
    assert!(matches!(cell.kernel.receive(LONG), Ok(ControlRequest { .. })));
    assert!(cell.hello().sealed.is_some());
    program = {
        drop(program);
        cell.program()
    };
    assert_eq!(program.sh("echo fine").0, "fine\n");
}
