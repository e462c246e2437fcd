//! Deploy of a component that was never seen: compiling is most of it.

use anyhow::ensure;

use super::Bench;
use crate::figures::Quantity;
use crate::guests::NewComponent;
use crate::report::{Row, Section};
use crate::requests::{self, deployment};
use crate::stats::Samples;
use crate::targets;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let component = NewComponent::new()?;
    let (mut measured, mut floors, mut compiling) =
        (Samples::default(), Samples::default(), Samples::default());
    // The first compilation finds the code of the compiler itself cold.
    for number in 0..=bench.sizes.compiles {
        let bytes = component.bytes(number as u64);
        let name = format!("new-{number}");
        let deployed = requests::deploy(&client, deployment(&name, &bytes)).await?;
        let floor = bench.engines.compile(&bytes)?;
        ensure!(deployed.timing.compile_ms > 0.0, "{name} was not compiled");
        let sum = requests::call_typed(&client, &name, "add", "[2, 40]").await?;
        ensure!(sum == "42", "{name} says that 2 and 40 are {sum}");
        requests::kill(&client, &name).await?;
        if number > 0 {
            measured.push_time(deployed.elapsed);
            floors.push_time(floor);
            compiling.push(deployed.timing.compile_ms / 1_000.0);
        }
    }
    let size = format!("deploy, new component of {} KB", component.len() / 1_000);
    let mut section = Section::default();
    let floor = "Cranelift compiles the same bytes";
    let row = Row::new(&size, Quantity::Seconds, &measured);
    section.row(row.map(|row| row.target(targets::DEPLOY_NEW).floor(floor, &floors)));
    let row = Row::new("  of it compile, as the kernel says", Quantity::Seconds, &compiling);
    section.row(row.map(|row| row.floor(floor, &floors)));
    Ok(section)
}
