//! Entries that become lines of one write. No files here; refuses what does not fit, before
//! anything is written.

use crate::AuditError;
use crate::chain::{Entry, Head, RECORD_BYTES_MAX, Record};
use crate::marks;

/// Entries of one write: what waits while the disk syncs once, on a machine that is overloaded.
const ENTRIES_MAX: usize = 1_024;

/// Lines that follow a head.
#[derive(Debug)]
pub(crate) struct Batch {
    head: Head,
    lines: Vec<u8>,
}

impl Batch {
    /// Refuses entries that are too many, or that pretend to be records of the log itself.
    pub(crate) fn check(entries: &[Entry]) -> Result<(), AuditError> {
        if entries.len() > ENTRIES_MAX {
            return Err(AuditError::BatchTooLarge { entries: entries.len(), limit: ENTRIES_MAX });
        }
        match entries.iter().find(|entry| marks::is_reserved(&entry.operation)) {
            Some(entry) => Err(AuditError::Reserved { operation: entry.operation.clone() }),
            None => Ok(()),
        }
    }

    /// Begins with nothing behind `head`.
    pub(crate) fn after(head: Head) -> Self {
        Self { head, lines: Vec::new() }
    }

    /// Adds the record of an entry, and answers it.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<Record, AuditError> {
        let record = Record::after(self.head, entry).map_err(AuditError::Encode)?;
        let line = record.line().map_err(AuditError::Encode)?;
        if line.len() >= RECORD_BYTES_MAX {
            return Err(AuditError::TooLong { bytes: line.len(), limit: RECORD_BYTES_MAX - 1 });
        }
        self.lines.extend_from_slice(&line);
        self.lines.push(b'\n');
        self.head = record.head();
        Ok(record)
    }

    /// The chain up to the last line.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// What is to be written.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}
