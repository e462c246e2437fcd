//! The wasm cell: one process that hosts the WebAssembly services of one tenant.
//!
//! Layers, each on the one before: `message`; `slot`, what others see of an instance, with `wait`,
//! `monitor` and `violations`; `route`; `host`, the functions that guests import; `runner`, one guest
//! in its store; `instance`, the supervised actor; `cell`, the set of instances; `server`, the
//! protocol. Scheduler and mailbox are those of `solo-actor`.
//!
//! Guests run on its threads, the protocol and timers on a tokio runtime of their own, so that a busy
//! guest never slows an answer to the kernel. The cell goes on by itself while no kernel is there. It ends when it is killed.

mod artifact;
mod cell;
mod child;
mod clock;
mod failure;
mod faults;
mod grants;
mod group;
mod health;
mod host;
mod inbox;
mod instance;
mod lifecycle;
mod limits;
pub mod local;
pub(crate) mod message;
mod monitor;
mod output;
mod process;
mod quota;
mod route;
mod runner;
mod secrets;
mod server;
mod service;
mod slot;
mod source;
mod storage;
mod violations;
mod wait;
mod warmth;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, setrlimit};
use parking_lot::RwLock;
use solo_api::cell::v1::cell_service_server::CellServiceServer;
use solo_types::bounds::{
    CONFIG_KEY_BYTES_MAX, MESSAGE_BYTES_MAX, SECRET_BYTES_MAX, SECRETS_PER_SERVICE_MAX,
};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::info;

use crate::engine::{RunLimits, engine_digest, run_engine};
use crate::reports::Reports;
use artifact::Artifacts;
use cell::Cell;
use grants::Tables;
use instance::Shared;
use route::Routes;
use server::{Identity, Server};
use solo_actor::{Executor, ExecutorOptions};
use storage::Storage;

/// Threads for the protocol: it waits more than it computes.
const IO_THREADS: usize = 2;

/// How much later than the protocol's threads the guests' are scheduled by the operating system, as
/// `nice` counts: what wakes a guest should not wait for one.
const GUEST_NICENESS: i32 = 5;

/// Starts under way at one time, per processor.
const STARTS_PER_PROCESSOR: usize = 4;

/// Messages of the protocol: the largest input or answer and what comes with it; a start that would fit
/// without its secrets fits with them.
const WIRE_BYTES_MAX: usize = MESSAGE_BYTES_MAX
    + (1 << 20)
    + SECRETS_PER_SERVICE_MAX * (SECRET_BYTES_MAX + 2 * CONFIG_KEY_BYTES_MAX);

/// Where and as whom to run.
#[derive(Debug, Clone)]
pub struct WasmCellOptions {
    /// Its id, as given by the heart.
    pub cell: String,
    /// Where it listens.
    pub socket: PathBuf,
    /// Where the sockets of the external programs of its tenant are, `INSTANCE.sock`, as it will see it.
    pub programs: PathBuf,
    /// Where it keeps what its services keep; `None`: they keep nothing.
    pub state: Option<PathBuf>,
    /// Where the runtimes of languages are, `LANGUAGE-ENGINE.cwasm`; `None`: there are none.
    pub runtimes: Option<PathBuf>,
}

/// Why the cell does not run.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The machine does not give what the engine needs (address space, memory maps).
    #[error("failed to make the engine: {0:#}")]
    Engine(wasmtime::Error),
    /// No threads.
    #[error("failed to start threads")]
    Threads(#[source] io::Error),
    /// Another cell answers there.
    #[error("{0} is in use by another process")]
    SocketInUse(PathBuf),
    /// The socket cannot be made.
    #[error("failed to listen on {path}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Serving ended.
    #[error("failed to serve")]
    Serve(#[source] tonic::transport::Error),
    /// No randomness for the name of this incarnation.
    #[error("failed to draw a random number: {0}")]
    Random(getrandom::Error),
}

/// Runs a wasm cell with room for [`RunLimits::of_machine`] instances. Does not return while all is
/// well.
///
/// # Errors
/// [`CellError`]: it could not begin, or the socket broke.
pub fn run(options: WasmCellOptions) -> Result<(), CellError> {
    WasmCell::prepare(options)?.run()
}

/// A wasm cell that listens and does not answer yet. It has done all for which it needs more than its own
/// directories, and has one thread: now it can shut itself in.
#[derive(Debug)]
pub struct WasmCell {
    name: String,
    listener: std::os::unix::net::UnixListener,
    limits: RunLimits,
    programs: PathBuf,
    state: Option<PathBuf>,
    runtimes: Option<PathBuf>,
}

impl WasmCell {
    /// Listens.
    ///
    /// # Errors
    /// As [`run`].
    pub fn prepare(options: WasmCellOptions) -> Result<Self, CellError> {
        Self::prepare_with(options, RunLimits::of_machine())
    }

    fn prepare_with(options: WasmCellOptions, limits: RunLimits) -> Result<Self, CellError> {
        let listener = listen(&options.socket)?;
        let WasmCellOptions { cell: name, socket: _, programs, state, runtimes } = options;
        Ok(Self { name, listener, limits, programs, state, runtimes })
    }

    /// Serves. Does not return while all is well.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(self) -> Result<(), CellError> {
        run_prepared(self)
    }
}

/// Runs a wasm cell with room for `limits`.
///
/// # Errors
/// As [`run`].
pub fn run_with(options: WasmCellOptions, limits: RunLimits) -> Result<(), CellError> {
    WasmCell::prepare_with(options, limits)?.run()
}

fn run_prepared(prepared: WasmCell) -> Result<(), CellError> {
    // A core dump would hold the memory of every service of the tenant. Where it cannot be set,
    // the sandbox that the caller made has its own limit.
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "Failed to turn core dumps off");
    }
    let engine = run_engine(prepared.limits).map_err(CellError::Engine)?;
    let identity = Identity {
        cell: prepared.name,
        incarnation: random_word()?,
        engine: engine_digest(&engine),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let io = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(CellError::Threads)?;
    let actors = start_actors(&engine, io.handle(), processors).map_err(CellError::Threads)?;
    let (actors_handle, io_handle) = (actors.handle().clone(), io.handle().clone());
    let storage = Storage::start(prepared.state.as_deref()).map_err(CellError::Threads)?;
    let artifacts = Artifacts::new(&engine, prepared.runtimes).map_err(CellError::Engine)?;
    let cell = new_cell(engine, artifacts, (actors_handle, io_handle), prepared.programs, storage);
    let result = io.block_on(serve(identity, cell, prepared.listener));
    // Guests first: they use the other's timers.
    drop(actors);
    io.shutdown_background();
    result
}

/// The threads that run guests. Each is within the runtime `io`, for timers.
fn start_actors(engine: &wasmtime::Engine, io: &Handle, threads: usize) -> io::Result<Executor> {
    let engine = engine.weak();
    let io = io.clone();
    Executor::start(ExecutorOptions {
        threads,
        bell: Arc::new(move || {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        }),
        around: Arc::new(move |run| {
            let _entered = io.enter();
            // Of this thread alone. Refused in some containers, where it is not missed much.
            if let Err(error) = rustix::process::nice(GUEST_NICENESS) {
                tracing::debug!(%error, "Failed to lower the priority of a thread of guests");
            }
            run();
        }),
    })
}

fn new_cell(
    engine: wasmtime::Engine,
    artifacts: Artifacts,
    (actors, io): (solo_actor::Handle, Handle),
    programs: PathBuf,
    storage: Storage,
) -> Arc<Cell> {
    let shared = Arc::new(Shared {
        engine,
        routes: Arc::new(Routes::default()),
        start_permits: Semaphore::new(STARTS_PER_PROCESSOR * actors.threads()),
        actors,
        io,
        programs,
        storage: Arc::new(storage),
        cell: OnceLock::new(),
    });
    let cell = Arc::new(Cell {
        shared,
        artifacts: Arc::new(artifacts),
        reports: Arc::new(Reports::new()),
        instances: RwLock::default(),
        grants: Tables::default(),
    });
    // Set once, just after both were made.
    let _ = cell.shared.cell.set(Arc::downgrade(&cell));
    cell
}

async fn serve(
    identity: Identity,
    cell: Arc<Cell>,
    listener: std::os::unix::net::UnixListener,
) -> Result<(), CellError> {
    let listener = UnixListener::from_std(listener).map_err(CellError::Threads)?;
    info!(cell = %identity.cell, incarnation = %identity.incarnation, "Wasm cell listens");
    let service = CellServiceServer::new(Server::new(identity, cell))
        .max_decoding_message_size(WIRE_BYTES_MAX)
        .max_encoding_message_size(WIRE_BYTES_MAX);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .map_err(CellError::Serve)
}

/// Listens on `socket`, which only its owner can connect to from the first moment on: it is made
/// under another name and renamed, which also replaces one that a dead process left.
fn listen(socket: &Path) -> Result<std::os::unix::net::UnixListener, CellError> {
    if UnixStream::connect(socket).is_ok() {
        return Err(CellError::SocketInUse(socket.to_owned()));
    }
    let bind = || {
        let mut unready = socket.as_os_str().to_owned();
        unready.push("~");
        let unready = PathBuf::from(unready);
        match std::fs::remove_file(&unready) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&unready)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&unready, socket)?;
        Ok(listener)
    };
    bind().map_err(|source| CellError::Listen { path: socket.to_owned(), source })
}

fn random_word() -> Result<String, CellError> {
    let number = getrandom::u64().map_err(CellError::Random)?;
    Ok(format!("{number:016x}"))
}
