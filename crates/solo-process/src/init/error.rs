//! Why a program cell ends, or does not become one.

use std::io;
use std::path::{Path, PathBuf};

use solo_sandbox::EnterError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The heart makes it process 1, with a namespace that ends with it.
    #[error("this process is not the first one of a pid namespace")]
    NotInit,
    /// A layer could not be had.
    #[error(transparent)]
    Sandbox(#[from] EnterError),
    /// A file of the machine, or a socket.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused.
    #[error("failed to {action}")]
    System {
        /// What.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel asked for what cannot be; nothing has changed.
    #[error("{0}")]
    Request(&'static str),
}

impl ProcessError {
    pub(super) fn system<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }

    pub(super) fn file(action: &'static str, path: impl AsRef<Path>) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { action, path: path.as_ref().to_owned(), source }
    }
}
