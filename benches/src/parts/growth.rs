//! Deploys beside more and more services: what is there must not slow down what comes.

use anyhow::ensure;

use super::{Bench, names};
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::requests::{self, deployment, get_64};
use crate::stats::{Samples, float};
use crate::{histogram, targets};

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let mut section = Section::default();
    let mut levels: Vec<(usize, Samples)> = Vec::new();
    let mut present = 0;
    for level in bench.sizes.growth_levels.iter().copied() {
        let many = names("there", present..level);
        requests::deploy_all(&client, &many, &bench.counter).await?;
        present = level;
        let mut samples = Samples::default();
        for name in names("one", 0..bench.sizes.growth_deploys) {
            let deployed = requests::deploy(&client, deployment(&name, &bench.counter)).await?;
            samples.push_time(deployed.elapsed);
            requests::kill(&client, &name).await?;
        }
        levels.push((level, samples));
    }
    let medians: Vec<f64> =
        levels.iter().filter_map(|(_, samples)| Some(samples.summary()?.p50)).collect();
    let most = medians.iter().copied().fold(0.0, f64::max);
    let mut text = String::new();
    for ((level, _), median) in levels.iter().zip(&medians) {
        let time = Quantity::Seconds.text(*median);
        let bar = histogram::growth_bar(*median, most);
        text.push_str(&format!("{level:>9} {time:>9}  {bar}\n"));
    }
    section.picture("Deploy beside so many services, p50", &text);
    let first = levels.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
    for (level, samples) in &levels {
        let name = format!("deploy beside {level} services");
        let row = Row::new(&name, Quantity::Seconds, samples);
        let row = row.map(|row| row.target(targets::DEPLOY_KNOWN));
        section.row(row.map(|row| row.floor("the first of these rows", &first)));
    }
    section.row(all_answer(&client, present).await?);
    Ok(section)
}

/// How many services there are side by side, each of which answered just now.
async fn all_answer(client: &solo_api::Client, count: usize) -> anyhow::Result<Option<Row>> {
    for name in names("there", 0..count) {
        let (_, answer) = requests::call(client, &name, &get_64()).await?;
        ensure!(answer == b"0", "{name} answered {answer:?}");
    }
    let value: Samples = [float(count)].into_iter().collect();
    let row = Row::new("services side by side, all answering", Quantity::Count, &value);
    // A short run does not try what is required.
    Ok(row.map(|row| if count >= 500 { row.target(targets::SERVICES) } else { row }))
}
