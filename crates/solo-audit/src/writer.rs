//! Appends bytes to a locked file, durably, or not at all. Knows nothing of records.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::AuditError;
use crate::files;

/// A file that this process alone appends to.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
    /// Length of the file up to what was acknowledged.
    good_bytes: u64,
    poisoned: bool,
}

impl Writer {
    /// Opens and locks a file, which may be new. [`Self::repair`] must follow.
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let file = files::open_to_append(path)?;
        files::lock(&file, path)?;
        Ok(Self::of(path, file, 0))
    }

    /// Goes on with a file that was opened for appending, is locked and holds `good_bytes`.
    pub(crate) fn of(path: &Path, file: File, good_bytes: u64) -> Self {
        Self { path: path.to_owned(), file, good_bytes, poisoned: false }
    }

    /// Cuts off what a power loss left of a line behind `good_bytes`.
    pub(crate) fn repair(&mut self, good_bytes: u64, torn_bytes: u64) -> Result<(), AuditError> {
        if torn_bytes > 0 {
            tracing::warn!(
                path = %self.path.display(), bytes = torn_bytes,
                "Cut off the incomplete last line of the audit log"
            );
            self.file.set_len(good_bytes).map_err(files::failed("repair", &self.path))?;
            self.file.sync_data().map_err(files::failed("sync", &self.path))?;
        }
        self.good_bytes = good_bytes;
        Ok(())
    }

    /// Appends with one write and one sync.
    ///
    /// After a failure nothing more is written: what is on the disk is not certain any more (after
    /// a failed sync the system may drop the pages) until the file was read again.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        self.check()?;
        self.poisoned = true;
        if let Err(source) = self.file.write_all(lines) {
            // A full disk: do not leave half a batch behind. If this fails too, opening repairs it.
            if let Err(error) = self.file.set_len(self.good_bytes) {
                tracing::error!(%error, "Failed to take back half a batch of audit records");
            }
            return Err(files::failed("write", &self.path)(source));
        }
        self.file.sync_data().map_err(files::failed("sync", &self.path))?;
        self.poisoned = false;
        self.good_bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Refuses if an append failed before.
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        if self.poisoned { Err(AuditError::Poisoned) } else { Ok(()) }
    }

    /// Refuses everything from here on.
    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Length of the file up to what was acknowledged.
    pub(crate) fn good_bytes(&self) -> u64 {
        self.good_bytes
    }

    /// Makes the next write fail or succeed as `file` does.
    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, file: File) {
        self.file = file;
    }
}
