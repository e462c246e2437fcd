//! What it costs that everything is checked and written down: tokens, and the audit log.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};
use solo_capability::{
    Authority, Capability, Chain, Context, GrantId, GrantRecord, Grants, Ledger, Link, Object,
    Principal, Request, Token, attenuate, decide,
};
use solo_types::{Right, Tier};
use tokio::task::JoinSet;

use super::Bench;
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::stats::{Samples, float};
use crate::targets;

/// Tokens that are checked for the first time.
const TOKENS: usize = 300;

/// Checks of a token that was seen, by so many at a time: one alone is too short for the clock.
const CHECKS: usize = 200;
const CHECKS_AT_A_TIME: usize = 100;

/// Operations under way at once.
const IN_FLIGHT: usize = 64;

/// Operations that are audited.
const AUDITED: usize = 4_000;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let (cold, seen) = checks()?;
    let row = Row::new("a token checked for the first time", Quantity::Seconds, &cold);
    section.row(row.map(|row| row.target(targets::TOKEN_COLD)));
    let row = Row::new("  and after that", Quantity::Seconds, &seen);
    section.row(row.map(|row| row.target(targets::TOKEN_SEEN)));
    let solo = bench.solo().await?;
    let audited = audited(&solo.client().await?).await?;
    let row =
        Row::new("audited operations per second, 64 in flight", Quantity::PerSecond, &audited);
    section.row(row.map(|row| row.target(targets::AUDITED)));
    Ok(section)
}

/// What the kernel does for each request: a token of two hands, in front of one service.
fn checks() -> anyhow::Result<(Samples, Samples)> {
    let authority = Authority::generate();
    let issued: Capability = "read,call,send,grant service:default/* until=9999999999".parse()?;
    let narrowed: Capability = "call service:default/counter".parse()?;
    let object = Object::service("default", "counter", None, Tier::User)?;
    let (mut cold, mut seen) = (Samples::default(), Samples::default());
    let mut grants = Grants::new();
    let mut known: HashMap<[u8; 32], Arc<Token>> = HashMap::new();
    let mut last = String::new();
    for _ in 0..TOKENS {
        let minted = authority.mint_token(std::slice::from_ref(&issued))?;
        let text = attenuate(&minted.token, std::slice::from_ref(&narrowed))?.token;
        let began = Instant::now();
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        let token = authority.verify_token(&text).map_err(|denial| anyhow::anyhow!("{denial}"))?;
        cold.push_time(began.elapsed());
        let link = Link::issued(GrantId::new(&minted.id)?, vec![issued.clone()])?;
        let chain = Chain::new(vec![Arc::new(link)])?;
        grants.restore(GrantRecord { holder: Principal::new(&minted.id)?, chain })?;
        known.insert(hash, Arc::new(token));
        last = text;
    }
    let ledger = Ledger::new();
    for _ in 0..CHECKS {
        let began = Instant::now();
        for _ in 0..CHECKS_AT_A_TIME {
            let hash = *blake3::hash(black_box(&last).as_bytes()).as_bytes();
            let token = known.get(&hash).context("it was seen")?;
            let chain = grants.present(token).map_err(|rule| anyhow::anyhow!("{rule:?}"))?;
            let context = Context { now_unix_s: 1, ledger: &ledger, revoked: grants.revoked() };
            let request = Request { object: &object, right: Right::Call };
            let allowed = decide(&chain, request, context);
            ensure!(black_box(allowed).is_ok(), "it is allowed");
        }
        seen.push(began.elapsed().as_secs_f64() / float(CHECKS_AT_A_TIME));
    }
    Ok((cold, seen))
}

/// Refusals: nothing is done but what is written down, and each waits until that is on disk.
async fn audited(client: &Client) -> anyhow::Result<Samples> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..IN_FLIGHT {
        let client = client.clone();
        workers.spawn(async move {
            for number in 0..AUDITED / IN_FLIGHT {
                let name = format!("nobody-{worker}-{number}");
                let message = v1::KillRequest { name, force: true };
                let request = client.request(message, Duration::from_secs(30));
                let answer = client.grpc().kill(request).await;
                ensure!(answer.is_err(), "there is no such service");
            }
            Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let each = float(AUDITED / IN_FLIGHT * IN_FLIGHT);
    Ok([each / began.elapsed().as_secs_f64()].into_iter().collect())
}
