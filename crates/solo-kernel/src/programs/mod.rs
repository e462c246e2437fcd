//! Sandboxes of external programs: made ahead of need, sealed for one instance, ended with it.
//!
//! The kernel says for whom a sandbox is and what is in it, once; who starts and tends the program is the
//! cell of its tenant, so that programs are restarted also while no kernel is there. A sandbox is used for
//! one instance only.

mod disk;
mod seal;
mod settings;
mod tend;
mod volumes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use solo_heart::protocol::CellKind;
use solo_heart::protocol::NO_CONTROL_GROUPS;
use solo_types::{InstanceId, Mount, Problem, ProblemKind, ServiceId, ServiceSpec, VolumeName};
use tokio::sync::{Notify, Semaphore};

use crate::heart::{Heart, HeartError};
use crate::home::Home;
use crate::tenants::Tenant;
use settings::Settings;

pub(crate) use disk::watch as watch_volumes;
pub(crate) use seal::Code;
pub(crate) use settings::read as read_settings;
pub(crate) use tend::tend;
pub(crate) use volumes::{Listed, Made, has_any as has_volumes};

/// Ends the names of the sockets of sandboxes.
const SOCKET: &str = "sock";

/// Files that one look goes through, whoever put them there.
const SOCKETS_MAX: usize = 65_536;

/// Begins the name of each cell of a program.
const CELL_PREFIX: &str = "process-";

/// Sandboxes that are sealed at one time: it takes threads, and the system mounts one after the other.
const SEALS_MAX: usize = 8;

/// A kernel that starts waits so long for the cells of programs to say for whom they are.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The sandbox of one instance.
#[derive(Debug, Default)]
struct Sandbox {
    /// Its cell, once it is sealed. Held while it is being made.
    cell: Arc<tokio::sync::Mutex<Option<String>>>,
    /// The same, to be looked at.
    shown: Mutex<Option<String>>,
}

/// All sandboxes of the node.
#[derive(Debug)]
pub(crate) struct Programs {
    home: Home,
    heart: Heart,
    pub(crate) settings: Settings,
    /// By instance.
    sandboxes: Mutex<HashMap<String, Arc<Sandbox>>>,
    /// Cells that are ready and nobody's, the oldest first.
    pool: Mutex<Vec<String>>,
    next: AtomicU64,
    seals: Semaphore,
    /// Cells that somebody took who then gave up.
    strays: Mutex<Vec<String>>,
    /// Why there is no pool.
    no_pool: Mutex<Option<String>>,
    /// Something ended, or was taken from the pool.
    changed: Notify,
    /// Held while volumes are made: two that want the same one take turns.
    making: Mutex<()>,
}

/// A cell that was taken from the pool. Ended unless it is kept.
struct Taken<'a> {
    programs: &'a Programs,
    cell: Option<String>,
}

impl Taken<'_> {
    fn keep(mut self) -> String {
        self.cell.take().unwrap_or_default()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            self.programs.strays.lock().push(cell);
            self.programs.changed.notify_one();
        }
    }
}

/// Who wants a sandbox, and with what in it.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) instance: &'a str,
    pub(crate) service: ServiceId,
    /// Its cell is shown the socket.
    pub(crate) tenant: &'a Tenant,
    pub(crate) code: &'a Code,
    pub(crate) spec: &'a ServiceSpec,
}

impl Programs {
    pub(crate) fn new(home: Home, heart: Heart, settings: Settings) -> Self {
        Self {
            home,
            heart,
            settings,
            sandboxes: Mutex::default(),
            pool: Mutex::default(),
            next: AtomicU64::new(1),
            seals: Semaphore::new(SEALS_MAX),
            strays: Mutex::default(),
            no_pool: Mutex::default(),
            changed: Notify::new(),
            making: Mutex::default(),
        }
    }

    /// Checks that the operator shows this program of the machine to programs.
    ///
    /// # Errors
    /// `HOST_PATH_NOT_SHOWN`, `HOST_PATH_MISSING`.
    pub(crate) fn check_host_path(&self, path: &std::path::Path) -> Result<(), Problem> {
        seal::check_host_path(&self.settings, path)
    }

    /// Checks that a program can be given `mounts`, and makes the volumes that are not there yet.
    ///
    /// # Errors
    /// `INVALID_MOUNT`, `NO_SUCH_VOLUME`, `NO_SUCH_DEVICE`, `VOLUME_UNUSABLE`.
    pub(crate) async fn make_volumes(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        mounts: &[Mount],
    ) -> Result<Made, Problem> {
        if mounts.is_empty() {
            return Ok(Made::default());
        }
        let (own, tenant, mounts) = (Arc::clone(self), Arc::clone(tenant), mounts.to_vec());
        blocking(move || {
            let _turn = own.making.lock();
            volumes::make(&own.settings, own.home.root(), &tenant, &mounts)
        })
        .await
    }

    /// All volumes of a tenant, with what they take.
    ///
    /// # Errors
    /// A task was lost.
    pub(crate) async fn volumes(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
    ) -> Result<Vec<Listed>, Problem> {
        let (own, tenant) = (Arc::clone(self), Arc::clone(tenant));
        blocking(move || Ok(volumes::list(&own.settings, &tenant))).await
    }

    /// Removes a volume that nobody is given, which the caller has made sure of.
    ///
    /// # Errors
    /// `NO_SUCH_VOLUME`, `VOLUME_OF_MACHINE`, `VOLUME_UNUSABLE`.
    pub(crate) async fn remove_volume(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        name: VolumeName,
    ) -> Result<(), Problem> {
        let (own, tenant) = (Arc::clone(self), Arc::clone(tenant));
        blocking(move || volumes::remove(&own.settings, &tenant, &name)).await
    }

    /// Makes sure that an instance has a sandbox that lives.
    ///
    /// # Errors
    /// `SANDBOX_REFUSED`: the machine does not give what it takes; `SANDBOX_LOST`; `CELL_DOWN`.
    pub(crate) async fn provide(&self, wish: Wish<'_>) -> Result<(), Problem> {
        let (sandbox, mut cell) = loop {
            let sandbox =
                Arc::clone(self.sandboxes.lock().entry(wish.instance.to_owned()).or_default());
            let cell = Arc::clone(&sandbox.cell).lock_owned().await;
            // One that was ended meanwhile is nobody's: what is made for it would never be ended.
            if self.is_current(wish.instance, &sandbox) {
                break (sandbox, cell);
            }
        };
        if cell.as_ref().is_some_and(|cell| self.heart.pid(cell).is_some()) {
            return Ok(());
        }
        disk::check_room(&self.settings, self.home.root(), &wish.spec.mounts)?;
        let made = self.make(&wish).await?;
        *sandbox.shown.lock() = Some(made.clone());
        *cell = Some(made);
        Ok(())
    }

    async fn make(&self, wish: &Wish<'_>) -> Result<String, Problem> {
        let socket = self.socket(wish.tenant.host.cell(), wish.instance);
        let own = solo_heart::program_user(self.home.root(), &wish.service.to_string());
        let user = volumes::user(wish.tenant, &wish.spec.mounts).or(own);
        let seal = seal::message(&self.settings, wish, user, &socket)?;
        let closed = |error: tokio::sync::AcquireError| Problem::internal(error.to_string());
        let _permit = self.seals.acquire().await.map_err(closed)?;
        let taken = Taken { programs: self, cell: Some(self.take().await?) };
        let cell = taken.cell.clone().unwrap_or_default();
        let control = self.home.cell_socket(&cell);
        blocking(move || {
            // Of a sandbox before this one: its program is gone with it.
            match std::fs::remove_file(&socket) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Problem::internal(format!("{}: {error}", socket.display())));
                }
                _ => {}
            }
            seal::seal(&control, seal)
        })
        .await?;
        Ok(taken.keep())
    }

    /// A prepared cell, from the pool if there is one.
    async fn take(&self) -> Result<String, Problem> {
        loop {
            let next = {
                let mut pool = self.pool.lock();
                (!pool.is_empty()).then(|| pool.remove(0))
            };
            self.changed.notify_one();
            match next {
                Some(cell) if self.heart.pid(&cell).is_some() => return Ok(cell),
                Some(_) => {}
                None => break,
            }
        }
        self.spawn().await
    }

    /// A cell whose root has what all have.
    async fn spawn(&self) -> Result<String, Problem> {
        let cell = loop {
            let cell = format!("{CELL_PREFIX}{}", self.next.fetch_add(1, Ordering::Relaxed));
            // Of an earlier kernel.
            if self.heart.pid(&cell).is_none() {
                break cell;
            }
        };
        // Before it is asked for: who gives up while the heart starts it leaves one that is to be ended.
        let taken = Taken { programs: self, cell: Some(cell.clone()) };
        if let Err(error) = self.heart.spawn(&cell, CellKind::Process, None).await {
            if matches!(error, HeartError::SpawnFailed { .. }) {
                // There is none.
                taken.keep();
            }
            return Err(not_spawned(error));
        }
        let (control, heart) = (self.home.cell_socket(&cell), self.heart.clone());
        let settings = self.settings.clone();
        blocking(move || {
            let lives = || heart.pid(&cell).is_some();
            seal::prepare(&control, &settings, lives)
        })
        .await?;
        Ok(taken.keep())
    }

    /// Ends the sandboxes of instances that are over, and all that runs in them.
    pub(crate) async fn release(&self, host: &str, instances: &[String]) {
        for instance in instances {
            if self.end_sandbox(instance).await {
                remove_socket(&self.socket(host, instance)).await;
            }
        }
    }

    /// False: there is none.
    async fn end_sandbox(&self, instance: &str) -> bool {
        let Some(sandbox) = self.sandboxes.lock().get(instance).map(Arc::clone) else {
            return false;
        };
        // Whoever is making it is waited for. It stays in the table until it is ended: who gives up here leaves
        // it to who comes next.
        let mut cell = sandbox.cell.lock().await;
        if let Some(name) = cell.as_ref() {
            self.end(name).await;
        }
        *cell = None;
        if self.is_current(instance, &sandbox) {
            self.sandboxes.lock().remove(instance);
        }
        true
    }

    /// Whether this is what the table has of an instance.
    fn is_current(&self, instance: &str, sandbox: &Arc<Sandbox>) -> bool {
        self.sandboxes.lock().get(instance).is_some_and(|current| Arc::ptr_eq(current, sandbox))
    }

    /// Ends all sandboxes of a service that is over.
    pub(crate) async fn release_all(&self, host: &str, service: ServiceId) {
        let of_service = |instance: &&String| {
            instance.parse::<InstanceId>().is_ok_and(|instance| instance.service == service)
        };
        let instances: Vec<String> =
            self.sandboxes.lock().keys().filter(of_service).cloned().collect();
        self.release(host, &instances).await;
    }

    /// Whether an instance has a sandbox, or gets one.
    pub(crate) fn has(&self, instance: &str) -> bool {
        self.sandboxes.lock().contains_key(instance)
    }

    /// Takes over the cells of an earlier kernel.
    pub(crate) async fn adopt(&self) {
        let living = self.heart.living();
        let own = living.into_iter().filter(|(cell, _)| cell.starts_with(CELL_PREFIX));
        let asking = own.map(|(cell, _)| async move {
            let control = self.home.cell_socket(&cell);
            let asked = tokio::task::spawn_blocking(move || seal::hello(&control));
            let identity = tokio::time::timeout(ADOPT_TIMEOUT, asked).await;
            let sealed = match identity {
                Ok(Ok(Ok(identity))) => identity.sealed,
                _ => {
                    tracing::warn!(cell, "The cell of a program does not answer and is ended");
                    self.end(&cell).await;
                    return;
                }
            };
            match sealed {
                Some(sealed) => {
                    let shown = Mutex::new(Some(cell.clone()));
                    let cell = Arc::new(tokio::sync::Mutex::new(Some(cell)));
                    let sandbox = Sandbox { cell, shown };
                    self.sandboxes.lock().insert(sealed.instance, Arc::new(sandbox));
                }
                // What operators show may have changed since it was prepared.
                None => self.end(&cell).await,
            }
        });
        futures_util::future::join_all(asking).await;
    }

    async fn end(&self, cell: &str) {
        if let Err(error) = self.heart.kill(cell).await {
            tracing::error!(%error, cell, "Failed to have the cell of a program ended");
        }
    }

    /// Where the cell of a tenant reaches the sandbox of an instance.
    fn socket(&self, host: &str, instance: &str) -> PathBuf {
        self.home.program_sockets(host).join(format!("{instance}.{SOCKET}"))
    }

    /// Sockets that there are, also those of sandboxes that are gone, by instance.
    async fn sockets(&self) -> HashMap<String, PathBuf> {
        let all = self.home.all_program_sockets();
        let listed = tokio::task::spawn_blocking(move || {
            let hosts = std::fs::read_dir(all).into_iter().flatten().flatten();
            let files = hosts.flat_map(|host| std::fs::read_dir(host.path()).into_iter().flatten());
            let instance = |path: PathBuf| {
                let is_socket = path.extension().is_some_and(|extension| extension == SOCKET);
                is_socket.then_some((path.file_stem()?.to_str()?.to_owned(), path))
            };
            let files = files.flatten().take(SOCKETS_MAX);
            files.filter_map(|file| instance(file.path())).collect()
        });
        // One that cannot be listed now is found by the next look.
        listed.await.unwrap_or_default()
    }
}

async fn remove_socket(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "Failed to remove a socket");
    }
}

fn not_spawned(error: HeartError) -> Problem {
    match error {
        HeartError::SpawnFailed { error, .. } if error == NO_CONTROL_GROUPS => Problem::new(
            ProblemKind::FailedPrecondition,
            "SANDBOX_REFUSED",
            "programs run in control groups, and there are none that Solo may use",
        )
        .remedy(
            "run Solo as root, or as a systemd service with Delegate=yes; `solo doctor` tells what \
             is there, `solo up --sandbox-without control_group` does without limits on memory and \
             processes of programs",
        ),
        error => Problem::new(ProblemKind::Unavailable, "SANDBOX_LOST", error.kind())
            .remedy("try again; `solo doctor` checks the machine"),
    }
}

/// Work that waits for the disk or for another process, on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal(error.to_string())))
}
