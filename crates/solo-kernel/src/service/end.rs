//! Ending a service: for good (Kill), or because Solo ends.

use super::Service;
use crate::cells::CellHandle;
use crate::kernel::Kernel;
use crate::{clock, state, store};
use solo_capability::Principal;
use solo_types::{Problem, ServiceState};

impl Service {
    /// Ends the service for good. True: an instance had to be forced.
    ///
    /// The tombstone is written before an instance ends: what is on its way out does not come back
    /// when the kernel dies meanwhile.
    pub(super) async fn end(&self, kernel: &Kernel, force: bool) -> Result<bool, Problem> {
        self.with_state(|state| state.ending = true);
        let cell = self.host.current();
        if let Some(cell) = &cell {
            // No message finds it any more; those that wait are handled yet.
            self.unroute(cell).await;
        }
        let outcome = {
            let state = self.state.lock();
            state.outcome(ServiceState::Killed, Vec::new())
        };
        let (id, now) = (self.id, clock::unix_ms());
        let holder = Principal::service(id).to_string();
        let written = kernel
            .store
            .run(move |t| {
                store::kill_service(t, id, &outcome, now)?;
                store::forget_holder(t, &holder)
            })
            .await;
        if let Err(error) = written {
            self.with_state(|state| state.ending = false);
            if let Some(cell) = &cell {
                self.route_running(cell).await?;
            }
            return Err(error.into());
        }
        let forced = match &cell {
            Some(cell) => {
                let ids = self.hosted(cell).await;
                let forced = self.stop_all(cell, ids, force, None, "killed").await;
                // The end may have cut an update short whose last route was on its way.
                self.unroute(cell).await;
                forced
            }
            None => false,
        };
        // The cell that would tell of their end may be gone, or come back with another kernel.
        kernel.programs.release_all(self.host.cell(), self.id).await;
        state::forget(&self.tenant, self.id).await;
        kernel.registry.remove(self);
        drop(self.charge.lock().take());
        kernel.holdings.forget(id);
        let how = if forced || force { "ended by force" } else { "ended gracefully" };
        kernel.monitor.event(&self.label(), "", "killed", how);
        Ok(forced)
    }

    /// Stops the instances because Solo ends.
    pub(super) async fn stop_for_shutdown(&self, timeout_ms: u64) {
        self.with_state(|state| state.ending = true);
        if let Some(cell) = self.host.current() {
            self.unroute(&cell).await;
            let patience = self.state.lock().spec.limits.shutdown_timeout_ms;
            let timeout_ms = timeout_ms.min(patience);
            // Without asking the cell first: all services do this at once, and the cell ends soon.
            self.stop_all(&cell, self.known(), timeout_ms == 0, Some(timeout_ms), "stopped").await;
        }
    }

    async fn unroute(&self, cell: &CellHandle) {
        if let Err(problem) = cell.unroute(self.id.to_string()).await {
            tracing::warn!(%problem, service = %self.id, "Failed to remove a route");
        }
    }

    /// Stops instances; an impatient wish cuts a graceful end short.
    async fn stop_all(
        &self,
        cell: &CellHandle,
        ids: Vec<String>,
        force: bool,
        timeout_ms: Option<u64>,
        reason: &str,
    ) -> bool {
        if ids.is_empty() {
            return false;
        }
        let patience = self.state.lock().spec.limits.shutdown_timeout_ms;
        let mut wish = self.end_wish.subscribe();
        let stopped = tokio::select! {
            stopped = cell.stop(ids.clone(), force, timeout_ms, patience, reason) => stopped,
            _ = clock::until(&mut wish, |wish| *wish > 1), if !force => {
                cell.stop(ids.clone(), true, None, 0, reason).await.map(|_| ids)
            }
        };
        match stopped {
            Ok(forced) => !forced.is_empty(),
            Err(problem) => {
                // The cell died, or the sweep ends what is left.
                tracing::warn!(%problem, service = %self.id, "Failed to stop all instances");
                true
            }
        }
    }

    /// Instances that the cell hosts, also those that the kernel does not know.
    async fn hosted(&self, cell: &CellHandle) -> Vec<String> {
        match cell.snapshot(&self.id.to_string()).await {
            // Children end with their parents, wherever those are.
            Ok(snapshot) => snapshot
                .instances
                .into_iter()
                .filter(|instance| instance.parent.is_empty())
                .map(|instance| instance.id)
                .collect(),
            Err(_) => self.known(),
        }
    }

    fn known(&self) -> Vec<String> {
        let state = self.state.lock();
        state.instances.keys().map(|number| self.instance_id(*number)).collect()
    }
}
