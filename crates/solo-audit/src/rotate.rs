//! Opening a trail, going on to the next segment, and removing old ones.
//!
//! Each is a row of steps after any of which the process may be killed. What was acknowledged is in
//! a file that has its name; a file without its name is removed when the trail is opened.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::AuditError;
use crate::batch::Batch;
use crate::chain::{Head, Record};
use crate::check::{Checker, Fault};
use crate::checkpoint::Checkpoint;
use crate::files::{self, failed};
use crate::key::PublicKey;
use crate::layout::{self, Segment};
use crate::marks;
use crate::steps::Steps;
use crate::trail::{Trail, TrailOptions};
use crate::verify::scan;
use crate::writer::Writer;

/// Which segments may go.
#[derive(Debug, Clone)]
pub struct Retention<'a> {
    /// So many of the newest segments stay; the one that is written always does.
    pub keep_segments: usize,
    /// This record and all behind it stay: what the sink that lags most was not given yet.
    /// [`u64::MAX`] for none.
    pub keep_from_seq: u64,
    /// Who decided it.
    pub principal: &'a str,
    /// Of which request; empty for none.
    pub request_id: &'a str,
    /// When, by the clock of the node.
    pub at_unix_ms: u64,
}

/// What a retention did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// How many segments were removed.
    pub segments: usize,
    /// The newest checkpoint, if one was written: to be kept elsewhere.
    pub checkpoint: Option<Checkpoint>,
}

impl Trail {
    /// Opens the trail in an existing directory, or begins one there.
    ///
    /// A log of one file (`audit.jsonl`) becomes the first segment. Verifies the newest segment as a
    /// whole, and of all others that they follow each other (their first and last records); the rest
    /// is for [`crate::verify_trail`]. As in [`crate::AuditLog::open`], an incomplete last line is
    /// cut off. A trail that has no checkpoint yet gets one. A kept checkpoint is compared where it
    /// lies in what is verified; the trail must not end before it in any case.
    ///
    /// # Errors
    /// [`AuditError`]: what does not verify or ends before the kept checkpoint, a trail in use, files
    /// that do not belong together, a disk that fails.
    pub fn open(
        directory: &Path,
        options: TrailOptions,
        now_unix_ms: u64,
    ) -> Result<Self, AuditError> {
        Self::open_in_steps(directory, options, now_unix_ms, Steps::default())
    }

    pub(crate) fn open_in_steps(
        directory: &Path,
        options: TrailOptions,
        now_unix_ms: u64,
        mut steps: Steps,
    ) -> Result<Self, AuditError> {
        let keys = options.keys();
        if let Some(kept) = &options.kept {
            kept.verify(&keys)?;
        }
        let lock_path = directory.join(layout::LOCK_FILE);
        let lock = files::open_to_append(&lock_path)?;
        files::lock(&lock, &lock_path)?;
        layout::remove_unnamed(directory)?;
        steps.done()?;
        take_over(directory, &mut steps)?;
        let segments = layout::segments(directory)?;
        let mut trail = match segments.split_last() {
            Some((newest, older)) => {
                let writer = Writer::open(&newest.path)?;
                Self::resume(directory, lock, options, (newest, older), &keys, writer)?
            }
            None if options.kept.is_some() => return Err(AuditError::Cut { seq: 1 }),
            None => {
                let start = Head::start();
                let (writer, record) = begin(directory, start, 0, now_unix_ms, &mut steps)?;
                Self {
                    directory: directory.to_owned(),
                    _lock: lock,
                    options,
                    writer,
                    segment_first: 1,
                    head: record.head(),
                    since: 1,
                    newest_checkpoint: None,
                    torn_bytes: 0,
                    steps: Steps::default(),
                }
            }
        };
        trail.steps = steps;
        trail.steps.done()?;
        if trail.newest_checkpoint.is_none() {
            // From here on every record is covered by a checkpoint, or soon will be.
            trail.since = trail.since.max(1);
            trail.checkpoint(now_unix_ms)?;
        }
        trail.steps.done()?;
        Ok(trail)
    }

    /// Goes on with segments that are there.
    fn resume(
        directory: &Path,
        lock: File,
        options: TrailOptions,
        (newest, older): (&Segment, &[Segment]),
        keys: &[PublicKey],
        mut writer: Writer,
    ) -> Result<Self, AuditError> {
        let kept = options.kept.as_ref().map(Checkpoint::head);
        let mut checker = check_edges(newest, older, keys, kept)?;
        let scan = scan(std::slice::from_ref(newest), &mut checker, None)?;
        if kept.is_some_and(|kept| kept.seq > checker.head().seq) {
            return Err(AuditError::Cut { seq: checker.head().seq.saturating_add(1) });
        }
        writer.repair(scan.good_bytes, scan.torn_bytes)?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            options,
            writer,
            segment_first: newest.first,
            head: checker.head(),
            since: checker.since(),
            newest_checkpoint: checker.newest().cloned(),
            torn_bytes: scan.torn_bytes,
            steps: Steps::default(),
        })
    }

    /// Signs the end of the segment and begins the next one. Answers the checkpoint, if one was due.
    ///
    /// A failure poisons the trail: opened again, it goes on from what is on the disk.
    pub(crate) fn rotate(&mut self, at_unix_ms: u64) -> Result<Option<Checkpoint>, AuditError> {
        let checkpoint = self.checkpoint(at_unix_ms)?;
        self.writer.poison();
        self.steps.done()?;
        let (writer, record) =
            begin(&self.directory, self.head, self.segment_first, at_unix_ms, &mut self.steps)?;
        self.writer = writer;
        self.segment_first = record.seq;
        self.head = record.head();
        self.since += 1;
        Ok(checkpoint)
    }

    /// Removes the oldest segments, as far as both limits of `retention` allow.
    ///
    /// What is removed, and who decided so, is recorded and signed before the first file goes; the
    /// record is what makes the rest verify. Files that a kill left behind go next time.
    ///
    /// # Errors
    /// [`AuditError`]. As of an append if nothing was removed; [`AuditError::Io`] if a file could not
    /// be removed, and the trail stays usable.
    pub fn prune(&mut self, retention: &Retention<'_>) -> Result<Pruned, AuditError> {
        self.writer.check()?;
        let segments = layout::segments(&self.directory)?;
        let may_go = segments.len().saturating_sub(retention.keep_segments.max(1));
        // A segment holds what is before the first record of the next.
        let removed = segments
            .windows(2)
            .take(may_go)
            .take_while(|pair| pair[1].first <= retention.keep_from_seq)
            .count();
        let Some(first_kept) = segments.get(removed).filter(|_| removed > 0) else {
            return Ok(Pruned { segments: 0, checkpoint: None });
        };
        let (before, _) = layout::start_of(first_kept)?;
        let Retention { principal, request_id, at_unix_ms, .. } = *retention;
        let entry = marks::retention(before, removed, principal, request_id, at_unix_ms);
        let mut pending = self.pending();
        pending.push(&entry)?;
        pending.checkpoint(at_unix_ms)?;
        let pending = pending.finish();
        let checkpoint = self.write(pending)?;
        self.steps.done()?;
        for segment in segments.iter().take(removed) {
            fs::remove_file(&segment.path).map_err(failed("remove", &segment.path))?;
            // In order also after a power loss: else a gap could be left.
            files::sync_directory_of(&segment.path)?;
            self.steps.done()?;
        }
        Ok(Pruned { segments: removed, checkpoint })
    }
}

/// Makes a log of one file the first segment.
fn take_over(directory: &Path, steps: &mut Steps) -> Result<(), AuditError> {
    let single = directory.join(layout::SINGLE_FILE);
    if !fs::exists(&single).map_err(failed("find", &single))? {
        return Ok(());
    }
    // Who writes it still holds its lock, which goes with the file.
    let file = files::open_to_append(&single)?;
    files::lock(&file, &single)?;
    if !layout::segments(directory)?.is_empty() {
        let what = "a single file beside its segments; set aside what does not belong to it";
        return Err(AuditError::Layout { what, path: single });
    }
    steps.done()?;
    let first = layout::segment_path(directory, 1);
    fs::rename(&single, &first).map_err(failed("rename", &single))?;
    steps.done()?;
    files::sync_directory_of(&first)?;
    steps.done()
}

/// Makes the file of a segment that follows `head`, with its first record. It gets its name when
/// that is on disk.
fn begin(
    directory: &Path,
    head: Head,
    previous_first: u64,
    at_unix_ms: u64,
    steps: &mut Steps,
) -> Result<(Writer, Record), AuditError> {
    let mut batch = Batch::after(head);
    let record = batch.push(&marks::segment(head, previous_first, at_unix_ms))?;
    let path = layout::segment_path(directory, record.seq);
    let new = files::new_name(&path);
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("make", &new))?;
    files::lock(&file, &new)?;
    steps.done()?;
    let (some, rest) = batch.lines().split_at(batch.lines().len() / 2);
    file.write_all(some).map_err(failed("write", &new))?;
    steps.done()?;
    file.write_all(rest).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    steps.done()?;
    fs::rename(&new, &path).map_err(failed("rename", &new))?;
    steps.done()?;
    files::sync_directory_of(&path)?;
    steps.done()?;
    let good_bytes = u64::try_from(batch.lines().len()).unwrap_or(u64::MAX);
    Ok((Writer::of(&path, file, good_bytes), record))
}

/// Checks that segments follow each other, by their first and last records. Answers what the newest
/// one is to be checked with.
fn check_edges<'a>(
    newest: &Segment,
    older: &[Segment],
    keys: &'a [PublicKey],
    kept: Option<Head>,
) -> Result<Checker<'a>, AuditError> {
    let mut follows: Option<(&Segment, Record)> = None;
    for segment in older {
        check_edge(segment, follows.as_ref())?;
        follows = Some((segment, layout::last_of(segment)?));
    }
    check_edge(newest, follows.as_ref())?;
    let Some((_, last)) = follows else {
        return Ok(Checker::after(layout::start_of(newest)?.0, keys, kept));
    };
    // The last record before it is a checkpoint: checked like any other, it proves where to begin.
    let before = Head { seq: last.seq.saturating_sub(1), hash: last.prev };
    let mut checker = Checker::after(before, keys, kept);
    let line = last.line().map_err(AuditError::Encode)?;
    match checker.accept(&line, None) {
        Ok(_) if checker.checkpoints() == 1 => Ok(checker),
        Ok(_) => Err(AuditError::Unsigned { seq: last.seq, first_unproven: 1 }),
        Err(Fault::Wrong(error)) => Err(error),
        Err(Fault::Missing { seq }) => Err(AuditError::Removed { seq }),
    }
}

/// Checks that a segment begins where the one before ends.
fn check_edge(segment: &Segment, follows: Option<&(&Segment, Record)>) -> Result<(), AuditError> {
    let (start, previous_first) = layout::start_of(segment)?;
    let Some((previous, last)) = follows else { return Ok(()) };
    if previous_first != previous.first || start.seq > last.seq {
        return Err(AuditError::Removed { seq: last.seq.saturating_add(1) });
    }
    if start.seq < last.seq {
        return Err(AuditError::Reordered { seq: segment.first });
    }
    if start.hash != last.hash {
        return Err(AuditError::Changed { seq: last.seq });
    }
    Ok(())
}
