//! What services keep: the storage as a cell has it, on the disk of Solo's homes, beside one commit of
//! SQLite. The way from a guest to it and back is not in it: it is that of any function of the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_state::{Answer, Op, Stores};
use tokio::task::JoinSet;

use super::Bench;
use crate::figures::Quantity;
use crate::floors::Disk;
use crate::report::{Row, Section};
use crate::solo;
use crate::stats::{Samples, float};

/// Bytes of a value.
const VALUE_BYTES: usize = 100;

/// Values that are kept one after the other.
const VALUES: usize = 2_000;

/// Operations under way at once, and how many.
const IN_FLIGHT: usize = 64;
const AT_ONCE: usize = 16_000;

/// Runs this part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let directory = solo::temporary(Some(bench.homes.unwrap_or(&std::env::temp_dir())))?;
    let disk = Disk::new(directory.path())?;
    let state = directory.path().join("state");
    std::fs::create_dir(&state).context("failed to make a directory")?;
    let stores = Arc::new(Stores::start(&state).context("failed to start threads")?);

    let (mut sets, mut gets, mut floors) = <(Samples, Samples, Samples)>::default();
    for number in 0..VALUES {
        sets.push_time(set(&stores, 1, number % 100).await?);
        gets.push_time(get(&stores, 1, number % 100).await?);
        floors.push_time(disk.commit()?);
    }
    let floor = "one commit of SQLite";
    let row = Row::new("a value is kept, one after the other", Quantity::Seconds, &sets);
    section.row(row.map(|row| row.floor(floor, &floors)));
    section.row(Row::new("a value is read", Quantity::Seconds, &gets));
    let alone = floors.summary().map_or(0.0, |summary| 1.0 / summary.p50);
    let commits: Samples = [alone].into_iter().collect();
    for (name, services) in
        [("values kept per second, 64 in flight", 1), ("  the same, of 64 services", IN_FLIGHT)]
    {
        let rate = at_once(&stores, services).await?;
        let row = Row::new(name, Quantity::PerSecond, &rate);
        section.row(row.map(|row| row.floor("commits one after the other", &commits)));
    }
    Ok(section)
}

async fn set(stores: &Stores, service: usize, key: usize) -> anyhow::Result<Duration> {
    let id = format!("0000beef-{service}").parse()?;
    let op = Op::Set(vec![(format!("key-{key}"), vec![7; VALUE_BYTES])]);
    let began = Instant::now();
    let answer = stores.run(id, op).await?;
    let elapsed = began.elapsed();
    ensure!(answer == Answer::Done, "it is not kept");
    Ok(elapsed)
}

async fn get(stores: &Stores, service: usize, key: usize) -> anyhow::Result<Duration> {
    let id = format!("0000beef-{service}").parse()?;
    let op = Op::Get(vec![format!("key-{key}")]);
    let began = Instant::now();
    let answer = stores.run(id, op).await?;
    let elapsed = began.elapsed();
    ensure!(answer == Answer::Values(vec![Some(vec![7; VALUE_BYTES])]), "another value is kept");
    Ok(elapsed)
}

async fn at_once(stores: &Arc<Stores>, services: usize) -> anyhow::Result<Samples> {
    let mut workers = JoinSet::new();
    let began = Instant::now();
    for worker in 0..IN_FLIGHT {
        let stores = Arc::clone(stores);
        workers.spawn(async move {
            for number in 0..AT_ONCE / IN_FLIGHT {
                set(&stores, 2 + worker % services, number).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok([float(AT_ONCE) / seconds].into_iter().collect())
}
