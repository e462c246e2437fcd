//! TLS of Solo's listeners and clients, over rustls with one provider of cryptography (`ring`).
//!
//! A listener speaks plain TCP on loopback and TLS everywhere else ([`Incoming`]); there is no third
//! way. Certificates come from files that are looked at again and again ([`ServerTls`]), so that a new
//! one needs no restart. [`issue`] makes certificates for who has no authority of their own.
//!
//! It refuses to decide what a caller may do: that is what tokens are for. A client certificate opens
//! the connection and nothing else.

mod client;
mod error;
mod facts;
mod files;
mod identity;
mod incoming;
pub mod issue;
mod server;
mod transport;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

pub use client::{ClientFiles, Connector, HandshakeFailure, handshake_failure};
pub use error::TlsError;
pub use facts::CertificateFacts;
pub use files::TlsFiles;
pub use incoming::{HANDSHAKES_MAX, Incoming};
pub use server::{Change, ServerTls};
pub use transport::Transport;

/// What is spoken inside of TLS, for ALPN. A client that asks for something else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: the gateway and the metrics.
    Http1,
    /// HTTP/2: gRPC.
    Http2,
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
        }
    }
}

/// The one provider of cryptography. Handed over each time: what is global could be another crate's.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Seconds since 1970.
fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
