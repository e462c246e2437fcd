//! Accepts connections. Handshakes run beside each other, in bounded number, each with a deadline, so
//! that a client that is slow or silent keeps nobody waiting.
//!
//! The rule that it enforces: plain TCP on loopback, TLS everywhere else, nothing without either.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{Protocol, ServerTls, Transport};

/// Handshakes of one listener at a time. One more ends the oldest: a client in earnest is done within
/// milliseconds, so that it is those who wait that are there for long.
pub const HANDSHAKES_MAX: usize = 256;

/// A handshake has this long: two turns over a bad line.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A listener. Dropping it ends the handshakes that are under way.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    tls: Option<Handshakes>,
}

#[derive(Debug)]
struct Handshakes {
    tls: Arc<ServerTls>,
    protocol: Protocol,
    running: JoinSet<Option<Transport>>,
    /// Of those that run and some that have ended; oldest first, [`HANDSHAKES_MAX`] at most.
    order: VecDeque<AbortHandle>,
}

impl Incoming {
    /// Takes a listener over. Its address decides whether it speaks TLS.
    ///
    /// # Errors
    /// An address that is not loopback, and no `tls`.
    pub fn new(
        listener: TcpListener,
        tls: Option<&Arc<ServerTls>>,
        protocol: Protocol,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let tls = match tls {
            _ if address.ip().is_loopback() => None,
            Some(tls) => Some(Handshakes {
                tls: Arc::clone(tls),
                protocol,
                running: JoinSet::new(),
                order: VecDeque::new(),
            }),
            None => {
                let why = format!("{address} is not loopback, and there is no certificate");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
        };
        Ok(Self { listener, tls })
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection that may be used. Loses nothing when it is dropped half-way.
    ///
    /// # Errors
    /// None could be accepted: out of descriptors or memory. Handshakes that fail are no errors.
    pub async fn next(&mut self) -> io::Result<Transport> {
        let Some(handshakes) = &mut self.tls else {
            return Ok(Transport::Plain(accept(&self.listener).await?.0));
        };
        loop {
            tokio::select! {
                biased;
                Some(done) = handshakes.running.join_next(), if !handshakes.running.is_empty() => {
                    // One that was ended, or failed, has been counted.
                    if let Ok(Some(transport)) = done {
                        return Ok(transport);
                    }
                }
                accepted = accept(&self.listener) => {
                    let (stream, peer) = accepted?;
                    handshakes.begin(stream, peer);
                }
            }
        }
    }
}

impl Handshakes {
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(config) = self.tls.config(self.protocol) else {
            self.tls.failed(peer, "there is no usable certificate");
            return;
        };
        if self.order.len() >= HANDSHAKES_MAX {
            self.order.retain(|running| !running.is_finished());
        }
        if self.order.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
            self.tls.failed(peer, "too many handshakes; the oldest one ends");
        }
        let tls = Arc::clone(&self.tls);
        self.order.push_back(self.running.spawn(async move {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => return Some(Transport::Tls(Box::new(stream))),
                Ok(Err(error)) => tls.failed(peer, &error.to_string()),
                Err(_) => tls.failed(peer, "it took too long"),
            }
            None
        }));
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    // Small answers would wait for the acknowledgement of the ones before. A failure costs latency only.
    let _slow = stream.set_nodelay(true);
    Ok((stream, peer))
}
