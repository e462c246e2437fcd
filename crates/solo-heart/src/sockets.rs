//! The listening sockets. The heart holds them for its whole life and never accepts on them.
//!
//! A kernel or gateway that restarts finds the connections of the meantime waiting in the queue, so
//! none is refused. It refuses addresses that other machines can reach, unless there is TLS for them.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::socket::{Backlog, listen};

use crate::home::{Home, write_atomically};
use crate::{HeartError, HeartOptions};

/// Connections that wait while the kernel or the gateway restarts: 1 s at a thousand per second.
const BACKLOG: i32 = 1024;

/// All listeners of a node.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) api: TcpListener,
    pub(crate) api_unix: UnixListener,
    pub(crate) metrics: TcpListener,
    pub(crate) gateway: TcpListener,
}

impl Sockets {
    /// Binds them all. The home was cleaned before, so a socket in the way is an error.
    ///
    /// # Errors
    /// [`HeartError::Bind`].
    pub(crate) fn bind(
        home: &Home,
        api: SocketAddr,
        gateway: SocketAddr,
        metrics: SocketAddr,
    ) -> Result<Self, HeartError> {
        Ok(Self {
            api: tcp("api", api)?,
            api_unix: unix(home)?,
            metrics: tcp("metrics", metrics)?,
            gateway: tcp("gateway", gateway)?,
        })
    }

    /// Writes `run/addresses.json`: where Solo really listens, port 0 replaced.
    ///
    /// # Errors
    /// The file could not be written.
    pub(crate) fn publish(&self, home: &Home) -> Result<(), HeartError> {
        let path = home.addresses();
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .map(|address| address.to_string())
                .map_err(HeartError::system("find the address of a listener"))
        };
        let addresses = serde_json::json!({
            "api": address(&self.api)?,
            "api_socket": home.api_socket(),
            "gateway": address(&self.gateway)?,
            "metrics": address(&self.metrics)?,
            "heart_pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        write_atomically(&path, &format!("{addresses:#}\n"))
            .map_err(HeartError::file("write", &path))
    }
}

/// Refuses addresses that are not of this machine alone, unless who connects meets TLS there.
///
/// Metrics tell about all services, and who reads them is often a program that keeps a token in a
/// file: they want a client's certificate too.
///
/// # Errors
/// [`HeartError::TlsRequired`] or [`HeartError::ClientCertificatesRequired`].
pub(crate) fn check_addresses(options: &HeartOptions) -> Result<(), HeartError> {
    let (has_tls, has_client_ca) = match &options.tls {
        None => (false, false),
        Some(tls) => (true, tls.client_ca.is_some()),
    };
    let listeners =
        [("api", options.api), ("gateway", options.gateway), ("metrics", options.metrics)];
    for (listener, address) in listeners {
        if address.ip().is_loopback() {
            continue;
        }
        if !has_tls {
            return Err(HeartError::TlsRequired { listener, address });
        }
        if listener == "metrics" && !has_client_ca {
            return Err(HeartError::ClientCertificatesRequired { listener, address });
        }
    }
    Ok(())
}

fn tcp(name: &'static str, address: SocketAddr) -> Result<TcpListener, HeartError> {
    TcpListener::bind(address).and_then(deepen).map_err(|source| HeartError::Bind {
        listener: name,
        address: address.to_string(),
        source,
    })
}

fn unix(home: &Home) -> Result<UnixListener, HeartError> {
    let path = home.api_socket();
    // run/ has mode 0700, so nobody can connect before the mode is set.
    UnixListener::bind(&path)
        .and_then(deepen)
        .and_then(|listener| {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        })
        .map_err(|source| HeartError::Bind {
            listener: "api socket",
            address: path.display().to_string(),
            source,
        })
}

/// Gives a listener the queue that it needs; the standard library's is for 128.
fn deepen<L: AsFd>(listener: L) -> io::Result<L> {
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::TlsOptions;

    fn reason(api: &str, metrics: &str, tls: Option<bool>) -> &'static str {
        let options = HeartOptions {
            without: Vec::new(),
            home: PathBuf::new(),
            api: api.parse().expect("an address"),
            gateway: "127.0.0.1:0".parse().expect("an address"),
            metrics: metrics.parse().expect("an address"),
            program: PathBuf::new(),
            tls: tls.map(|mutual| TlsOptions {
                certificate: "c".into(),
                key: "k".into(),
                client_ca: mutual.then(|| "a".into()),
            }),
        };
        match check_addresses(&options) {
            Ok(()) => "ok",
            Err(HeartError::TlsRequired { .. }) => "tls",
            Err(HeartError::ClientCertificatesRequired { .. }) => "client",
            Err(_) => "other",
        }
    }

    #[test]
    fn what_others_reach_needs_tls_and_metrics_need_more() {
        let here = "127.0.0.1:0";
        for public in ["0.0.0.0:0", "[::]:0", "192.0.2.1:1", "[::ffff:127.0.0.1]:1"] {
            for (api, metrics, tls, expected) in [
                (here, here, None, "ok"),
                ("[::1]:0", "127.0.0.2:0", None, "ok"),
                (public, here, None, "tls"),
                (here, public, None, "tls"),
                (public, here, Some(false), "ok"),
                (here, public, Some(false), "client"),
                (public, public, Some(true), "ok"),
            ] {
                assert_eq!(reason(api, metrics, tls), expected, "{api} {metrics} {tls:?}");
            }
        }
    }
}
