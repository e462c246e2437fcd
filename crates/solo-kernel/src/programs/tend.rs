//! Keeps sandboxes in step with what should be: a pool that is full, a sandbox for each instance that
//! lives, none for others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use solo_types::{InstanceId, InstanceState};
use tokio::time::MissedTickBehavior;

use super::{Programs, Wish, remove_socket};
use crate::kernel::Kernel;
use crate::service::{Service, program_code};

/// Between two looks for what has no service.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// After a failure, before the next try, unless something happens.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is dropped. The actor of all programs in the tree.
pub(crate) async fn tend(kernel: Arc<Kernel>) -> Result<(), String> {
    let programs = &kernel.programs;
    let mut processes = kernel.heart.processes();
    // An instance is started before its service is known: only who is unknown twice has no service.
    let mut unknown = HashSet::new();
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        programs.end_strays().await;
        let failed = programs.fill().await.is_err() | programs.mend(&kernel).await;
        tokio::select! {
            () = programs.changed.notified() => {}
            changed = processes.changed() => changed.map_err(|_| "the heart is gone".to_owned())?,
            _ = look.tick() => unknown = programs.sweep(&kernel, &unknown).await,
            () = tokio::time::sleep(RETRY_PAUSE), if failed => {}
        }
    }
}

impl Programs {
    async fn end_strays(&self) {
        let strays = std::mem::take(&mut *self.strays.lock());
        for cell in strays {
            self.end(&cell).await;
        }
    }

    /// Fills the pool. An error was logged.
    async fn fill(&self) -> Result<(), ()> {
        loop {
            {
                let mut pool = self.pool.lock();
                pool.retain(|cell| self.heart.pid(cell).is_some());
                if pool.len() >= self.settings.pool {
                    return Ok(());
                }
            }
            match self.spawn().await {
                Ok(cell) => {
                    self.pool.lock().push(cell);
                    *self.no_pool.lock() = None;
                }
                Err(error) => {
                    // Said once for each reason: it is tried again and again.
                    let why = error.cause.clone();
                    if self.no_pool.lock().replace(why.clone()) != Some(why) {
                        tracing::warn!(%error, "Failed to prepare a sandbox for programs");
                    }
                    return Err(());
                }
            }
        }
    }

    /// Gives a new sandbox to instances whose one has died. True: one could not be made.
    async fn mend(&self, kernel: &Kernel) -> bool {
        let dead: Vec<String> = {
            let sandboxes = self.sandboxes.lock();
            let is_dead = |cell: &String| self.heart.pid(cell).is_none();
            let dead =
                sandboxes.iter().filter(|(_, one)| one.shown.lock().as_ref().is_some_and(is_dead));
            dead.map(|(instance, _)| instance.clone()).collect()
        };
        let mut failed = false;
        for instance in dead {
            let Some(service) = owner(kernel, &instance) else { continue };
            let Some((revision, spec)) = service.spec_of(&instance) else { continue };
            let code = match program_code(kernel, &service.tenant, &spec) {
                Ok(code) => code,
                Err(problem) => {
                    tracing::warn!(%problem, instance, revision, "Failed to find the code of a program");
                    failed = true;
                    continue;
                }
            };
            let (id, tenant) = (service.id, &service.tenant);
            let wish = Wish { instance: &instance, service: id, tenant, code: &code, spec: &spec };
            tracing::info!(instance, "The sandbox of a program died; making another one");
            if let Err(problem) = self.provide(wish).await {
                tracing::warn!(%problem, instance, "Failed to make another sandbox for a program");
                failed = true;
            }
        }
        failed
    }

    /// Ends sandboxes whose instance nobody knows, now and before, and removes sockets that they left.
    async fn sweep(&self, kernel: &Kernel, before: &HashSet<String>) -> HashSet<String> {
        let sockets = self.sockets().await;
        let mut unknown: HashSet<String> = self.sandboxes.lock().keys().cloned().collect();
        unknown.extend(sockets.keys().cloned());
        unknown.retain(|instance| {
            owner(kernel, instance).is_none_or(|service| service.spec_of(instance).is_none())
        });
        for instance in unknown.intersection(before) {
            if self.end_sandbox(instance).await {
                tracing::warn!(instance, "Ended the sandbox of an instance that no service claims");
            }
            if let Some(socket) = sockets.get(instance) {
                remove_socket(socket).await;
            }
        }
        unknown
    }
}

/// The service that an instance belongs to.
pub(super) fn owner(kernel: &Kernel, instance: &str) -> Option<Arc<Service>> {
    let id: InstanceId = instance.parse().ok()?;
    kernel.registry.find_id(&id.service.to_string())
}

impl Service {
    /// The revision that an instance is of, if it is to be there.
    pub(crate) fn spec_of(&self, instance: &str) -> Option<(u64, Arc<solo_types::ServiceSpec>)> {
        let id: InstanceId = instance.parse().ok()?;
        let state = self.state.lock();
        let view = state.instances.get(&id.number)?;
        if matches!(view.state, InstanceState::Completed | InstanceState::Failed) {
            return None;
        }
        if view.revision == state.revision {
            return Some((state.revision, Arc::clone(&state.spec)));
        }
        let row = state.rollout.as_ref().filter(|row| row.rollout.spec().to == view.revision)?;
        Some((view.revision, Arc::new(row.to_spec.clone())))
    }
}
