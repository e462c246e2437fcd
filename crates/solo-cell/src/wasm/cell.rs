//! The wasm cell without its protocol: which instances there are, and what the kernel can do to them.
//!
//! Operations are idempotent. Nothing here runs a guest or knows protobuf.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::RwLock;
use solo_actor::core::Weight;
use solo_types::bounds::{CALL_TIMEOUT_MS_DEFAULT, CALL_TIMEOUT_MS_MAX};
use solo_types::{InstanceId, InstanceState, ServiceKind, is_url_path};
use tracing::{error, warn};

use super::artifact::{Artifact, Artifacts, Form, find};
use super::failure::{Failure, Reason};
use super::grants::{Rights, Tables};
use super::group::ChildPlan;
use super::instance::{Shared, refuse_waiting, supervise};
use super::message::{Answer, Envelope, Input, Trace, Work};
use super::route::Route;
use super::runner::check_cast;
use super::service::Service;
use super::slot::{Ended, Family, FirstStart, Order, Slot, StopReason};
use crate::reports::Reports;

/// How much longer than its deadline a stop may take: ending one instance takes microseconds, but a
/// thousand at once queue for the processors.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// The cell.
pub(crate) struct Cell {
    /// What all instances share.
    pub(crate) shared: Arc<Shared>,
    /// Loaded code.
    pub(crate) artifacts: Arc<Artifacts>,
    /// What the kernel will read.
    pub(crate) reports: Arc<Reports>,
    /// By id.
    pub(crate) instances: RwLock<BTreeMap<Arc<str>, Arc<Slot>>>,
    /// What services may do to others. Locked after `instances`.
    pub(crate) grants: Tables,
}

/// Why a start was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StartError {
    /// Tried, and nothing is left of it.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// Not tried: the id is not one of this service.
    #[error("{0:?} is not the id of an instance of this service")]
    Id(String),
    /// Not tried: the instance exists with other code.
    #[error("instance {id} exists with revision {revision}")]
    OtherRevision {
        /// Which.
        id: String,
        /// What it is.
        revision: u64,
    },
}

/// An instance that a start request names.
struct Admitted {
    slot: Arc<Slot>,
    /// It was not there before.
    is_new: bool,
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Cell {
    /// Starts instances; answers when all are ready. When one fails, all that this call started are
    /// ended again.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn start(
        self: &Arc<Self>,
        service: Service,
        ids: Vec<String>,
    ) -> Result<(), StartError> {
        for id in &ids {
            let parsed = id.parse::<InstanceId>().ok();
            if parsed.is_none_or(|parsed| parsed.service.to_string() != *service.id) {
                return Err(StartError::Id(id.clone()));
            }
        }
        let artifact = self.load(&service).await?;
        check(&service, &artifact)?;
        let admitted = self.admit(service, &artifact, ids)?;
        for Admitted { slot, .. } in admitted.iter().filter(|admitted| admitted.is_new) {
            self.spawn(Arc::clone(slot));
        }
        let mut failure = None;
        for Admitted { slot, is_new } in &admitted {
            let mut first_start = slot.first_start.subscribe();
            let outcome = first_start.wait_for(|first| !matches!(first, FirstStart::Pending)).await;
            failure = match outcome.as_deref() {
                // What happens to a new one after it was ready is news, not a failed start.
                Ok(FirstStart::Ready) if *is_new => None,
                Ok(FirstStart::Ready) => slot.is_down().then(|| slot.closed()),
                Ok(FirstStart::Failed(failed)) => Some(failed.clone()),
                Ok(FirstStart::Pending) | Err(_) => Some(slot.closed()),
            };
            if failure.is_some() {
                break;
            }
        }
        let Some(failure) = failure else { return Ok(()) };
        let new = admitted.into_iter().filter(|admitted| admitted.is_new);
        let created: Vec<Arc<Slot>> = new.map(|admitted| admitted.slot).collect();
        created.iter().for_each(|slot| slot.take_back());
        self.end(&created, |_| Order::Kill { reason: StopReason::Stopped }).await;
        Err(failure.into())
    }

    /// Ends instances; answers when they are gone, with those that had to be forced.
    pub(crate) async fn stop(
        &self,
        ids: &[String],
        force: bool,
        timeout_ms: Option<u64>,
        reason: StopReason,
    ) -> Vec<String> {
        let slots: Vec<Arc<Slot>> = {
            let instances = self.instances.read();
            ids.iter().filter_map(|id| instances.get(id.as_str()).map(Arc::clone)).collect()
        };
        let now = Instant::now();
        let ended = self
            .end(&slots, |slot| {
                let timeout_ms = timeout_ms.unwrap_or(slot.service.shutdown_timeout_ms);
                if force {
                    Order::Kill { reason }
                } else {
                    Order::Drain { deadline: now + Duration::from_millis(timeout_ms), reason }
                }
            })
            .await;
        let forced = ended.into_iter().filter(|(_, ended)| ended.forced && !force);
        forced.map(|(slot, _)| slot.id.to_string()).collect()
    }

    /// Takes the route of a service away: its name is not known any more.
    pub(crate) fn unroute(&self, service: &str) {
        self.shared.routes.replace(service, None);
        self.end_grants_of_none(service);
    }

    /// Replaces what a service may do to others, also for children that run its code elsewhere.
    pub(crate) fn set_grants(&self, service: &str, grants: HashMap<String, Rights>) {
        self.grants.replace(service, grants);
        self.shared.routes.renew();
    }

    /// Replaces the route of a service at once. No instances: the next ones will come.
    pub(crate) fn route(&self, service: &str, name: &str, ids: &[String], weights: &[u32]) {
        let slots: Vec<Arc<Slot>> = {
            let instances = self.instances.read();
            ids.iter().filter_map(|id| instances.get(id.as_str()).map(Arc::clone)).collect()
        };
        if slots.len() < ids.len() {
            warn!(
                service,
                missing = ids.len() - slots.len(),
                "Route names instances that are not here"
            );
        }
        // A weight belongs to its place among the ids; without one of the instances they say nothing.
        let weights = if slots.len() == ids.len() { weights } else { &[] };
        let route = Route::new(Arc::from(service), name.to_owned(), slots.clone(), weights);
        let routes = &self.shared.routes;
        routes.replace(service, Some(route));
        // One may have ended since it was looked up.
        for slot in slots.iter().filter(|slot| slot.ended.borrow().is_some()) {
            routes.forget(slot);
        }
    }

    /// Calls a function of a service.
    ///
    /// # Errors
    /// [`Failure`]; its reason says how far the call got.
    pub(crate) async fn call(
        &self,
        service: &str,
        function: String,
        input: Input,
        timeout_ms: u64,
        trace: Trace,
    ) -> Result<Answer, Failure> {
        let timeout_ms = if timeout_ms == 0 { CALL_TIMEOUT_MS_DEFAULT } else { timeout_ms };
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(CALL_TIMEOUT_MS_MAX));
        let route = self.find(service)?;
        route.choose()?.ask(Work::Call { function, input }, deadline, trace).await
    }

    /// Queues a message for a service.
    ///
    /// # Errors
    /// [`Failure`]; nothing was queued.
    pub(crate) fn send(
        &self,
        service: &str,
        function: String,
        input: Input,
        trace: Trace,
    ) -> Result<(), Failure> {
        let route = self.find(service)?;
        let slot = route.choose()?;
        check_cast(&slot.artifact, slot.service.kind, &function, &input)?;
        let work = Work::Cast { function, input };
        slot.push(Envelope::cast(work, trace))?;
        Ok(())
    }

    /// Instances of one service and the children below them, or (empty) all of the cell, by id: at most
    /// `max` of those behind `after`. Costs what it answers, however many others there are.
    pub(crate) fn slots(&self, service: &str, after: &str, max: usize) -> Vec<Arc<Slot>> {
        let prefix = if service.is_empty() { String::new() } else { format!("{service}-") };
        let from = if after > prefix.as_str() {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix.as_str())
        };
        let instances = self.instances.read();
        let behind = instances.range::<str, _>((from, Bound::Unbounded));
        let wanted = behind.take_while(|(id, _)| id.starts_with(&prefix)).take(max);
        wanted.map(|(_, slot)| Arc::clone(slot)).collect()
    }

    fn find(&self, service: &str) -> Result<Arc<Route>, Failure> {
        self.shared.routes.by_service(service).ok_or_else(|| {
            Failure::new(Reason::NoSuchService, format!("the cell has no service {service:?}"))
        })
    }

    async fn load(&self, service: &Service) -> Result<Arc<Artifact>, Failure> {
        if service.kind == ServiceKind::Process {
            return Ok(Arc::new(Artifact::Process));
        }
        if let Some(artifact) = self.artifacts.get(&service.artifact_path) {
            return Ok(artifact);
        }
        let artifacts = Arc::clone(&self.artifacts);
        let path = service.artifact_path.clone();
        let form = match service.kind {
            ServiceKind::Source => Form::Source,
            _ if service.core_module => Form::Module,
            _ => Form::Component,
        };
        let load = move || artifacts.load(&path, form);
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| {
            let message = format!("loading the artifact failed (a bug of Solo): {error}");
            Err(Failure::new(Reason::ArtifactUnusable, message))
        })
    }

    /// Makes the slots that are not there yet; answers one per id.
    fn admit(
        &self,
        mut service: Service,
        artifact: &Arc<Artifact>,
        ids: Vec<String>,
    ) -> Result<Vec<Admitted>, StartError> {
        let mut instances = self.instances.write();
        for id in &ids {
            if let Some(slot) = instances.get(id.as_str())
                && slot.service.revision != service.revision
            {
                let revision = slot.service.revision;
                return Err(StartError::OtherRevision { id: id.clone(), revision });
            }
        }
        // Under the lock: the last instance that goes takes the table with it.
        service.grants = self.grants.share(&service.id, &service.grants);
        let service = Arc::new(service);
        let mut admitted = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(slot) = instances.get(id.as_str()) {
                admitted.push(Admitted { slot: Arc::clone(slot), is_new: false });
                continue;
            }
            let id: Arc<str> = Arc::from(id);
            let (service, artifact) = (Arc::clone(&service), Arc::clone(artifact));
            let slot =
                Slot::new(Arc::clone(&id), service, artifact, None, Arc::clone(&self.reports));
            slot.enter(InstanceState::Starting, None);
            instances.insert(id, Arc::clone(&slot));
            admitted.push(Admitted { slot, is_new: true });
        }
        Ok(admitted)
    }

    fn spawn(self: &Arc<Self>, slot: Arc<Slot>) {
        let cell = Arc::clone(self);
        let own = Arc::clone(&slot);
        let life = async move {
            let shared = Arc::clone(&cell.shared);
            let life = supervise(shared, Arc::clone(&own));
            let ended = AssertUnwindSafe(life).catch_unwind().await.unwrap_or_else(|_| {
                error!(instance = %own.id, "The actor of an instance failed (a bug of Solo)");
                Ended { forced: true }
            });
            cell.forget(&own);
            own.ended.send_replace(Some(ended));
        };
        let service = &slot.service;
        let weight = Weight::new(service.cpu_shares);
        let actors = &self.shared.actors;
        let actor = actors.prepare(weight, service.tier, service.quota(), life);
        slot.set_actor(actor.clone());
        actors.begin(&actor);
    }

    /// Makes and starts a child of `parent`.
    pub(crate) fn start_child(
        self: &Arc<Self>,
        parent: &Slot,
        plan: &ChildPlan,
        family: Family,
    ) -> Arc<Slot> {
        let id: Arc<str> = Arc::from(format!("{}.{}", parent.id, parent.groups.next_child()));
        let slot = Slot::new(
            Arc::clone(&id),
            Arc::clone(&plan.service),
            Arc::clone(&plan.artifact),
            Some((family, Arc::clone(&parent.processes))),
            Arc::clone(&self.reports),
        );
        slot.enter(InstanceState::Starting, None);
        self.instances.write().insert(id, Arc::clone(&slot));
        self.spawn(Arc::clone(&slot));
        slot
    }

    /// A service that has no instance and is not routed any more is gone, and what it passed on with it.
    fn end_grants_of_none(&self, service: &str) {
        let prefix = format!("{service}-");
        // Held, so that none is admitted meanwhile.
        let instances = self.instances.read();
        let mut behind = instances.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded));
        let has_instance = behind.next().is_some_and(|(id, _)| id.starts_with(&prefix));
        if has_instance || self.shared.routes.by_service(service).is_some() {
            return;
        }
        if self.grants.end(service) {
            self.shared.routes.renew();
        }
    }

    /// Nothing of the instance remains.
    fn forget(&self, slot: &Arc<Slot>) {
        {
            let mut instances = self.instances.write();
            if instances.get(&slot.id).is_some_and(|here| Arc::ptr_eq(here, slot)) {
                instances.remove(&slot.id);
            }
        }
        refuse_waiting(slot);
        self.shared.routes.forget(slot);
        self.end_grants_of_none(&slot.service.id);
        slot.first_start.send_if_modified(|first| {
            let pending = matches!(first, FirstStart::Pending);
            if pending {
                *first = FirstStart::Failed(slot.closed());
            }
            pending
        });
    }

    /// Gives each slot its order and waits until all are gone.
    async fn end(
        &self,
        slots: &[Arc<Slot>],
        order_for: impl Fn(&Slot) -> Order,
    ) -> Vec<(Arc<Slot>, Ended)> {
        let mut last = Instant::now();
        for slot in slots {
            let order = order_for(slot);
            if let Order::Drain { deadline, .. } = order {
                last = last.max(deadline);
            }
            // The state first: who is refused from now on is told why.
            slot.enter(InstanceState::Stopping, None);
            slot.give(order);
        }
        let last = last + STOP_SLACK;
        let mut gone = Vec::new();
        for slot in slots {
            let mut ended = slot.ended.subscribe();
            let waited =
                tokio::time::timeout_at(last.into(), ended.wait_for(Option::is_some)).await;
            let outcome = waited.ok().and_then(Result::ok).and_then(|ended| *ended);
            if outcome.is_none() {
                error!(instance = %slot.id, "An instance did not end although it was forced");
            }
            gone.push((Arc::clone(slot), outcome.unwrap_or(Ended { forced: true })));
        }
        gone
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("instances", &self.instances.read().len()).finish()
    }
}

/// Checks what the service says of its code.
fn check(service: &Service, artifact: &Artifact) -> Result<(), Failure> {
    artifact.check(service.kind)?;
    let Some(check) = service.health_check.as_ref().filter(|check| !check.function.is_empty())
    else {
        return Ok(());
    };
    let wrong = |failure: Failure| Failure {
        message: format!("health check: {}", failure.message),
        ..failure
    };
    let parameters = match artifact {
        // It is the path of a request.
        Artifact::Process if is_url_path(&check.function) => 0,
        Artifact::Process => {
            let message = format!("{:?} is no path of a request, like /health", check.function);
            return Err(wrong(Failure::new(Reason::BadArguments, message)));
        }
        Artifact::Component { functions, .. } => {
            let function = find(functions, |function| &function.name, &check.function);
            function.map_err(wrong)?.ty.params().len()
        }
        Artifact::Core { functions, .. } => {
            let function = find(functions, |function| &function.name, &check.function);
            function.map_err(wrong)?.ty.params().len()
        }
        // It may have any number of them, and is called with none.
        Artifact::Source { source, .. } if source.signature(&check.function).is_some() => 0,
        Artifact::Source { source, .. } => {
            let message = format!("there is no function {:?}", check.function);
            let failure = Failure::new(Reason::NoSuchFunction, message);
            return Err(wrong(failure.expected(source.expected())));
        }
    };
    if parameters > 0 {
        let message = format!("{:?} takes parameters", check.function);
        return Err(wrong(Failure::new(Reason::BadArguments, message)));
    }
    Ok(())
}
