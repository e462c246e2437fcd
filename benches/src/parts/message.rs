//! Messages from service to service in one cell: `guests/caller.wat` loops, and is timed from outside.
//!
//! The time of a round less the time of an empty round, by the number of messages. Each sample is the
//! mean of a round, so that single slow messages do not show.

use std::time::Duration;

use anyhow::ensure;
use solo_api::{Client, v1};

use super::Bench;
use crate::figures::Quantity;
use crate::report::{Row, Section};
use crate::requests::{self, deployment, get_64};
use crate::stats::Samples;
use crate::targets::{self, Target};
use crate::{floors, guests};

/// What the caller can do: its letter, the row, what is asked of it, what it is compared with.
const OPERATIONS: [(u8, &str, Target, &str); 3] = [
    (b'c', "call, service to service", targets::CALL, "bare wasmtime call of the same function"),
    (b's', "send, service to service", targets::SEND, "64 bytes into and out of a queue of std"),
    (b'l', "lookup, from a service", targets::LOOKUP, "hash table behind a lock"),
];

/// Runs the part.
pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let solo = bench.solo().await?;
    let client = solo.client().await?;
    requests::deploy(&client, deployment("target", &bench.counter)).await?;
    let mut caller = deployment("caller", guests::CALLER);
    caller.capabilities = vec![v1::CapabilityRequest {
        object: "service:target".to_owned(),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    }];
    requests::deploy(&client, caller).await?;
    let handler = bench.engines.load(&bench.counter, "target", bench.directory)?;
    let mut bare = handler.start()?;
    let count = bench.sizes.messages_per_round;
    let rounds = bench.sizes.message_rounds;

    let mut section = Section::default();
    for (letter, name, target, what) in OPERATIONS {
        let (mut measured, mut floors) = (Samples::default(), Samples::default());
        for round in 0..=rounds {
            let time = one_of_round(&client, letter, count).await?;
            let floor = match letter {
                b'c' => bare.calls(&get_64(), count)?,
                b's' => floors::queue_send(count)?,
                _ => floors::look_up(count)?,
            };
            // The first round warms up.
            if round > 0 {
                measured.push_time(time);
                floors.push_time(floor);
            }
        }
        let row = Row::new(name, Quantity::Seconds, &measured);
        section.row(row.map(|row| row.target(target).floor(what, &floors)));
    }
    // Each send adds one to the counter.
    let (_, sent) = requests::call(&client, "target", &get_64()).await?;
    let (sent, expected) = (String::from_utf8_lossy(&sent), (rounds + 1) * count as usize);
    ensure!(sent == expected.to_string(), "{sent} of {expected} sends arrived");
    Ok(section)
}

/// The time of one message of a round.
async fn one_of_round(client: &Client, letter: u8, count: u32) -> anyhow::Result<Duration> {
    let round = |count: u32| {
        let mut payload = vec![letter, 0, 0, 0];
        payload.extend(count.to_le_bytes());
        async move { requests::call(client, "caller", &payload).await }
    };
    let (empty, _) = round(0).await?;
    let (full, _) = round(count).await?;
    // Sends are handled after this: the next round finds an empty mailbox.
    requests::call(client, "target", &get_64()).await?;
    Ok(full.saturating_sub(empty) / count.max(1))
}
