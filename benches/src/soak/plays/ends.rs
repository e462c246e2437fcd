//! Crashes, exits and instances that do not end: what callers learn, and what is there afterwards.

use std::time::Duration;

use solo_api::v1;

use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

impl Household {
    /// A trap: the caller hears of it, the next one is answered, nothing is remembered.
    pub(super) async fn crashing(&mut self) -> Outcome {
        let role = self.random.pick(&[Role::Worker, Role::Many, Role::Echo, Role::Fat]);
        let role = role.unwrap_or(Role::Worker);
        self.crash(role, "crash", "unreachable").await?;
        if role == Role::Worker {
            self.expect(role, "hold", "0").await?;
            return self.expect(role, "casts", "0").await;
        }
        self.expect(role, "echo again", "again").await
    }

    /// An end of its own.
    pub(super) async fn exiting(&mut self) -> Outcome {
        self.link.count("exits", 1);
        let code = self.random.between(0, 3);
        self.crash(Role::Worker, &format!("exit {code}"), &format!("code {code}")).await?;
        self.expect(Role::Worker, "hold", "0").await
    }

    /// A service hears at once of the crash of the one that it called, and goes on.
    pub(super) async fn callee_crash(&mut self) -> Outcome {
        let payload = format!("call {} crash", self.name(Role::Echo));
        let answer = self.link.call(&self.name(Role::Worker), &payload).await?;
        self.refused(Role::Worker, answer, "REFUSED", "crashed: ")?;
        self.link.count("crashes", 1);
        self.restarted(Role::Echo);
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await?;
        self.between().await
    }

    /// Timers end with their incarnation.
    pub(super) async fn timers_lost(&mut self) -> Outcome {
        for _ in 0..self.random.between(1, 20) {
            let delay = self.random.between(5, 50);
            self.number(Role::Worker, &format!("timer {delay} count")).await?;
        }
        self.crash(Role::Worker, "crash", "unreachable").await?;
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.expect(Role::Worker, "casts", "0").await?;
        self.expect(Role::Worker, "hold", "0").await
    }

    /// A guest that computes without end is killed all the same.
    pub(super) async fn runaway(&mut self) -> Outcome {
        let role = if self.random.chance(50) { Role::Worker } else { Role::Fat };
        let answer = self.link.call_for(&self.name(role), "spin 600000", 50).await?;
        self.refused(role, answer, "TIMEOUT", "")?;
        // Gracefully it takes until the shutdown timeout.
        let force = self.random.chance(70);
        let forced = self.kill(role, force).await?;
        if !force && !forced {
            return Err(self.broken(role, "ended gracefully although it was computing"));
        }
        self.deploy(role).await?;
        self.expect(role, "hold", "0").await
    }

    /// More crashes than are tolerated: it stays down, until it is updated or deployed again.
    pub(super) async fn frail(&mut self) -> Outcome {
        let name = self.name(Role::Frail);
        self.crash(Role::Frail, "crash", "unreachable").await?;
        self.expect(Role::Frail, "hold", "0").await?;
        let answer = self.link.call(&name, "crash").await?;
        self.refused(Role::Frail, answer, "CRASHED", "unreachable")?;
        self.link.count("crashes", 1);
        self.link
            .until(&name, "a failed service", async || {
                match self.link.call(&name, "hold").await? {
                    Err(refusal) if refusal.reason == "SERVICE_FAILED" => Ok(Some(())),
                    // The kernel has not heard of it yet.
                    Err(refusal) if refusal.reason == "UNAVAILABLE" => Ok(None),
                    other => Err(self.broken(Role::Frail, format!("failed, and {other:?}"))),
                }
            })
            .await?;
        if self.random.chance(50) {
            self.kill(Role::Frail, false).await?;
            self.deploy(Role::Frail).await?;
        } else {
            let recreate = self.random.chance(50);
            let strategy =
                if recreate { v1::UpdateStrategy::Recreate } else { v1::UpdateStrategy::Rolling };
            self.updated(Role::Frail, strategy, None).await?;
        }
        self.expect(Role::Frail, "hold", "0").await
    }

    /// What `terminate` does: a call from it fails clearly, and it ends in time or is forced.
    pub(super) async fn terminate(&mut self) -> Outcome {
        let is_slow = self.random.chance(30);
        let order = if is_slow {
            "terminate-sleep 600000".to_owned()
        } else {
            format!("terminate-call {}", self.name(Role::Echo))
        };
        self.expect(Role::Worker, &order, "noted").await?;
        let forced = self.kill(Role::Worker, false).await?;
        if forced != is_slow {
            return Err(self.broken(Role::Worker, format!("{order:?}, and forced is {forced}")));
        }
        self.deploy(Role::Worker).await
    }
}
