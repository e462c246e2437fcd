//! The listener of a program's socket and its connections, all of which end with their owner.
//!
//! Speaks HTTP/2 within bounds and hands requests on. The peer is not believed: it may send what it likes, as
//! fast as it likes, on as many connections as it likes.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use solo_api::socket::v1::program_service_server::ProgramServiceServer;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::codegen::Service as _;

use super::meter::Meter;
use super::service::Api;

/// Connections at one time; the others wait to be accepted. A program needs one.
const CONNECTIONS_MAX: usize = 4;

/// Requests under way on one connection; clients keep others back themselves. Each may hold the largest
/// message: 64 MiB in all, and as much of answers that nobody reads.
const STREAMS_MAX: u32 = 4;

/// All headers of a request.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Answers that the peer has not read, beside the one that is being sent.
const SEND_BYTES_MAX: usize = 64 << 10;

/// A message, and what is around it.
const WIRE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (64 << 10);

/// Until the next try, when the cell has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What listens.
///
/// # Errors
/// The descriptor is no listener.
pub(super) fn listen(fd: OwnedFd) -> std::io::Result<UnixListener> {
    let listener = StdUnixListener::from(fd);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Serves all who connect, until it is dropped, and they with it.
pub(super) async fn serve(listener: UnixListener, api: Api, meter: Arc<Meter>) {
    let accepting = Arc::clone(&meter);
    let accepting = accepting.meter(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // What has ended is not kept.
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((socket, _)) => {
                    let (api, meter) = (api.clone(), Arc::clone(&meter));
                    connections.spawn(async move {
                        connection(socket, api, meter).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "A connection of a program was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    accepting.await;
}

async fn connection(socket: UnixStream, api: Api, meter: Arc<Meter>) {
    let server = ProgramServiceServer::new(api)
        .max_decoding_message_size(WIRE_BYTES_MAX)
        .max_encoding_message_size(WIRE_BYTES_MAX);
    // Here alone: its requests end with the connection.
    let requests = Arc::new(Mutex::new(JoinSet::new()));
    let executor = Requests { set: Arc::downgrade(&requests), meter: Arc::clone(&meter) };
    let served = http2::Builder::new(executor)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .serve_connection(
            TokioIo::new(socket),
            service_fn(move |request| server.clone().call(request)),
        );
    if let Err(error) = meter.meter(served).await {
        tracing::debug!(%error, "A connection of a program broke");
    }
}

/// Runs the requests of one connection.
#[derive(Clone)]
struct Requests {
    set: Weak<Mutex<JoinSet<()>>>,
    meter: Arc<Meter>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        let Some(set) = self.set.upgrade() else { return };
        let mut set = set.lock();
        while set.try_join_next().is_some() {}
        set.spawn(self.meter.meter(request));
    }
}
