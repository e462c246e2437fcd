//! Calls, sends and timers that go as they should, and calls that take too long.

use std::time::Duration;

use crate::soak::api::together;
use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

/// Sleep of a callee that is not waited for, in milliseconds. An answer that is there when the caller
/// gets to run is taken, late or not, so this has to outlast what the machine stands still.
pub(super) const LONG_MS: u64 = 700;

impl Household {
    /// A call; the answer is what was sent.
    pub(super) async fn echo(&mut self) -> Outcome {
        let length = if self.random.chance(5) { 100_000 } else { self.random.count(0, 2_000) };
        let text = self.random.text(length);
        let role = self.random.pick(&[Role::Worker, Role::Echo, Role::Many, Role::Fat]);
        self.expect(role.unwrap_or(Role::Echo), &format!("echo {text}"), &text).await
    }

    /// The state of an instance stays from call to call.
    pub(super) async fn counting(&mut self) -> Outcome {
        for _ in 0..self.random.between(1, 5) {
            self.known.count += 1;
            self.expect(Role::Worker, "count", &self.known.count.to_string()).await?;
        }
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await
    }

    /// Many calls at once.
    pub(super) async fn burst(&mut self) -> Outcome {
        let role = if self.random.chance(50) { Role::Worker } else { Role::Many };
        let texts: Vec<String> = (0..self.random.between(5, 40)).map(|n| n.to_string()).collect();
        let payloads: Vec<String> = texts.iter().map(|text| format!("echo {text}")).collect();
        let calls = payloads.iter().zip(&texts);
        let calls = calls.map(|(payload, text)| self.expect(role, payload, text));
        together(calls).await.into_iter().collect()
    }

    /// What was accepted is handled, in order, before what came later.
    pub(super) async fn sends(&mut self) -> Outcome {
        let worker = self.name(Role::Worker);
        for _ in 0..self.random.between(1, 20) {
            let sent = self.link.send(&worker, "count").await?;
            sent.map_err(|refusal| self.broken(Role::Worker, format!("send: {refusal}")))?;
            self.known.count += 1;
            self.known.casts += 1;
        }
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await?;
        self.expect(Role::Worker, "casts", &self.known.casts.to_string()).await
    }

    /// A call from service to service.
    pub(super) async fn between(&mut self) -> Outcome {
        let (echo, length) = (self.name(Role::Echo), self.random.count(1, 500));
        let text = self.random.text(length);
        self.link.count("calls between services", 1);
        self.expect(Role::Worker, &format!("call {echo} echo {text}"), &text).await
    }

    /// Calls whose answers come too late.
    pub(super) async fn timeout(&mut self) -> Outcome {
        if self.random.chance(50) {
            let worker = self.name(Role::Worker);
            let answer = self.link.call_for(&worker, &format!("sleep {LONG_MS}"), 30).await?;
            self.refused(Role::Worker, answer, "TIMEOUT", "")?;
        } else {
            let echo = self.name(Role::Echo);
            let payload = format!("call {echo}@20 sleep {LONG_MS}");
            let answer = self.link.call(&self.name(Role::Worker), &payload).await?;
            self.refused(Role::Worker, answer, "REFUSED", "timeout")?;
            // Until it has slept.
            self.expect(Role::Echo, "echo awake", "awake").await?;
        }
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await
    }

    /// A guest that computes keeps nobody else from answering.
    pub(super) async fn spin(&mut self) -> Outcome {
        let ms = self.random.between(10, 80);
        let payload = format!("spin {ms}");
        let role = if self.random.chance(50) { Role::Lean } else { Role::Fat };
        let (steps, echo) = tokio::join!(
            self.number(role, &payload),
            self.expect(Role::Echo, "echo meanwhile", "meanwhile"),
        );
        echo?;
        if steps? == 0 {
            return Err(self.broken(role, "it did not compute"));
        }
        Ok(())
    }

    /// Timers fire once, or not at all when they were cancelled in time.
    pub(super) async fn timers(&mut self) -> Outcome {
        self.link.count("timers", 1);
        for _ in 0..self.random.between(1, 8) {
            let delay = self.random.between(1, 60);
            let timer = self.number(Role::Worker, &format!("timer {delay} count")).await?;
            let is_cancelled = self.random.chance(50)
                && self.text(Role::Worker, &format!("cancel {timer}")).await? == "true";
            if !is_cancelled {
                self.known.count += 1;
                self.known.casts += 1;
            }
        }
        let (worker, wanted) = (self.name(Role::Worker), self.known.casts);
        self.link
            .until(&worker, &format!("timers, {wanted} casts"), async || {
                Ok((self.number(Role::Worker, "casts").await? >= wanted).then_some(()))
            })
            .await?;
        // One that was cancelled and comes all the same would come by now.
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.expect(Role::Worker, "casts", &wanted.to_string()).await?;
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await
    }

    /// A call through the gateway.
    pub(super) async fn gateway(&mut self) -> Outcome {
        let text = self.random.text(20);
        let answer = self.link.http_call(&self.name(Role::Echo), &format!("echo {text}")).await?;
        if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&text) {
            return Ok(());
        }
        Err(self.broken(Role::Echo, format!("the gateway answered {answer:?}")))
    }
}
