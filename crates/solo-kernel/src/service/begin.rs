//! Making what is be what should be: adopting living instances, starting missing ones, ending
//! surplus ones, routing. Idempotent; runs whenever a cell appears.

use solo_types::{Exit, ExitReason, InstanceState, Problem, ServiceState};

use super::Service;
use super::code::compiled;
use super::giving::Start;
use super::state::InstanceView;
use crate::cells::CellHandle;
use crate::clock;
use crate::kernel::Kernel;
use crate::store;

impl Service {
    /// Brings the instances in `cell` to what should be.
    ///
    /// # Errors
    /// The first problem of a start; the instances that were there stay.
    pub(super) async fn converge(&self, kernel: &Kernel, cell: &CellHandle) -> Result<(), Problem> {
        let snapshot = {
            let _turn = cell.turn().await?;
            cell.snapshot(&self.id.to_string()).await?
        };
        let (keep, surplus, missing) = {
            let mut state = self.state.lock();
            // Instances of a lost cell keep their numbers in the next one.
            let lost: Vec<u64> = state
                .instances
                .iter()
                .filter(|(_, view)| view.state == InstanceState::Restarting)
                .map(|(number, _)| *number)
                .collect();
            let known = state.instances.clone();
            state.adopt(self.id, &snapshot);
            let revision = state.revision;
            let wanted = if state.outcome.is_some() { 0 } else { state.spec.replicas as usize };
            let mut keep: Vec<u64> = state
                .instances
                .iter()
                .filter(|(_, v)| v.revision == revision && v.state != InstanceState::Stopping)
                .map(|(number, _)| *number)
                .collect();
            if state.outcome.is_some() {
                // What ended by itself stays to be looked at.
                keep.retain(|n| state.instances.get(n).is_some_and(|v| is_over(v.state)));
            } else {
                keep.truncate(wanted);
            }
            let surplus: Vec<u64> =
                state.instances.keys().copied().filter(|n| !keep.contains(n)).collect();
            let count = wanted.saturating_sub(keep.len());
            let mut missing: Vec<u64> =
                lost.into_iter().filter(|n| !state.instances.contains_key(n)).take(count).collect();
            let fresh = count - missing.len();
            missing.extend(state.take_numbers(fresh as u64));
            state.add_starting(&missing, revision);
            for number in &missing {
                // Their history goes on; `adopt` took it for gone.
                if let (Some(old), Some(new)) = (known.get(number), state.instances.get_mut(number))
                {
                    new.restarts_before = old.restarts_before;
                    new.last_exit.clone_from(&old.last_exit);
                    let counted = old.restarts_before + old.restarts;
                    state.restarts_gone = state.restarts_gone.saturating_sub(counted);
                }
            }
            (keep, surplus, missing)
        };
        self.with_state(|_| ());
        if !surplus.is_empty() {
            let ids = surplus.iter().map(|n| self.instance_id(*n)).collect();
            cell.stop(ids, true, None, 0, "updated").await?;
            self.with_state(|state| state.remove(&surplus));
        }
        if !keep.is_empty() {
            // They may have missed a revocation, if this kernel is not the one that started them.
            self.tell_grants_to(kernel, cell).await?;
        }
        if !missing.is_empty() {
            self.start(kernel, cell, &missing).await?;
        }
        if keep.is_empty() && missing.is_empty() {
            return Ok(());
        }
        self.route_running(cell).await
    }

    /// Starts instances of the present revision.
    async fn start(
        &self,
        kernel: &Kernel,
        cell: &CellHandle,
        numbers: &[u64],
    ) -> Result<(), Problem> {
        let (revision, spec) = {
            let state = self.state.lock();
            (state.revision, std::sync::Arc::clone(&state.spec))
        };
        // After an upgrade the artifact may have to be compiled for another engine.
        let compiled = match compiled(kernel, &self.tenant, &spec, &cell.engine).await {
            Ok(compiled) => compiled,
            Err(problem) => {
                self.with_state(|state| state.set_state(numbers, InstanceState::Restarting));
                return Err(problem);
            }
        };
        let instances = numbers.iter().map(|number| self.instance_id(*number)).collect();
        let (service, artifact) = (self.id, compiled.path);
        let start = Start { service, revision, spec: &spec, artifact, instances };
        match start.run(kernel, cell).await {
            Ok(()) => {
                self.with_state(|state| state.started(numbers));
                Ok(())
            }
            Err(problem) => {
                self.with_state(|state| state.set_state(numbers, InstanceState::Restarting));
                Err(problem)
            }
        }
    }

    /// Sends messages to the instances of the present revision.
    pub(super) async fn route_running(&self, cell: &CellHandle) -> Result<(), Problem> {
        let numbers: Vec<u64> = {
            let state = self.state.lock();
            let present = state.instances.iter().filter(|(_, v)| v.revision == state.revision);
            present.map(|(number, _)| *number).collect()
        };
        let ids = numbers.iter().map(|number| self.instance_id(*number)).collect();
        {
            let _turn = cell.turn().await?;
            cell.route(self.id.to_string(), self.name.to_string(), ids).await?;
        }
        self.with_state(|state| state.set_routed(&numbers));
        Ok(())
    }

    /// Writes down that the service ended by itself for good, once all its instances have.
    pub(super) async fn note_outcome(&self, kernel: &Kernel) {
        let Some(ended) = self.state.lock().ended_by_itself() else { return };
        self.give_up(kernel, ended).await;
    }

    /// Writes down that the service is over, as `ended`.
    pub(super) async fn give_up(&self, kernel: &Kernel, ended: ServiceState) {
        let tail = match ended {
            ServiceState::Failed => kernel.monitor.log_tail(&self.label(), super::LOG_TAIL_MAX),
            _ => Vec::new(),
        };
        let outcome = self.state.lock().outcome(ended, tail);
        let (id, written) = (self.id, outcome.clone());
        let kept = kernel.store.run(move |t| store::set_outcome(t, id, Some(&written))).await;
        if let Err(error) = kept {
            tracing::error!(%error, service = %self.id, "Failed to write down how a service ended");
        }
        self.with_state(|state| {
            if ended == ServiceState::Failed {
                for view in state.instances.values_mut() {
                    view.state = InstanceState::Failed;
                }
            }
            state.outcome = Some(outcome);
        });
        if ended == ServiceState::Failed {
            let message = self
                .state
                .lock()
                .last_exit()
                .map_or_else(|| "no exit is known".to_owned(), |(_, exit)| exit.message.clone());
            kernel.monitor.event(&self.label(), "", "failed", &message);
        }
    }

    /// Notes a start that failed as an exit.
    pub(super) fn note_failed_start(&self, problem: &Problem) {
        let reason = match problem.reason.as_str() {
            "STARTUP_TIMEOUT" => ExitReason::StartupTimeout,
            "LIMIT_EXCEEDED" => ExitReason::Limit,
            "CRASHED" => ExitReason::Trap,
            "CELL_LOST" | "CELL_DOWN" => ExitReason::CellLost,
            _ => ExitReason::InitFailed,
        };
        let exit = Exit {
            reason,
            message: problem.cause.clone(),
            backtrace: Vec::new(),
            at_unix_ms: clock::unix_ms(),
            permanent: false,
        };
        self.with_state(|state| {
            let waiting = |view: &&mut InstanceView| view.state == InstanceState::Restarting;
            for view in state.instances.values_mut().filter(waiting) {
                view.restarts_before += 1;
                view.last_exit = Some(exit.clone());
            }
            let first = state.instances.keys().next().copied().unwrap_or(0);
            state.push_exit(self.instance_id(first), exit);
        });
    }
}

fn is_over(state: InstanceState) -> bool {
    matches!(state, InstanceState::Completed | InstanceState::Failed)
}
