//! The command line, and how many samples each part takes.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::measure::Order;
use crate::soak::SoakOptions;

/// Measures Solo, with the distance to the floor of this machine.
#[derive(Debug, Parser)]
#[command(name = "solo-bench", version)]
pub(crate) struct Options {
    /// Take few samples: a smoke test of less than 30 s, whose numbers mean little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write everything to a file as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Exit with 1 when a required number is missed
    #[arg(long)]
    pub(crate) strict: bool,
    /// Run this part only (can be repeated)
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Draw how costs grow with the number of actors, as SVG, into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Directory for the temporary homes; its disk decides what a durable write costs
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Action>,
}

/// What else the program does; most of it it starts itself for.
#[derive(Debug, Subcommand)]
enum Action {
    /// Let a Solo work for a long time under crashes, kills and storms: it must not grow
    Soak(SoakOptions),
    /// Answers calls with their own payload, until standard input ends
    #[command(hide = true)]
    EchoServer { socket: PathBuf },
    /// Takes the figures of one experiment, writes them, and stays until standard input ends
    #[command(hide = true)]
    Measure(Order),
}

/// A part of the run, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Actors in a cell beside Erlang, rusm-otp and bare wasmtime
    Actors,
    /// Deploy of a known artifact
    Deploy,
    /// Deploy of a new component
    Compile,
    /// Calls from outside
    Call,
    /// Messages from service to service
    Message,
    /// Crash of a service
    Crash,
    /// Memory of idle services
    Memory,
    /// Kill of the kernel
    Kernel,
    /// Tokens and the audit log
    Security,
    /// What services keep
    State,
    /// Deploy beside many services
    Growth,
    /// External programs, beside a bare exec, bubblewrap and crun
    Programs,
}

impl Options {
    /// The socket, if this process is to be the echo server.
    pub(crate) fn echo_server(&self) -> Option<&Path> {
        match &self.command {
            Some(Action::EchoServer { socket }) => Some(socket),
            _ => None,
        }
    }

    /// What to measure, if this process is to measure and not to report.
    pub(crate) fn order(&self) -> Option<&Order> {
        match &self.command {
            Some(Action::Measure(order)) => Some(order),
            _ => None,
        }
    }

    /// How to soak, if that is wanted.
    pub(crate) fn soak(&self) -> Option<&SoakOptions> {
        match &self.command {
            Some(Action::Soak(options)) => Some(options),
            _ => None,
        }
    }

    /// Whether `part` is wanted.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How many samples to take.
    pub(crate) fn sizes(&self) -> &'static Sizes {
        if self.quick { &QUICK } else { &FULL }
    }
}

/// Numbers of samples. Where a floor is measured beside Solo, both take turns in blocks, so that
/// whatever else happens on the machine meets both.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// Turns that Solo and floor take.
    pub(crate) blocks: usize,
    /// Deploys of a known artifact, one after the other.
    pub(crate) deploys: usize,
    /// The same, eight at once.
    pub(crate) deploys_at_once: usize,
    /// Deploys of new bytes.
    pub(crate) compiles: usize,
    /// Calls from outside, one after the other, over each transport.
    pub(crate) calls: usize,
    /// Calls from outside, 64 in flight.
    pub(crate) calls_in_flight: usize,
    /// Rounds of [`Sizes::messages_per_round`] messages between two services.
    pub(crate) message_rounds: usize,
    /// Well below the mailbox's bound of 10,000: a round of sends must fit.
    pub(crate) messages_per_round: u32,
    /// Crashes of a service.
    pub(crate) crashes: usize,
    /// Kills of the kernel.
    pub(crate) kernel_kills: usize,
    /// Deploys alone, and as many beside audited operations.
    pub(crate) audited_deploys: usize,
    /// Grants that are revoked while a guest uses them.
    pub(crate) revocations: usize,
    /// Services at which memory is read; the last one is how many the kernel is killed under.
    pub(crate) memory_levels: &'static [usize],
    /// Services beside which deploys are measured.
    pub(crate) growth_levels: &'static [usize],
    /// Deploys at each of these.
    pub(crate) growth_deploys: usize,
    /// Starts of a program in a prepared sandbox, and as many by each peer.
    pub(crate) program_starts: usize,
    /// Deploys and kills of a program, one after the other.
    pub(crate) program_deploys: usize,
    /// Programs at one time.
    pub(crate) programs: usize,
}

const FULL: Sizes = Sizes {
    blocks: 10,
    deploys: 500,
    deploys_at_once: 504,
    compiles: 20,
    calls: 5_000,
    calls_in_flight: 51_200,
    message_rounds: 100,
    messages_per_round: 1_000,
    crashes: 50,
    kernel_kills: 5,
    audited_deploys: 300,
    revocations: 100,
    memory_levels: &[10, 100, 500],
    growth_levels: &[1, 10, 100, 500, 1_000],
    growth_deploys: 100,
    program_starts: 200,
    program_deploys: 1_000,
    programs: 500,
};

const QUICK: Sizes = Sizes {
    blocks: 2,
    deploys: 40,
    deploys_at_once: 40,
    compiles: 3,
    calls: 400,
    calls_in_flight: 3_200,
    message_rounds: 5,
    messages_per_round: 1_000,
    crashes: 10,
    kernel_kills: 1,
    audited_deploys: 40,
    revocations: 10,
    memory_levels: &[10, 100],
    growth_levels: &[1, 50],
    growth_deploys: 20,
    program_starts: 10,
    program_deploys: 20,
    programs: 20,
};

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let options = Options::parse_from(["solo-bench", "--only", "call", "--only", "crash"]);
        assert!(options.wants(Part::Call) && options.wants(Part::Crash));
        assert!(!options.wants(Part::Deploy) && options.echo_server().is_none());
        let options =
            Options::parse_from(["solo-bench", "measure", "solo", "idle", "d", "--services", "9"]);
        assert!(options.order().is_some_and(|order| order.services == 9 && !order.quick));
        let options = Options::parse_from(["solo-bench", "soak", "--minutes", "0.5"]);
        assert!(options.soak().is_some() && options.order().is_none());
    }

    #[test]
    fn blocks_divide_what_is_taken_in_turns() {
        for sizes in [&FULL, &QUICK] {
            assert_eq!(sizes.deploys % sizes.blocks, 0);
            assert_eq!(sizes.calls % sizes.blocks, 0);
            assert_eq!(sizes.audited_deploys % sizes.blocks, 0);
            assert_eq!(sizes.calls_in_flight % (sizes.blocks * 64), 0);
            assert_eq!(sizes.deploys_at_once % 8, 0);
        }
    }
}
