//! The open log: appends, durably, or not at all.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::AuditError;
use crate::chain::{Entry, Head, RECORD_BYTES_MAX, Record};
use crate::verify::scan;

/// Entries of one write: what waits while the disk syncs once, on a machine that is overloaded.
const BATCH_ENTRIES_MAX: usize = 1_024;

/// A log that this process writes. Only one process can at a time.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: File,
    head: Head,
    /// Length of the file up to the last record that was acknowledged.
    good_bytes: u64,
    torn_bytes: u64,
    poisoned: bool,
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
        let io = |step| move |source| AuditError::Io { step, path: path.to_owned(), source };
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let scan = scan(path, None)?;
        if scan.torn_bytes > 0 {
            tracing::warn!(
                path = %path.display(), bytes = scan.torn_bytes,
                "Cut off the incomplete last line of the audit log"
            );
            file.set_len(scan.good_bytes).map_err(io("repair"))?;
            file.sync_data().map_err(io("sync"))?;
        }
        if scan.summary.records == 0 {
            // The file may be new: its name must survive a power loss as well.
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(io("sync the directory of"))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            head: scan.summary.head,
            good_bytes: scan.good_bytes,
            torn_bytes: scan.torn_bytes,
            poisoned: false,
        })
    }

    /// Appends entries in order with one write and one sync, and answers the sequence number of the
    /// last record in the log. When it answers, they survive a power loss.
    ///
    /// # Errors
    /// [`AuditError`]. None of the entries counts as written then. Entries that do not fit leave the
    /// log usable; after a failure of the disk it refuses all further ones.
    pub fn append_batch(&mut self, entries: &[Entry]) -> Result<u64, AuditError> {
        if self.poisoned {
            return Err(AuditError::Poisoned);
        }
        if entries.len() > BATCH_ENTRIES_MAX {
            return Err(AuditError::BatchTooLarge {
                entries: entries.len(),
                limit: BATCH_ENTRIES_MAX,
            });
        }
        let mut head = self.head;
        let mut lines = Vec::new();
        for entry in entries {
            let record = Record::after(head, entry).map_err(AuditError::Encode)?;
            let line = record.line().map_err(AuditError::Encode)?;
            if line.len() >= RECORD_BYTES_MAX {
                let limit = RECORD_BYTES_MAX - 1;
                return Err(AuditError::TooLong { bytes: line.len(), limit });
            }
            lines.extend_from_slice(&line);
            lines.push(b'\n');
            head = record.head();
        }
        if lines.is_empty() {
            return Ok(self.head.seq);
        }
        // Whatever fails from here on leaves open what is on the disk (after a failed sync the
        // kernel may drop the pages): nothing more is written until the file was read again.
        self.poisoned = true;
        let written = self.file.write_all(&lines).map_err(|source| self.io("write", source));
        if let Err(error) = written {
            // A full disk: do not leave half a batch behind. If this fails too, `open` repairs it.
            if let Err(error) = self.file.set_len(self.good_bytes) {
                tracing::error!(%error, "Failed to take back half a batch of audit records");
            }
            return Err(error);
        }
        self.file.sync_data().map_err(|source| self.io("sync", source))?;
        self.poisoned = false;
        self.head = head;
        self.good_bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(head.seq)
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
    pub(crate) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    fn io(&self, step: &'static str, source: std::io::Error) -> AuditError {
        AuditError::Io { step, path: self.path.clone(), source }
    }
}
