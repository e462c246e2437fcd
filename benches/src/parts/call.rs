//! Calls from outside through gRPC: 64 bytes to a counter and its answer back.

use std::time::Instant;

use anyhow::ensure;
use solo_api::Client;
use tokio::task::JoinSet;

use super::Bench;
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::requests::{self, deployment, get_64};
use crate::stats::{Samples, float};
use crate::targets;

/// Calls under way at once.
const IN_FLIGHT: usize = 64;

/// Calls before the first one that counts.
const WARM_UP: usize = 200;

/// The service that is called, and what the echo server ignores.
const SERVICE: &str = "counter";

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let (unix, tcp) = (solo.client().await?, solo.tcp_client().await?);
    requests::deploy(&unix, deployment(SERVICE, &bench.counter)).await?;
    let (_, answer) = requests::call(&unix, SERVICE, &get_64()).await?;
    ensure!(answer == b"0", "the counter answered {answer:?}");

    let mut section = Section::default();
    for (name, client, echo) in [
        ("call from outside, Unix socket", &unix, &bench.echo.unix),
        ("call from outside, TCP", &tcp, &bench.echo.tcp),
    ] {
        let (measured, floors) = one_by_one(bench, client, echo).await?;
        let row = Row::new(name, Quantity::Seconds, &measured);
        let floor = "bare gRPC call to a process that echoes, same transport";
        section.row(row.map(|row| row.target(targets::CALL_FROM_OUTSIDE).floor(floor, &floors)));
    }
    let (solo_rate, echo_rate) = in_flight(bench, &unix).await?;
    let row = Row::new("calls per second, 64 in flight", Quantity::PerSecond, &solo_rate.rate);
    let floor = "the same with bare gRPC calls";
    section.row(row.map(|row| row.floor(floor, &echo_rate.rate)));
    let row = Row::new("  time of one of these", Quantity::Seconds, &solo_rate.latency);
    section.row(row.map(|row| row.floor(floor, &echo_rate.latency)));
    Ok(section)
}

async fn one_by_one(
    bench: &Bench<'_>,
    client: &Client,
    echo: &Client,
) -> anyhow::Result<(Samples, Samples)> {
    let payload = get_64();
    for _ in 0..WARM_UP {
        requests::call(client, SERVICE, &payload).await?;
        requests::call(echo, SERVICE, &payload).await?;
    }
    let (mut measured, mut floors) = (Samples::default(), Samples::default());
    for _ in 0..bench.sizes.blocks {
        for (client, samples) in [(client, &mut measured), (echo, &mut floors)] {
            for _ in 0..bench.sizes.calls / bench.sizes.blocks {
                samples.push_time(requests::call(client, SERVICE, &payload).await?.0);
            }
        }
    }
    Ok((measured, floors))
}

#[derive(Default)]
struct Flow {
    rate: Samples,
    latency: Samples,
}

async fn in_flight(bench: &Bench<'_>, client: &Client) -> anyhow::Result<(Flow, Flow)> {
    let (mut measured, mut floors) = (Flow::default(), Flow::default());
    let per_block = bench.sizes.calls_in_flight / bench.sizes.blocks;
    for _ in 0..bench.sizes.blocks {
        for (client, flow) in [(client, &mut measured), (&bench.echo.unix, &mut floors)] {
            let began = Instant::now();
            let mut callers = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                callers.spawn(caller(client.clone(), per_block / IN_FLIGHT));
            }
            while let Some(times) = callers.join_next().await {
                for seconds in times??.values() {
                    flow.latency.push(*seconds);
                }
            }
            flow.rate.push(float(per_block) / began.elapsed().as_secs_f64());
        }
    }
    Ok((measured, floors))
}

async fn caller(client: Client, count: usize) -> anyhow::Result<Samples> {
    let payload = get_64();
    let mut samples = Samples::default();
    for _ in 0..count {
        samples.push_time(requests::call(&client, SERVICE, &payload).await?.0);
    }
    Ok(samples)
}
