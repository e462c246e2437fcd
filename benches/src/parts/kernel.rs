//! The kernel is killed under many services: when its API answers again, and what others noticed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};

use super::{Bench, names};
use crate::figures::Quantity;
use crate::floors;
use crate::guests;
use crate::report::{Row, Section};
use crate::requests::{self, deployment};
use crate::solo::{Solo, eventually};
use crate::stats::{Samples, float};
use crate::targets;

/// Between two kills: the heart takes a kernel that lived for a second for a good one and restarts
/// it at once, and the calls between the services go on meanwhile.
const PAUSE: Duration = Duration::from_millis(1_500);

/// Calls that must have been made before the first kill, so that they are really under way.
const CALLS_FIRST: u64 = 20;

/// Milliseconds between two calls of the pinger.
const INTERVAL_MS: u32 = 2;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let count = bench.sizes.memory_levels.last().copied().unwrap_or_default();
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    requests::deploy_all(&client, &names("idle", 0..count), &bench.counter).await?;
    start_pinger(&client).await?;
    let (mut measured, mut floors) = (Samples::default(), Samples::default());
    for _ in 0..bench.sizes.kernel_kills {
        tokio::time::sleep(PAUSE).await;
        measured.push_time(kill(&solo).await?);
        floors.push_time(floors::start_and_end()?);
    }
    let client = solo.client().await?;
    let before = stats(&client).await?;
    // After the last kill, too, calls go on.
    let after = eventually("calls go on", async || {
        let now = stats(&client).await?;
        Ok((now.ok >= before.ok + CALLS_FIRST).then_some(now))
    })
    .await?;
    eventually("all services are ready", async || {
        let (_, ready) = requests::ready(&client).await?;
        Ok((ready == count + 1).then_some(()))
    })
    .await?;
    for name in ["pinger", "idle-0"] {
        let restarts = requests::restarts(&client, name).await?;
        ensure!(restarts == 0, "{name} was restarted {restarts} times");
    }

    let mut section = Section::default();
    let name = format!("kernel killed with {count} services");
    let row = Row::new(&name, Quantity::Seconds, &measured);
    let floor = "a process of the same binary starts and ends (`solo --version`)";
    section.row(row.map(|row| row.target(targets::KERNEL_BACK).floor(floor, &floors)));
    let lost = [float(usize::try_from(after.failed)?)].into_iter().collect();
    let name = format!("  calls lost of {} between two services", after.ok + after.failed);
    let row = Row::new(&name, Quantity::Count, &lost);
    section.row(row.map(|row| row.target(targets::CALLS_LOST)));
    Ok(section)
}

async fn start_pinger(client: &Client) -> anyhow::Result<()> {
    let mut pinger = deployment("pinger", &guests::read("pinger")?);
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:idle-0".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    requests::deploy(client, pinger).await?;
    let order = format!("start idle-0 {INTERVAL_MS} get");
    requests::call(client, "pinger", order.as_bytes()).await?;
    eventually("calls between services", async || {
        Ok((stats(client).await?.ok >= CALLS_FIRST).then_some(()))
    })
    .await
}

/// From the kill until a new connection is answered.
async fn kill(solo: &Solo) -> anyhow::Result<Duration> {
    let old = solo.kernel_pid()?;
    let began = Instant::now();
    solo.kill_kernel()?;
    solo.answering().await;
    let elapsed = began.elapsed();
    ensure!(solo.kernel_pid()? != old, "the kernel was not killed");
    Ok(elapsed)
}

#[derive(serde::Deserialize)]
struct Stats {
    ok: u64,
    failed: u64,
}

async fn stats(client: &Client) -> anyhow::Result<Stats> {
    let (_, answer) = requests::call(client, "pinger", b"stats").await?;
    serde_json::from_slice(&answer).context("the pinger's statistics cannot be read")
}
