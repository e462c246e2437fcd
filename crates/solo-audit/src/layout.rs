//! Names and order of the files of a trail. Reads their edges (first and last line), writes nothing.
//!
//! A segment is `audit-SEQ.jsonl`, where `SEQ` has 20 digits and is the number of its first record,
//! so that the order of names is the order of records. Other files in the directory are ignored.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::AuditError;
use crate::chain::{Head, RECORD_BYTES_MAX, Record};
use crate::files::{self, failed};
use crate::lines::read_line;
use crate::marks::{self, Mark};

/// The log of one file that a trail takes over as its first segment.
pub(crate) const SINGLE_FILE: &str = "audit.jsonl";

/// Held by the process that writes the trail. Never removed.
pub(crate) const LOCK_FILE: &str = "audit.lock";

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
const DIGITS: usize = 20;

/// Files of one trail. With segments of 1 MiB and up that is far beyond any disk's audit trail; it
/// bounds what a directory full of names can cost.
const SEGMENTS_MAX: usize = 100_000;

/// One file of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Number of its first record.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// Where the segment that begins with record `first` lies.
pub(crate) fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{first:0DIGITS$}{SUFFIX}"))
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|first| *first > 0)
}

/// All segments, oldest first.
pub(crate) fn segments(directory: &Path) -> Result<Vec<Segment>, AuditError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let name = entry.file_name();
        if let Some(first) = name.to_str().and_then(first_of) {
            segments.push(Segment { first, path: entry.path() });
        }
        if segments.len() > SEGMENTS_MAX {
            let what = "more segments than it can have";
            return Err(AuditError::Layout { what, path: directory.to_owned() });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Removes segments that did not get their name: nothing in them was acknowledged.
pub(crate) fn remove_unnamed(directory: &Path) -> Result<(), AuditError> {
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let name = entry.file_name();
        let unnamed = name.to_str().and_then(|name| name.strip_suffix(files::NEW));
        if unnamed.and_then(first_of).is_some() {
            let path = entry.path();
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// What the records of a segment follow, by its own word; and the segment before it, 0 for none.
pub(crate) fn start_of(segment: &Segment) -> Result<(Head, u64), AuditError> {
    if segment.first == 1 {
        return Ok((Head::start(), 0));
    }
    let file = File::open(&segment.path).map_err(failed("open", &segment.path))?;
    let mut line = Vec::new();
    read_line(&mut BufReader::new(file), &mut line).map_err(failed("read", &segment.path))?;
    let changed = AuditError::Changed { seq: segment.first };
    let Some(record) = line.strip_suffix(b"\n").and_then(Record::from_line) else {
        return Err(changed);
    };
    if record.seq != segment.first {
        return Err(AuditError::Reordered { seq: segment.first });
    }
    match marks::read(&record)? {
        Some(Mark::Segment { previous_first }) => {
            Ok((Head { seq: segment.first - 1, hash: record.prev }, previous_first))
        }
        _ => Err(changed),
    }
}

/// The last record of a segment that is complete.
pub(crate) fn last_of(segment: &Segment) -> Result<Record, AuditError> {
    let changed = AuditError::Changed { seq: segment.first };
    let mut file = File::open(&segment.path).map_err(failed("open", &segment.path))?;
    let length = file.metadata().map_err(failed("read", &segment.path))?.len();
    let most = u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.seek(SeekFrom::Start(length.saturating_sub(most)))
        .map_err(failed("read", &segment.path))?;
    let mut end = Vec::new();
    file.take(most).read_to_end(&mut end).map_err(failed("read", &segment.path))?;
    let Some(text) = end.strip_suffix(b"\n") else { return Err(changed) };
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(text);
    Record::from_line(line).ok_or(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_like_records() {
        let path = segment_path(Path::new("logs"), 42);
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(name, "audit-00000000000000000042.jsonl");
        assert_eq!(first_of(name), Some(42));
        assert_eq!(first_of("audit-18446744073709551615.jsonl"), Some(u64::MAX));
        for other in [
            "audit.jsonl",
            "audit-42.jsonl",
            "audit-00000000000000000000.jsonl",
            "audit-99999999999999999999.jsonl",
            "audit-+0000000000000000042.jsonl",
            "audit-00000000000000000042.jsonl.new",
        ] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }
}
