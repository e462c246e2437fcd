//! The soak: a real Solo under crashes, restarts, kills, updates and storms for a long time, which must
//! answer as it should and end with what it took after its first minutes.
//!
//! Drivers ([`driver`]) draw plays ([`plays`]) on services of their own ([`household`]) and check every
//! answer. The [`conductor`] quietens them now and then, compares what the cell hosts with the
//! [`model`], and samples the processes; [`growth`] judges. `docs/benchmarks.md` says how to read it.

mod api;
mod conductor;
mod driver;
mod growth;
mod household;
mod model;
mod plan;
mod plays;
mod process;
mod random;
mod services;
mod shared;
mod totals;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::endings::say;
use crate::run::Outcome;
use crate::solo::Solo;
use conductor::{Crew, Report};
use plan::Plan;
use shared::short;

/// A longer run shows nothing more; a larger number is a mistake.
const MINUTES_MAX: f64 = 10_000.0;

/// How to soak.
#[derive(Debug, clap::Args)]
pub(crate) struct SoakOptions {
    /// How long
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0, env = "SOAK_MINUTES")]
    minutes: f64,
    /// Decides what the drivers do; drawn and told where it is absent
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many do something at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    drivers: u32,
    /// Kill the kernel so many times (default: once per quarter of an hour)
    #[arg(long, value_name = "NUMBER")]
    kernel_kills: Option<u32>,
    /// End the run after so many faults
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    faults: u32,
    /// Directory for the temporary home
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Soaks, and prints what it came to.
///
/// # Errors
/// Solo did what it must not, or grew.
pub(crate) fn run(options: &SoakOptions) -> anyhow::Result<Outcome> {
    let minutes = options.minutes;
    ensure!(minutes > 0.0 && minutes <= MINUTES_MAX, "--minutes must be 0 to {MINUTES_MAX}");
    let plan = Plan::new(Duration::from_secs_f64(minutes * 60.0), options.kernel_kills);
    let seed = options.seed.unwrap_or_else(drawn);
    // One thread: the drivers are not what is tested, and leave the processors to Solo.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to make a runtime")?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // What is dropped with the run ends what it started.
        tokio::select! {
            outcome = soak(options, &plan, seed) => outcome,
            _ = interrupt.recv() => Ok(Outcome::Interrupted),
            _ = terminate.recv() => Ok(Outcome::Interrupted),
        }
    })
}

async fn soak(options: &SoakOptions, plan: &Plan, seed: u64) -> anyhow::Result<Outcome> {
    let (minutes, drivers) = (options.minutes, options.drivers);
    say(&format!("soak: {minutes} minutes, {drivers} drivers, --seed {seed}"));
    let solo = Solo::start(options.dir.as_deref()).await?;
    let crew = Crew { drivers, seed, faults_max: options.faults as usize };
    let report = conductor::conduct(&solo, plan, crew).await?;
    print(&report)?;
    let mut faults = report.failures;
    faults.extend(growth::grown(&report.changes));
    faults.extend(growth::grown(&report.emptied));
    if !faults.is_empty() {
        let firsts = faults.iter().filter_map(|fault| fault.lines().next());
        let firsts = firsts.map(|line| format!("\n  {}", short(line))).collect::<String>();
        bail!("the soak failed, --seed {seed}:{firsts}");
    }
    Ok(Outcome::Measured)
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nWhat was done{}", report.totals)?;
    if report.changes.is_empty() {
        writeln!(out, "\nToo short to compare.")?;
    } else {
        writeln!(out, "\nAfter the warm-up > at the end (most under load)")?;
        writeln!(out, "{}", growth::table(&report.changes, Some(&report.peaks)))?;
    }
    if !report.emptied.is_empty() {
        writeln!(out, "\nBefore the first deployment > after the last kill")?;
        writeln!(out, "{}", growth::table(&report.emptied, None))?;
    }
    Ok(())
}

/// Some number. The time will do: it is only to differ from run to run.
fn drawn() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() ^ u64::from(now.subsec_nanos())
}
