//! More than there is room for: messages, memory. And the order of messages.

use std::time::Duration;

use crate::soak::api::{Answer, together};
use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

/// How long the stuck one sleeps, and when it counts as stuck: well after the second that a message
/// may take while the mailbox is full.
const STUCK_MS: (u64, u64) = (4_000, 1_500);

/// What a guest says of the messages that it sent.
#[derive(Debug, serde::Deserialize)]
struct Sent {
    accepted: u64,
    refused: u64,
    error: String,
}

impl Household {
    /// A service sends as fast as it can to one that sleeps.
    pub(super) async fn storm(&mut self) -> Outcome {
        let (small, worker) = (self.name(Role::Small), self.name(Role::Worker));
        let (ms, size) = (self.random.between(10, 80), self.random.between(1, 4_096));
        let payload = format!("storm {small} {ms} {size}");
        let (slept, sent) =
            tokio::join!(self.link.call(&small, "sleep 100"), self.sent(Role::Worker, &payload));
        let sent = sent?;
        self.link.count("storms", 1);
        self.link.count("messages in storms", sent.accepted + sent.refused);
        self.link.count("of them overloaded", sent.refused);
        let expected = if sent.refused == 0 { "" } else { "overloaded" };
        if sent.error != expected {
            return Err(self.link.broken(&worker, format!("{payload:?} came to {sent:?}")));
        }
        self.slept(slept?, sent.accepted).await
    }

    /// Many clients send at once to one that sleeps.
    pub(super) async fn flood(&mut self) -> Outcome {
        let small = self.name(Role::Small);
        let count = self.random.between(20, 150);
        let sends = together((0..count).map(|_| self.link.send(&small, ".")));
        let (slept, sends) = tokio::join!(self.link.call(&small, "sleep 50"), sends);
        let mut accepted = 0;
        for sent in sends {
            match sent? {
                Ok(()) => accepted += 1,
                Err(refusal) if refusal.reason == "OVERLOADED" => {}
                Err(refusal) => {
                    return Err(self.broken(Role::Small, format!("send: {refusal}")));
                }
            }
        }
        self.slept(slept?, accepted).await
    }

    /// After a flood: the small one has slept, and got every message that was accepted.
    async fn slept(&mut self, slept: Answer, accepted: u64) -> Outcome {
        match slept {
            Ok(_) => {}
            // Some came before.
            Err(refusal) if refusal.reason == "OVERLOADED" => {}
            Err(refusal) => return Err(self.broken(Role::Small, format!("sleep: {refusal}"))),
        }
        self.known.small_casts += accepted;
        let wanted = self.known.small_casts.to_string();
        let (small, link) = (self.name(Role::Small), &self.link);
        let casts = link
            .until(&small, "room for a call", async || match link.call(&small, "casts").await? {
                Ok(casts) => Ok(Some(casts)),
                Err(refusal) if refusal.reason == "OVERLOADED" => Ok(None),
                Err(refusal) => Err(self.broken(Role::Small, format!("casts: {refusal}"))),
            })
            .await?;
        if casts == wanted {
            return Ok(());
        }
        Err(self.broken(Role::Small, format!("it got {casts} casts, not {wanted}")))
    }

    /// One that does not go on while its mailbox is full is ended.
    pub(super) async fn stuck(&mut self) -> Outcome {
        let name = self.name(Role::Stuck);
        let (asleep_ms, stuck_ms) = STUCK_MS;
        let payload = format!("sleep {asleep_ms}");
        let storming = async {
            tokio::time::sleep(Duration::from_millis(stuck_ms)).await;
            self.sent(Role::Worker, &format!("storm {name} 20 16")).await
        };
        let (slept, sent) = tokio::join!(self.link.call(&name, &payload), storming);
        sent?;
        match slept? {
            Err(refusal) if refusal.reason == "CRASHED" => {
                if !refusal.cause.contains("message_queue_max") {
                    return Err(self.broken(Role::Stuck, format!("ended by {refusal}")));
                }
                self.link.count("ended by a limit", 1);
                self.restarted(Role::Stuck);
            }
            // On a machine that is busy the sleep may begin late.
            Ok(_) => {}
            Err(refusal) => return Err(self.broken(Role::Stuck, format!("sleep: {refusal}"))),
        }
        let link = &self.link;
        link.until(&name, "room for a call", async || match link.call(&name, "hold").await? {
            Ok(_) => Ok(Some(())),
            Err(refusal) if refusal.reason == "OVERLOADED" => Ok(None),
            Err(refusal) => Err(self.broken(Role::Stuck, format!("hold: {refusal}"))),
        })
        .await
    }

    /// More memory than the limit: one is ended, the other refused. Less: both have it.
    pub(super) async fn too_much_memory(&mut self) -> Outcome {
        if self.random.chance(50) {
            let bytes = self.random.between(1 << 10, 2 << 20);
            let role = if self.random.chance(50) { Role::Fat } else { Role::Lean };
            self.expect(role, &format!("grow {bytes}"), &bytes.to_string()).await?;
            self.expect(role, "release", "0").await
        } else if self.random.chance(50) {
            self.link.count("ended by a limit", 1);
            self.crash(Role::Fat, "grow 16777216", "max_memory_bytes").await?;
            self.expect(Role::Fat, "echo again", "again").await
        } else {
            self.expect(Role::Lean, "grow 16777216", "refused").await
        }
    }

    /// Messages of one sender come in order, and all of them.
    pub(super) async fn order(&mut self) -> Outcome {
        let receiver = self.name(Role::Receiver);
        let verb = if self.random.chance(50) { "mix" } else { "send" };
        let (count, size) = (self.random.between(10, 500), self.random.between(1, 300));
        let payload = format!("{verb} {receiver} {count} {size}");
        let sent = self.sent(Role::Sender, &payload).await?;
        if sent.accepted != count || sent.refused != 0 {
            return Err(self.broken(Role::Sender, format!("{payload:?} came to {sent:?}")));
        }
        self.known.received += count;
        self.in_order(Role::Receiver, self.known.received).await
    }

    /// Two send and call each other at once: calls may be deadlocks, the order holds.
    pub(super) async fn order_both_ways(&mut self) -> Outcome {
        let (sender, receiver) = (self.name(Role::Sender), self.name(Role::Receiver));
        let payloads =
            [receiver, sender].map(|name| format!("mix {name} {}", self.random.between(50, 2_000)));
        let (there, back) = tokio::join!(
            self.sent(Role::Sender, &payloads[0]),
            self.sent(Role::Receiver, &payloads[1]),
        );
        for (role, sent) in [(Role::Sender, &there), (Role::Receiver, &back)] {
            if let Ok(sent) = sent
                && sent.refused > 0
                && sent.error != "deadlock"
            {
                return Err(self.broken(role, format!("both ways came to {sent:?}")));
            }
        }
        let (there, back) = (there?, back?);
        self.link.count("deadlocks", there.refused + back.refused);
        self.known.received += there.accepted;
        self.known.returned += back.accepted;
        self.in_order(Role::Receiver, self.known.received).await?;
        self.in_order(Role::Sender, self.known.returned).await
    }

    async fn in_order(&self, role: Role, received: u64) -> Outcome {
        self.link.count("ordered messages", 1);
        let violations = self.text(role, "violations").await?;
        if violations != "0" {
            let report = self.text(role, "report").await?;
            let what = format!("{violations} messages came late or not at all:\n{report}");
            return Err(self.broken(role, what));
        }
        self.expect(role, "received", &received.to_string()).await
    }

    async fn sent(&self, role: Role, payload: &str) -> Outcome<Sent> {
        let answer = self.json(role, payload).await?;
        serde_json::from_value(answer)
            .map_err(|error| self.broken(role, format!("{payload:?}: {error}")))
    }
}
