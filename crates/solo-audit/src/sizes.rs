//! How large and how old the segments of a trail are: what a retention is decided by. Changes nothing.

use std::fs;
use std::path::Path;

use crate::AuditError;
use crate::files::failed;
use crate::layout::{self, Segment};

/// One segment of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSize {
    /// Number of its first record.
    pub first_seq: u64,
    /// Length of its file.
    pub bytes: u64,
    segment: Segment,
}

impl SegmentSize {
    /// When its last record was written, by the clock of the node. Reads the end of the file; for
    /// segments that another one follows.
    ///
    /// # Errors
    /// [`AuditError`]: the end is no record, or cannot be read.
    pub fn ended_unix_ms(&self) -> Result<u64, AuditError> {
        layout::last_of(&self.segment).map(|record| record.at_unix_ms)
    }
}

/// The segments of a trail, oldest first.
///
/// # Errors
/// [`AuditError::Io`].
pub fn segment_sizes(directory: &Path) -> Result<Vec<SegmentSize>, AuditError> {
    let sized = |segment: Segment| {
        let metadata = fs::metadata(&segment.path).map_err(failed("read", &segment.path))?;
        Ok(SegmentSize { first_seq: segment.first, bytes: metadata.len(), segment })
    };
    layout::segments(directory)?.into_iter().map(sized).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::written;

    #[test]
    fn segments_have_sizes_and_ends() {
        let directory = written(30);
        let sizes = segment_sizes(directory.path()).expect("lists");
        assert!(sizes.len() > 2 && sizes[0].first_seq == 1, "{sizes:?}");
        for size in &sizes {
            let path = layout::segment_path(directory.path(), size.first_seq);
            assert_eq!(size.bytes, fs::metadata(&path).expect("is there").len());
        }
        let ends: Vec<_> =
            sizes.iter().map(|size| size.ended_unix_ms().expect("a record")).collect();
        assert!(ends.is_sorted() && ends[0] > 1_000, "{ends:?}");
        assert!(segment_sizes(&directory.path().join("nowhere")).is_err());
    }
}
