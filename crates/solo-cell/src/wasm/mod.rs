//! The wasm cell: one process that hosts the WebAssembly services of one tenant.
//!
//! Layers, each on the one before: `mailbox` and `message`; `slot`, what others see of an instance;
//! `route`; `host`, the functions that guests import; `runner`, one guest in its store; `instance`,
//! the supervised task; `cell`, the set of instances; `server`, the protocol. The executor is
//! tokio's for now and is known to `cell` and this file only.
//!
//! Guests and the protocol have a runtime each, so that a busy guest never slows an answer to the
//! kernel. The cell goes on by itself while no kernel is there. It ends when it is killed.

mod artifact;
mod cell;
mod clock;
mod failure;
mod host;
mod instance;
mod lifecycle;
mod limits;
mod mailbox;
mod message;
mod output;
mod route;
mod runner;
mod server;
mod service;
mod slot;
mod ticker;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::resource::{Resource, setrlimit};
use parking_lot::RwLock;
use solo_api::cell::v1::cell_service_server::CellServiceServer;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::info;

use crate::engine::{RunLimits, engine_digest, run_engine};
use crate::reports::Reports;
use artifact::Artifacts;
use cell::Cell;
use instance::Shared;
use route::Routes;
use server::{Identity, Server};
use ticker::Ticker;

/// Threads for the protocol: it waits more than it computes.
const IO_THREADS: usize = 2;

/// After how many polls a guest thread looks for timers and for tasks from other threads. With
/// guests that use their whole slice this is so many milliseconds; tokio's default is 61.
const GUEST_POLLS_BETWEEN_EVENTS: u32 = 4;

/// Starts under way at one time, per processor.
const STARTS_PER_PROCESSOR: usize = 4;

/// Messages of the protocol: the largest input or answer and what comes with it.
const WIRE_BYTES_MAX: usize = solo_types::bounds::MESSAGE_BYTES_MAX + (1 << 20);

/// Where and as whom to run.
#[derive(Debug, Clone)]
pub struct WasmCellOptions {
    /// Its id, as given by the heart.
    pub cell: String,
    /// Where it listens.
    pub socket: PathBuf,
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

/// Runs a wasm cell with room for [`RunLimits::default`] instances. Does not return while all is
/// well.
///
/// # Errors
/// [`CellError`]: it could not begin, or the socket broke.
pub fn run(options: WasmCellOptions) -> Result<(), CellError> {
    run_with(options, RunLimits::default())
}

/// Runs a wasm cell with room for `limits`.
///
/// # Errors
/// As [`run`].
pub fn run_with(options: WasmCellOptions, limits: RunLimits) -> Result<(), CellError> {
    // A core dump would hold the memory of every service of the tenant. Where it cannot be set,
    // the sandbox that the caller made has its own limit.
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "Failed to turn core dumps off");
    }
    let engine = run_engine(limits).map_err(CellError::Engine)?;
    let identity = Identity {
        cell: options.cell,
        incarnation: random_word()?,
        engine: engine_digest(&engine),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let guests = guest_runtime(processors).map_err(CellError::Threads)?;
    let io = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(CellError::Threads)?;
    let cell = new_cell(engine, guests.handle().clone(), processors)?;
    let result = io.block_on(serve(identity, cell, &options.socket));
    // Guests first; the ticker ends by itself once they and the engine are gone.
    guests.shutdown_background();
    io.shutdown_background();
    result
}

fn guest_runtime(processors: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(processors)
        .thread_name("guest")
        .event_interval(GUEST_POLLS_BETWEEN_EVENTS)
        .global_queue_interval(GUEST_POLLS_BETWEEN_EVENTS)
        // No I/O driver: guests have no sockets, and without it an idle worker sleeps cheaper.
        .enable_time()
        .build()
}

fn new_cell(
    engine: wasmtime::Engine,
    guests: Handle,
    processors: usize,
) -> Result<Arc<Cell>, CellError> {
    let artifacts = Arc::new(Artifacts::new(&engine).map_err(CellError::Engine)?);
    let shared = Arc::new(Shared {
        ticker: Ticker::start(&engine).map_err(CellError::Threads)?,
        engine,
        routes: Arc::new(Routes::default()),
        start_permits: Semaphore::new(STARTS_PER_PROCESSOR * processors),
    });
    Ok(Arc::new(Cell {
        shared,
        artifacts,
        reports: Arc::new(Reports::new()),
        guests,
        instances: RwLock::default(),
    }))
}

async fn serve(identity: Identity, cell: Arc<Cell>, socket: &Path) -> Result<(), CellError> {
    let listener = listen(socket)?;
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
fn listen(socket: &Path) -> Result<UnixListener, CellError> {
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
        let listener = UnixListener::bind(&unready)?;
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
