//! Accepts connections and speaks HTTP/1.1 on them, in TLS where others reach it, within bounds.
//!
//! Knows nothing of routes. Owns every connection's task: none outlives [`run`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use solo_tls::{Incoming, Protocol, ServerTls, Transport};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::backend::Backend;
use crate::{GatewayError, GatewayOptions, routes};

/// The gateway waits for the kernel most of the time; two threads keep a slow parse of one request
/// from delaying another.
pub(crate) const WORKER_THREADS: usize = 2;

/// Connections at a time. Twice the requests in flight, as half of a browser's connections idle.
/// Beyond it, connections wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 2 * routes::REQUESTS_MAX;

/// A client has this long to send the head of a request, and a connection may idle this long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests in flight may finish within this time after SIGTERM; the heart forces after it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait after a failed accept: out of descriptors or memory, which only others' ends can mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until SIGTERM.
pub(crate) async fn run(options: GatewayOptions) -> Result<(), GatewayError> {
    options.listener.set_nonblocking(true).map_err(GatewayError::Listener)?;
    let listener = TcpListener::from_std(options.listener).map_err(GatewayError::Listener)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(GatewayError::Runtime)?;
    // The heart alone acts on Ctrl-C, and ends the processes of Solo in their order.
    let _interrupt = signal(SignalKind::interrupt()).map_err(GatewayError::Runtime)?;
    let tls = options.tls.map(|files| ServerTls::open(files, || {}));
    let address = listener.local_addr().map_err(GatewayError::Listener)?;
    let incoming = Incoming::new(listener, tls.as_ref(), Protocol::Http1);
    let incoming = incoming.map_err(GatewayError::Listener)?;
    let tls = tls.filter(|_| incoming.is_tls());
    let router = routes::router(Backend::new(&options.home), tls.clone());
    let keep = async {
        match tls {
            Some(tls) => tls.keep(|_| {}).await,
            None => std::future::pending().await,
        }
    };
    info!(%address, tls = incoming.is_tls(), "Gateway serves");
    tokio::select! {
        () = serve(incoming, &router, &mut terminate) => {}
        // The heart starts another gateway.
        why = keep => return Err(GatewayError::Certificates(why)),
    }
    info!("Gateway ended");
    Ok(())
}

async fn serve(mut incoming: Incoming, router: &Router, terminate: &mut Signal) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&mut incoming, &room) => match accepted {
                Ok((stream, permit)) => {
                    let connection = connection(stream, router.clone());
                    let watched = graceful.watch(connection);
                    connections.spawn(async move {
                        let _permit = permit;
                        if let Err(error) = watched.await {
                            debug!(%error, "Connection broke");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "Failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(incoming);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        warn!(connections = connections.len(), "Requests did not finish in time");
    }
    connections.shutdown().await;
}

/// Waits for room first, so that what is accepted can be served.
async fn accept(
    incoming: &mut Incoming,
    room: &Arc<Semaphore>,
) -> io::Result<(Transport, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok((incoming.next().await?, permit))
}

type Connection = hyper_util::server::conn::auto::Connection<
    'static,
    TokioIo<Transport>,
    TowerToHyperService<Router>,
    TokioExecutor,
>;

fn connection(stream: Transport, router: Router) -> Connection {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned()
}
