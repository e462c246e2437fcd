//! The metrics endpoint: Prometheus text at `/metrics`, nothing else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use solo_tls::{Incoming, Transport};
use solo_types::{Problem, ProblemKind};
use tokio_stream::{Stream, StreamExt};

use super::access::{self, Operation};
use super::connections::{Limited, limited, transports};
use super::figures::fresh;
use crate::kernel::Kernel;

/// Content type of the Prometheus text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Wait after a failed accept: out of descriptors or memory, which only others' ends can mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the listener fails.
pub(crate) async fn serve(kernel: Arc<Kernel>, incoming: Incoming) -> Result<(), String> {
    let router = axum::Router::new().route("/metrics", get(text)).with_state(kernel);
    let address = incoming.local_addr().map_err(|error| error.to_string())?;
    let connections = Connections { address, stream: Box::pin(limited(transports(incoming))) };
    axum::serve(connections, router).await.map_err(|error| error.to_string())
}

/// The connections of the listener, as axum takes them.
struct Connections {
    address: SocketAddr,
    stream: Pin<Box<dyn Stream<Item = io::Result<Limited<Transport>>> + Send>>,
}

impl Listener for Connections {
    type Io = Limited<Transport>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.stream.next().await {
                Some(Ok(connection)) => return (connection, self.address),
                Some(Err(error)) => tracing::warn!(%error, "Failed to accept a connection"),
                // It does not end; were it to, there would be nothing to wait for.
                None => {}
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Figures name all services, so that they are for who may read `kernel:metrics`.
async fn check(kernel: &Kernel, headers: &HeaderMap) -> Result<(), Problem> {
    let authorization = headers.get(header::AUTHORIZATION).ok_or_else(access::missing_token)?;
    let text = authorization.to_str().unwrap_or_default();
    let principal = access::bearer(kernel, text, "")?;
    principal.ask(kernel, Operation::Metrics)?;
    principal.pay(kernel).await
}

async fn text(State(kernel): State<Arc<Kernel>>, headers: HeaderMap) -> Response {
    if let Err(problem) = check(&kernel, &headers).await {
        super::stranger(&kernel, "metrics", &problem).await;
        let code = match problem.kind {
            ProblemKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ProblemKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::FORBIDDEN,
        };
        return (code, [(header::WWW_AUTHENTICATE, "Bearer")], format!("{problem}\n"))
            .into_response();
    }
    let count = i64::try_from(kernel.registry.count()).unwrap_or(i64::MAX);
    kernel.metrics.active_services.set(count);
    let bytes = kernel.monitor.record_bytes();
    kernel.metrics.record_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    let mut by_id = fresh(&kernel).await;
    let services: Vec<_> = kernel
        .registry
        .all()
        .into_iter()
        .map(|service| {
            let mut figures = by_id.remove(&service.id.to_string()).unwrap_or_default();
            // A counter never falls: restarts in cells that are gone count too.
            figures.restarts = figures.restarts.max(service.state.lock().restarts());
            (service.label(), figures)
        })
        .collect();
    let violations = kernel.violations.totals();
    match kernel.metrics.text(&services, &violations) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "Failed to make the text of the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be shown\n").into_response()
        }
    }
}
