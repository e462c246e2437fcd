//! Deploy of a known artifact until it is ready: the time, where it goes, and how far from the floor.

use std::path::Path;
use std::time::Duration;

use solo_api::{Client, v1};

use super::{Bench, names};
use crate::figures::Quantity;
use crate::floors::{Disk, Handler};
use crate::report::{Row, Section};
use crate::requests::{self, AT_ONCE, Deployed, deployment, deployment_by_digest};
use crate::solo::{self, Solo};
use crate::stats::Samples;
use crate::{histogram, targets};

/// Deploys before the first one that counts: the first compiles, others find caches cold.
const WARM_UP: usize = 10;

/// What the floor is made of.
const FLOOR: &str = "bare gRPC call with the artifact + wasmtime instantiate, init and first call + \
                     synced append + SQLite commit (WAL, FULL)";

/// The parts of a time, in the order in which they happen.
#[derive(Default)]
struct Parts(Vec<(&'static str, Samples)>);

impl Parts {
    fn push(&mut self, name: &'static str, seconds: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(seconds),
            None => self.0.push((name, [seconds].into_iter().collect())),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{:<46} {:>9} {:>9} {:>9}\n", "", "p50", "p99", "max");
        for (name, samples) in &self.0 {
            let Some(summary) = samples.summary() else { continue };
            let [p50, p99, max] =
                [summary.p50, summary.p99, summary.max].map(|value| Quantity::Seconds.text(value));
            text.push_str(&format!("{name:<46} {p50:>9} {p99:>9} {max:>9}\n"));
        }
        text
    }
}

/// A file system in memory, where there is one: what a deploy costs beside the disk.
const MEMORY: &str = "/dev/shm";

/// What is measured one after the other.
#[derive(Default)]
struct OneByOne {
    inline: Samples,
    by_digest: Samples,
    floors: Samples,
    parts: Parts,
    floor_parts: Parts,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let measured = one_by_one(bench, &client, bench.directory).await?;
    let at_once = at_once(bench, &client).await?;
    drop(solo);
    let in_memory = in_memory(bench).await?;

    let mut section = Section::default();
    let row = Row::new("deploy, known artifact", Quantity::Seconds, &measured.inline);
    let row = row.map(|row| row.target(targets::DEPLOY_KNOWN).floor(FLOOR, &measured.floors));
    let distance = row.as_ref().and_then(|row| row.distance).unwrap_or_default();
    section.picture(
        &format!("Deploy of a known artifact until ready: {distance:.1} x the floor at p50"),
        &histogram::draw(measured.inline.values(), measured.floors.values()),
    );
    section.picture("Where the time of a deploy goes", &measured.parts.text());
    section.picture("Where the time of its floor goes", &measured.floor_parts.text());
    section.row(row);
    let row = Row::new("  the same, by digest", Quantity::Seconds, &measured.by_digest);
    section.row(row.map(|row| row.target(targets::DEPLOY_KNOWN)));
    if let Some(in_memory) = in_memory {
        let row = Row::new("  the same, home in memory", Quantity::Seconds, &in_memory.inline);
        let floor = "the same, without the price of the disk";
        section.row(row.map(|row| row.floor(floor, &in_memory.floors)));
    }
    let row = Row::new("  the same, 8 at once", Quantity::Seconds, &at_once.latency);
    section.row(row.map(|row| row.target(targets::DEPLOY_KNOWN)));
    let one_by_one: Samples =
        measured.floors.summary().map(|summary| 1.0 / summary.p50).into_iter().collect();
    let row = Row::new("deploys per second, 8 at once", Quantity::PerSecond, &at_once.rate);
    let floor = "the floor of one deploy, one after the other";
    section.row(row.map(|row| row.floor(floor, &one_by_one)));
    Ok(section)
}

/// The same on a file system in memory; nothing if there is none.
async fn in_memory(bench: &Bench<'_>) -> anyhow::Result<Option<OneByOne>> {
    let Ok(directory) = solo::temporary(Some(Path::new(MEMORY))) else { return Ok(None) };
    let solo = Solo::start(Some(directory.path())).await?;
    let client = solo.client().await?;
    one_by_one(bench, &client, directory.path()).await.map(Some)
}

/// `directory` is for what the floor writes.
async fn one_by_one(
    bench: &Bench<'_>,
    client: &Client,
    directory: &Path,
) -> anyhow::Result<OneByOne> {
    let mut disk = Disk::new(directory)?;
    let handler = bench.engines.load(&bench.counter, "counter", directory)?;
    let mut digest = String::new();
    for name in names("warm", 0..WARM_UP) {
        digest = deploy(client, deployment(&name, &bench.counter)).await?.digest;
        floor(bench, &mut disk, &handler, &mut Parts::default()).await?;
    }
    let mut measured = OneByOne::default();
    let per_block = bench.sizes.deploys / bench.sizes.blocks;
    for block in 0..bench.sizes.blocks {
        let numbers = block * per_block..(block + 1) * per_block;
        for name in names("inline", numbers.clone()) {
            let deployed = deploy(client, deployment(&name, &bench.counter)).await?;
            measured.inline.push_time(deployed.elapsed);
            split(&deployed, &mut measured.parts);
        }
        for name in names("digest", numbers) {
            let deployed = deploy(client, deployment_by_digest(&name, &digest)).await?;
            measured.by_digest.push_time(deployed.elapsed);
        }
        for _ in 0..per_block {
            let time = floor(bench, &mut disk, &handler, &mut measured.floor_parts).await?;
            measured.floors.push_time(time);
        }
    }
    Ok(measured)
}

/// Deploys, checks that ready means that it answers, and ends it.
async fn deploy(client: &Client, request: v1::DeployRequest) -> anyhow::Result<Deployed> {
    let name = request.name.clone();
    let deployed = requests::deploy(client, request).await?;
    requests::call(client, &name, b"get").await?;
    requests::kill(client, &name).await?;
    Ok(deployed)
}

/// Where the time went, as the kernel tells; what it does not tell is the way there and back.
fn split(deployed: &Deployed, parts: &mut Parts) {
    let seconds = |ms: f64| ms / 1_000.0;
    let timing = &deployed.timing;
    let total = seconds(timing.total_ms);
    let told = seconds(timing.store_ms + timing.compile_ms + timing.start_ms);
    parts.push("store: hash, look for the artifact", seconds(timing.store_ms));
    parts.push("compile: find what was compiled", seconds(timing.compile_ms));
    parts.push("start: cell, instance, init", seconds(timing.start_ms));
    parts.push("rest: id, audit record, commit, route", (total - told).max(0.0));
    parts.push("wire: client, request, answer", (deployed.elapsed.as_secs_f64() - total).max(0.0));
    parts.push("all", deployed.elapsed.as_secs_f64());
}

/// The same work, bare and one thing after the other.
async fn floor(
    bench: &Bench<'_>,
    disk: &mut Disk,
    handler: &Handler,
    parts: &mut Parts,
) -> anyhow::Result<Duration> {
    let wire = bench.echo.call(&bench.counter).await?;
    let start = handler.first_answer(b"get")?;
    let append = disk.append()?;
    let commit = disk.commit()?;
    let total = wire + start + append + commit;
    parts.push("bare gRPC call, Unix socket", wire.as_secs_f64());
    parts.push("wasmtime: instantiate, init, first call", start.as_secs_f64());
    parts.push("append of 400 bytes with fdatasync", append.as_secs_f64());
    parts.push("SQLite commit of one row", commit.as_secs_f64());
    parts.push("all", total.as_secs_f64());
    Ok(total)
}

struct AtOnce {
    latency: Samples,
    rate: Samples,
}

async fn at_once(bench: &Bench<'_>, client: &Client) -> anyhow::Result<AtOnce> {
    let (mut latency, mut rate) = (Samples::default(), Samples::default());
    for round in 0..bench.sizes.deploys_at_once / AT_ONCE {
        let names = names("many", round * AT_ONCE..(round + 1) * AT_ONCE);
        let began = std::time::Instant::now();
        let deployed = requests::deploy_all(client, &names, &bench.counter).await?;
        rate.push(crate::stats::float(AT_ONCE) / began.elapsed().as_secs_f64());
        for deployed in deployed {
            latency.push_time(deployed.elapsed);
        }
        for name in &names {
            requests::kill(client, name).await?;
        }
    }
    Ok(AtOnce { latency, rate })
}
