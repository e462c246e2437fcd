//! Update: carrying out what `solo-rollout` decides, step by step (SPEC U1, U2, U4).
//!
//! The plan is on disk before its first step, and the revision that serves changes on disk after its
//! last. In between every step is decided from the instances that are there, so that a kernel that
//! died goes on where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use solo_api::{CodeSource, UpdateSpec};
use solo_rollout::{Decision, ObservedInstance, Rollout, RolloutSpec};
use solo_types::{
    Digest, Export, InstanceState, Interface, Mount, Problem, ProblemKind, Program, ServiceKind,
    ServiceSpec, Usage,
};

use super::Service;
use super::code::{check_mounts, compiled, prepare, said_of};
use super::deploy::Timing;
use super::giving::Start;
use super::idempotency::answer_row;
use crate::cells::CellHandle;
use crate::clock;
use crate::kernel::Kernel;
use crate::store::{self, RolloutRow};

pub(crate) use solo_rollout::Strategy;

/// Lost cells that one rollout lives through before it turns back.
const CELLS_LOST_MAX: u32 = 5;

/// Beyond the time that its instances may take by their own limits.
const ROLLOUT_SLACK: Duration = Duration::from_secs(60);

/// The longest silence before the cell is looked at again, should a report be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The answer to an update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Updated {
    pub(crate) service: String,
    pub(crate) revision: u64,
    pub(crate) previous_revision: u64,
    pub(crate) exports: Vec<Export>,
    pub(crate) digest: Digest,
    pub(crate) timing: Timing,
}

impl Service {
    /// Updates the service; see [`Service::update`].
    pub(super) async fn do_update(
        &self,
        kernel: &Kernel,
        request: UpdateSpec,
        strategy: Strategy,
        fingerprint: &str,
    ) -> Result<Updated, Problem> {
        let began = Instant::now();
        let (previous, current) = {
            let state = self.state.lock();
            (state.revision, Arc::clone(&state.spec))
        };
        let cell = self.host.ready().await?;
        let host_path = current.program.as_ref().and_then(|program| program.host_path.clone());
        let code = request.code.clone().unwrap_or(match &host_path {
            Some(path) => CodeSource::Host { path: path.clone() },
            None => CodeSource::Stored { digest: current.digest, format: "" },
        });
        // A program that is named anew, or stays: the path goes with the code, the rest stays as it was.
        let said = request.program.clone().or_else(|| current.program.clone());
        let said = match &code {
            CodeSource::Host { path } => {
                let program = said.unwrap_or_else(|| Program::new(Interface::None));
                Some(Program { host_path: Some(path.clone()), ..program })
            }
            _ => said.map(|program| Program { host_path: None, ..program }),
        };
        let (digest, found, stored) = prepare(kernel, &self.tenant, code, &cell.engine).await?;
        let mut spec = ServiceSpec::clone(&current);
        spec.digest = digest;
        spec.kind = found.artifact.kind;
        let said = said.filter(|_| spec.kind == ServiceKind::Process || request.program.is_some());
        spec.program = said_of(spec.kind, said, &spec.health_check)?;
        spec.core_module = found.artifact.core_module;
        spec.exports = found.artifact.exports;
        spec.limits = request.limits_after(&current.limits)?;
        spec.restart = request.restart_after(&current.restart)?;
        spec.replicas = request.replicas.unwrap_or(current.replicas);
        if let Some(config) = request.config {
            spec.config = config;
        }
        if let Some(secrets) = request.secrets {
            spec.secrets = secrets;
        }
        kernel.secrets.check(&spec.tenant, &spec.secrets).await?;
        match request.mounts {
            Some(mounts) => spec.mounts = mounts,
            // They go with the program.
            None if spec.kind != ServiceKind::Process => spec.mounts.clear(),
            None => {}
        }
        check_mounts(spec.kind, &spec.mounts)?;
        let _stay = match spec.mounts.is_empty() {
            true => None,
            false => Some(self.tenant.volumes.read().await),
        };
        let made = kernel.programs.make_volumes(&self.tenant, &spec.mounts).await?;
        let plan = RolloutSpec {
            from: previous,
            to: previous + 1,
            replicas_from: current.replicas,
            replicas_to: spec.replicas,
            max_surge: 1,
            max_unavailable: 0,
        };
        let row = RolloutRow { rollout: Rollout::new(strategy, plan), to_spec: spec.clone() };
        // Both revisions have what they have until one of them is gone.
        self.charge(Usage::of(&current).max(Usage::of(&spec)))?;
        if let Err(problem) = self.plan(kernel, row).await {
            self.recharge();
            return Err(problem);
        }
        let started = Instant::now();
        self.roll(kernel).await?;
        made.keep();
        let updated = Updated {
            service: self.name.to_string(),
            revision: previous + 1,
            previous_revision: previous,
            exports: spec.exports,
            digest,
            timing: Timing {
                store: stored,
                compile: found.took,
                start: started.elapsed(),
                total: began.elapsed(),
            },
        };
        // The update itself is on disk. Should this last write fail, a repeated request would run
        // again, which is worse to hide than to tell.
        if let Some(answer) = answer_row(&request.idempotency_key, fingerprint, &updated)? {
            kernel.store.run(move |t| store::put_idempotent(t, &answer)).await?;
        }
        Ok(updated)
    }

    /// How an update goes that says nothing of it: two programs that write the same files at one time would
    /// spoil them.
    pub(crate) fn usual_strategy(&self, mounts: &[Mount]) -> Strategy {
        let state = self.state.lock();
        let mut all = mounts.iter().chain(&state.spec.mounts);
        if all.any(|mount| mount.written_volume().is_some()) {
            return Strategy::Recreate;
        }
        Strategy::Rolling
    }

    /// Counts what an update is to have.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`.
    fn charge(&self, usage: Usage) -> Result<(), Problem> {
        self.charge.lock().as_mut().map_or(Ok(()), |charge| charge.change(usage))
    }

    /// Counts what the service should have now.
    fn recharge(&self) {
        let usage = Usage::of(&self.state.lock().spec);
        if let Some(charge) = self.charge.lock().as_mut() {
            charge.set(usage);
        }
    }

    /// Goes on with a rollout that an earlier kernel began. Does nothing when there is none.
    pub(super) async fn resume_rollout(&self, kernel: &Kernel) -> Result<(), Problem> {
        if self.state.lock().rollout.is_none() {
            return Ok(());
        }
        let cell = self.host.ready().await?;
        self.look(&cell).await?;
        match self.roll(kernel).await {
            Err(problem) if matches!(problem.reason.as_str(), "CELL_LOST" | "CELL_DOWN") => {
                Err(problem)
            }
            // Turned back: the old revision is what converging looks after from now on.
            Err(_) | Ok(()) => Ok(()),
        }
    }

    async fn plan(&self, kernel: &Kernel, row: RolloutRow) -> Result<(), Problem> {
        let (id, written) = (self.id, row.clone());
        let next = self.state.lock().next_instance;
        kernel.store.run(move |t| store::start_rollout(t, id, &written, next)).await?;
        self.with_state(|state| {
            state.rollout = Some(row);
            // A service that was over lives again.
            state.outcome = None;
        });
        Ok(())
    }

    /// Runs the rollout in `state` to its end, and writes that down.
    async fn roll(&self, kernel: &Kernel) -> Result<(), Problem> {
        let deadline = Instant::now() + self.rollout_budget();
        let mut cause: Option<Problem> = None;
        let mut cells_lost = 0;
        loop {
            let Some(row) = self.state.lock().rollout.clone() else { return Ok(()) };
            if Instant::now() > deadline {
                if row.rollout.turned_back().is_some() {
                    // Converging takes it from here, at its own pace.
                    return self.finish_back(kernel, cause, "turning back took too long").await;
                }
                self.turn_back(kernel, "the update took too long").await?;
                continue;
            }
            let decision = row.rollout.next(&self.observed());
            let step = match decision {
                Decision::Done => return self.finish(kernel, row).await,
                Decision::RolledBack { reason } => {
                    return self.finish_back(kernel, cause, &reason).await;
                }
                Decision::RollBack { reason } => {
                    cause = cause.or_else(|| Some(self.failure(&reason)));
                    self.turn_back(kernel, &reason).await
                }
                decision => self.step(kernel, &row, decision).await,
            };
            match step {
                Ok(()) => {}
                Err(problem) if matches!(problem.reason.as_str(), "CELL_LOST" | "CELL_DOWN") => {
                    cells_lost += 1;
                    if cells_lost > CELLS_LOST_MAX {
                        return Err(problem);
                    }
                    // What was there is gone with the cell; the next step is decided anew.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let cell = self.host.ready().await?;
                    self.look(&cell).await?;
                }
                Err(problem) if row.rollout.turned_back().is_none() => {
                    self.turn_back(kernel, &problem.cause).await?;
                    cause = cause.or(Some(problem));
                }
                Err(problem) => {
                    let reason = problem.cause.clone();
                    return self.finish_back(kernel, cause.or(Some(problem)), &reason).await;
                }
            }
        }
    }

    fn rollout_budget(&self) -> Duration {
        let state = self.state.lock();
        let rollout = state.rollout.as_ref();
        let new = rollout.map_or(&*state.spec, |row| &row.to_spec);
        let per_instance = new.limits.startup_timeout_ms.max(state.spec.limits.startup_timeout_ms)
            + state.spec.limits.shutdown_timeout_ms;
        let instances = u64::from(new.replicas.max(state.spec.replicas));
        Duration::from_millis(per_instance.saturating_mul(instances)) + ROLLOUT_SLACK
    }

    fn observed(&self) -> Vec<ObservedInstance> {
        let state = self.state.lock();
        state
            .instances
            .iter()
            .map(|(number, view)| ObservedInstance {
                number: *number,
                revision: view.revision,
                state: view.state,
                routed: view.routed,
            })
            .collect()
    }

    async fn step(
        &self,
        kernel: &Kernel,
        row: &RolloutRow,
        decision: Decision,
    ) -> Result<(), Problem> {
        let cell = self.host.ready().await?;
        match decision {
            Decision::Start { revision, count } => {
                self.start_revision(kernel, &cell, row, revision, count).await
            }
            Decision::Stop { numbers } => {
                let patience = self.state.lock().spec.limits.shutdown_timeout_ms;
                self.with_state(|state| state.set_state(&numbers, InstanceState::Stopping));
                let ids = numbers.iter().map(|n| self.instance_id(*n)).collect();
                cell.stop(ids, false, None, patience, "updated").await?;
                self.with_state(|state| state.remove(&numbers));
                Ok(())
            }
            Decision::Route { numbers } => {
                let ids = numbers.iter().map(|n| self.instance_id(*n)).collect();
                cell.route(self.id.to_string(), self.name.to_string(), ids).await?;
                self.with_state(|state| state.set_routed(&numbers));
                Ok(())
            }
            _ => {
                let mut version = self.version.subscribe();
                if tokio::time::timeout(LOOK_AGAIN, version.changed()).await.is_err() {
                    self.look(&cell).await?;
                }
                Ok(())
            }
        }
    }

    async fn start_revision(
        &self,
        kernel: &Kernel,
        cell: &CellHandle,
        row: &RolloutRow,
        revision: u64,
        count: u32,
    ) -> Result<(), Problem> {
        let spec = if revision == row.rollout.spec().to {
            Arc::new(row.to_spec.clone())
        } else {
            Arc::clone(&self.state.lock().spec)
        };
        let compiled = compiled(kernel, &self.tenant, &spec, &cell.engine).await?;
        let numbers = self.with_state(|state| {
            let numbers = state.take_numbers(u64::from(count));
            state.add_starting(&numbers, revision);
            numbers
        });
        let instances = numbers.iter().map(|number| self.instance_id(*number)).collect();
        let (service, artifact) = (self.id, compiled.path);
        let start = Start { service, revision, spec: &spec, artifact, instances };
        match start.run(kernel, cell).await {
            Ok(()) => {
                self.with_state(|state| state.started(&numbers));
                Ok(())
            }
            Err(problem) => {
                self.with_state(|state| state.remove(&numbers));
                Err(problem)
            }
        }
    }

    /// Takes what the cell hosts for what is there.
    async fn look(&self, cell: &CellHandle) -> Result<(), Problem> {
        let snapshot = cell.snapshot(&self.id.to_string()).await?;
        self.with_state(|state| state.adopt(self.id, &snapshot));
        Ok(())
    }

    async fn turn_back(&self, kernel: &Kernel, reason: &str) -> Result<(), Problem> {
        let row = self.with_state(|state| {
            if let Some(row) = &mut state.rollout {
                row.rollout.roll_back(reason);
            }
            state.rollout.clone()
        });
        let Some(row) = row else { return Ok(()) };
        let (id, next) = (self.id, self.state.lock().next_instance);
        kernel.store.run(move |t| store::start_rollout(t, id, &row, next)).await?;
        Ok(())
    }

    async fn finish(&self, kernel: &Kernel, row: RolloutRow) -> Result<(), Problem> {
        let (id, at) = (self.id, clock::unix_ms());
        let (revision, spec) = (row.rollout.spec().to, row.to_spec.clone());
        let next = self.state.lock().next_instance;
        kernel
            .store
            .run(move |t| store::finish_rollout(t, id, Some((revision, &spec)), next, at))
            .await?;
        self.with_state(|state| {
            state.revision = row.rollout.spec().to;
            state.spec = Arc::new(row.to_spec);
            state.rollout = None;
            state.updated_at = at;
        });
        self.recharge();
        let message = format!("revision {revision} serves");
        kernel.monitor.event(&self.label(), "", "updated", &message);
        Ok(())
    }

    async fn finish_back(
        &self,
        kernel: &Kernel,
        cause: Option<Problem>,
        reason: &str,
    ) -> Result<(), Problem> {
        let (id, at) = (self.id, clock::unix_ms());
        let (next, revision) = {
            let state = self.state.lock();
            (state.next_instance, state.revision)
        };
        kernel.store.run(move |t| store::finish_rollout(t, id, None, next, at)).await?;
        self.with_state(|state| state.rollout = None);
        self.recharge();
        let message = format!("revision {revision} serves again: {reason}");
        kernel.monitor.event(&self.label(), "", "rolled_back", &message);
        let cause = cause.unwrap_or_else(|| self.failure(reason));
        let mut problem = Problem::new(cause.kind, &cause.reason, cause.cause)
            .remedy(cause.remedy)
            .detail("rolled_back_to", revision.to_string());
        problem.details.extend(cause.details);
        Err(problem)
    }

    /// The problem of a rollout whose new instances failed after their start.
    fn failure(&self, reason: &str) -> Problem {
        let exit = self.state.lock().last_exit().map(|(_, exit)| exit.message.clone());
        let why = exit.map_or_else(|| reason.to_owned(), |exit| format!("{reason}: {exit}"));
        Problem::new(
            ProblemKind::FailedPrecondition,
            "UPDATE_FAILED",
            format!("the new revision failed, the old one serves again: {why}"),
        )
        .remedy("`solo logs` shows why; mend the code and update again")
    }
}
