//! The listening sockets. The heart holds them for its whole life and never accepts on them.
//!
//! A kernel or gateway that restarts finds the connections of the meantime waiting in the queue, so
//! none is refused. It refuses addresses that other machines can reach.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::socket::{Backlog, listen};

use crate::HeartError;
use crate::home::{Home, write_atomically};

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

/// Refuses an address that is not of this machine alone.
///
/// # Errors
/// [`HeartError::NotLoopback`].
pub(crate) fn check_loopback(
    listener: &'static str,
    address: SocketAddr,
) -> Result<(), HeartError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(HeartError::NotLoopback { listener, address })
    }
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
