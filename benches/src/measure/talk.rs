//! Sends and calls from one component to another, in a cell with one thread for guests.
//!
//! The driver loops and reads the clock itself, so that how the bench reaches the cell is in no figure.

use std::path::Path;

use super::Scale;
use super::cell::{Cell, Service, actor, one_of, order, times, word};
use crate::sheet::Sheet;

/// Instances that there is room for.
const ROOM: usize = 64;

/// Measures.
///
/// # Errors
/// A message does not arrive.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let cell = Cell::start(1, ROOM)?;
    let driver = deploy_pair(&cell, &actor(directory)?).await?;
    let count = scale.per_batch;
    // The first batch warms up.
    for batch in 0..=scale.batches {
        let sends = cell.call(&driver, order(b's', count)).await?;
        let calls = cell.call(&driver, order(b'c', count)).await?;
        if batch > 0 {
            sheet.push("send", one_of(word(&sends, 0)?, count));
            sheet.push("send.handled", one_of(word(&sends, 1)?, count));
            sheet.push("call", one_of(word(&calls, 0)?, count));
        }
    }
    for time in times(&cell.call(&driver, order(b'C', scale.single_calls)).await?) {
        sheet.push("call.each", time);
    }
    Ok(cell)
}

/// Deploys the service `target` and the service `driver`, which reaches it. Answers the driver's id.
///
/// # Errors
/// They do not start.
pub(super) async fn deploy_pair(cell: &Cell, artifact: &Path) -> anyhow::Result<String> {
    let target = Service::new(1, "target", artifact);
    cell.deploy(&target, 1).await?;
    let driver = Service { reaches: &["target"], ..Service::new(2, "driver", artifact) };
    cell.deploy(&driver, 1).await?;
    Ok(driver.id())
}
