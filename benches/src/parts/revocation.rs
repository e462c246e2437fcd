//! How soon a revocation is felt by a service that is using what it was given.
//!
//! An agent's token gives a service the right to call another one, and the service calls in a loop
//! without end. The token is revoked. What is timed is from the answer to that until the client has the
//! answer of the loop, which ends with the first call that is refused. So the way from the guest to the
//! client is in it; and if the loop's end came first, the time is none.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use solo_api::{Client, v1};

use super::Bench;
use crate::figures::Quantity;
use crate::guests;
use crate::report::{Row, Section};
use crate::requests::{self, deployment};
use crate::stats::Samples;
use crate::targets;

/// What the agent holds.
const HELD: &str = "deploy,read,call,send,grant service:default/*";

/// Calls of the loop: more than there is time for.
const WITHOUT_END: u32 = 0x7fff_ffff;

/// For how long the loop runs before the revocation: some thousand calls.
const PAUSE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs this half of the part.
pub(super) async fn run(bench: &Bench<'_>, section: &mut Section) -> anyhow::Result<()> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    requests::deploy(&client, deployment("target", &bench.counter)).await?;
    let (mut answered, mut felt) = (Samples::default(), Samples::default());
    for number in 0..=bench.sizes.revocations {
        let (revoking, refused_after) = one(&client, &format!("caller-{number}")).await?;
        // The first one compiles the caller.
        if number > 0 {
            answered.push_time(revoking);
            felt.push_time(refused_after);
        }
    }
    let row = Row::new("revocation, until it is answered", Quantity::Seconds, &answered);
    section.row(row);
    let row = Row::new("  from then on until a running guest is refused", Quantity::Seconds, &felt);
    section.row(row.map(|row| row.target(targets::REVOKED)));
    Ok(())
}

/// One grant, used and revoked: how long that took, and how long it could be used from then on.
async fn one(client: &Client, name: &str) -> anyhow::Result<(Duration, Duration)> {
    let message = v1::GrantCapabilityRequest {
        capabilities: vec![HELD.to_owned()],
        ttl_seconds: Some(600),
        ..Default::default()
    };
    let granted = client.grpc().grant_capability(client.request(message, PATIENCE)).await;
    let granted = granted.map_err(|status| solo_api::problem_from_status(&status))?.into_inner();
    let agent = client.clone().with_token(&granted.token)?;
    let mut caller = deployment(name, guests::CALLER);
    caller.capabilities = vec![v1::CapabilityRequest {
        object: "service:target".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    requests::deploy(&agent, caller).await?;
    calls(client, name, 10).await.context("what was granted is not allowed")?;

    let looping = async {
        let ended = calls(client, name, WITHOUT_END).await;
        (ended, Instant::now())
    };
    let revoking = async {
        tokio::time::sleep(PAUSE).await;
        let message = v1::RevokeCapabilityRequest { id: granted.id.clone() };
        let request = client.request(message, PATIENCE);
        let began = Instant::now();
        let answer = client.grpc().revoke_capability(request).await;
        (answer, began, Instant::now())
    };
    let ((ended, refused_at), (answer, began, answered_at)) = tokio::join!(looping, revoking);
    let answer = answer.map_err(|status| solo_api::problem_from_status(&status))?.into_inner();
    ensure!(answer.ended == 2, "{} grants ended, not the agent's and its service's", answer.ended);
    ensure!(ended.is_err(), "the loop came to its end");
    ensure!(refused_at > began, "the loop failed before anything was revoked: {ended:?}");
    ensure!(calls(client, name, 1).await.is_err(), "what was revoked is allowed");
    requests::kill(client, name).await?;
    Ok((answered_at - began, refused_at.saturating_duration_since(answered_at)))
}

/// Lets the service call `target` so often.
async fn calls(client: &Client, name: &str, count: u32) -> anyhow::Result<()> {
    let payload = [&[b'c', 0, 0, 0], count.to_le_bytes().as_slice()].concat();
    requests::call(client, name, &payload).await.map(drop)
}
