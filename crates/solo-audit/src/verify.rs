//! Reads a log from its start and checks every link. Holds one line in memory. Changes nothing.

use std::path::Path;

use crate::AuditError;
use crate::chain::Head;
use crate::check::{Checker, Fault};
use crate::checkpoint::Checkpoint;
use crate::key::PublicKey;
use crate::layout::{self, Segment};
use crate::lines::{Lines, Next};

/// What a log that is in order contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many records.
    pub records: u64,
    /// The end of the chain; keep it elsewhere.
    pub head: Head,
    /// Of the first record; 0 for none.
    pub first_at_unix_ms: u64,
    /// Of the last record; 0 for none.
    pub last_at_unix_ms: u64,
}

/// Verifies a whole log of one file.
///
/// # Errors
/// [`AuditError::Changed`], [`AuditError::Removed`], [`AuditError::Reordered`] or
/// [`AuditError::Cut`] with the first record that is not as it was written. A record whose hash was
/// made to fit is reported as changed because the record after it does not link to it.
pub fn verify(path: &Path) -> Result<Summary, AuditError> {
    let scan = scan_file(path, None)?;
    match scan.torn_bytes {
        0 => Ok(scan.summary),
        _ => Err(AuditError::Cut { seq: scan.summary.head.seq.saturating_add(1) }),
    }
}

/// Verifies a whole log of one file that is known to have once ended with `head`.
///
/// # Errors
/// As [`verify`]; in addition finds records that were cut off at the end, up to `head`, and a log
/// that was written anew.
pub fn verify_head(path: &Path, head: Head) -> Result<Summary, AuditError> {
    let scan = scan_file(path, Some(head))?;
    let last = scan.summary.head.seq;
    if last < head.seq || scan.torn_bytes > 0 {
        return Err(AuditError::Cut { seq: last.saturating_add(1) });
    }
    Ok(scan.summary)
}

/// What is known about a trail beside its files.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailCheck<'a> {
    /// Keys that may have signed checkpoints. None: only the chain is checked, which anybody who
    /// can write the files can make anew.
    pub keys: &'a [PublicKey],
    /// An end that the trail is known to have had: [`Checkpoint::head`] of a checkpoint that was
    /// kept elsewhere (verify it first), or [`crate::Trail::head`]. One from before the oldest
    /// record that retention left says nothing.
    pub kept: Option<Head>,
    /// Stop behind this record: what was acknowledged of a trail that is being written.
    pub through_seq: Option<u64>,
}

/// What a trail that is in order contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailSummary {
    /// Records that are there.
    pub summary: Summary,
    /// What was before the first record that is there: its number is that of the last record
    /// that was removed by retention, 0 for none.
    pub before: Head,
    /// How many files.
    pub segments: usize,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The newest checkpoint. Records behind it are not proven yet.
    pub newest_checkpoint: Option<Checkpoint>,
}

/// Verifies all segments of a trail.
///
/// # Errors
/// As [`verify`] for the chain across all files. Segments that are missing at the start are
/// [`AuditError::Removed`] unless a retention (with keys: one that a checkpoint covers) says that
/// they may. With keys, [`AuditError::Forged`] and [`AuditError::Unsigned`] find a trail that was
/// written anew from some record on. With [`TrailCheck::kept`], [`AuditError::Cut`] finds what was
/// cut off before it; a directory without segments is cut at record 1.
pub fn verify_trail(directory: &Path, check: &TrailCheck<'_>) -> Result<TrailSummary, AuditError> {
    let segments = layout::segments(directory)?;
    let Some(first) = segments.first() else { return Err(AuditError::Cut { seq: 1 }) };
    let (before, _) = layout::start_of(first)?;
    // A kept end right before the first record that is left: the record's own word must match.
    if check.kept.is_some_and(|kept| kept.seq == before.seq && kept != before) {
        return Err(AuditError::Changed { seq: first.first });
    }
    let mut checker = Checker::after(before, check.keys, check.kept);
    let scan = scan(&segments, &mut checker, check.through_seq)?;
    if scan.torn_bytes > 0 {
        return Err(AuditError::Cut { seq: checker.head().seq.saturating_add(1) });
    }
    checker.finish(first.first)?;
    Ok(TrailSummary {
        summary: scan.summary,
        before,
        segments: segments.len(),
        checkpoints: checker.checkpoints(),
        newest_checkpoint: checker.newest().cloned(),
    })
}

/// What was found, up to a last line without end.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) summary: Summary,
    /// Where the last complete line of the last file ends.
    pub(crate) good_bytes: u64,
    /// What follows it.
    pub(crate) torn_bytes: u64,
}

/// Scans a log of one file.
pub(crate) fn scan_file(path: &Path, kept: Option<Head>) -> Result<Scan, AuditError> {
    let segment = Segment { first: 1, path: path.to_owned() };
    scan(&[segment], &mut Checker::after(Head::start(), &[], kept), None)
}

/// Scans segments that follow each other.
pub(crate) fn scan(
    segments: &[Segment],
    checker: &mut Checker<'_>,
    through_seq: Option<u64>,
) -> Result<Scan, AuditError> {
    let mut lines = Lines::of(segments);
    let mut torn_bytes = 0;
    while through_seq.is_none_or(|through| checker.head().seq < through) {
        let seq = checker.head().seq.saturating_add(1);
        match lines.next()? {
            Next::Line { starts } => match checker.accept(lines.line(), starts) {
                Ok(_) => {}
                Err(Fault::Wrong(error)) => return Err(error),
                Err(Fault::Missing { seq }) if lines.contains_later(seq)? => {
                    return Err(AuditError::Reordered { seq });
                }
                Err(Fault::Missing { seq }) => return Err(AuditError::Removed { seq }),
            },
            Next::Torn { bytes, is_last_file: true } => {
                torn_bytes = bytes;
                break;
            }
            Next::Torn { .. } => return Err(AuditError::Cut { seq }),
            Next::TooLong => return Err(AuditError::Changed { seq }),
            Next::End => break,
        }
    }
    let (first_at_unix_ms, last_at_unix_ms) = checker.times();
    let summary = Summary {
        records: checker.records(),
        head: checker.head(),
        first_at_unix_ms,
        last_at_unix_ms,
    };
    Ok(Scan { summary, good_bytes: lines.good_bytes(), torn_bytes })
}
