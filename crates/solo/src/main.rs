//! The binary of Solo: the command line for people and agents, and all processes of a node.
//!
//! The first argument of a process that the heart starts is its role; see `roles`. Everything else
//! is the command line; see `cli`. Wires libraries together and decides nothing of its own.

use std::process::ExitCode;

mod cli;
mod output;
mod roles;

fn main() -> ExitCode {
    roles::run_requested().unwrap_or_else(cli::run)
}
