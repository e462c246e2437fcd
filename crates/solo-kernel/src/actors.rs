//! The tree of SPEC S2: which actors there are, in which order they start, who is restarted with whom.
//!
//! root (one_for_one) > system (rest_for_one: audit, registry, monitor), drivers (one_for_one:
//! filesystem, network, hardware), services (one_for_one: per tenant), api.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use solo_supervisor::{
    ChildContext, ChildSpec, Strategy, SupervisorHandle, SupervisorSpec, TreeError,
};
use solo_types::{Problem, RestartMode, RestartPolicy};

use crate::api::connections::{limited, transports};
use crate::boot::Listeners;
use crate::kernel::{Kernel, TenantReports};
use crate::service::{Service, actor};
use crate::sweeps::{sweep, sweep_artifacts};
use crate::tenants::Tenant;
use crate::{api, audit, certificates, clock, programs};

/// An actor that does not end by itself is aborted after this time: none holds anything that needs
/// longer, and the heart waits.
const STOP_MS: u64 = 2_000;

/// Looks for a supervisor that starts end with a pause as long: in all they take as long.
const SUPERVISOR_PAUSE_MAX: Duration = Duration::from_millis(256);

/// Between two samples of the machine.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The supervisor that has one for each tenant.
pub(crate) const SERVICES: &str = "services";

fn policy() -> RestartPolicy {
    // An actor that fails more often than this does so for a reason that a restart does not mend;
    // then its supervisor, in the end the kernel, starts anew.
    RestartPolicy {
        mode: RestartMode::Permanent,
        max_restarts: 10,
        window_ms: 10_000,
        backoff_initial_ms: 10,
        backoff_max_ms: 1_000,
    }
}

fn supervisor(name: &str, strategy: Strategy, children: Vec<ChildSpec>) -> ChildSpec {
    let spec = SupervisorSpec { name: name.to_owned(), strategy, policy: policy(), children };
    ChildSpec::supervisor(spec, STOP_MS)
}

/// Sinks do not matter to anybody else: one that fails inside again and again never reaches the bound
/// at which its supervisor, and then the kernel, would start anew.
fn sink_policy() -> RestartPolicy {
    RestartPolicy { backoff_initial_ms: 5_000, backoff_max_ms: 60_000, ..policy() }
}

/// The sinks of the audit log, if there are any.
fn sinks(kernel: &Arc<Kernel>) -> Option<ChildSpec> {
    let sinks = kernel.audit.sinks().all();
    if sinks.is_empty() {
        return None;
    }
    let mut children = vec![worker(kernel, "report", audit::keep_report)];
    for sink in sinks {
        let shared = Arc::clone(sink);
        let drive = move |kernel| audit::drive_sink(kernel, Arc::clone(&shared));
        // No other actor has such a name.
        children.push(worker(kernel, &format!("sink {}", sink.name()), drive));
    }
    let spec = SupervisorSpec {
        name: "sinks".to_owned(),
        strategy: Strategy::OneForOne,
        policy: sink_policy(),
        children,
    };
    Some(ChildSpec::supervisor(spec, STOP_MS))
}

/// A worker over the kernel that ends when it is asked to.
fn worker<F, W>(kernel: &Arc<Kernel>, name: &str, work: F) -> ChildSpec
where
    F: Fn(Arc<Kernel>) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), String>> + Send + 'static,
{
    let kernel = Arc::clone(kernel);
    ChildSpec::worker(name, RestartMode::Permanent, STOP_MS, move |context: ChildContext| {
        let work = work(Arc::clone(&kernel));
        async move {
            tokio::select! {
                outcome = work => outcome,
                () = context.stop_requested() => Ok(()),
            }
        }
    })
}

/// Starts the tree.
pub(crate) fn start(
    kernel: &Arc<Kernel>,
    listeners: &Listeners,
) -> Result<SupervisorHandle, String> {
    let copy = || listeners.try_clone().map(Arc::new).map_err(|error| error.to_string());
    let (tcp, unix, metrics) = (copy()?, copy()?, copy()?);
    let mut api = vec![
        worker(kernel, "tcp", move |kernel| serve_tcp(kernel, Arc::clone(&tcp))),
        worker(kernel, "unix", move |kernel| serve_unix(kernel, Arc::clone(&unix))),
        worker(kernel, "metrics", move |kernel| serve_metrics(kernel, Arc::clone(&metrics))),
    ];
    if let Some(tls) = listeners.tls.clone() {
        let keep = move |kernel| certificates::keep(kernel, Arc::clone(&tls));
        api.push(worker(kernel, "certificates", keep));
    }
    let mut root = SupervisorSpec {
        name: "root".to_owned(),
        strategy: Strategy::OneForOne,
        policy: policy(),
        children: vec![
            supervisor(
                "system",
                Strategy::RestForOne,
                vec![
                    worker(kernel, "audit", |kernel| async move { kernel.audit.run().await }),
                    worker(kernel, "registry", sweep),
                    worker(kernel, "monitor", observe),
                ],
            ),
            supervisor(
                "drivers",
                Strategy::OneForOne,
                vec![
                    worker(kernel, "filesystem", sweep_artifacts),
                    worker(kernel, "network", watch_gateway),
                    worker(kernel, "hardware", sample_machine),
                    worker(kernel, "programs", programs::tend),
                    worker(kernel, "volumes", programs::watch_volumes),
                ],
            ),
            supervisor(
                SERVICES,
                Strategy::OneForOne,
                kernel.tenants.all().iter().map(|tenant| of_tenant(kernel, tenant)).collect(),
            ),
            supervisor("api", Strategy::OneForOne, api),
        ],
    };
    root.children.extend(sinks(kernel));
    let tree = solo_supervisor::start(root).map_err(|error| error.to_string())?;
    // Set once: the kernel starts one tree.
    let _first = kernel.tree.set(tree.clone());
    Ok(tree)
}

/// The supervisor of a tenant: the keeper of its cell, and later one actor for each service.
fn of_tenant(kernel: &Arc<Kernel>, tenant: &Arc<Tenant>) -> ChildSpec {
    let shared = Arc::clone(tenant);
    let keep = move |kernel| keep_cell(kernel, Arc::clone(&shared));
    let keeper = worker(kernel, tenant.host.cell(), keep);
    supervisor(tenant.name.as_str(), Strategy::OneForOne, vec![keeper])
}

/// Path of the supervisor of a tenant.
fn path_of(tenant: &Tenant) -> String {
    format!("{SERVICES}/{}", tenant.name)
}

impl Kernel {
    /// Puts the supervisor of a new tenant into the tree; one that is there already stays.
    pub(crate) async fn add_tenant(self: &Arc<Self>, tenant: &Arc<Tenant>) -> Result<(), Problem> {
        let Some(tree) = self.tree.get() else { return Ok(()) };
        match tree.add_child(SERVICES, of_tenant(self, tenant)).await {
            Ok(()) | Err(TreeError::NameTaken { .. }) => Ok(()),
            Err(error) => Err(Problem::internal(format!("failed to start a tenant: {error}"))),
        }
    }

    /// Takes the supervisor of a tenant that has ended out of the tree, and ends its cell.
    pub(crate) async fn remove_tenant(&self, tenant: &Tenant) {
        if let Some(tree) = self.tree.get()
            && let Err(error) = tree.remove_child(SERVICES, tenant.name.as_str()).await
        {
            tracing::warn!(%error, tenant = %tenant.name, "Failed to remove a tenant's supervisor");
        }
        tenant.host.end().await;
    }

    /// Puts the actor of a service into the tree. One that is there already stays.
    pub(crate) async fn add_actor(self: &Arc<Self>, service: &Arc<Service>) {
        // It may have been killed since it was listed.
        if self.registry.find_id(&service.id.to_string()).is_none() {
            return;
        }
        let Some(tree) = self.tree.get() else { return };
        let path = path_of(&service.tenant);
        let mut pause = Duration::from_millis(1);
        loop {
            let (kernel, shared) = (Arc::clone(self), Arc::clone(service));
            let child = ChildSpec::worker(
                &service.id.to_string(),
                RestartMode::Transient,
                STOP_MS,
                move |context| actor::run(Arc::clone(&kernel), Arc::clone(&shared), context),
            );
            match tree.add_child(&path, child).await {
                Ok(()) | Err(TreeError::NameTaken { .. }) => return,
                // A supervisor that starts, with the kernel or after a failure, runs in a moment.
                Err(TreeError::UnknownSupervisor { .. }) if pause < SUPERVISOR_PAUSE_MAX => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    // The sweep tries again.
                    tracing::error!(%error, service = %service.id, "Failed to start an actor");
                    return;
                }
            }
        }
    }

    /// Takes the actor of a service that has ended out of the tree.
    pub(crate) async fn remove_actor(&self, service: &Service) {
        let Some(tree) = self.tree.get() else { return };
        if let Err(error) =
            tree.remove_child(&path_of(&service.tenant), &service.id.to_string()).await
        {
            tracing::warn!(%error, service = %service.id, "Failed to remove an actor");
        }
    }
}

async fn keep_cell(kernel: Arc<Kernel>, tenant: Arc<Tenant>) -> Result<(), String> {
    let monitor = Arc::clone(&kernel.monitor);
    let reports = TenantReports { kernel, tenant: Arc::clone(&tenant) };
    tenant.host.keep(monitor, Arc::new(reports)).await
}

/// Monitor: tells the audit log of limits that were exceeded, and keeps gauges fresh.
async fn observe(kernel: Arc<Kernel>) -> Result<(), String> {
    tokio::select! {
        end = kernel.violations.tell(&kernel.audit) => end,
        end = watch_figures(&kernel) => end,
    }
}

/// Keeps the gauges of the node's services fresh between scrapes.
async fn watch_figures(kernel: &Kernel) -> Result<(), String> {
    let mut latest = kernel.monitor.latest();
    loop {
        let count = i64::try_from(kernel.registry.count()).unwrap_or(i64::MAX);
        kernel.metrics.active_services.set(count);
        if latest.changed().await.is_err() {
            return Err("the record keeper is gone".to_owned());
        }
        // At most twice a second, however much happens.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Network: watches the gateway, which the heart keeps running.
async fn watch_gateway(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        let addresses = tokio::fs::read(kernel.home.addresses()).await.unwrap_or_default();
        let addresses: serde_json::Value = serde_json::from_slice(&addresses).unwrap_or_default();
        let up = match addresses.get("gateway").and_then(|address| address.as_str()) {
            Some(address) => {
                let connect = tokio::net::TcpStream::connect(address.to_owned());
                matches!(tokio::time::timeout(Duration::from_secs(2), connect).await, Ok(Ok(_)))
            }
            None => false,
        };
        kernel.metrics.gateway_up.set(i64::from(up));
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}

/// Hardware: samples what the machine has left.
async fn sample_machine(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        if let Ok(text) = tokio::fs::read_to_string("/proc/meminfo").await {
            let available = text
                .lines()
                .find_map(|line| line.strip_prefix("MemAvailable:"))
                .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<i64>().ok());
            kernel.metrics.memory_available.set(available.unwrap_or(0).saturating_mul(1_024));
        }
        if let Ok(text) = tokio::fs::read_to_string("/proc/loadavg").await {
            let load = text.split(' ').next().and_then(|first| first.parse().ok());
            kernel.metrics.load.set(load.unwrap_or(0.0));
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}

/// Connections wait in the sockets until the kernel knows what lives.
async fn until_open(kernel: &Kernel) {
    clock::until(&mut kernel.open.subscribe(), |open| *open).await;
}

async fn serve_tcp(kernel: Arc<Kernel>, listeners: Arc<Listeners>) -> Result<(), String> {
    until_open(&kernel).await;
    let incoming = limited(transports(listeners.tcp().map_err(|error| error.to_string())?));
    api::router(kernel).await.serve_with_incoming(incoming).await.map_err(|e| e.to_string())
}

async fn serve_unix(kernel: Arc<Kernel>, listeners: Arc<Listeners>) -> Result<(), String> {
    until_open(&kernel).await;
    let incoming = limited(listeners.unix().map_err(|error| error.to_string())?);
    api::router(kernel).await.serve_with_incoming(incoming).await.map_err(|e| e.to_string())
}

async fn serve_metrics(kernel: Arc<Kernel>, listeners: Arc<Listeners>) -> Result<(), String> {
    let incoming = listeners.metrics().map_err(|error| error.to_string())?;
    api::metrics::serve(kernel, incoming).await
}
