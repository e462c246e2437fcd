//! Reads a log from its start and checks every link. Holds one line in memory. Changes nothing.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::AuditError;
use crate::chain::{Head, RECORD_BYTES_MAX, Record};

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

/// Verifies a whole log.
///
/// # Errors
/// [`AuditError::Changed`], [`AuditError::Removed`], [`AuditError::Reordered`] or
/// [`AuditError::Cut`] with the first record that is not as it was written. A record whose hash was
/// made to fit is reported as changed because the record after it does not link to it.
pub fn verify(path: &Path) -> Result<Summary, AuditError> {
    let scan = scan(path, None)?;
    match scan.torn_bytes {
        0 => Ok(scan.summary),
        _ => Err(AuditError::Cut { seq: scan.summary.head.seq.saturating_add(1) }),
    }
}

/// Verifies a whole log that is known to have once ended with `head`.
///
/// # Errors
/// As [`verify`]; in addition finds records that were cut off at the end, up to `head`, and a log
/// that was written anew.
pub fn verify_head(path: &Path, head: Head) -> Result<Summary, AuditError> {
    let scan = scan(path, Some(head))?;
    let last = scan.summary.head.seq;
    if last < head.seq || scan.torn_bytes > 0 {
        return Err(AuditError::Cut { seq: last.saturating_add(1) });
    }
    Ok(scan.summary)
}

/// What was found in a file, up to a last line without end.
pub(crate) struct Scan {
    pub(crate) summary: Summary,
    /// Where the last complete line ends.
    pub(crate) good_bytes: u64,
    /// What follows it.
    pub(crate) torn_bytes: u64,
}

pub(crate) fn scan(path: &Path, expected: Option<Head>) -> Result<Scan, AuditError> {
    let io = |step| move |source| AuditError::Io { step, path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io("open"))?);
    let start = Head::start();
    let mut summary = Summary { records: 0, head: start, first_at_unix_ms: 0, last_at_unix_ms: 0 };
    let mut good_bytes = 0_u64;
    let mut line = Vec::new();
    loop {
        let length = read_line(&mut reader, &mut line).map_err(io("read"))?;
        if length == 0 {
            return Ok(Scan { summary, good_bytes, torn_bytes: 0 });
        }
        let seq = summary.head.seq.saturating_add(1);
        let Some(text) = line.strip_suffix(b"\n") else {
            if line.len() > RECORD_BYTES_MAX {
                return Err(AuditError::Changed { seq });
            }
            return Ok(Scan { summary, good_bytes, torn_bytes: length });
        };
        let record = check_record(text, summary.head, || comes_later(&mut reader, seq))?;
        if expected.is_some_and(|head| head.seq == seq && head.hash != record.hash) {
            return Err(AuditError::Changed { seq });
        }
        if seq == 1 {
            summary.first_at_unix_ms = record.at_unix_ms;
        }
        summary.records += 1;
        summary.last_at_unix_ms = record.at_unix_ms;
        summary.head = record.head();
        good_bytes += length;
    }
}

/// Checks one line behind `head`. `comes_later`: whether the record that belongs here follows.
fn check_record(
    line: &[u8],
    head: Head,
    comes_later: impl FnOnce() -> bool,
) -> Result<Record, AuditError> {
    let seq = head.seq.saturating_add(1);
    let changed = AuditError::Changed { seq };
    let Some(record) = Record::from_line(line) else { return Err(changed) };
    if record.expected_hash().map_err(AuditError::Encode)? != record.hash {
        return Err(changed);
    }
    // From here on it is a record that somebody made whole; is it the right one?
    if record.seq < seq {
        return Err(AuditError::Reordered { seq });
    }
    if record.seq > seq {
        let error =
            if comes_later() { AuditError::Reordered { seq } } else { AuditError::Removed { seq } };
        return Err(error);
    }
    if record.prev != head.hash {
        // The record before was made anew, hash included; its old hash is still linked to here.
        return Err(AuditError::Changed { seq: head.seq.max(1) });
    }
    Ok(record)
}

fn comes_later(reader: &mut impl BufRead, seq: u64) -> bool {
    let mut line = Vec::new();
    while let Ok(1..) = read_line(reader, &mut line) {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if Record::from_line(text).is_some_and(|record| record.seq == seq) {
            return true;
        }
    }
    false
}

/// Reads up to and including a line end, or one byte more than a line may have. Answers how much.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    line.clear();
    let most = u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let length = reader.take(most).read_until(b'\n', line)?;
    Ok(u64::try_from(length).unwrap_or(u64::MAX))
}
