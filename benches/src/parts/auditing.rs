//! The audit log: how much of it a second, what one record takes, and what a deploy takes beside many.
//!
//! Solo cannot be told to write no records, so that nothing here is a deploy without one. What a deploy
//! waits for is the append alone, which is measured with Solo's own log on the disk of its homes; and
//! deploys are timed while nothing else happens and while a thousand operations a second are audited,
//! in turns. The difference between those is more than the log: it is also the work of a thousand requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};
use solo_audit::{CheckpointKey, Entry, Trail, TrailOptions};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Bench, names};
use crate::figures::Quantity;
use crate::floors::Disk;
use crate::report::{Row, Section};
use crate::requests::{self, deployment, deployment_by_digest};
use crate::solo::{self, Solo};
use crate::stats::{Samples, float};
use crate::targets;

/// Operations under way at once.
const IN_FLIGHT: usize = 64;

/// Operations that are audited as fast as can be.
const AUDITED: usize = 4_000;

/// Records that are appended alone.
const APPENDS: usize = 1_000;

/// Audited operations in a second beside which deploys are timed, and how they come: some each tick, as
/// a timer is not exact to less than a millisecond.
const BESIDE_PER_SECOND: f64 = 1_000.0;
const BESIDE_PER_TICK: u64 = 10;
const BESIDE_TICK: Duration = Duration::from_millis(10);

/// So much less than wanted is told to be no such load.
const BESIDE_SHARE_MIN: f64 = 0.9;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs this half of the part.
pub(super) async fn run(bench: &Bench<'_>, section: &mut Section) -> anyhow::Result<()> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    let rate = as_fast_as_can_be(&solo, &client).await?;
    let row = Row::new("audited operations per second, 64 in flight", Quantity::PerSecond, &rate);
    section.row(row.map(|row| row.target(targets::AUDITED)));
    let (appends, floors) = appends(bench.homes.unwrap_or(&std::env::temp_dir()))?;
    let row = Row::new("append of one audit record", Quantity::Seconds, &appends);
    let floor = "append of 400 bytes with fdatasync";
    section.row(row.map(|row| row.target(targets::AUDIT_ADDS).floor(floor, &floors)));
    let deploys = deploys(bench, &solo, &client).await?;
    let row = Row::new("deploy, nothing beside", Quantity::Seconds, &deploys.alone);
    section.row(row.map(|row| row.target(targets::DEPLOY_KNOWN)));
    let row =
        Row::new("  beside 1,000 audited operations a second", Quantity::Seconds, &deploys.beside);
    let floor = "the same with nothing beside";
    section.row(row.map(|row| row.target(targets::DEPLOY_KNOWN).floor(floor, &deploys.alone)));
    let p99 = |samples: &Samples| samples.summary().map_or(0.0, |summary| summary.p99);
    let more: Samples =
        [(p99(&deploys.beside) - p99(&deploys.alone)).max(0.0)].into_iter().collect();
    let row = Row::new("  so much more, p99 by p99", Quantity::Seconds, &more);
    section.row(row.map(|row| row.target(targets::AUDIT_ADDS)));
    Ok(())
}

/// Refusals: nothing is done but what is written down, and each waits until that is on disk.
async fn as_fast_as_can_be(solo: &Solo, client: &Client) -> anyhow::Result<Samples> {
    let before = records(solo)?;
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..IN_FLIGHT {
        let client = client.clone();
        workers.spawn(async move {
            for number in 0..AUDITED / IN_FLIGHT {
                refused(&client, &format!("nobody-{worker}-{number}")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let each = AUDITED / IN_FLIGHT * IN_FLIGHT;
    let written = records(solo)? - before;
    ensure!(written >= each, "{written} of {each} operations are on record");
    Ok([float(each) / elapsed].into_iter().collect())
}

/// Asks for what is refused, which is on record once it is answered.
async fn refused(client: &Client, name: &str) -> anyhow::Result<()> {
    let message = v1::KillRequest { name: name.to_owned(), force: true };
    let answer = client.grpc().kill(client.request(message, PATIENCE)).await;
    ensure!(answer.is_err(), "there is no such service");
    Ok(())
}

/// Records in the audit log.
fn records(solo: &Solo) -> anyhow::Result<usize> {
    let mut lines = 0;
    for entry in std::fs::read_dir(solo.home().join("audit")).context("no audit log")? {
        let path = entry?.path();
        if path.is_file() {
            lines += std::fs::read(path)?.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    Ok(lines)
}

/// What a deploy writes before it is answered, alone: the kernel's own log, with its hashes, signatures
/// and segments. Beside it a bare append, in turns.
fn appends(directory: &Path) -> anyhow::Result<(Samples, Samples)> {
    let directory = solo::temporary(Some(directory))?;
    let log = directory.path().join("audit");
    std::fs::create_dir(&log).context("failed to make a directory")?;
    let mut trail = Trail::open(&log, TrailOptions::new(CheckpointKey::generate()?), 1)?;
    let mut disk = Disk::new(directory.path())?;
    let (mut appends, mut floors) = (Samples::default(), Samples::default());
    for number in 0..APPENDS {
        let details = [("revision", "1"), ("digest", &"5a".repeat(32)), ("replicas", "1")];
        let entry = Entry {
            at_unix_ms: 1,
            principal: "owner".to_owned(),
            operation: "deploy".to_owned(),
            object: format!("service:default/inline-{number}"),
            outcome: "allowed".to_owned(),
            request_id: String::new(),
            details: details
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        let began = Instant::now();
        trail.append_batch(&[entry])?;
        appends.push_time(began.elapsed());
        floors.push_time(disk.append()?);
    }
    Ok((appends, floors))
}

#[derive(Default)]
struct Deploys {
    alone: Samples,
    beside: Samples,
}

/// Deploys of a known artifact, in turns with and without others that are audited.
async fn deploys(bench: &Bench<'_>, solo: &Solo, client: &Client) -> anyhow::Result<Deploys> {
    let first = requests::deploy(client, deployment("first", &bench.counter)).await?;
    let mut deploys = Deploys::default();
    let per_block = bench.sizes.audited_deploys / bench.sizes.blocks;
    for block in 0..bench.sizes.blocks {
        let numbers = block * per_block..(block + 1) * per_block;
        for name in names("alone", numbers.clone()) {
            deploys.alone.push_time(deploy(client, &name, &first.digest).await?);
        }
        let load = Load::start(solo.home())?;
        for name in names("beside", numbers) {
            deploys.beside.push_time(deploy(client, &name, &first.digest).await?);
        }
        load.stop()?;
    }
    Ok(deploys)
}

async fn deploy(client: &Client, name: &str, digest: &str) -> anyhow::Result<Duration> {
    let deployed = requests::deploy(client, deployment_by_digest(name, digest)).await?;
    requests::kill(client, name).await?;
    Ok(deployed.elapsed)
}

/// Operations that are audited, from a thread of their own, so that they do not wait for the one that
/// measures.
struct Load {
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    stop: tokio::sync::oneshot::Sender<()>,
    done: Arc<AtomicU64>,
    began: Instant,
}

impl Load {
    fn start(home: &Path) -> anyhow::Result<Self> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let done = Arc::new(AtomicU64::new(0));
        let (home, counted) = (home.to_owned(), Arc::clone(&done));
        let work = move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = Client::connect_home(&home).await?;
                tokio::select! {
                    ended = refuse_without_end(&client, &counted) => ended,
                    _ = stopped => Ok(()),
                }
            })
        };
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(work)
            .context("failed to start a thread")?;
        Ok(Self { thread, stop, done, began: Instant::now() })
    }

    /// Ends it.
    ///
    /// # Errors
    /// It failed, or there was not so much to do as was wanted.
    fn stop(self) -> anyhow::Result<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        let done = self.done.load(Ordering::Relaxed);
        // It may have ended by itself: its error is below.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        let rate = float(usize::try_from(done)?) / seconds;
        let least = BESIDE_PER_SECOND * BESIDE_SHARE_MIN;
        if rate < least {
            crate::endings::say(&format!("solo-bench: only {rate:.0} audited operations a second"));
        }
        Ok(())
    }
}

async fn refuse_without_end(client: &Client, done: &Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(BESIDE_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    loop {
        ticks.tick().await;
        for number in 0..BESIDE_PER_TICK {
            let (client, done) = (client.clone(), Arc::clone(done));
            under_way.spawn(async move {
                refused(&client, &format!("nobody-{number}")).await?;
                done.fetch_add(1, Ordering::Relaxed);
                anyhow::Ok(())
            });
        }
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
    }
}
