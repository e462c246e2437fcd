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

/// How often each system gets its turn, so that whatever else happens on the machine meets all, and which
/// turns count.
#[derive(Debug, Clone, Copy)]
enum Turns {
    /// All of so many, added up: what is promised has to hold whatever happens.
    All(usize),
    /// Of so many the one in which this figure was lowest. The same code takes up to twice as long while
    /// others use the machine's processors: that says something about them, not about the code.
    Quickest(usize, &'static str),
}

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

/// What is measured, and how often.
const EXPERIMENTS: [(Experiment, Turns); 6] = [
    (Experiment::Talk, Turns::Quickest(10, "call")),
    (Experiment::Start, Turns::Quickest(4, "start")),
    (Experiment::Crash, Turns::All(2)),
    (Experiment::Hogs, Turns::All(2)),
    (Experiment::Weights, Turns::All(1)),
    (Experiment::Growth, Turns::Quickest(3, "message.10000")),
];

/// Runs all experiments; files go to `directory`.
///
/// The turns of each are spread over the whole run: a machine that others use too changes its speed
/// for minutes.
///
/// # Errors
/// The plot cannot be written. An experiment that fails is a row that says so.
pub(crate) async fn run(options: &Options, directory: &Path) -> anyhow::Result<Actors> {
    let mut found = Found::default();
    let mut taken: BTreeMap<(Experiment, System), Vec<Sheet>> = BTreeMap::new();
    let count = |turns: Turns| if options.quick { 1 } else { turns.count() };
    let rounds = EXPERIMENTS.iter().map(|(_, turns)| count(*turns)).max().unwrap_or(0);
    for round in 0..rounds {
        say(&format!("solo-bench: actors, round {} of {rounds}", round + 1));
        for (experiment, turns) in EXPERIMENTS {
            if !has_turn(round, rounds, count(turns)) {
                continue;
            }
            for system in SYSTEMS {
                if rows::is_measured(system, experiment)
                    && let Some(sheet) = found.take(options, directory, system, experiment).await
                {
                    taken.entry((experiment, system)).or_default().push(sheet);
                }
            }
        }
    }
    for (experiment, turns) in EXPERIMENTS {
        for system in SYSTEMS {
            let Some(sheets) = taken.remove(&(experiment, system)) else { continue };
            let all = found.sheets.entry(system).or_default();
            turns.counting(sheets).iter().for_each(|sheet| all.merge(sheet));
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

/// Whether an experiment with `count` turns has one in this round of `rounds`: they lie evenly.
fn has_turn(round: usize, rounds: usize, count: usize) -> bool {
    let before = |round: usize| (round * count).div_ceil(rounds.max(1));
    before(round + 1) > before(round)
}

impl Turns {
    fn count(self) -> usize {
        match self {
            Self::All(count) | Self::Quickest(count, _) => count,
        }
    }

    /// The sheets that count.
    fn counting(self, sheets: Vec<Sheet>) -> Vec<Sheet> {
        let Self::Quickest(_, figure) = self else { return sheets };
        let key = |sheet: &Sheet| sheet.summary(figure).map_or(f64::INFINITY, |found| found.p50);
        sheets.into_iter().min_by(|a, b| key(a).total_cmp(&key(b))).into_iter().collect()
    }
}

impl Found {
    /// Has one experiment measured once.
    async fn take(
        &mut self,
        options: &Options,
        directory: &Path,
        system: System,
        experiment: Experiment,
    ) -> Option<Sheet> {
        match child::measure(options.quick, directory, system, experiment).await {
            Ok(sheet) => Some(sheet),
            Err(error) => {
                self.miss(system, experiment, &error);
                None
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_lie_evenly_over_the_rounds() {
        let rounds =
            |count| (0..10).filter(|round| has_turn(*round, 10, count)).collect::<Vec<_>>();
        assert_eq!(rounds(1), [0]);
        assert_eq!(rounds(2), [0, 5]);
        assert_eq!(rounds(4), [0, 2, 5, 7]);
        assert_eq!(rounds(10).len(), 10);
    }
}
