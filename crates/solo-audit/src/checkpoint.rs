//! Checkpoints as they are kept beside the log. Refuses to judge a log; that is verification.

use std::path::Path;

use crate::chain::{Head, RECORD_BYTES_MAX, Record};
use crate::key::PublicKey;
use crate::marks::{self, Mark, Seal};
use crate::{AuditError, files};

/// A signed record of the log: everything up to it was in the log when it was signed.
///
/// Kept elsewhere, the newest one makes it noticeable that the log was cut behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    record: Record,
    seal: Seal,
}

impl Checkpoint {
    /// The checkpoint that a record is; none if it is another record.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        match marks::read(record) {
            Ok(Some(Mark::Checkpoint(seal))) => Some(Self { record: record.clone(), seal }),
            _ => None,
        }
    }

    /// The end of the chain with this checkpoint as its last record.
    #[must_use]
    pub fn head(&self) -> Head {
        self.record.head()
    }

    /// When it was signed, by the clock of the node.
    #[must_use]
    pub fn at_unix_ms(&self) -> u64 {
        self.record.at_unix_ms
    }

    /// At most so many records follow before the next checkpoint.
    pub(crate) fn every(&self) -> u64 {
        self.seal.every
    }

    /// Checks that one of `keys` signed it.
    ///
    /// # Errors
    /// [`AuditError::Forged`] if none of them did.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), AuditError> {
        let seq = self.record.seq;
        let hash = self.record.expected_hash().map_err(AuditError::Encode)?;
        if hash == self.record.hash && self.seal.is_of(&self.record, keys) {
            return Ok(());
        }
        tracing::debug!(seq, key = self.seal.key(), "Checkpoint of the audit log is not signed");
        Err(AuditError::Forged { seq, first_unproven: 1 })
    }

    /// Reads a checkpoint that was kept in a file; none if there is no file. Does not verify it.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] for other content; [`AuditError::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let Some(content) = files::read_small(path, RECORD_BYTES_MAX)? else { return Ok(None) };
        let line = content.strip_suffix(b"\n").unwrap_or(&content);
        match Record::from_line(line).as_ref().and_then(Self::of) {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Err(AuditError::Malformed { path: path.to_owned() }),
        }
    }

    /// Keeps the checkpoint in a file, durably; at any moment the old or the new one is there.
    ///
    /// # Errors
    /// [`AuditError::Io`]. The log is not concerned.
    pub fn write(&self, path: &Path) -> Result<(), AuditError> {
        let mut line = self.record.line().map_err(AuditError::Encode)?;
        line.push(b'\n');
        files::write_atomically(path, &line)
    }
}
