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
    /// A caller's entry has an operation that only the log itself writes.
    #[error("the operation {operation} is reserved for the audit log itself")]
    Reserved {
        /// Which.
        operation: String,
    },
    /// A checkpoint is not signed by a key that is trusted, or not for this chain.
    #[error(
        "the checkpoint at record {seq} of the audit log is forged: \
         records from {first_unproven} on are not proven"
    )]
    Forged {
        /// The checkpoint.
        seq: u64,
        /// The first record behind the last checkpoint that holds: what was changed is not before.
        first_unproven: u64,
    },
    /// There is no checkpoint where one must be.
    #[error(
        "a checkpoint is missing at record {seq} of the audit log: \
         records from {first_unproven} on are not proven"
    )]
    Unsigned {
        /// Where one must be at the latest.
        seq: u64,
        /// The first record behind the last checkpoint that holds: what was changed is not before.
        first_unproven: u64,
    },
    /// The files of the log are not as Solo leaves them.
    #[error("the audit log has {what}: {}", path.display())]
    Layout {
        /// What is wrong.
        what: &'static str,
        /// Which file or directory.
        path: PathBuf,
    },
    /// A small file beside the log (a checkpoint, a cursor) does not hold what it should.
    #[error("the file {} is not what the audit log wrote", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Text or bytes that are no public key.
    #[error("a public key of the audit log is ed25519: and 64 lower-case hex digits of a safe key")]
    PublicKey,
    /// No key could be made.
    #[error("failed to get random bytes for a key of the audit log: {0}")]
    Random(String),
    /// A record could not be written as JSON.
    #[error("failed to write an audit record as JSON")]
    Encode(#[source] serde_json::Error),
}
