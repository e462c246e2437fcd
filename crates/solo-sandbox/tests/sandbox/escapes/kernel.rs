//! Parts of the kernel that programs do without, and terminals.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use solo_sandbox::Layer;

use super::Test;
use super::attempt::{Outside, PRIVILEGES};
use crate::inside::Inside;

pub(super) const TESTS: &[Test] = &[
    ("keys_of_the_kernel_are_not_there", keys_of_the_kernel_are_not_there),
    ("no_program_is_loaded_into_the_kernel", no_program_is_loaded_into_the_kernel),
    ("young_parts_of_the_kernel_are_not_there", young_parts_of_the_kernel_are_not_there),
    ("nothing_is_typed_into_a_terminal", nothing_is_typed_into_a_terminal),
];

fn keys_of_the_kernel_are_not_there() {
    let outside = Outside::new();
    for way in ["keyctl", "add_key", "request_key"] {
        let attempt = outside.attempt("kernel_part", &[Layer::Seccomp]);
        attempt.word(way).shown_where_there().check();
    }
}

fn no_program_is_loaded_into_the_kernel() {
    let outside = Outside::new();
    let mut layers = PRIVILEGES.to_vec();
    layers.push(Layer::Seccomp);
    outside.attempt("kernel_part", &layers).word("bpf").shown_where_there().check();
}

fn young_parts_of_the_kernel_are_not_there() {
    let outside = Outside::new();
    for way in ["userfaultfd", "io_uring", "perf"] {
        let attempt = outside.attempt("kernel_part", &[Layer::Seccomp]);
        attempt.word(way).shown_where_there().check();
    }
}

fn nothing_is_typed_into_a_terminal() {
    let outside = Outside::new();
    for way in ["type", "discipline"] {
        let terminal = Terminal::new(&outside);
        let inside = Inside { input: Some(Arc::clone(&terminal.input)), ..Inside::default() };
        let attempt = outside.attempt("terminal", &[Layer::Seccomp]).within(inside);
        attempt.word(way).shown_where_there().check();
    }
}

/// A terminal at which nobody sits, there until this ends.
struct Terminal {
    holder: Child,
    input: Arc<File>,
}

impl Terminal {
    fn new(outside: &Outside) -> Self {
        let mut command = Command::new(outside.build("terminal"));
        command.arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("started");
        let mut name = String::new();
        let output = holder.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut name).expect("read");
        let no_session = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let mut input = OpenOptions::new();
        input.read(true).write(true).custom_flags(no_session);
        let input = input.open(name.trim()).expect("a terminal");
        Self { holder, input: Arc::new(input) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
