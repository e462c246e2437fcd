//! What a cell costs: memory is bounded, times are shown.

use std::fs;
use std::io::Read as _;
use std::time::{Duration, Instant};

use solo_process::wire::messages::{Start, program_answer::Tell, program_request::Ask};

use crate::cell::{Cell, command};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("an_init_has_less_than_two_and_a_half_megabytes", memory),
    ("the_first_instruction_comes_soon", first_instruction),
];

/// Private memory of a process, in KiB.
fn private_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("readable");
    let of = |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(of).sum::<u64>()
}

#[expect(clippy::print_stdout, reason = "the figure is the result")]
fn memory() {
    if !nix::unistd::geteuid().is_root() {
        // It is closed to its own user: that is a layer.
        return;
    }
    let mut cell = Cell::prepared(&[]);
    cell.hello();
    let prepared = private_kib(cell.child.id());
    let seal = cell.usual();
    cell.seal(seal);
    let sealed = private_kib(cell.child.id());
    let mut program = cell.program();
    for _ in 0..50 {
        assert_eq!(program.sh("echo x").0, "x\n");
    }
    let used = private_kib(cell.child.id());
    // The largest request that there is.
    let large = Start { arguments: vec!["x".repeat(1_000); 1_000], ..command(&["true"]) };
    program.start(large);
    program.exit();
    program.start(command(&["sleep", "300"]));
    let most = private_kib(cell.child.id());
    println!(
        "private memory of an init: prepared {prepared}, sealed {sealed}, used {used}, after the largest \
         request {most} KiB"
    );
    assert!(most < 2_500, "{most} KiB");
}

#[expect(clippy::print_stdout, reason = "the figure is the result")]
fn first_instruction() {
    let mut times: Vec<[Duration; 4]> = Vec::new();
    for _ in 0..30 {
        let mut cell = Cell::prepared(&[]);
        cell.hello();
        let path = cell.build("first");
        let seal = cell.usual();
        let began = Instant::now();
        cell.seal(seal);
        let sealed = began.elapsed();
        let mut program = cell.program();
        let asked = Instant::now();
        let (Tell::Started(started), mut handed) = program.ask(Ask::Start(command(&[&path])))
        else {
            panic!("it starts")
        };
        let mut output = fs::File::from(handed.swap_remove(0).1);
        let mut byte = [0];
        output.read_exact(&mut byte).expect("a byte");
        times.push([
            began.elapsed(),
            sealed,
            asked.elapsed(),
            Duration::from_micros(started.micros),
        ]);
        program.exit();
    }
    for (index, name) in
        ["prepared to first byte", "seal", "start", "start within"].iter().enumerate()
    {
        let mut one: Vec<_> = times.iter().map(|times| times[index]).collect();
        one.sort();
        println!("{name}: p50 {:?}, worst of {} {:?}", one[15], one.len(), one[29]);
    }
}
