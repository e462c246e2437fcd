//! Why control groups cannot be had, or not be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::Layer;

/// What went wrong, and at which group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Neither version can be used. Both reasons, with their causes.
    #[error("there are no control groups to use (version 2: {v2}; version 1: {v1})")]
    Unusable {
        /// Why not version 2.
        v2: String,
        /// Why not version 1.
        v1: String,
    },
    /// Controllers that are needed are not there.
    #[error("without the controllers {controllers}")]
    Lacking {
        /// Their names.
        controllers: String,
    },
    /// In version 2 a group with processes has no groups with limits below it, so that the processes
    /// would have to move; these are not Solo's.
    #[error("there are other processes in {path}")]
    NotAlone {
        /// The group.
        path: PathBuf,
    },
    /// Not 1 to 32 of `a-z`, `0-9` and `-`.
    #[error("{name:?} is no name of a control group")]
    Name {
        /// What was given.
        name: String,
    },
    /// Processes did not end in time.
    #[error("processes in {path} did not end in time")]
    Alive {
        /// The group.
        path: PathBuf,
    },
    /// A file or directory of a group could not be used.
    #[error("failed to {action} {path}")]
    File {
        /// `read`, `write`, `make` or `remove`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl GroupError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotAlone { .. } => {
                "start Solo in a group of its own, as `systemd-run --user --scope -p Delegate=yes \
                 solo up` or a systemd service with Delegate=yes does"
            }
            Self::Alive { .. } => "find out what holds these processes, and end them",
            Self::Name { .. } => "use 1 to 32 of a-z, 0-9 and -",
            Self::Unusable { .. } | Self::Lacking { .. } | Self::File { .. } => {
                Layer::ControlGroup.remedy()
            }
        }
    }

    /// For `map_err`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// As the errno of a failed start.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::File { source, .. } if source.raw_os_error().is_some() => source,
            other => io::Error::other(other),
        }
    }

    /// With its cause.
    pub(super) fn in_full(&self) -> String {
        match self {
            Self::File { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}
