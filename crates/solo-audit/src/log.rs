//! A log of one file: appends, durably, or not at all. Neither signs nor rotates; that is
//! [`crate::Trail`].

use std::path::Path;

use crate::AuditError;
use crate::batch::Batch;
use crate::chain::{Entry, Head};
use crate::files;
use crate::verify::scan_file;
use crate::writer::Writer;

/// A log that this process writes. Only one process can at a time.
#[derive(Debug)]
pub struct AuditLog {
    writer: Writer,
    head: Head,
    torn_bytes: u64,
}

impl AuditLog {
    /// Opens a log, or makes an empty one that only this user can read. Verifies all of it.
    ///
    /// A last line without end is what a power loss leaves of a batch that was never acknowledged:
    /// it is cut off, and [`Self::torn_bytes`] tells. Complete records of such a batch stay.
    ///
    /// # Errors
    /// [`AuditError`]; anything else that does not verify, a file in use, a disk that fails.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let mut writer = Writer::open(path)?;
        let scan = scan_file(path, None)?;
        writer.repair(scan.good_bytes, scan.torn_bytes)?;
        if scan.summary.records == 0 {
            // The file may be new: its name must survive a power loss as well.
            files::sync_directory_of(path)?;
        }
        Ok(Self { writer, head: scan.summary.head, torn_bytes: scan.torn_bytes })
    }

    /// Appends entries in order with one write and one sync, and answers the sequence number of the
    /// last record in the log. When it answers, they survive a power loss.
    ///
    /// # Errors
    /// [`AuditError`]. None of the entries counts as written then. Entries that do not fit leave the
    /// log usable; after a failure of the disk it refuses all further ones.
    pub fn append_batch(&mut self, entries: &[Entry]) -> Result<u64, AuditError> {
        self.writer.check()?;
        Batch::check(entries)?;
        let mut batch = Batch::after(self.head);
        for entry in entries {
            batch.push(entry)?;
        }
        if batch.is_empty() {
            return Ok(self.head.seq);
        }
        self.writer.append(batch.lines())?;
        self.head = batch.head();
        Ok(self.head.seq)
    }

    /// The end of the chain. Kept elsewhere, it lets [`crate::verify_head`] notice a cut.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Bytes of an incomplete last line that were cut off when the log was opened.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Makes the next write fail or succeed as `file` does.
    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, file: std::fs::File) {
        self.writer.replace_file(file);
    }
}
