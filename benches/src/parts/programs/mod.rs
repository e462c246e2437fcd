//! External programs: how soon one runs, what it costs beside itself, and what it leaves behind.

mod census;
mod peers;
mod pool;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};

use super::{Bench, names};
use crate::endings::say;
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::requests::{self, AT_ONCE};
use crate::solo::eventually;
use crate::stats::{Samples, float};
use crate::targets;
use census::Census;
pub(crate) use census::descendants;
use peers::Peer;

/// What is deployed: static, so that nothing is looked for.
const SERVICE: &str = include_str!("service.c");

/// What is started for its first instruction: what a C library does before `main` takes longer than the start.
const INSTRUCTION: &str = include_str!("instruction.c");

/// Starts before the first one that counts.
const WARM_UP: usize = 5;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let first = compile(bench.directory, "first", INSTRUCTION, &["-nostdlib"])?;
    starts(bench, &first, &mut section)?;
    let service = compile(bench.directory, "service", SERVICE, &[])?;
    services(bench, &fs::read(&service)?, &mut section).await?;
    Ok(section)
}

fn compile(directory: &Path, name: &str, text: &str, options: &[&str]) -> anyhow::Result<PathBuf> {
    // Not where the sandboxes of peers have a directory of their own.
    let own = directory.join("program");
    fs::create_dir_all(&own)?;
    let (source, program) = (own.join(format!("{name}.c")), own.join(name));
    fs::write(&source, text)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-O1"]).args(options).arg("-o").args([&program, &source]);
    let status = compiler.status().context("failed to start the C compiler")?;
    ensure!(status.success(), "the program does not compile: {status}");
    Ok(program)
}

/// Starts in prepared sandboxes, and by peers, in turns.
fn starts(bench: &Bench<'_>, program: &Path, section: &mut Section) -> anyhow::Result<()> {
    let mut own = Samples::default();
    let mut peers = peers::all(bench.directory, program)?;
    for _ in 0..WARM_UP {
        pool::start(bench.directory, program)?;
        peers.retain_mut(Peer::works);
    }
    let per_block = bench.sizes.program_starts / bench.sizes.blocks;
    for _ in 0..bench.sizes.blocks {
        for _ in 0..per_block {
            own.push_time(pool::start(bench.directory, program)?);
        }
        for peer in &mut peers {
            for _ in 0..per_block {
                peer.sample()?;
            }
        }
    }
    let bare = peers.iter().find(|peer| peer.is_bare()).map(|peer| peer.samples().clone());
    let row = |name: &str, samples: &Samples| {
        let row = Row::new(name, Quantity::Seconds, samples)?;
        Some(match &bare {
            Some(bare) => row.floor("a bare exec of the same program", bare),
            None => row,
        })
    };
    let first = row("program: prepared sandbox to first instruction", &own);
    section.row(first.map(|row| row.target(targets::PROGRAM_START)));
    for peer in &peers {
        section.row(row(&format!("  the same, {}", peer.name()), peer.samples()));
    }
    Ok(())
}

/// Through the API: deploys, many at one time, and what is left of them.
async fn services(bench: &Bench<'_>, code: &[u8], section: &mut Section) -> anyhow::Result<()> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    for name in names("warm", 0..WARM_UP) {
        requests::deploy(&client, deployment(&name, code)).await?;
        requests::kill(&client, &name).await?;
    }
    let before = Census::settled(&solo).await?;
    let (mut all, mut start) = (Samples::default(), Samples::default());
    for name in names("one", 0..bench.sizes.program_deploys) {
        let deployed = requests::deploy(&client, deployment(&name, code)).await?;
        all.push_time(deployed.elapsed);
        start.push(deployed.timing.start_ms / 1_000.0);
        requests::kill(&client, &name).await?;
    }
    let left = left(&solo, &before).await?;
    let row = Row::new("deploy of a static binary until ready", Quantity::Seconds, &all);
    section.row(row.map(|row| row.target(targets::PROGRAM_DEPLOY)));
    section.row(Row::new("  of that, its start", Quantity::Seconds, &start));
    let row = Row::new("left behind by those, killed", Quantity::Count, &left);
    section.row(row.map(|row| row.target(targets::LEFT_BEHIND)));

    let many = names("many", 0..bench.sizes.programs);
    let memory = at_one_time(&solo, &client, &many, code).await?;
    let count: Samples = [float(many.len())].into_iter().collect();
    let row = Row::new("programs at one time", Quantity::Count, &count);
    section.row(row.map(|row| row.target(targets::PROGRAMS)));
    let row = Row::new("  memory of each beside the program", Quantity::Bytes, &memory);
    section.row(row.map(|row| row.target(targets::PROGRAM_MEMORY)));
    for name in &many {
        requests::kill(&client, name).await?;
    }
    let left = self::left(&solo, &before).await?;
    let row = Row::new("left behind by those, killed", Quantity::Count, &left);
    section.row(row.map(|row| row.target(targets::LEFT_BEHIND)));
    Ok(())
}

/// Deploys all of them, and reads what the init of each takes for itself.
async fn at_one_time(
    solo: &crate::solo::Solo,
    client: &Client,
    names: &[String],
    code: &[u8],
) -> anyhow::Result<Samples> {
    for names in names.chunks(AT_ONCE) {
        let deploying = names.iter().map(|name| {
            let (client, request) = (client.clone(), deployment(name, code));
            tokio::spawn(async move { requests::deploy(&client, request).await })
        });
        for deployed in deploying.collect::<Vec<_>>() {
            deployed.await??;
        }
    }
    let (services, ready) = requests::ready(client).await?;
    ensure!(services == names.len() && ready == names.len(), "{ready} of {services} are ready");
    census::memory_of_inits(solo.home())
}

/// What is more than before, once it is quiet. What settles is no leak.
async fn left(solo: &crate::solo::Solo, before: &Census) -> anyhow::Result<Samples> {
    let nothing = eventually("nothing is left", async || {
        let now = Census::take(solo)?;
        Ok(now.beyond(before).is_empty().then_some(()))
    });
    if nothing.await.is_ok() {
        return Ok([0.0].into_iter().collect());
    }
    let beyond = Census::take(solo)?.beyond(before);
    say(&format!("solo-bench: left behind: {}", beyond.join(", ")));
    Ok([float(beyond.len())].into_iter().collect())
}

/// A program that says when it is ready.
fn deployment(name: &str, code: &[u8]) -> v1::DeployRequest {
    let when = Some(v1::program_readiness::When::Notify(true));
    v1::DeployRequest {
        program: Some(v1::Program {
            ready: Some(v1::ProgramReadiness { when }),
            ..v1::Program::default()
        }),
        ..requests::deployment(name, code)
    }
}
