//! The gateway: Solo's front door for HTTP.
//!
//! An ordinary client of the API over `run/api.sock`. It passes its caller's token on and has no
//! authority of its own: what the kernel refuses, it refuses. It parses untrusted HTTP, which is
//! why it is a process of its own; it keeps no state that would be missed after its death. Host
//! names, egress, MCP and the dashboard are not built yet.
//!
//! Main function: [`run`]. The JSON shapes that it shares with the command
//! line: [`json`].

use std::net::TcpListener;
use std::path::PathBuf;

use solo_tls::TlsFiles;

mod backend;
mod guard;
pub mod json;
mod refusal;
mod routes;
mod server;

/// What a gateway needs.
#[derive(Debug)]
pub struct GatewayOptions {
    /// The home of Solo; the API's socket is `run/api.sock` below it.
    pub home: PathBuf,
    /// Bound and listening; the heart keeps it open while gateways come and go.
    pub listener: TcpListener,
    /// For a listener that is not loopback; without it such a listener is not served.
    pub tls: Option<TlsFiles>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No threads, no timer or no signals.
    #[error("failed to start the runtime")]
    Runtime(#[source] std::io::Error),
    /// The listener that was handed down is of no use.
    #[error("failed to take over the listener")]
    Listener(#[source] std::io::Error),
    /// What looks at the certificate failed.
    #[error("failed to keep the certificate up to date: {0}")]
    Certificates(String),
}

/// Serves until SIGTERM, then lets requests in flight finish for at most 5 s.
///
/// SIGINT is left to the heart, which stops the processes of Solo in their order.
///
/// # Errors
/// [`GatewayError`]. After the start no request, connection or answer of the kernel is an error.
pub fn run(options: GatewayOptions) -> Result<(), GatewayError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(server::WORKER_THREADS)
        .thread_name("solo-gateway")
        .enable_all()
        .build()
        .map_err(GatewayError::Runtime)?;
    let result = runtime.block_on(server::run(options));
    runtime.shutdown_background();
    result
}
