//! Program cells, from outside: as the heart starts them, the kernel seals them and the proxy uses them.
//!
//! This process is both the tests and, started by them, the init of a sandbox. That must have one thread
//! when it starts, so the tests have a harness that starts none before.

mod cell;
mod doors;
mod figures;
mod inside;
mod life;
mod talk;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial, run};

fn main() -> ExitCode {
    if let Some(ended) = cell::become_init() {
        return ended;
    }
    // As the heart does it; root needs none.
    solo_sandbox::own_namespaces().expect("namespaces");
    let tests = [doors::TESTS, figures::TESTS, inside::TESTS, life::TESTS, talk::TESTS].concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    run(&Arguments::from_args(), trials.collect()).exit_code()
}
