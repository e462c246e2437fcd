//! Measures a real Solo from outside, next to the least that the same work costs on this machine.
//!
//! Starts the release binary beside this one in a temporary home and talks to it as any client does.
//! What concerns actors it measures in a cell of its own, beside peers. It measures and reports; what a
//! number must be `targets` says, and only `--strict` makes a missed one fail. `docs/benchmarks.md`
//! says what each line means.

mod actors;
mod endings;
mod figures;
mod floors;
mod guests;
mod histogram;
mod machine;
mod measure;
mod options;
mod parts;
mod report;
mod requests;
mod run;
mod sheet;
mod soak;
mod solo;
mod stats;
mod table;
mod targets;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let options = options::Options::parse();
    endings::exit_code(match (options.echo_server(), options.order(), options.soak()) {
        (Some(socket), ..) => floors::serve_echo(socket).map(|()| run::Outcome::Measured),
        (_, Some(order), _) => measure::run(order).map(|()| run::Outcome::Measured),
        (.., Some(soak)) => soak::run(soak),
        (None, None, None) => run::run(&options),
    })
}
