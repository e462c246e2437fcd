//! Programs in a sandbox: what they see and what they can do.
//!
//! This process is both the tests and, started by them with a command, what enters a sandbox and becomes
//! that command. It must have one thread then, so the tests have a harness that starts none before.

mod escapes;
mod groups;
mod inside;
mod view;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial, run};

#[expect(clippy::print_stderr, reason = "what a reader of failed tests needs")]
fn main() -> ExitCode {
    if let Some(never) = inside::become_command().or_else(escapes::become_interpreter) {
        return never;
    }
    if let Err(error) = solo_sandbox::own_namespaces() {
        // Who is not root and may not have them: each test says what it lacks.
        eprintln!("{error}");
    }
    let tests = view::TESTS.iter().chain(escapes::tests()).chain(groups::TESTS);
    let trials = tests.map(|(name, test)| {
        Trial::test(*name, || {
            test();
            Ok(())
        })
    });
    run(&Arguments::from_args(), trials.collect()).exit_code()
}
