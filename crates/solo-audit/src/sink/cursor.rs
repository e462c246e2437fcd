//! What a sink was given, on disk. A cursor that is too old costs repetition, never a record.

use std::path::Path;

use serde::{Deserialize, Serialize};
use solo_types::Digest;

use crate::chain::{Head, Record};
use crate::{AuditError, files};

/// Bytes of a cursor's file: its numbers and digits, with room.
const BYTES_MAX: usize = 512;

/// The last record that a sink has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Its number; 0: none so far.
    pub seq: u64,
    /// Its hash, so that a trail in the place of another is noticed.
    pub hash: Digest,
    /// When it was written, by the clock of the node; 0 for none.
    pub at_unix_ms: u64,
}

impl Cursor {
    /// Before the first record of a trail.
    #[must_use]
    pub fn start() -> Self {
        let Head { seq, hash } = Head::start();
        Self { seq, hash, at_unix_ms: 0 }
    }

    /// Behind a record.
    #[must_use]
    pub fn behind(record: &Record) -> Self {
        Self { seq: record.seq, hash: record.hash, at_unix_ms: record.at_unix_ms }
    }

    /// Where to go on, for [`crate::Follower::open_after`].
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// Reads a cursor; none if there is no file.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] for other content: whoever decides to begin anew from
    /// [`Self::start`] sends records again. [`AuditError::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let Some(content) = files::read_small(path, BYTES_MAX)? else { return Ok(None) };
        serde_json::from_slice(&content)
            .map(Some)
            .map_err(|_| AuditError::Malformed { path: path.to_owned() })
    }

    /// Keeps the cursor in a file, durably; at any moment the old or the new one is there.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), AuditError> {
        let mut content = serde_json::to_vec(self).map_err(AuditError::Encode)?;
        content.push(b'\n');
        files::write_atomically(path, &content)
    }
}
