//! Many services side by side in one cell, each with an instance that has answered once and now does
//! nothing.

use std::path::Path;

use anyhow::ensure;

use super::cell::{Cell, Service};
use super::{compiled, processors};
use crate::machine::pss;
use crate::sheet::Sheet;
use crate::stats::float;
use crate::{guests, requests};

/// Measures: memory before them; how many answer. What they take is read from outside.
///
/// # Errors
/// One does not start, or does not answer.
pub(super) async fn measure(
    directory: &Path,
    services: usize,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let cell = Cell::start(processors(), services + 4)?;
    let artifact = compiled(directory, "counter", &guests::read("counter")?)?;
    // The first one brings the code.
    deploy(&cell, 1, &artifact).await?;
    sheet.push("idle.base", pss(std::process::id())?);
    for number in 2..=services + 1 {
        deploy(&cell, number, &artifact).await?;
    }
    // Again, as one that was put aside must come back.
    for number in 2..=services + 1 {
        answers(&cell, &Service::new(number, "", &artifact)).await?;
    }
    sheet.push("idle.count", float(services));
    Ok(cell)
}

async fn deploy(cell: &Cell, number: usize, artifact: &Path) -> anyhow::Result<()> {
    let name = format!("idle-{number}");
    let service = Service::new(number, &name, artifact);
    cell.deploy(&service, 1).await?;
    answers(cell, &service).await
}

async fn answers(cell: &Cell, service: &Service<'_>) -> anyhow::Result<()> {
    let answer = cell.call(&service.id(), requests::get_64()).await?;
    ensure!(answer == b"0", "{} answered {answer:?}", service.id());
    Ok(())
}
