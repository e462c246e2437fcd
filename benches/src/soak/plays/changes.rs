//! Deployments, kills and updates, with calls under way.

use std::cell::Cell;

use solo_api::v1;

use crate::soak::api::{Answer, Refusal, together};
use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

/// Calls that are under way at once during an update.
const CALLERS: usize = 3;

impl Household {
    /// A service ends and is there again, as new.
    pub(super) async fn redeploy(&mut self) -> Outcome {
        let roles = [Role::Worker, Role::Many, Role::Small, Role::Receiver, Role::Sender];
        let role = self.random.pick(&roles).unwrap_or(Role::Worker);
        let force = self.random.chance(50);
        self.kill(role, force).await?;
        let name = self.name(role);
        let answer = self.link.call(&name, "hold").await?;
        self.refused(role, answer, "NO_SUCH_SERVICE", "")?;
        self.deploy(role).await?;
        let request = role.deployment(&self.driver, &self.link.shared.codes);
        let again = self.link.deploy(request).await?;
        self.refused(role, again, "NAME_IN_USE", "")
    }

    /// A rolling update loses no call.
    pub(super) async fn rolling_update(&mut self) -> Outcome {
        let role = if self.random.chance(60) { Role::Worker } else { Role::Many };
        self.update_under_calls(role, v1::UpdateStrategy::Rolling, None, &[]).await
    }

    /// While all instances are replaced at once there is nobody to answer.
    pub(super) async fn recreate_update(&mut self) -> Outcome {
        let role = if self.random.chance(60) { Role::Worker } else { Role::Many };
        let away = ["UNAVAILABLE", "NOT_READY"];
        self.update_under_calls(role, v1::UpdateStrategy::Recreate, None, &away).await
    }

    /// Another number of replicas.
    pub(super) async fn change_replicas(&mut self) -> Outcome {
        let replicas = self.random.count(1, 5);
        let strategy = v1::UpdateStrategy::Rolling;
        self.update_under_calls(Role::Many, strategy, Some(replicas), &[]).await
    }

    async fn update_under_calls(
        &mut self,
        role: Role,
        strategy: v1::UpdateStrategy,
        replicas: Option<u32>,
        allowed: &[&str],
    ) -> Outcome {
        let (request, wanted) = self.next_update(role, strategy, replicas);
        let done = Cell::new(false);
        let updating = async {
            let answer = self.link.update(request).await;
            done.set(true);
            answer
        };
        let name = self.name(role);
        let calling = async || {
            while !done.get() {
                if let Err(refusal) = self.link.call(&name, "echo x").await?
                    && !allowed.contains(&refusal.reason.as_str())
                {
                    let what = format!("during an update, {strategy:?}: {refusal}");
                    return Err(self.broken(role, what));
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Ok(())
        };
        let callers = together((0..CALLERS).map(|_| calling()));
        let (answer, called) = tokio::join!(updating, callers);
        self.note_update(role, answer?, replicas)?;
        called.into_iter().collect::<Outcome>()?;
        self.expect(role, "config update", &wanted).await
    }

    /// Updates a service, and wants it to work.
    pub(super) async fn updated(
        &mut self,
        role: Role,
        strategy: v1::UpdateStrategy,
        replicas: Option<u32>,
    ) -> Outcome {
        let (request, wanted) = self.next_update(role, strategy, replicas);
        let answer = self.link.update(request).await?;
        self.note_update(role, answer, replicas)?;
        self.expect(role, "config update", &wanted).await
    }

    /// The request of one more update, and what the configuration says then.
    fn next_update(
        &mut self,
        role: Role,
        strategy: v1::UpdateStrategy,
        replicas: Option<u32>,
    ) -> (v1::UpdateRequest, String) {
        self.updates += 1;
        let wanted = self.updates.to_string();
        let request = v1::UpdateRequest {
            name: self.name(role),
            strategy: strategy.into(),
            replicas,
            config: [("update".to_owned(), wanted.clone())].into_iter().collect(),
            ..v1::UpdateRequest::default()
        };
        (request, wanted)
    }

    fn note_update(
        &mut self,
        role: Role,
        answer: Answer<v1::UpdateResponse>,
        replicas: Option<u32>,
    ) -> Outcome {
        if let Err(refusal) = answer {
            return Err(self.broken(role, format!("update: {refusal}")));
        }
        let replicas = replicas.unwrap_or_else(|| self.replicas(role));
        self.replaced(role, replicas);
        Ok(())
    }

    /// An update whose code does not start changes nothing.
    pub(super) async fn failing_update(&mut self) -> Outcome {
        let (init, reason) = if self.random.chance(50) {
            ("permanent it is not to be", "INIT_FAILED")
        } else {
            ("crash", "CRASHED")
        };
        let request = v1::UpdateRequest {
            config: [("init".to_owned(), init.to_owned())].into_iter().collect(),
            ..self.next_update(Role::Worker, v1::UpdateStrategy::Rolling, None).0
        };
        let answer = self.link.update(request).await?;
        self.link.count("updates that failed", 1);
        self.refused(Role::Worker, answer, reason, "")?;
        self.expect(Role::Worker, "hold", &self.known.count.to_string()).await
    }

    /// The receiver of numbered messages is replaced while they come: none is refused, and what each of
    /// the two gets it gets in order.
    pub(super) async fn order_update(&mut self) -> Outcome {
        let (request, _) = self.next_update(Role::Receiver, v1::UpdateStrategy::Rolling, None);
        let payload = format!("mix {} 3000", self.name(Role::Receiver));
        let (answer, sent) =
            tokio::join!(self.link.update(request), self.json(Role::Sender, &payload));
        self.note_update(Role::Receiver, answer?, None)?;
        let sent = sent?;
        if sent["refused"] != 0 {
            return Err(self.broken(Role::Sender, format!("during an update: {sent}")));
        }
        let report = self.text(Role::Receiver, "report").await?;
        if !report.lines().all(|line| line.ends_with(r#""late":0}"#)) {
            return Err(self.broken(Role::Receiver, format!("during an update: {report}")));
        }
        // What the old one got counts as missing.
        self.expect(Role::Receiver, "reset", "reset").await?;
        self.known.received = 0;
        Ok(())
    }

    /// A service comes and goes, with calls under way when it goes.
    pub(super) async fn passing_service(&mut self) -> Outcome {
        let name = self.passing("passing");
        let mut request = self.link.shared.codes.worker(&name, &[]);
        request.replicas = Some(self.random.count(1, 4));
        // The second one is too many.
        let (one, other) =
            tokio::join!(self.link.deploy(request.clone()), self.link.deploy(request));
        match (one?, other?) {
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_))
                if ["NAME_BUSY", "NAME_IN_USE"].contains(&refusal.reason.as_str()) => {}
            (one, other) => {
                let what = format!("two deployments of one name: {one:?}, {other:?}");
                return Err(self.link.broken(&name, what));
            }
        }
        let payloads = ["sleep 30", "spin 20", "echo x", "hold", "sleep 5", "count"];
        let calls = together(payloads.map(|payload| self.link.call(&name, payload)));
        let (force, pause_ms) = (self.random.chance(50), self.random.between(0, 20));
        let killing = async {
            tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
            self.link.kill(&name, force).await
        };
        let (answers, killed) = tokio::join!(calls, killing);
        if let Err(refusal) = killed? {
            return Err(self.link.broken(&name, format!("kill: {refusal}")));
        }
        for answer in answers {
            if let Err(refusal) = answer?
                && !is_end(&refusal, force)
            {
                return Err(self.link.broken(&name, format!("killed, force {force}: {refusal}")));
            }
        }
        self.gone(&name).await
    }

    /// A service is killed in the midst of its update.
    pub(super) async fn passing_update(&mut self) -> Outcome {
        let name = self.passing("passing");
        let mut request = self.link.shared.codes.worker(&name, &[]);
        request.replicas = Some(3);
        if let Err(refusal) = self.link.deploy(request).await? {
            return Err(self.link.broken(&name, format!("deploy: {refusal}")));
        }
        let request = v1::UpdateRequest { name: name.clone(), ..v1::UpdateRequest::default() };
        let (force, pause_ms) = (self.random.chance(50), self.random.between(0, 10));
        let killing = async {
            tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
            self.link.kill(&name, force).await
        };
        let (updated, killed) = tokio::join!(self.link.update(request), killing);
        if let Err(refusal) = killed? {
            return Err(self.link.broken(&name, format!("kill: {refusal}")));
        }
        match updated? {
            Err(refusal)
                if !["SERVICE_ENDED", "NO_SUCH_SERVICE"].contains(&refusal.reason.as_str()) =>
            {
                Err(self.link.broken(&name, format!("update under a kill: {refusal}")))
            }
            _ => self.gone(&name).await,
        }
    }

    /// What was killed cannot be killed again, and is remembered.
    async fn gone(&self, name: &str) -> Outcome {
        match self.link.kill(name, true).await? {
            Err(refusal) if refusal.reason == "NO_SUCH_SERVICE" => {}
            other => return Err(self.link.broken(name, format!("killed twice: {other:?}"))),
        }
        match self.link.status(name).await? {
            Ok(status) if status.state() == v1::ServiceState::Killed => Ok(()),
            other => {
                let other = other.map(|status| status.state());
                Err(self.link.broken(name, format!("killed, and its status is {other:?}")))
            }
        }
    }

    /// A deployment that does not start leaves nothing behind.
    pub(super) async fn failing_deploy(&mut self) -> Outcome {
        let name = self.passing("broken");
        let ways = [
            ("permanent no", "INIT_FAILED"),
            ("retry later", "INIT_FAILED"),
            ("crash", "CRASHED"),
            ("grow 300000000", "LIMIT_EXCEEDED"),
            ("spin 600000", "STARTUP_TIMEOUT"),
        ];
        let Some((init, reason)) = self.random.pick(&ways) else { return Ok(()) };
        let mut request = self.link.shared.codes.worker(&name, &[("init", init)]);
        request.replicas = Some(self.random.count(1, 3));
        if let (Some(limits), "STARTUP_TIMEOUT") = (&mut request.limits, reason) {
            limits.startup_timeout_ms = Some(100);
        }
        let answer = self.link.deploy(request).await?;
        self.link.count("deploys that failed", 1);
        match answer {
            Err(refusal) if refusal.reason == reason => {}
            other => return Err(self.link.broken(&name, format!("{init:?}: {other:?}"))),
        }
        match self.link.status(&name).await? {
            Err(refusal) if refusal.reason == "NO_SUCH_SERVICE" => Ok(()),
            other => Err(self.link.broken(&name, format!("it never was, and has {other:?}"))),
        }
    }

    /// Code that may have to be compiled and mapped first.
    pub(super) async fn fresh(&mut self) -> Outcome {
        let name = self.passing("fresh");
        let number = self.random.between(0, 1_000);
        let request = self.link.shared.codes.fresh(&name, number);
        if let Err(refusal) = self.link.deploy(request).await? {
            return Err(self.link.broken(&name, format!("deploy: {refusal}")));
        }
        match self.link.call_typed(&name, "add", "[2, 3]").await? {
            Ok(sum) if sum == "5" => {}
            other => return Err(self.link.broken(&name, format!("2 + 3: {other:?}"))),
        }
        let force = self.random.chance(50);
        match self.link.kill(&name, force).await? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.link.broken(&name, format!("kill: {refusal}"))),
        }
    }
}

/// What a caller of a service that is being killed may hear.
fn is_end(refusal: &Refusal, force: bool) -> bool {
    match refusal.reason.as_str() {
        "UNAVAILABLE" | "NO_SUCH_SERVICE" | "NOT_READY" => true,
        "CRASHED" => force,
        _ => false,
    }
}
