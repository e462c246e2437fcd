//! The tree of SPEC S2: which actors there are, in which order they start, who is restarted with whom.
//!
//! root (one_for_one) > system (rest_for_one: audit, registry, monitor), drivers (one_for_one:
//! filesystem, network, hardware), services (one_for_one: per tenant), api.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_supervisor::{
    ChildContext, ChildSpec, Strategy, SupervisorHandle, SupervisorSpec, TreeError,
};
use solo_types::{RestartMode, RestartPolicy};

use crate::api::connections::{limited, transports};
use crate::boot::Listeners;
use crate::cells::InstanceReports;
use crate::kernel::{Kernel, TENANT};
use crate::service::{Service, actor};
use crate::{api, audit, certificates, clock, store};

/// An actor that does not end by itself is aborted after this time: none holds anything that needs
/// longer, and the heart waits.
const STOP_MS: u64 = 2_000;

/// Between two sweeps of the registry: how long an orphan in a cell may live.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Between two looks at the disk for artifacts that nothing refers to.
const ARTIFACT_SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// Between two samples of the machine.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// Path of the supervisor that has the services of the one tenant.
const TENANT_PATH: &str = "services/default";

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
                ],
            ),
            supervisor(
                "services",
                Strategy::OneForOne,
                vec![supervisor(
                    TENANT,
                    Strategy::OneForOne,
                    vec![worker(kernel, kernel.host.cell(), keep_cell)],
                )],
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

impl Kernel {
    /// Puts the actor of a service into the tree. One that is there already stays.
    pub(crate) async fn add_actor(self: &Arc<Self>, service: &Arc<Service>) {
        // It may have been killed since it was listed.
        if self.registry.find_id(&service.id.to_string()).is_none() {
            return;
        }
        let (kernel, shared) = (Arc::clone(self), Arc::clone(service));
        let child = ChildSpec::worker(
            &service.id.to_string(),
            RestartMode::Transient,
            STOP_MS,
            move |context| actor::run(Arc::clone(&kernel), Arc::clone(&shared), context),
        );
        let Some(tree) = self.tree.get() else { return };
        match tree.add_child(TENANT_PATH, child).await {
            Ok(()) | Err(TreeError::NameTaken { .. }) => {}
            Err(error) => {
                // The sweep tries again.
                tracing::error!(%error, service = %service.id, "Failed to start an actor");
            }
        }
    }

    /// Takes the actor of a service that has ended out of the tree.
    pub(crate) async fn remove_actor(&self, service: &Service) {
        let Some(tree) = self.tree.get() else { return };
        if let Err(error) = tree.remove_child(TENANT_PATH, &service.id.to_string()).await {
            tracing::warn!(%error, service = %service.id, "Failed to remove an actor");
        }
    }
}

async fn keep_cell(kernel: Arc<Kernel>) -> Result<(), String> {
    let services: Arc<dyn InstanceReports> = kernel.clone();
    kernel.host.keep(Arc::clone(&kernel.monitor), services).await
}

/// Registry: ends what no service claims, starts actors that got lost with their supervisor,
/// forgets what has had its time.
async fn sweep(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        let forgotten = kernel.store.run(|t| store::forget_old(t, clock::unix_ms())).await;
        for service in forgotten.map_err(|error| error.to_string())? {
            kernel.monitor.forget_service(&service.to_string());
        }
        kernel.holdings.prune();
        end_orphans(&kernel).await;
        let running = actors_of_services(&kernel);
        for service in kernel.registry.all() {
            if !running.contains(&service.id.to_string()) {
                kernel.add_actor(&service).await;
            }
        }
        kernel.violations.retain(|name| kernel.registry.find(TENANT, name).is_some());
        let count = i64::try_from(kernel.registry.count()).unwrap_or(i64::MAX);
        kernel.metrics.active_services.set(count);
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}

/// Names of the actors that are in the tree: one look instead of a question per service.
fn actors_of_services(kernel: &Kernel) -> HashSet<String> {
    let Some(tree) = kernel.tree.get() else { return HashSet::new() };
    let mut node = tree.snapshot();
    for name in TENANT_PATH.split('/') {
        let Some(below) = node.children.into_iter().find(|child| child.name == name) else {
            return HashSet::new();
        };
        node = below;
    }
    node.children.into_iter().map(|child| child.name).collect()
}

/// Ends instances and routes of services that are not there: of deployments that a dead kernel never
/// finished, and of operations that a kill cut short.
async fn end_orphans(kernel: &Kernel) {
    let Some(cell) = kernel.host.current() else { return };
    // A deployment under way has instances that the registry does not know yet.
    if kernel.registry.deploying() {
        return;
    }
    let Ok(snapshot) = cell.snapshot("").await else { return };
    let is_service = |id: &str| kernel.registry.find_id(id).is_some();
    let orphans = || {
        let routes = snapshot.routes.iter().map(|route| &route.service);
        let routes: Vec<String> = routes.filter(|id| !is_service(id)).cloned().collect();
        (unclaimed(&snapshot.instances, is_service), routes)
    };
    // One may have begun and ended meanwhile: the registry is asked again behind the second look.
    let is_nothing =
        |(instances, routes): (Vec<_>, Vec<_>)| instances.is_empty() && routes.is_empty();
    if is_nothing(orphans()) || kernel.registry.deploying() {
        return;
    }
    let (orphans, routes) = orphans();
    for service in routes {
        tracing::warn!(service, "Removing a route that no service claims");
        if let Err(problem) = cell.unroute(service).await {
            tracing::warn!(%problem, "Failed to remove a route");
        }
    }
    if orphans.is_empty() {
        return;
    }
    tracing::warn!(count = orphans.len(), "Ending instances that no service claims");
    if let Err(problem) = cell.stop(orphans, true, None, 0, "stopped").await {
        tracing::warn!(%problem, "Failed to end orphans");
    }
}

/// Ids of instances whose service is not there. Children live and end with their parents, also when
/// the service of their code is gone.
fn unclaimed(instances: &[wire::Instance], is_service: impl Fn(&str) -> bool) -> Vec<String> {
    let unclaimed =
        |instance: &&wire::Instance| instance.parent.is_empty() && !is_service(&instance.service);
    instances.iter().filter(unclaimed).map(|instance| instance.id.clone()).collect()
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

/// Filesystem: removes artifacts that nothing refers to.
async fn sweep_artifacts(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        let referenced = kernel.store.run(|t| store::referenced_digests(t)).await;
        let referenced: HashSet<String> =
            referenced.map_err(|error| error.to_string())?.into_iter().collect();
        let removed = kernel.artifacts.sweep(&referenced).map_err(|error| error.to_string())?;
        if removed > 0 {
            tracing::info!(removed, "Removed artifacts that nothing refers to");
        }
        tokio::time::sleep(ARTIFACT_SWEEP_INTERVAL).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_no_orphans() {
        let instance = |id: &str, service: &str, parent: &str| wire::Instance {
            id: id.into(),
            service: service.into(),
            parent: parent.into(),
            ..wire::Instance::default()
        };
        let hosted = [
            instance("0000beef-1-1", "0000beef-1", ""),
            instance("0000beef-2-1", "0000beef-2", ""),
            // The service of its code was killed; its parent lives.
            instance("0000beef-1-1.1", "0000beef-2", "0000beef-1-1"),
        ];
        assert_eq!(unclaimed(&hosted, |id| id == "0000beef-1"), ["0000beef-2-1"]);
    }
}
