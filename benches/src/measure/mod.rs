//! One experiment with one system, in a process of its own, which ends with who started it.
//!
//! A process apart, so that memory can be read, that hogs end with it, and that nothing of one
//! experiment is left for the next. It measures and writes a sheet; it judges nothing.

mod bare;
mod cell;
mod crash;
mod growth;
mod hogs;
mod idle;
mod rusm;
mod start;
mod talk;
mod weights;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;

use crate::sheet::Sheet;

/// Whose figures they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// Services in Solo's cell
    Solo,
    /// Processes of an Erlang VM
    Erlang,
    /// Processes of the crate `rusm-otp`
    Rusm,
    /// The same components in wasmtime with nothing around them
    Bare,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Experiment {
    /// Sends and calls between two actors on one thread
    Talk,
    /// Calls beside actors that compute without end
    Hogs,
    /// Processor time of 100 hogs by weight
    Weights,
    /// From a crash to the next answer
    Crash,
    /// Start of an instance
    Start,
    /// Many services that do nothing
    Idle,
    /// How costs grow with the number of actors
    Growth,
}

/// The command line of such a process.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Order {
    pub(crate) system: System,
    pub(crate) experiment: Experiment,
    /// For files.
    pub(crate) directory: PathBuf,
    #[arg(long)]
    pub(crate) quick: bool,
    /// Services of the experiment `idle`.
    #[arg(long, default_value_t = 0)]
    pub(crate) services: usize,
}

/// How much is measured in one process. The report adds up several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Batches of [`Scale::per_batch`] messages, each one sample.
    pub(crate) batches: usize,
    /// Well below the mailbox's bound of 10,000: a batch of sends must fit.
    pub(crate) per_batch: u32,
    /// Calls that are timed one by one.
    pub(crate) single_calls: u32,
    /// Paced calls, without hogs and with them.
    pub(crate) paced_calls: usize,
    /// No more of them once so much time is over.
    pub(crate) paced_for: Duration,
    /// How long hogs compete.
    pub(crate) weighed_for: Duration,
    pub(crate) crashes: usize,
    pub(crate) starts: usize,
    /// Numbers of actors.
    pub(crate) levels: &'static [usize],
    /// Rounds of [`Scale::hops`] messages at each level, each one sample.
    pub(crate) rounds: usize,
    pub(crate) hops: u32,
    /// Starts at each level.
    pub(crate) starts_at_level: usize,
}

const FULL: Scale = Scale {
    batches: 100,
    per_batch: 1_000,
    single_calls: 10_000,
    paced_calls: 500,
    paced_for: Duration::from_secs(4),
    weighed_for: Duration::from_secs(20),
    crashes: 250,
    starts: 400,
    levels: &[10, 100, 1_000, 10_000],
    rounds: 10,
    hops: 20_000,
    starts_at_level: 80,
};

const QUICK: Scale = Scale {
    batches: 10,
    per_batch: 1_000,
    single_calls: 1_000,
    paced_calls: 50,
    paced_for: Duration::from_secs(1),
    weighed_for: Duration::from_secs(1),
    crashes: 20,
    starts: 50,
    levels: &[10, 100, 1_000],
    rounds: 3,
    hops: 5_000,
    starts_at_level: 20,
};

/// CPU-bound actors beside which calls are measured.
pub(crate) const HOGS: usize = 10;

/// Average pause between two paced calls.
const PACE: Duration = Duration::from_millis(1);

impl Scale {
    /// The one to use.
    pub(crate) fn of(quick: bool) -> &'static Self {
        if quick { &QUICK } else { &FULL }
    }
}

/// Measures, writes the sheet on standard output, and stays as it is until standard input ends, so
/// that its memory can be read from outside.
///
/// # Errors
/// Something does not work.
pub(crate) fn run(order: &Order) -> anyhow::Result<()> {
    end_with_parent()?;
    let scale = Scale::of(order.quick);
    // What is measured lives in here until the process ends.
    let (sheet, _alive) = match order.system {
        System::Solo => solo(order, scale)?,
        System::Rusm => (rusm::measure(order, scale)?, None),
        System::Bare => (bare::measure(order, scale)?, None),
        System::Erlang => bail!("Erlang measures itself"),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(sheet.text().as_bytes())?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}

fn solo(order: &Order, scale: &Scale) -> anyhow::Result<(Sheet, Option<cell::Cell>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut sheet = Sheet::default();
    let directory = &order.directory;
    let cell = runtime.block_on(async {
        match order.experiment {
            Experiment::Talk => talk::measure(directory, scale, &mut sheet).await,
            Experiment::Hogs => hogs::measure(directory, scale, &mut sheet).await,
            Experiment::Weights => weights::measure(directory, scale, &mut sheet).await,
            Experiment::Crash => crash::measure(directory, scale, &mut sheet).await,
            Experiment::Start => start::measure(directory, scale, &mut sheet).await,
            Experiment::Idle => idle::measure(directory, order.services, &mut sheet).await,
            Experiment::Growth => growth::measure(directory, scale, &mut sheet).await,
        }
    })?;
    Ok((sheet, Some(cell)))
}

/// Processors that there are.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A pause between half of [`PACE`] and one and a half: other than a fixed one it cannot fall in
/// step with a scheduler's slices.
fn pause(number: usize) -> Duration {
    // The fractional part of multiples of the golden ratio is spread evenly.
    let spread = (crate::stats::float(number) * 0.618_033_988_75).fract();
    PACE.mul_f64(0.5 + spread)
}

/// Kills this process when standard input ends, so that it never outlives who started it.
///
/// # Errors
/// No thread can be made.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    std::thread::Builder::new().name("parent".into()).spawn(|| {
        // An error is an end, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)
    })?;
    Ok(())
}

/// Compiles `component` for the run engine into `directory`.
///
/// # Errors
/// It is not valid, or the disk refuses.
fn compiled(directory: &Path, name: &str, component: &[u8]) -> anyhow::Result<PathBuf> {
    let told = |error: wasmtime::Error| anyhow::anyhow!("{error:#}");
    let engine = solo_cell::engine::compile_engine().map_err(told)?;
    let path = directory.join(format!("{name}.cwasm"));
    // Several processes may want the same file: each makes its own and renames it.
    let unready = directory.join(format!("{name}.{}", std::process::id()));
    std::fs::write(&unready, engine.precompile_component(component).map_err(told)?)?;
    std::fs::rename(&unready, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_around_the_pace() {
        let pauses: Vec<Duration> = (0..1_000).map(pause).collect();
        assert!(pauses.iter().all(|pause| *pause >= PACE / 2 && *pause <= PACE * 3 / 2));
        let mean = pauses.iter().sum::<Duration>() / 1_000;
        assert!(mean > PACE.mul_f64(0.95) && mean < PACE.mul_f64(1.05), "{mean:?}");
    }

    #[test]
    fn batches_of_sends_fit_into_a_mailbox() {
        for scale in [&FULL, &QUICK] {
            assert!(scale.per_batch < 10_000 && scale.single_calls <= 16_000);
        }
    }

    #[test]
    fn starts_at_a_level_do_not_reach_the_next_one() {
        for scale in [&FULL, &QUICK] {
            for pair in scale.levels.windows(2) {
                assert!(pair[0] + scale.starts_at_level < pair[1]);
            }
        }
    }
}
