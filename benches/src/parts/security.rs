//! What it costs that everything is checked and written down: tokens, the audit log, and how soon a
//! revocation is felt.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use solo_capability::{
    Authority, Capability, Chain, Context, GrantId, GrantRecord, Grants, Ledger, Link, Object,
    Principal, Request, Token, attenuate, decide,
};
use solo_types::{Right, Tier};

use super::{Bench, auditing, revocation};
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::stats::{Samples, float};
use crate::targets;

/// Tokens that are checked for the first time.
const TOKENS: usize = 300;

/// Checks of a token that was seen, by so many at a time: one alone is too short for the clock.
const CHECKS: usize = 200;
const CHECKS_AT_A_TIME: usize = 100;

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let Checks { cold, narrowed, seen } = checks()?;
    let row = Row::new("a token checked for the first time", Quantity::Seconds, &cold);
    section.row(row.map(|row| row.target(targets::TOKEN_COLD)));
    let row = Row::new("  one that was narrowed once", Quantity::Seconds, &narrowed);
    section.row(row);
    let row = Row::new("  and after that", Quantity::Seconds, &seen);
    section.row(row.map(|row| row.target(targets::TOKEN_SEEN)));
    auditing::run(bench, &mut section).await?;
    revocation::run(bench, &mut section).await?;
    Ok(section)
}

/// What it takes to check a token.
#[derive(Default)]
struct Checks {
    /// For the first time.
    cold: Samples,
    /// The same for one of two hands, each of which signed.
    narrowed: Samples,
    /// That one again.
    seen: Samples,
}

/// What the kernel does for each request: a token in front of one service.
fn checks() -> anyhow::Result<Checks> {
    let authority = Authority::generate();
    let issued: Capability = "read,call,send,grant service:default/* until=9999999999".parse()?;
    let narrowed: Capability = "call service:default/counter".parse()?;
    let object = Object::service("default", "counter", None, Tier::User)?;
    let mut checks = Checks::default();
    let mut grants = Grants::new();
    let mut known: HashMap<[u8; 32], Arc<Token>> = HashMap::new();
    let mut last = String::new();
    for _ in 0..TOKENS {
        let minted = authority.mint_token(std::slice::from_ref(&issued))?;
        let text = attenuate(&minted.token, std::slice::from_ref(&narrowed))?.token;
        let check = |text: &str, samples: &mut Samples| -> anyhow::Result<([u8; 32], Token)> {
            let began = Instant::now();
            let hash = *blake3::hash(text.as_bytes()).as_bytes();
            let token = authority.verify_token(text).map_err(|d| anyhow::anyhow!("{d}"))?;
            samples.push_time(began.elapsed());
            Ok((hash, token))
        };
        check(&minted.token, &mut checks.cold)?;
        let (hash, token) = check(&text, &mut checks.narrowed)?;
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
        checks.seen.push(began.elapsed().as_secs_f64() / float(CHECKS_AT_A_TIME));
    }
    Ok(checks)
}
