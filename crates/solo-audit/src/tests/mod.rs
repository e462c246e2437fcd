//! Tests of logs in files: of a single one, and what tests of trails share.

mod crash;
mod read;
mod single;
mod tamper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::layout;

/// Records between checkpoints here.
const EVERY: u64 = 4;

/// A segment holds some ten records here.
const SEGMENT_BYTES: u64 = 4_000;

fn key() -> CheckpointKey {
    CheckpointKey::from_bytes(&[7; 32])
}

fn options() -> TrailOptions {
    TrailOptions {
        segment_bytes_max: SEGMENT_BYTES,
        checkpoint_every: EVERY,
        ..TrailOptions::new(key())
    }
}

fn entry(number: u64) -> Entry {
    Entry {
        at_unix_ms: 1_000 + number,
        principal: "owner".to_owned(),
        operation: "deploy".to_owned(),
        object: format!("service-{number}"),
        outcome: "allowed".to_owned(),
        request_id: format!("request-{number}"),
        details: BTreeMap::new(),
    }
}

/// A trail of `count` entries in batches of up to 3, which was not closed.
struct Written {
    directory: TempDir,
    head: Head,
    /// The newest checkpoint.
    kept: Checkpoint,
}

/// The directory of a trail of `count` entries, in several segments if there are many.
pub(crate) fn written(count: u64) -> TempDir {
    Written::of(count).directory
}

impl Written {
    fn of(count: u64) -> Self {
        let directory = TempDir::new().expect("temporary directory");
        let mut trail = Trail::open(directory.path(), options(), 1_000).expect("opens");
        let entries: Vec<Entry> = (1..=count).map(entry).collect();
        for batch in entries.chunks(3) {
            trail.append_batch(batch).expect("appends");
        }
        let kept = trail.newest_checkpoint().expect("a checkpoint").clone();
        Self { directory, head: trail.head(), kept }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The lines of all segments, with the file of each.
    fn lines(&self) -> Vec<(PathBuf, String)> {
        let segments = layout::segments(self.path()).expect("lists");
        let lines_of = |path: &PathBuf| {
            let text = fs::read_to_string(path).expect("reads");
            text.lines().map(|line| (path.clone(), line.to_owned())).collect::<Vec<_>>()
        };
        segments.iter().flat_map(|segment| lines_of(&segment.path)).collect()
    }

    /// Writes what [`Self::lines`] gave. Files without lines become empty.
    fn write(&self, lines: &[(PathBuf, String)]) {
        for segment in layout::segments(self.path()).expect("lists") {
            let of_file = lines.iter().filter(|(path, _)| *path == segment.path);
            let text: String = of_file.map(|(_, line)| format!("{line}\n")).collect();
            fs::write(&segment.path, text).expect("writes");
        }
    }
}

fn record(line: &str) -> Record {
    serde_json::from_str(line).expect("a record")
}

fn name(error: &AuditError) -> (&'static str, u64) {
    match error {
        AuditError::Changed { seq } => ("changed", *seq),
        AuditError::Removed { seq } => ("removed", *seq),
        AuditError::Reordered { seq } => ("reordered", *seq),
        AuditError::Cut { seq } => ("cut", *seq),
        AuditError::Forged { seq, .. } => ("forged", *seq),
        AuditError::Unsigned { seq, .. } => ("unsigned", *seq),
        _ => ("other", 0),
    }
}

/// What verification finds with the chain alone.
fn chain(directory: &Path) -> Option<(&'static str, u64)> {
    verify_trail(directory, &TrailCheck::default()).err().map(|error| name(&error))
}

/// What verification finds with the key.
fn signed(directory: &Path) -> Option<(&'static str, u64)> {
    checked(directory, None)
}

/// What verification finds with the key and a kept end.
fn checked(directory: &Path, kept: Option<Head>) -> Option<(&'static str, u64)> {
    let keys = [key().public()];
    let check = TrailCheck { keys: &keys, kept, through_seq: None };
    verify_trail(directory, &check).err().map(|error| name(&error))
}

/// Objects of the callers' records that there are.
fn objects(directory: &Path) -> Vec<String> {
    let records = Records::open(directory, 0, u64::MAX).expect("opens");
    let records = records.map(|record| record.expect("follows"));
    records.filter(|record| record.operation == "deploy").map(|record| record.object).collect()
}
