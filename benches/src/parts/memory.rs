//! Memory of services that do nothing: the proportional set size of cell and kernel, and its slope.

use std::time::Duration;

use solo_api::Client;

use super::{Bench, names};
use crate::figures::Quantity;
use crate::machine::pss;
use crate::report::{Row, Section};
use crate::requests;
use crate::stats::{Samples, float, slope};
use crate::targets;

/// After the last deploy: what was only needed to start is gone, and statistics have been written.
const SETTLE: Duration = Duration::from_secs(1);

/// Bare instances from whose growth the floor comes.
const FLOOR_LEVELS: [usize; 2] = [100, 500];

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let mut section = Section::default();
    let (mut cell, mut kernel) = (Vec::new(), Vec::new());
    let mut text = format!("{:>9} {:>12} {:>12}\n", "services", "wasm cell", "kernel");
    let mut present = 0;
    for level in bench.sizes.memory_levels.iter().copied() {
        grow(bench, &client, present, level).await?;
        present = level;
        tokio::time::sleep(SETTLE).await;
        let (of_cell, of_kernel) = (pss_of(solo.cell_pid()?)?, pss_of(solo.kernel_pid()?)?);
        cell.push((float(level), of_cell));
        kernel.push((float(level), of_kernel));
        let [a, b] = [of_cell, of_kernel].map(|bytes| Quantity::Bytes.text(bytes));
        text.push_str(&format!("{level:>9} {a:>12} {b:>12}\n"));
    }
    section.picture("Memory (PSS) with so many idle counters", &text);
    let floors: Samples = floor(bench)?.into_iter().collect();
    let value = |points: &[(f64, f64)]| slope(points).into_iter().collect::<Samples>();
    let row = Row::new("memory per idle service, cell", Quantity::Bytes, &value(&cell));
    let floor = "one more bare instance of the same component, without fiber and mailbox";
    section.row(row.map(|row| row.target(targets::MEMORY_PER_SERVICE).floor(floor, &floors)));
    section.row(Row::new("memory per service, kernel", Quantity::Bytes, &value(&kernel)));
    Ok(section)
}

/// Deploys counters until there are `level`.
async fn grow(
    bench: &Bench<'_>,
    client: &Client,
    present: usize,
    level: usize,
) -> anyhow::Result<()> {
    let names = names("idle", present..level);
    requests::deploy_all(client, &names, &bench.counter).await.map(|_| ())
}

/// What one more instance adds to this process.
fn floor(bench: &Bench<'_>) -> anyhow::Result<Option<f64>> {
    let handler = bench.engines.load(&bench.counter, "idle", bench.directory)?;
    let (mut live, mut points) = (Vec::new(), Vec::new());
    for level in FLOOR_LEVELS {
        while live.len() < level {
            live.push(handler.start()?);
        }
        points.push((float(level), pss(std::process::id())?));
    }
    Ok(slope(&points))
}

fn pss_of(pid: i32) -> anyhow::Result<f64> {
    pss(u32::try_from(pid)?)
}
