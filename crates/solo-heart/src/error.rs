//! What can keep the heart from starting, or end it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the heart did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum HeartError {
    /// A listener that other machines could reach, without a certificate.
    #[error("the {listener} address {address} is not a loopback address, and there is no TLS")]
    TlsRequired {
        /// `api`, `gateway` or `metrics`.
        listener: &'static str,
        /// What was asked for.
        address: SocketAddr,
    },
    /// A listener that other machines could reach, for which that is not enough.
    #[error(
        "the {listener} address {address} is not a loopback address, and clients need no certificate"
    )]
    ClientCertificatesRequired {
        /// `metrics`.
        listener: &'static str,
        /// What was asked for.
        address: SocketAddr,
    },
    /// The home is so deep that sockets below it would have no legal path.
    #[error(
        "the home {home} is too long: sockets below it need {bytes} bytes, and 107 are possible"
    )]
    HomeTooLong {
        /// Absolute path.
        home: PathBuf,
        /// Bytes of the longest socket path.
        bytes: usize,
    },
    /// The home cannot be written into `addresses.json`.
    #[error("the path of the home {home} is not UTF-8")]
    HomeNotUtf8 {
        /// Absolute path.
        home: PathBuf,
    },
    /// Cells cannot be isolated on this machine.
    #[error("cells cannot be isolated on this machine")]
    Isolation(#[source] solo_sandbox::EnterError),
    /// What a former heart left in control groups would not end.
    #[error("failed to end what a former heart left in control groups")]
    Groups(#[source] solo_sandbox::GroupError),
    /// A directory that must be Solo's own is not.
    #[error("{path} is not a directory of this user")]
    ForeignDirectory {
        /// Which one.
        path: PathBuf,
    },
    /// Another heart has this home.
    #[error("Solo is running on {home} already, as process {pid}")]
    AlreadyRunning {
        /// Absolute path.
        home: PathBuf,
        /// Its process, or `unknown`.
        pid: String,
    },
    /// Processes of a heart that died would not end.
    #[error("processes of a former heart are still running: {pids:?}")]
    Survivors {
        /// Their ids.
        pids: Vec<u32>,
    },
    /// The program of the roles is not there.
    #[error("there is no program at {path}")]
    Program {
        /// Absolute path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or directory of the home could not be used.
    #[error("failed to {action} {path}")]
    File {
        /// `create`, `read`, `lock`, ...
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A socket could not be bound.
    #[error("failed to listen on {address} ({listener})")]
    Bind {
        /// `api`, `gateway`, `metrics` or `api socket`.
        listener: &'static str,
        /// TCP address or path.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused something that the heart cannot work without.
    #[error("failed to {action}")]
    System {
        /// What.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HeartError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TlsRequired { .. } => {
                "make a certificate with `solo tls init --host NAME_OR_IP`, name one with \
                 --tls-cert and --tls-key, or use 127.0.0.1 or [::1]"
            }
            Self::ClientCertificatesRequired { .. } => {
                "name the authority of clients' certificates with --tls-client-ca (`solo tls init \
                 --mutual` makes one), or use 127.0.0.1 or [::1]: metrics tell about all services"
            }
            Self::HomeTooLong { .. } => "choose a home with a shorter path",
            Self::HomeNotUtf8 { .. } => "choose a home with a path in UTF-8",
            Self::ForeignDirectory { .. } => {
                "choose another home, or give the directory to the user that runs Solo"
            }
            Self::AlreadyRunning { .. } => "use it, stop it with SIGTERM, or choose another home",
            Self::Survivors { .. } | Self::Groups(_) => {
                "find out what holds these processes, and end them"
            }
            Self::Program { .. } => "start Solo by the path of its binary",
            Self::File { .. } => "check the owner, the mode and the free space of the home",
            Self::Bind { .. } => "choose another address or port 0, or end what uses this one",
            Self::Isolation(error) => error.remedy,
            Self::System { .. } => "see what the machine offers with `solo doctor`",
        }
    }

    /// For `map_err`: an operation on a file or directory.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err`: a system call.
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }
}
