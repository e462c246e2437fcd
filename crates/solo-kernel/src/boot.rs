//! Start and end of the kernel.
//!
//! Start: take the descriptors, open what is kept, learn which cells live, register all services,
//! start the tree, say that the API answers. End: stop all services within their time, tell the heart.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_capability::Authority;
use solo_heart::protocol::descriptors;
use solo_heart::take_descriptor;
use solo_tls::{Incoming, Protocol, ServerTls, TlsFiles};
use solo_types::Usage;
use tokio_stream::wrappers::UnixListenerStream;

use crate::audit::{self, Audit, Entry, Sinks};
use crate::cells::CellHost;
use crate::heart::{Heart, HeartNews};
use crate::holdings::Holdings;
use crate::home::Home;
use crate::kernel::{Kernel, Parts};
use crate::monitor::Monitor;
use crate::monitor::metrics::Metrics;
use crate::programs::{self, Programs};
use crate::secrets::Secrets;
use crate::service::{Service, State};
use crate::store::{self, Store};
use crate::tenants::Tenants;
use crate::veil::Veil;
use crate::{actors, admin, clock, keyfile};

/// Threads of the kernel: it waits for disks and cells more than it computes.
const THREADS: usize = 2;

/// A kernel that starts waits so long for a cell that lives; then it serves, and learns later.
const ADOPT_TIMEOUT: Duration = Duration::from_millis(400);

/// Its list of instances may take longer by so much, ten times what it takes on a machine that rests:
/// without the list each service asks for itself.
const ADOPT_TIME_PER_SERVICE: Duration = Duration::from_micros(200);

/// Between two signs of life; the heart takes five missing ones for death.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Services are given this long to stop when the operator ends Solo without saying how long.
const SHUTDOWN_TIMEOUT_MS: u64 = 30_000;

/// What the role is started with.
#[derive(Debug, Clone)]
pub struct KernelOptions {
    /// `$SOLO_HOME`.
    pub home: PathBuf,
    /// For listeners that are not loopback; without it such a listener is not served.
    pub tls: Option<TlsFiles>,
}

/// Why the kernel could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Started by something else than a heart.
    #[error("failed to take descriptor {number} from the heart")]
    Descriptor {
        /// Which one.
        number: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The home cannot be used.
    #[error("failed to {step} in {home}")]
    Home {
        /// What was tried.
        step: &'static str,
        /// Where.
        home: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error("failed to use the database: {0}")]
    Store(String),
    /// The signing key cannot be used.
    #[error("the root key {path} cannot be used: {why}")]
    RootKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The owner's token cannot be used.
    #[error("the owner's token {path} cannot be used: {why}")]
    AdminToken {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The settings of the audit log cannot be used.
    #[error("the audit log is not set up: {0}")]
    AuditSettings(String),
    /// The settings of external programs cannot be used.
    #[error("programs are not set up: {0}")]
    ProgramSettings(String),
    /// The key of the secrets cannot be used.
    #[error("the key of the secrets {path} cannot be used: {why}")]
    SecretsKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The tree gave up, or something that must not fail did.
    #[error("the kernel ended: {0}")]
    Ended(String),
}

/// Runs the kernel until Solo ends.
///
/// # Errors
/// [`KernelError`]. The heart starts the kernel again.
pub fn run(options: KernelOptions) -> Result<(), KernelError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("kernel")
        .enable_all()
        .build()
        .map_err(|source| KernelError::Home {
            step: "start threads",
            home: options.home.clone(),
            source,
        })?;
    let outcome = runtime.block_on(serve(options));
    // Nothing that is still on its way was acknowledged.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn serve(options: KernelOptions) -> Result<(), KernelError> {
    let control = UnixStream::from(descriptor(descriptors::KERNEL_CONTROL)?);
    let tcp = TcpListener::from(descriptor(descriptors::KERNEL_API_TCP)?);
    let unix = UnixListener::from(descriptor(descriptors::KERNEL_API_UNIX)?);
    let metrics = TcpListener::from(descriptor(descriptors::KERNEL_METRICS)?);
    let home_error = |step| {
        let home = options.home.clone();
        move |source| KernelError::Home { step, home, source }
    };
    let home = Home::open(&options.home).map_err(home_error("make directories"))?;
    let (heart, news) = Heart::connect(control).await.map_err(home_error("talk to the heart"))?;
    let kernel = open(&home, heart).await?;
    load(&kernel).await?;
    kernel.compilers.warm().await;
    kernel.tenants.end_strays().await;
    kernel.programs.adopt().await;
    let failed = kernel.metrics.tls_failed.clone();
    let tls = options.tls.map(|files| ServerTls::open(files, move || failed.inc()));
    let listeners = Listeners { tcp, unix, metrics, tls };
    let tree = actors::start(&kernel, &listeners).map_err(KernelError::Ended)?;
    adopt(&kernel).await;
    let version = env!("CARGO_PKG_VERSION");
    kernel.monitor.event("", "", "kernel_started", &format!("kernel {version} is up"));
    // What lives is known. An operation on a service whose actor is yet to start waits in its queue.
    kernel.open.send_replace(true);
    kernel.heart.ready().await.map_err(|error| KernelError::Ended(error.to_string()))?;
    tracing::info!(version, node = %kernel.node, services = kernel.registry.count(), "The kernel is up");
    for service in kernel.registry.all() {
        kernel.add_actor(&service).await;
    }
    wait_for_the_end(&kernel, &tree, news).await
}

/// The listening sockets that the heart bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    tcp: TcpListener,
    unix: UnixListener,
    metrics: TcpListener,
    /// For those that are not loopback.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Listeners {
    /// Connections over copies of the sockets, for a server that may be started again.
    pub(crate) fn tcp(&self) -> std::io::Result<Incoming> {
        self.incoming(&self.tcp, Protocol::Http2)
    }

    pub(crate) fn unix(&self) -> std::io::Result<UnixListenerStream> {
        let copy = self.unix.try_clone()?;
        copy.set_nonblocking(true)?;
        Ok(UnixListenerStream::new(tokio::net::UnixListener::from_std(copy)?))
    }

    pub(crate) fn metrics(&self) -> std::io::Result<Incoming> {
        self.incoming(&self.metrics, Protocol::Http1)
    }

    fn incoming(&self, listener: &TcpListener, protocol: Protocol) -> std::io::Result<Incoming> {
        let copy = listener.try_clone()?;
        copy.set_nonblocking(true)?;
        Incoming::new(tokio::net::TcpListener::from_std(copy)?, self.tls.as_ref(), protocol)
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            tcp: self.tcp.try_clone()?,
            unix: self.unix.try_clone()?,
            metrics: self.metrics.try_clone()?,
            tls: self.tls.clone(),
        })
    }
}

fn descriptor(number: i32) -> Result<std::os::fd::OwnedFd, KernelError> {
    take_descriptor(number).map_err(|source| KernelError::Descriptor { number, source })
}

async fn open(home: &Home, heart: Heart) -> Result<Arc<Kernel>, KernelError> {
    let store = Store::open(&home.database()).map_err(|e| KernelError::Store(e.to_string()))?;
    let node = store
        .run(|t| store::node(t))
        .await
        .map_err(|error| KernelError::Store(error.to_string()))?;
    let veil = store.run(|t| store::veil_key(t)).await;
    let veil = Veil::new(&veil.map_err(|error| KernelError::Store(error.to_string()))?);
    let in_home = |step| {
        let home = home.run();
        move |source| KernelError::Home { step, home, source }
    };
    let rows = store.run(|t| store::load_tenants(t)).await;
    let rows = rows.map_err(|error| KernelError::Store(error.to_string()))?;
    let tenants =
        Tenants::open(home, &heart, rows).map_err(in_home("open what the tenants have"))?;
    let monitor = Monitor::open(home.records()).map_err(in_home("open the records"))?;
    let metrics = Metrics::new().map_err(|error| KernelError::Ended(error.to_string()))?;
    let settings = audit::read_settings(home.root())
        .map_err(|problem| KernelError::AuditSettings(problem.cause))?;
    let sinks = Sinks::open(&home.audit_sinks(), settings.sinks)
        .map_err(in_home("open what the audit sinks were given"))?;
    let audit = Audit::new(home.audit()).with(settings.retention, sinks);
    let holdings = Holdings::new(root_key(home)?);
    let (held, revoked) = store
        .run(|t| store::load_grants(t))
        .await
        .map_err(|error| KernelError::Store(error.to_string()))?;
    holdings.restore(held, revoked);
    let uses = store
        .run(|t| store::load_uses(t, clock::unix_ms() / 1_000))
        .await
        .map_err(|error| KernelError::Store(error.to_string()))?;
    holdings.restore_uses(uses);
    admin::ensure(home, &store, &holdings).await?;
    let all = tenants.all();
    let names: Vec<&str> = all.iter().map(|tenant| tenant.name.as_str()).collect();
    let secrets = Secrets::open(home, store.clone(), &names).await?;
    let settings = programs::read_settings(home.root())
        .map_err(|problem| KernelError::ProgramSettings(problem.cause))?;
    let programs = Arc::new(Programs::new(home.clone(), heart.clone(), settings));
    let home = home.clone();
    Ok(Kernel::new(Parts {
        home,
        node,
        veil,
        store,
        tenants,
        heart,
        monitor,
        metrics,
        holdings,
        secrets,
        audit,
        programs,
    }))
}

/// Reads the signing key, or makes it at the first start.
fn root_key(home: &Home) -> Result<Authority, KernelError> {
    let path = home.root_key();
    let wrong = |why: String| KernelError::RootKey { path: path.clone(), why };
    let make = || Ok(Authority::generate().private_key_bytes());
    let bytes = keyfile::load_or_make(&path, make).map_err(|error| wrong(error.to_string()))?;
    Authority::from_private_key_bytes(&bytes).map_err(|error| wrong(error.to_string()))
}

/// Registers all services that should be. Their actors look at the cells.
async fn load(kernel: &Arc<Kernel>) -> Result<(), KernelError> {
    let rows = kernel
        .store
        .run(|t| store::load_services(t))
        .await
        .map_err(|error| KernelError::Store(error.to_string()))?;
    admin::give_to_old_services(kernel, &rows).await?;
    for row in rows {
        let (id, name, created_at) = (row.id, row.spec.name.clone(), row.created_at);
        let Some(tenant) = kernel.tenants.find(&row.spec.tenant) else {
            // A tenant is removed with its services, or not at all.
            tracing::error!(service = %id, tenant = row.spec.tenant, "A service has no tenant");
            continue;
        };
        kernel.monitor.name_service(&id.to_string(), &tenant.label(name.as_str()));
        let next = row.rollout.as_ref().map(|rollout| Usage::of(&rollout.to_spec));
        let usage = Usage::of(&row.spec).max(next.unwrap_or_default());
        let charge = tenant.charge_anyway(usage);
        let service = Service::new(id, name, tenant, created_at, charge, State::from_row(row));
        kernel.registry.insert(&service);
    }
    Ok(())
}

/// Takes over what a living cell says about its instances, so that the first answer of the API is
/// true already. A cell that does not live, or does not answer, is the actors' business.
async fn adopt(kernel: &Kernel) {
    let services = kernel.registry.all();
    let tenants = kernel.tenants.all();
    let adopting = tenants.iter().map(|tenant| {
        let own = services.iter().filter(|service| Arc::ptr_eq(&service.tenant, tenant));
        adopt_cell(kernel, &tenant.host, own.collect())
    });
    futures_util::future::join_all(adopting).await;
}

async fn adopt_cell(kernel: &Kernel, host: &CellHost, own: Vec<&Arc<Service>>) {
    if kernel.heart.pid(host.cell()).is_none() {
        return;
    }
    let Ok(Ok(cell)) = tokio::time::timeout(ADOPT_TIMEOUT, host.ready()).await else {
        return;
    };
    let services = u32::try_from(own.len()).unwrap_or(u32::MAX);
    let patience = ADOPT_TIMEOUT + ADOPT_TIME_PER_SERVICE.saturating_mul(services);
    let Ok(Ok(all)) = tokio::time::timeout(patience, cell.snapshot("")).await else {
        tracing::warn!(
            services,
            "The cell did not say in time what it hosts; each service asks it"
        );
        return;
    };
    let mut by_service = HashMap::<String, wire::SnapshotResponse>::new();
    // A child is no instance of the service whose code it runs.
    for instance in all.instances.into_iter().filter(|instance| instance.parent.is_empty()) {
        by_service.entry(instance.service.clone()).or_default().instances.push(instance);
    }
    for route in all.routes {
        by_service.entry(route.service.clone()).or_default().routes.push(route);
    }
    for service in own {
        if let Some(hosted) = by_service.get(&service.id.to_string()) {
            service.with_state(|state| {
                state.adopt(service.id, hosted);
                state.adopted_in = Some(cell.incarnation.clone());
            });
        }
    }
}

async fn wait_for_the_end(
    kernel: &Arc<Kernel>,
    tree: &solo_supervisor::SupervisorHandle,
    mut news: HeartNews,
) -> Result<(), KernelError> {
    // Goes on while the services stop.
    let mut beating = tokio::spawn(beat(Arc::clone(kernel)));
    tokio::select! {
        // When the API has begun the end already, this comes as the heart's answer to it.
        _ = clock::until(&mut news.terminate, |terminate| *terminate) => {
            if !*kernel.ending.borrow() {
                let entry = Entry::new("operator", "shutdown", "node");
                if let Err(problem) = kernel.audit.append(entry).await {
                    // Ending is what an operator does about a disk that fails: not refused for that.
                    tracing::error!(%problem, "Failed to audit the shutdown");
                }
            }
            shut_down(Arc::clone(kernel), SHUTDOWN_TIMEOUT_MS).await;
        }
        _ = &mut news.line => return Err(KernelError::Ended("the heart is gone".into())),
        beat = &mut beating => {
            return Err(KernelError::Ended(beat.unwrap_or_else(|error| error.to_string())));
        }
        end = tree.wait() => {
            return Err(KernelError::Ended(format!("the tree of actors gave up: {end:?}")));
        }
    }
    // The heart ends this process; its signal comes at once.
    tokio::time::sleep(Duration::from_secs(10)).await;
    Ok(())
}

/// Tells the heart that this kernel lives, until that is not possible any more.
async fn beat(kernel: Arc<Kernel>) -> String {
    loop {
        tokio::time::sleep(BEAT_INTERVAL).await;
        if let Err(error) = kernel.heart.ready().await {
            return error.to_string();
        }
    }
}

/// Stops all services and then, through the heart, Solo. Runs once.
pub(crate) async fn shut_down(kernel: Arc<Kernel>, timeout_ms: u64) {
    if kernel.ending.send_replace(true) {
        return;
    }
    let services = kernel.registry.all();
    kernel.monitor.event("", "", "shutting_down", &format!("stopping {} services", services.len()));
    let all =
        futures_util::future::join_all(services.iter().map(|service| service.quiesce(timeout_ms)));
    let budget = Duration::from_millis(timeout_ms) + Duration::from_secs(3);
    if tokio::time::timeout(budget, all).await.is_err() {
        tracing::warn!("Some services did not stop in time");
    }
    if let Err(error) = kernel.heart.stop().await {
        tracing::error!(%error, "Failed to tell the heart to end");
    }
}
