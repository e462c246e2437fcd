//! The open trail: a log of several files with signed checkpoints. Appends, durably, or not at all.
//!
//! Reads no clock and keeps no key on disk: both come from the caller. Removes nothing by itself
//! ([`Trail::prune`] does when it is told to). Nothing is written when it is dropped: a process that
//! is killed leaves the same as one that forgets to [`Trail::close`].

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::AuditError;
use crate::batch::Batch;
use crate::chain::{Entry, Head, Record};
use crate::checkpoint::Checkpoint;
use crate::key::{CheckpointKey, PublicKey};
use crate::marks;
use crate::steps::Steps;
use crate::writer::Writer;

/// Size from which on a segment is followed by another: verified within about a second.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;

/// Records between checkpoints: what can be lost to who cuts the end off, against 64 bytes and some
/// 50 us of signing.
pub const CHECKPOINT_EVERY_DEFAULT: u64 = 256;

/// How a trail is written.
#[derive(Debug, Clone)]
pub struct TrailOptions {
    /// Signs the checkpoints.
    pub key: CheckpointKey,
    /// Keys that signed earlier checkpoints of this trail.
    pub older_keys: Vec<PublicKey>,
    /// A segment that would become longer is followed by another. Longer only if a single batch is.
    pub segment_bytes_max: u64,
    /// Records from one checkpoint to the next, at most; 1 at least.
    pub checkpoint_every: u64,
    /// The newest checkpoint that was kept elsewhere: a trail that ends before it is not opened.
    pub kept: Option<Checkpoint>,
}

impl TrailOptions {
    /// The defaults, with a key.
    #[must_use]
    pub fn new(key: CheckpointKey) -> Self {
        Self {
            key,
            older_keys: Vec::new(),
            segment_bytes_max: SEGMENT_BYTES_DEFAULT,
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
            kept: None,
        }
    }

    /// All keys whose checkpoints are accepted.
    pub(crate) fn keys(&self) -> Vec<PublicKey> {
        let mut keys = vec![self.key.public()];
        keys.extend_from_slice(&self.older_keys);
        keys
    }
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Number of the last record in the trail.
    pub seq: u64,
    /// The newest checkpoint, if this call wrote one: to be kept elsewhere ([`Checkpoint::write`]).
    pub checkpoint: Option<Checkpoint>,
}

/// A trail that this process writes. Only one process can at a time.
#[derive(Debug)]
pub struct Trail {
    pub(crate) directory: PathBuf,
    /// Held as long as the trail is open.
    pub(crate) _lock: File,
    pub(crate) options: TrailOptions,
    pub(crate) writer: Writer,
    /// First record of the segment that is written.
    pub(crate) segment_first: u64,
    pub(crate) head: Head,
    /// Records since the last checkpoint.
    pub(crate) since: u64,
    pub(crate) newest_checkpoint: Option<Checkpoint>,
    pub(crate) torn_bytes: u64,
    pub(crate) steps: Steps,
}

impl Trail {
    /// Appends entries in order with one write and one sync, and checkpoints where they are due.
    /// When it answers, they survive a power loss.
    ///
    /// Begins a new segment first if they do not fit into the present one.
    ///
    /// # Errors
    /// [`AuditError`]. None of the entries counts as written then. Entries that do not fit or are
    /// reserved leave the trail usable; after a failure of the disk it refuses all further ones.
    pub fn append_batch(&mut self, entries: &[Entry]) -> Result<Appended, AuditError> {
        self.writer.check()?;
        Batch::check(entries)?;
        let Some(last) = entries.last() else {
            return Ok(Appended { seq: self.head.seq, checkpoint: None });
        };
        let mut pending = self.pending();
        for entry in entries {
            pending.push(entry)?;
        }
        let bytes = u64::try_from(pending.batch.lines().len()).unwrap_or(u64::MAX);
        let room = self.options.segment_bytes_max.saturating_sub(self.writer.good_bytes());
        let mut newest = None;
        if bytes > room && self.head.seq > self.segment_first {
            newest = self.rotate(last.at_unix_ms)?;
            pending = self.pending();
            for entry in entries {
                pending.push(entry)?;
            }
        }
        pending.checkpoint_if_due(last.at_unix_ms)?;
        let pending = pending.finish();
        let checkpoint = self.write(pending)?.or(newest);
        Ok(Appended { seq: self.head.seq, checkpoint })
    }

    /// Signs the end of the trail now. None if the last record is a checkpoint already.
    ///
    /// # Errors
    /// [`AuditError`], as of an append.
    pub fn checkpoint(&mut self, now_unix_ms: u64) -> Result<Option<Checkpoint>, AuditError> {
        self.writer.check()?;
        if self.since == 0 {
            return Ok(None);
        }
        let mut pending = self.pending();
        pending.checkpoint(now_unix_ms)?;
        let pending = pending.finish();
        self.write(pending)
    }

    /// Signs the end of the trail and gives it free. Answers the newest checkpoint.
    ///
    /// # Errors
    /// [`AuditError`], as of an append. The trail is as if its process had been killed then.
    pub fn close(mut self, now_unix_ms: u64) -> Result<Option<Checkpoint>, AuditError> {
        self.checkpoint(now_unix_ms)?;
        Ok(self.newest_checkpoint)
    }

    /// The end of the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The newest checkpoint, to be kept elsewhere.
    #[must_use]
    pub fn newest_checkpoint(&self) -> Option<&Checkpoint> {
        self.newest_checkpoint.as_ref()
    }

    /// Bytes of an incomplete last line that were cut off when the trail was opened.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Where the trail is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Begins what will be written next.
    pub(crate) fn pending(&self) -> Pending<'_> {
        Pending {
            batch: Batch::after(self.head),
            since: self.since,
            every: self.newest_checkpoint.as_ref().map_or(u64::MAX, Checkpoint::every),
            newest: None,
            options: &self.options,
        }
    }

    /// Writes what is pending, with one sync. Answers the newest checkpoint in it.
    pub(crate) fn write(&mut self, pending: Finished) -> Result<Option<Checkpoint>, AuditError> {
        self.writer.append(pending.batch.lines())?;
        self.head = pending.batch.head();
        self.since = pending.since;
        if pending.newest.is_some() {
            self.newest_checkpoint.clone_from(&pending.newest);
        }
        Ok(pending.newest)
    }
}

/// Lines that are not written yet, with checkpoints where they are due.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    batch: Batch,
    since: u64,
    /// What the last checkpoint promised, which may have been under other options.
    every: u64,
    newest: Option<Checkpoint>,
    options: &'a TrailOptions,
}

/// [`Pending`] without its options.
#[derive(Debug)]
pub(crate) struct Finished {
    batch: Batch,
    since: u64,
    newest: Option<Checkpoint>,
}

impl Pending<'_> {
    /// Adds an entry, before it a checkpoint if one is due.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<Record, AuditError> {
        self.checkpoint_if_due(entry.at_unix_ms)?;
        let record = self.batch.push(entry)?;
        self.since += 1;
        Ok(record)
    }

    /// Adds a checkpoint if the last one promised it for here.
    pub(crate) fn checkpoint_if_due(&mut self, at_unix_ms: u64) -> Result<(), AuditError> {
        if self.since < self.every.min(self.options.checkpoint_every).max(1) {
            return Ok(());
        }
        self.checkpoint(at_unix_ms)
    }

    /// Adds a checkpoint.
    pub(crate) fn checkpoint(&mut self, at_unix_ms: u64) -> Result<(), AuditError> {
        let every = self.options.checkpoint_every.max(1);
        let entry = marks::checkpoint(self.batch.head(), every, at_unix_ms, &self.options.key);
        let record = self.batch.push(&entry)?;
        self.newest = Checkpoint::of(&record);
        self.every = every;
        self.since = 0;
        Ok(())
    }

    pub(crate) fn finish(self) -> Finished {
        Finished { batch: self.batch, since: self.since, newest: self.newest }
    }
}
