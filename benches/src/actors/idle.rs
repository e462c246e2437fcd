//! Many services that do nothing: as many cells as it takes, and the memory of all of them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::child::{self, Measured};
use super::{Found, SYSTEMS};
use crate::machine::pss;
use crate::measure::{Experiment, System};
use crate::options::Options;
use crate::sheet::Sheet;
use crate::stats::float;

/// Services, as required; fewer in a quick run.
pub(super) const SERVICES: usize = 10_000;
const SERVICES_QUICK: usize = 500;

/// Cells that share them: one if it can, else several.
const CELLS: [usize; 2] = [1, 4];

/// After the last answer: what was only needed to start is gone.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures Solo and its peers.
pub(super) async fn run(options: &Options, directory: &Path, found: &mut Found) {
    let services = if options.quick { SERVICES_QUICK } else { SERVICES };
    match in_cells(directory, services).await {
        Ok(sheet) => found.sheets.entry(System::Solo).or_default().merge(&sheet),
        Err(error) => found.miss(System::Solo, Experiment::Idle, &error),
    }
    for system in SYSTEMS.into_iter().filter(|system| *system != System::Solo) {
        if let Some(sheet) = found.take(options, directory, system, Experiment::Idle).await {
            found.sheets.entry(system).or_default().merge(&sheet);
        }
    }
}

/// The fewest cells that hold them.
async fn in_cells(directory: &Path, services: usize) -> anyhow::Result<Sheet> {
    let mut failed = None;
    for cells in CELLS {
        match together(directory, services, cells).await {
            Ok(mut sheet) => {
                if let Some(error) = failed {
                    sheet.note(&format!(
                        "{services} services in fewer than {cells} cells: {error:#}"
                    ));
                }
                return Ok(sheet);
            }
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.context("no number of cells was tried")?)
}

async fn together(directory: &Path, services: usize, cells: usize) -> anyhow::Result<Sheet> {
    let mut alive: Vec<Measured> = Vec::new();
    for _ in 0..cells {
        alive.push(child::idle(directory, services / cells).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let mut sheet = Sheet::default();
    let (mut grown, mut count) = (0.0, 0.0);
    for cell in &alive {
        let of = |name| cell.sheet.summary(name).map(|summary| summary.p50);
        let base = of("idle.base").context("no figure before the services")?;
        count += of("idle.count").context("no number of services")?;
        grown += pss(cell.pid())? - base;
        sheet.merge(&cell.sheet);
    }
    let mut summed = Sheet::default();
    for note in sheet.notes() {
        summed.note(note);
    }
    summed.note(&format!("{count} idle services in {cells} cell(s)"));
    summed.push("idle.count", count);
    summed.push("idle.bytes", grown / float(services));
    Ok(summed)
}
