//! The compiler cell: a process that turns code into artifacts which a wasm cell loads.
//!
//! It is the only process that parses what came from outside in full, and so the one that is
//! expected to die of it: one job at a time, nothing kept between jobs, hard limits on itself. It
//! never runs what it compiles, and a job's time is the kernel's to limit: it ends the process.

mod check;
mod confine;
mod job;
mod output;
mod python;
mod rejection;
mod server;
mod source;
mod text;

use std::future::Future;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use solo_api::cell::v1::compiler_service_server::CompilerServiceServer;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// Requests are a few paths; the answer's description has its own bound.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What the heart tells a compiler cell.
#[derive(Debug, Clone)]
pub struct CompilerOptions {
    /// Its id.
    pub cell: String,
    /// Where it listens; at most 107 bytes. A stale socket there is replaced.
    pub socket: PathBuf,
    /// Where the runtimes of languages are, `LANGUAGE-ENGINE.cwasm`; `None`: there are none.
    pub runtimes: Option<PathBuf>,
}

/// Why a compiler cell could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// A limit could not be set on the own process.
    #[error("failed to limit {what}")]
    Confine {
        /// Which.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// No engine for this machine.
    #[error("failed to make a compiling engine: {0}")]
    Engine(String),
    /// No threads to compile on.
    #[error("failed to start the compiling threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// No random number for the incarnation.
    #[error("failed to draw a random number: {0}")]
    Random(getrandom::Error),
    /// No runtime for the server.
    #[error("failed to start the runtime")]
    Runtime(#[source] std::io::Error),
    /// Something else is where the socket should be.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// The socket could not be made.
    #[error("failed to listen on {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("failed to serve")]
    Serve(#[from] tonic::transport::Error),
}

/// Is the compiler cell: limits this process for good, then serves until it is killed.
///
/// # Errors
/// [`CompilerError`] if it cannot start.
pub fn run(options: CompilerOptions) -> Result<(), CompilerError> {
    CompilerCell::prepare(options)?.run()
}

/// A compiler cell that listens and does not answer yet. It has done all for which it needs more than its
/// own directory, and has one thread: now it can shut itself in.
#[derive(Debug)]
pub struct CompilerCell {
    name: String,
    listener: StdUnixListener,
    runtimes: Option<PathBuf>,
}

impl CompilerCell {
    /// Listens.
    ///
    /// # Errors
    /// As [`run`].
    pub fn prepare(options: CompilerOptions) -> Result<Self, CompilerError> {
        let CompilerOptions { cell: name, socket, runtimes } = options;
        Ok(Self { listener: listen(&socket)?, name, runtimes })
    }

    /// Limits this process for good, then serves until it is killed.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(self) -> Result<(), CompilerError> {
        // First, while there is one thread: priority is a thread's own, and new ones inherit it.
        confine::confine()?;
        serve_on(self, std::future::pending())
    }
}

/// Serves `solo.cell.v1.CompilerService` until `stop` is done, without limits on the process.
///
/// # Errors
/// [`CompilerError`] if it cannot start.
pub fn serve(
    options: &CompilerOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), CompilerError> {
    serve_on(CompilerCell::prepare(options.clone())?, stop)
}

fn serve_on(cell: CompilerCell, stop: impl Future<Output = ()>) -> Result<(), CompilerError> {
    let service = server::Compiler::new(cell.name.clone(), cell.runtimes)?;
    let service = CompilerServiceServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX);
    // One thread: it only waits. Jobs have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CompilerError::Runtime)?;
    runtime.block_on(async {
        let listener = UnixListener::from_std(cell.listener).map_err(CompilerError::Runtime)?;
        let listener = UnixListenerStream::new(listener);
        tracing::info!(cell = cell.name, "compiler cell serves");
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(listener, stop)
            .await?;
        Ok(())
    })
}

/// Listens on `path`, for the own user only.
fn listen(path: &Path) -> Result<StdUnixListener, CompilerError> {
    let failed = |source| CompilerError::Socket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Ok(_) => return Err(CompilerError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = StdUnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
