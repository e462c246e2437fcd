//! What all parts of the kernel share. Made once at start; every part borrows it.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use solo_api::cell::v1 as wire;
use solo_supervisor::SupervisorHandle;
use solo_types::{NodeId, Problem, ServiceId};
use tokio::sync::watch;

use crate::api::{FiguresCache, Intake, Strangers};
use crate::audit::Audit;
use crate::cells::{Compilers, InstanceReports};
use crate::heart::Heart;
use crate::holdings::Holdings;
use crate::home::Home;
use crate::monitor::Monitor;
use crate::monitor::metrics::Metrics;
use crate::monitor::violations::Violations;
use crate::programs::Programs;
use crate::secrets::Secrets;
use crate::service::{Registry, Service};
use crate::store::{self, Store};
use crate::tenants::{Tenant, Tenants, of_label};
use crate::veil::Veil;

/// Service numbers that are reserved on disk at a time, so that a deployment pays no sync for its id.
const NUMBERS_BLOCK: u64 = 256;

/// The kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) home: Home,
    pub(crate) node: NodeId,
    pub(crate) veil: Veil,
    pub(crate) store: Store,
    pub(crate) tenants: Tenants,
    pub(crate) heart: Heart,
    pub(crate) compilers: Compilers,
    pub(crate) programs: Arc<Programs>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) metrics: Metrics,
    pub(crate) violations: Violations,
    /// Figures of all services, some moments old at most.
    pub(crate) figures: FiguresCache,
    pub(crate) holdings: Holdings,
    pub(crate) secrets: Secrets,
    pub(crate) audit: Audit,
    pub(crate) tree: std::sync::OnceLock<SupervisorHandle>,
    /// Bytes of requests under way, over all listeners.
    pub(crate) intake: Intake,
    /// True once the API may answer: what lives has been looked at.
    pub(crate) open: watch::Sender<bool>,
    /// True once Solo ends: no operation begins any more.
    pub(crate) ending: watch::Sender<bool>,
    numbers: Mutex<Range<u64>>,
    /// Keys of requests under way, so that the same request does not run twice at once.
    pub(crate) keys_under_way: Mutex<std::collections::HashSet<String>>,
    /// Refused requests of whom nobody knows.
    pub(crate) strangers: Mutex<Strangers>,
}

/// The parts that [`Kernel::new`] puts together.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) home: Home,
    pub(crate) node: NodeId,
    pub(crate) veil: Veil,
    pub(crate) store: Store,
    pub(crate) tenants: Tenants,
    pub(crate) heart: Heart,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) metrics: Metrics,
    pub(crate) holdings: Holdings,
    pub(crate) secrets: Secrets,
    pub(crate) audit: Audit,
    pub(crate) programs: Arc<Programs>,
}

impl Kernel {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let compilers =
            Compilers::new(parts.home.clone(), parts.heart.clone(), parts.store.clone());
        Arc::new(Self {
            home: parts.home,
            node: parts.node,
            veil: parts.veil,
            store: parts.store,
            tenants: parts.tenants,
            heart: parts.heart,
            compilers,
            programs: parts.programs,
            registry: Arc::default(),
            monitor: parts.monitor,
            metrics: parts.metrics,
            violations: Violations::default(),
            figures: FiguresCache::default(),
            holdings: parts.holdings,
            secrets: parts.secrets,
            audit: parts.audit,
            tree: std::sync::OnceLock::new(),
            intake: Intake::default(),
            open: watch::Sender::new(false),
            ending: watch::Sender::new(false),
            numbers: Mutex::new(0..0),
            keys_under_way: Mutex::default(),
            strangers: Mutex::default(),
        })
    }

    /// An id that no service ever had.
    pub(crate) async fn new_service_id(&self) -> Result<ServiceId, Problem> {
        loop {
            let count = self.numbers.lock().next();
            let Some(count) = count else {
                let fresh =
                    self.store.run(|t| store::reserve_service_numbers(t, NUMBERS_BLOCK)).await?;
                let mut numbers = self.numbers.lock();
                if numbers.is_empty() {
                    *numbers = fresh;
                }
                continue;
            };
            let id = ServiceId { node: self.node, number: self.veil.service(count) };
            // Versions before had the counts themselves: one of those may be there.
            if self.registry.find_id(&id.to_string()).is_none() {
                return Ok(id);
            }
        }
    }

    /// The service of this name.
    pub(crate) fn service(&self, tenant: &str, name: &str) -> Result<Arc<Service>, Problem> {
        self.registry.find(tenant, name).ok_or_else(|| crate::service::not_found(name))
    }

    /// Refuses operations while Solo ends.
    pub(crate) fn check_open(&self) -> Result<(), Problem> {
        if *self.ending.borrow() {
            return Err(Problem::new(
                solo_types::ProblemKind::Unavailable,
                "SHUTTING_DOWN",
                "Solo is shutting down",
            )
            .remedy("start Solo again with `solo up`"));
        }
        Ok(())
    }
}

/// What the cell of one tenant reports goes no further than that tenant.
#[derive(Debug)]
pub(crate) struct TenantReports {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) tenant: Arc<Tenant>,
}

impl InstanceReports for TenantReports {
    fn is_hosted(&self, service: &str) -> bool {
        // The name is known before the service is and after it has gone.
        let label = self.kernel.monitor.name_of(service);
        label.is_some_and(|label| of_label(&label).0 == self.tenant.name.as_str())
    }

    fn instance_changed(&self, service: &str, instance: &str, change: wire::StateChange) {
        let is_over = matches!(change.state.as_str(), "completed" | "failed");
        self.kernel.registry.instance_changed(service, instance, change);
        if is_over && self.kernel.programs.has(instance) {
            let (kernel, tenant) = (Arc::clone(&self.kernel), Arc::clone(&self.tenant));
            let instance = [instance.to_owned()];
            // Ends by itself: it asks the heart and removes a file.
            tokio::spawn(async move {
                kernel.programs.release(tenant.host.cell(), &instance).await;
            });
        }
    }

    fn limit_exceeded(&self, service: &str, instance: &str, violation: &wire::Violation) {
        let name = self.kernel.monitor.name_of(service).unwrap_or_else(|| service.to_owned());
        self.kernel.violations.note(&name, instance, violation);
    }
}
