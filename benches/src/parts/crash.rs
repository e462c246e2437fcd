//! A service crashes: how long until it answers again, as its callers see it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};

use super::Bench;
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::requests::{self, deployment, get_64};
use crate::stats::Samples;
use crate::{guests, targets};

/// So many restarts are tolerated: more than there are crashes.
const MAX_RESTARTS: u32 = 1_000;

/// With so short a window each crash is the first one in it, and its restart immediate: it is the
/// restart that is measured, not the backoff.
const WINDOW_MS: u64 = 1;

/// Between two crashes, longer than the window.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls until one is answered. A restart that takes so many has failed.
const ATTEMPTS_MAX: usize = 10_000;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let code = guests::read("crasher")?;
    let mut crasher = deployment("crasher", &code);
    crasher.restart = Some(v1::RestartPolicy {
        max_restarts: Some(MAX_RESTARTS),
        window_ms: Some(WINDOW_MS),
        ..v1::RestartPolicy::default()
    });
    requests::deploy(&client, crasher).await?;
    let handler = bench.engines.load(&code, "crasher", bench.directory)?;
    let (mut measured, mut floors) = (Samples::default(), Samples::default());
    for _ in 0..bench.sizes.crashes {
        measured.push_time(crash(&client).await?);
        tokio::time::sleep(PAUSE).await;
        let calls = bench.echo.call(&get_64()).await? + bench.echo.call(&get_64()).await?;
        floors.push_time(calls + handler.trap_and_answer(b"unreachable", b"ok")?);
    }
    let restarts = requests::restarts(&client, "crasher").await?;
    ensure!(restarts == bench.sizes.crashes as u64, "{restarts} restarts were counted");
    let mut section = Section::default();
    let row = Row::new("crash of a service until it answers", Quantity::Seconds, &measured);
    let floor = "two bare gRPC calls + wasmtime trap, new instance, init, first call";
    section.row(row.map(|row| row.target(targets::CRASH).floor(floor, &floors)));
    Ok(section)
}

/// From sending the call that crashes it until a call is answered.
async fn crash(client: &Client) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let crashed = requests::call(client, "crasher", b"unreachable").await;
    ensure!(crashed.is_err(), "the crasher did not crash");
    for _ in 0..ATTEMPTS_MAX {
        if requests::call(client, "crasher", b"ok").await.is_ok() {
            return Ok(began.elapsed());
        }
    }
    crashed.map(|_| Duration::ZERO).context("it did not come back")
}
