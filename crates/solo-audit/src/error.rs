//! What can go wrong with an audit log.

use std::io;
use std::path::PathBuf;

/// Why a log could not be opened, written or verified.
///
/// After any error of an append the log takes no further entries: open it again.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system failed.
    #[error("failed to {step} the audit log {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("the audit log {} is open in another process", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The content of a record, or its link to the one before, is not what was written.
    #[error("record {seq} of the audit log was changed")]
    Changed {
        /// The first such record.
        seq: u64,
    },
    /// A record is missing.
    #[error("record {seq} of the audit log was removed")]
    Removed {
        /// The first such record.
        seq: u64,
    },
    /// Records are not in the order in which they were written, or occur twice.
    #[error("record {seq} of the audit log is not in its place")]
    Reordered {
        /// The first one whose place is taken by another.
        seq: u64,
    },
    /// The log ends too early.
    #[error("the audit log was cut at record {seq}")]
    Cut {
        /// The first record that is not complete or not there.
        seq: u64,
    },
    /// An entry does not fit.
    #[error("an audit record of {bytes} bytes is longer than {limit}")]
    TooLong {
        /// Its line.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// More entries than one write takes.
    #[error("{entries} audit entries at once are more than {limit}")]
    BatchTooLarge {
        /// How many.
        entries: usize,
        /// The bound.
        limit: usize,
    },
    /// An append failed before; what is on the disk is not certain.
    #[error("the audit log failed before and must be opened again")]
    Poisoned,
    /// A record could not be written as JSON.
    #[error("failed to write an audit record as JSON")]
    Encode(#[source] serde_json::Error),
}
