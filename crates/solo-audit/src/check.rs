//! The rules of a log, applied to one record after the other. Pure: no files, no clock.
//!
//! With keys it also demands what checkpoints promise: that each is signed by one of them, and that
//! the next one comes as early as the last one said.

use crate::AuditError;
use crate::chain::{Head, Record};
use crate::checkpoint::Checkpoint;
use crate::key::PublicKey;
use crate::marks::{self, Mark};

/// Why a record is not accepted.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This is wrong.
    Wrong(AuditError),
    /// Record `seq` should be here. Whether it was removed or moved, who reads on can tell.
    Missing { seq: u64 },
}

/// What was accepted so far.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    head: Head,
    keys: &'a [PublicKey],
    /// An end that the log is known to have had.
    kept: Option<Head>,
    records: u64,
    first_at_unix_ms: u64,
    last_at_unix_ms: u64,
    checkpoints: u64,
    newest: Option<Checkpoint>,
    /// Last record that a signature covers.
    proven_seq: u64,
    /// What the last checkpoint said about the next.
    every: Option<u64>,
    /// Records since the last checkpoint, or since the start.
    since: u64,
    /// What the newest retention allows to be missing, and what the newest that is proven does.
    first_kept: u64,
    first_kept_proven: u64,
}

impl<'a> Checker<'a> {
    /// Begins behind `head`. Without keys only the chain is checked.
    pub(crate) fn after(head: Head, keys: &'a [PublicKey], kept: Option<Head>) -> Self {
        Self {
            head,
            keys,
            kept,
            records: 0,
            first_at_unix_ms: 0,
            last_at_unix_ms: 0,
            checkpoints: 0,
            newest: None,
            proven_seq: 0,
            every: None,
            since: 0,
            first_kept: 1,
            first_kept_proven: 1,
        }
    }

    /// Accepts the next line. `starts`: the number in the name of the file that it begins.
    pub(crate) fn accept(&mut self, line: &[u8], starts: Option<u64>) -> Result<Record, Fault> {
        let record = link(line, self.head)?;
        let seq = record.seq;
        let mark = marks::read(&record).map_err(Fault::Wrong)?;
        place(seq, mark, starts).map_err(Fault::Wrong)?;
        if self.kept.is_some_and(|head| head.seq == seq && head.hash != record.hash) {
            return Err(Fault::Wrong(AuditError::Changed { seq }));
        }
        match mark {
            Some(Mark::Checkpoint(seal)) => {
                if !self.keys.is_empty() && !seal.is_of(&record, self.keys) {
                    let first_unproven = self.proven_seq.saturating_add(1);
                    return Err(Fault::Wrong(AuditError::Forged { seq, first_unproven }));
                }
                self.checkpoints += 1;
                self.newest = Checkpoint::of(&record);
                self.proven_seq = seq;
                self.every = Some(seal.every);
                self.since = 0;
                self.first_kept_proven = self.first_kept;
            }
            _ => self.count(seq).map_err(Fault::Wrong)?,
        }
        if let Some(Mark::Retention { first_kept }) = mark {
            self.first_kept = self.first_kept.max(first_kept);
        }
        if self.records == 0 {
            self.first_at_unix_ms = record.at_unix_ms;
        }
        self.records += 1;
        self.last_at_unix_ms = record.at_unix_ms;
        self.head = record.head();
        Ok(record)
    }

    /// Counts a record that is no checkpoint.
    fn count(&mut self, seq: u64) -> Result<(), AuditError> {
        self.since += 1;
        if !self.keys.is_empty() && self.every.is_some_and(|every| self.since > every) {
            return Err(self.unsigned(seq));
        }
        Ok(())
    }

    fn unsigned(&self, seq: u64) -> AuditError {
        AuditError::Unsigned { seq, first_unproven: self.proven_seq.saturating_add(1) }
    }

    /// Judges what only the whole log shows. `first`: the first record that was there.
    pub(crate) fn finish(&self, first: u64) -> Result<(), AuditError> {
        let first_kept =
            if self.keys.is_empty() { self.first_kept } else { self.first_kept_proven };
        if first > first_kept {
            return Err(AuditError::Removed { seq: first_kept });
        }
        if self.kept.is_some_and(|kept| kept.seq > self.head.seq) {
            return Err(AuditError::Cut { seq: self.head.seq.saturating_add(1) });
        }
        if !self.keys.is_empty() && self.checkpoints == 0 {
            return Err(self.unsigned(self.head.seq));
        }
        Ok(())
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Times of the first and the last record; 0 for none.
    pub(crate) fn times(&self) -> (u64, u64) {
        (self.first_at_unix_ms, self.last_at_unix_ms)
    }

    pub(crate) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// The newest checkpoint.
    pub(crate) fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// Records since the last checkpoint, or since the start.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }
}

/// Checks that a line is the record that follows `head`.
pub(crate) fn link(line: &[u8], head: Head) -> Result<Record, Fault> {
    let seq = head.seq.saturating_add(1);
    let changed = Fault::Wrong(AuditError::Changed { seq });
    let Some(record) = Record::from_line(line) else { return Err(changed) };
    let hash = record.expected_hash().map_err(|error| Fault::Wrong(AuditError::Encode(error)))?;
    if hash != record.hash {
        return Err(changed);
    }
    // From here on it is a record that somebody made whole; is it the right one?
    if record.seq < seq {
        return Err(Fault::Wrong(AuditError::Reordered { seq }));
    }
    if record.seq > seq {
        return Err(Fault::Missing { seq });
    }
    if record.prev != head.hash {
        // The record before was made anew, hash included; its old hash is still linked to here.
        return Err(Fault::Wrong(AuditError::Changed { seq: head.seq.max(1) }));
    }
    Ok(record)
}

/// Checks that segments begin where files do. The first one of all may begin with any record.
fn place(seq: u64, mark: Option<Mark>, starts: Option<u64>) -> Result<(), AuditError> {
    let is_segment = matches!(mark, Some(Mark::Segment { .. }));
    match starts {
        Some(first) if first != seq => Err(AuditError::Reordered { seq }),
        Some(first) if first > 1 && !is_segment => Err(AuditError::Changed { seq }),
        None if is_segment => Err(AuditError::Reordered { seq }),
        _ => Ok(()),
    }
}
