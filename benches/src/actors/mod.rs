//! Services as actors, next to peers: Erlang, `rusm-otp`, and bare wasmtime. Each figure of the table
//! comes from this one run, each experiment from a process of its own.
//!
//! This side starts the processes, adds their sheets up, and judges; `measure` takes the figures.

mod child;
mod growth;
mod idle;
mod rows;
mod svg;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::endings::say;
use crate::measure::{Experiment, Scale, System};
use crate::options::Options;
use crate::sheet::Sheet;
use crate::targets::Verdict;

pub(crate) use rows::Row;
pub(crate) use table::text;

/// Times that each system gets its turn, so that whatever else happens on the machine meets all.
const TURNS: usize = 2;

/// Who takes turns, in this order.
const SYSTEMS: [System; 4] = [System::Solo, System::Erlang, System::Rusm, System::Bare];

/// What was measured of actors.
#[derive(Debug, Serialize)]
pub(crate) struct Actors {
    pub(crate) rows: Vec<Row>,
    pub(crate) growth: growth::Growth,
    /// How the figures came to be, in words of those who took them.
    pub(crate) notes: Vec<String>,
    /// What of Solo does not work, with the reason. How many idle services fit is a figure.
    pub(crate) broken: Vec<String>,
}

/// The figures of all systems, and why some are missing.
#[derive(Debug, Default)]
struct Found {
    sheets: BTreeMap<System, Sheet>,
    missing: BTreeMap<(System, Experiment), String>,
}

/// Runs all experiments; files go to `directory`.
///
/// # Errors
/// The plot cannot be written. An experiment that fails is a row that says so.
pub(crate) async fn run(options: &Options, directory: &Path) -> anyhow::Result<Actors> {
    let mut found = Found::default();
    // Small machines' clocks and caches settle during the first; what has to be quiet comes first.
    for (experiment, what) in [
        (Experiment::Talk, "messages from actor to actor"),
        (Experiment::Start, "starts of an instance"),
        (Experiment::Crash, "crashes of an actor"),
        (Experiment::Hogs, "calls beside hogs"),
        (Experiment::Weights, "processor time by weight"),
        (Experiment::Growth, "growth with the number of actors"),
    ] {
        say(&format!("solo-bench: {what}"));
        let turns = if options.quick || experiment == Experiment::Weights { 1 } else { TURNS };
        for _ in 0..turns {
            for system in SYSTEMS {
                if rows::is_measured(system, experiment) {
                    found.take(options, directory, system, experiment).await;
                }
            }
        }
    }
    say("solo-bench: many idle services");
    idle::run(options, directory, &mut found).await;
    let growth = growth::Growth::of(&mut found, Scale::of(options.quick).levels);
    if let Some(path) = &options.plot {
        growth.write(path)?;
    }
    let notes = found.sheets.values().flat_map(|sheet| sheet.notes().iter().cloned()).collect();
    Ok(Actors { rows: rows::rows(&found), growth, notes, broken: found.broken() })
}

impl Found {
    /// Has one experiment measured once and adds what it found.
    async fn take(
        &mut self,
        options: &Options,
        directory: &Path,
        system: System,
        experiment: Experiment,
    ) {
        match child::measure(options.quick, directory, system, experiment).await {
            Ok(sheet) => self.sheets.entry(system).or_default().merge(&sheet),
            Err(error) => self.miss(system, experiment, &error),
        }
    }

    fn broken(&self) -> Vec<String> {
        let broken = self.missing.iter().filter(|((system, experiment), _)| {
            *system == System::Solo && *experiment != Experiment::Idle
        });
        broken.map(|((_, experiment), why)| format!("{experiment:?}: {why}")).collect()
    }

    fn miss(&mut self, system: System, experiment: Experiment, error: &anyhow::Error) {
        let why = format!("{error:#}");
        if self.missing.insert((system, experiment), why.clone()).is_none() {
            say(&format!("solo-bench: {}: {why}", system.name()));
        }
    }
}

impl Actors {
    /// Names of the rows that miss what they must, or have no figure of Solo.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = self.rows.iter().filter(|row| row.verdict == Some(Verdict::Missed));
        missed.map(|row| row.name.trim().to_owned()).collect()
    }
}
