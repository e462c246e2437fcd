//! Reads the records of a trail in order, across segments, and goes on when more are written.
//!
//! Checks the chain of what it reads, and shows nothing that does not follow from what it showed
//! before; signatures are for [`crate::verify_trail`]. Takes no lock: several can read while one
//! process writes. Holds one line in memory.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::AuditError;
use crate::chain::{Head, RECORD_BYTES_MAX, Record};
use crate::check::{Fault, link};
use crate::files::failed;
use crate::layout::{self, Segment};
use crate::lines::read_line;

/// A place in a trail behind which is read what there is, now and later.
///
/// Looking for something new costs a read and two look-ups of a name. After an error it shows nothing
/// more: open it again.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    segment: Segment,
    reader: BufReader<File>,
    /// What was read of a line that is not complete yet.
    line: Vec<u8>,
    /// Length of what was read of the segment.
    read_bytes: u64,
    head: Head,
    /// The first record to show.
    from_seq: u64,
    /// What the record before that must be, if it is known.
    after: Option<Head>,
}

impl Follower {
    /// Begins with record `from_seq`, which may not be written yet; 0: with the oldest there is.
    ///
    /// # Errors
    /// [`AuditError::Removed`] if that record was removed by retention, [`AuditError::Cut`] if there
    /// are no segments, [`AuditError::Io`].
    pub fn open(directory: &Path, from_seq: u64) -> Result<Self, AuditError> {
        let segments = layout::segments(directory)?;
        let Some(oldest) = segments.first() else { return Err(AuditError::Cut { seq: 1 }) };
        let from_seq = if from_seq == 0 { oldest.first } else { from_seq };
        let at = segments.partition_point(|segment| segment.first <= from_seq);
        let Some(segment) = at.checked_sub(1).and_then(|at| segments.get(at)) else {
            return Err(AuditError::Removed { seq: from_seq });
        };
        let (head, _) = layout::start_of(segment)?;
        Ok(Self {
            directory: directory.to_owned(),
            segment: segment.clone(),
            reader: open(&segment.path)?,
            line: Vec::new(),
            read_bytes: 0,
            head,
            from_seq,
            after: None,
        })
    }

    /// Begins behind a record that was read before, and checks that it is still that record.
    ///
    /// # Errors
    /// As [`Self::open`]. That the record is another one is found when the next is read:
    /// [`AuditError::Changed`].
    pub fn open_after(directory: &Path, head: Head) -> Result<Self, AuditError> {
        let mut follower = Self::open(directory, head.seq.saturating_add(1))?;
        follower.after = Some(head);
        Ok(follower)
    }

    /// The next record; none if there is no further one yet.
    ///
    /// `through_seq`: not beyond this record. Who writes the trail gives the last one that was
    /// acknowledged; without it ([`u64::MAX`]) a record may be shown that is then taken back because
    /// the disk failed, after which the follower must be opened again.
    ///
    /// # Errors
    /// [`AuditError`] for what does not follow from what was read before, and if retention removed
    /// what was not read yet.
    pub fn next_record(&mut self, through_seq: u64) -> Result<Option<Record>, AuditError> {
        while self.head.seq < through_seq {
            let starts = self.read_bytes == 0;
            if !self.read_line()? {
                if !self.next_segment()? {
                    return Ok(None);
                }
                continue;
            }
            let record = self.check()?;
            if starts && record.seq != self.segment.first {
                return Err(AuditError::Reordered { seq: record.seq });
            }
            self.line.clear();
            self.head = record.head();
            if record.seq >= self.from_seq {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The end of the chain that was read.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Reads until a line is complete; answers whether it is.
    fn read_line(&mut self) -> Result<bool, AuditError> {
        let path = &self.segment.path;
        let length = read_line(&mut self.reader, &mut self.line).map_err(failed("read", path))?;
        self.read_bytes = self.read_bytes.saturating_add(length);
        if self.line.last() == Some(&b'\n') {
            return Ok(true);
        }
        let seq = self.head.seq.saturating_add(1);
        if self.line.len() > RECORD_BYTES_MAX {
            return Err(AuditError::Changed { seq });
        }
        let there = self.reader.get_ref().metadata().map_err(failed("read", path))?.len();
        if there < self.read_bytes {
            // A batch was taken back, or somebody cut the file.
            return Err(AuditError::Cut { seq });
        }
        Ok(false)
    }

    /// Checks that the line follows, and that what was known before is still so.
    fn check(&self) -> Result<Record, AuditError> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let record = link(line, self.head).map_err(|fault| match fault {
            Fault::Wrong(error) => error,
            Fault::Missing { seq } => AuditError::Removed { seq },
        })?;
        let links = |after: Head| after.seq != self.head.seq || after.hash == self.head.hash;
        if self.after.is_some_and(|after| !links(after)) {
            return Err(AuditError::Changed { seq: self.head.seq.max(1) });
        }
        Ok(record)
    }

    /// Goes to the segment that follows; answers whether there is one.
    fn next_segment(&mut self) -> Result<bool, AuditError> {
        if !self.line.is_empty() {
            return Ok(false);
        }
        // It has this name only if the present segment is complete.
        let first = self.head.seq.saturating_add(1);
        let path = layout::segment_path(&self.directory, first);
        if path != self.segment.path && fs::exists(&path).map_err(failed("find", &path))? {
            self.reader = open(&path)?;
            self.segment = Segment { first, path };
            self.read_bytes = 0;
            return Ok(true);
        }
        if fs::exists(&self.segment.path).map_err(failed("find", &self.segment.path))? {
            return Ok(false);
        }
        // The segment that is written is never removed: there was one behind this.
        Err(AuditError::Removed { seq: first })
    }
}

fn open(path: &Path) -> Result<BufReader<File>, AuditError> {
    Ok(BufReader::new(File::open(path).map_err(failed("open", path))?))
}

/// The records that there are now, for showing and exporting. Ends after the first error.
#[derive(Debug)]
pub struct Records {
    follower: Follower,
    through_seq: u64,
    ended: bool,
}

impl Records {
    /// From `from_seq` (0: the oldest there is) to `through_seq` ([`u64::MAX`]: all there are).
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn open(directory: &Path, from_seq: u64, through_seq: u64) -> Result<Self, AuditError> {
        let follower = Follower::open(directory, from_seq)?;
        Ok(Self { follower, through_seq, ended: false })
    }
}

impl Iterator for Records {
    type Item = Result<Record, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.follower.next_record(self.through_seq).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
