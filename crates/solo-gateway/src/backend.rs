//! The gateway's connection to the API of the kernel.
//!
//! Connects at the first request and keeps the connection; tonic connects anew by itself when the
//! kernel was restarted. Retries no request: only the caller knows whether that is safe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use solo_api::{Client, Endpoint};
use solo_types::{Problem, ProblemKind};
use tokio::sync::OnceCell;
use tonic::metadata::MetadataValue;

/// One client for all requests.
#[derive(Debug)]
pub(crate) struct Backend {
    socket: PathBuf,
    client: OnceCell<Client>,
}

impl Backend {
    pub(crate) fn new(home: &Path) -> Self {
        Self { socket: home.join("run").join("api.sock"), client: OnceCell::new() }
    }

    /// The client, connected.
    pub(crate) async fn client(&self) -> Result<&Client, Problem> {
        let endpoint = Endpoint::Unix(self.socket.clone());
        self.client
            .get_or_try_init(|| Client::connect(&endpoint))
            .await
            .map_err(|_| unreachable_kernel())
    }
}

/// Header of W3C Trace Context that names the chain of calls of a request.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Makes a request that carries the caller's token, its chain of calls and a deadline.
pub(crate) fn request<T>(
    client: &Client,
    message: T,
    headers: &HeaderMap,
    deadline: Duration,
) -> Result<tonic::Request<T>, Problem> {
    let mut request = client.request(message, deadline);
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let value = MetadataValue::try_from(authorization.as_bytes()).map_err(|_| {
            Problem::new(
                ProblemKind::Unauthenticated,
                "INVALID_TOKEN",
                "the authorization header is not printable ASCII",
            )
            .remedy("send `authorization: Bearer TOKEN` with a token of `solo grant`")
        })?;
        request.metadata_mut().insert("authorization", value);
    }
    if let Some(traceparent) = headers.get(TRACEPARENT) {
        let value = MetadataValue::try_from(traceparent.as_bytes()).map_err(|_| {
            let rule = "the traceparent header is not printable ASCII";
            Problem::invalid("INVALID_TRACE", TRACEPARENT, rule)
        })?;
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    Ok(request)
}

/// Reads what the API answered instead of a result.
pub(crate) fn problem(status: &tonic::Status) -> Problem {
    // A source means that the status was made on this side: the connection broke.
    let broke = std::error::Error::source(status).is_some();
    match solo_api::problem_from_status(status) {
        problem if problem.kind == ProblemKind::DeadlineExceeded || !broke => problem,
        _ => unreachable_kernel(),
    }
}

pub(crate) fn unreachable_kernel() -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "KERNEL_UNREACHABLE",
        "the kernel does not answer; whether the request took effect is not known",
    )
    .remedy("it is restarted at once: look at the state of the service, then try again")
}
