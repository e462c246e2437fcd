//! How messages, calls, starts and memory grow with the number of actors, on one thread.
//!
//! All actors are replicas of one service. A hop is a send to one of them, drawn by the cell, which
//! sends the next: each message wakes an actor that has waited. Calls go to replicas drawn likewise.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Scale;
use super::cell::{Cell, Service, actor, one_of, order, word};
use crate::machine::pss;
use crate::sheet::Sheet;
use crate::stats::float;

/// The longest that a round may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether a round is over: seldom enough not to be part of it.
const LOOK: Duration = Duration::from_millis(5);

/// Actors that are started together while a level is filled.
const TOGETHER: usize = 100;

/// Measures.
///
/// # Errors
/// A message is lost, or an actor does not start.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let most = scale.levels.last().copied().unwrap_or_default();
    let room = most + scale.starts_at_level * scale.levels.len() + 4;
    let cell = Cell::start(1, room)?;
    let artifact = actor(directory)?;
    let target = Service { reaches: &["target", "driver"], ..Service::new(1, "target", &artifact) };
    let driver = Service { reaches: &["target"], ..Service::new(2, "driver", &artifact) };
    // Routed from the start, so that both know each other; the first actors bring the code.
    cell.deploy(&driver, 1).await?;
    cell.deploy(&target, 1).await?;
    let empty = pss(std::process::id())?;
    let mut present = 1;
    for level in scale.levels.iter().copied() {
        while present < level {
            let more = (level - present).min(TOGETHER);
            cell.start_instances(&target, present..present + more).await?;
            present += more;
        }
        cell.route(&target, present);
        at_level(&cell, &driver.id(), present, scale, sheet).await?;
        sheet.push(
            &format!("memory.{level}"),
            (pss(std::process::id())? - empty).max(0.0) / float(present - 1),
        );
        for _ in 0..scale.starts_at_level {
            let time = cell.start_instances(&target, present..present + 1).await?;
            sheet.push_time(&format!("start.{level}"), time);
            present += 1;
        }
    }
    Ok(cell)
}

async fn at_level(
    cell: &Cell,
    driver: &str,
    level: usize,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let calls = scale.per_batch;
    for round in 0..=scale.rounds {
        let called = cell.call(driver, order(b'c', calls)).await?;
        let hopped = hop(cell, driver, scale.hops).await?;
        // The first one warms up.
        if round > 0 {
            sheet.push(&format!("call.{level}"), one_of(word(&called, 0)?, calls));
            sheet.push(&format!("message.{level}"), one_of(hopped, scale.hops));
        }
    }
    Ok(())
}

/// Nanoseconds of a round of hops.
async fn hop(cell: &Cell, driver: &str, hops: u32) -> anyhow::Result<u64> {
    cell.send(driver, order(b'R', hops))?;
    let began = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let time = word(&cell.call(driver, order(b'r', 0)).await?, 0)?;
        if time > 0 {
            return Ok(time);
        }
        ensure!(began.elapsed() < PATIENCE, "a round of hops is not over within {PATIENCE:?}");
    }
}
