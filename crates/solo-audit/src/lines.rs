//! Lines of a file or of several, in order. Holds one line in memory; checks nothing in it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};

use crate::AuditError;
use crate::chain::{RECORD_BYTES_MAX, Record};
use crate::files::failed;
use crate::layout::Segment;

/// Reads up to and including a line end, or one byte more than a line may have, and adds it to
/// `line`. Answers how much.
pub(crate) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let most = (RECORD_BYTES_MAX + 1).saturating_sub(line.len());
    let length = reader.take(u64::try_from(most).unwrap_or(0)).read_until(b'\n', line)?;
    Ok(u64::try_from(length).unwrap_or(u64::MAX))
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line; [`Lines::line`] is it. If it is the first of its file, the number in its name.
    Line { starts: Option<u64> },
    /// A file ends without a line end: the last file, or another one.
    Torn { bytes: u64, is_last_file: bool },
    /// A line is longer than any record.
    TooLong,
    /// That was all.
    End,
}

/// The lines of segments that follow each other.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    segments: std::slice::Iter<'a, Segment>,
    reader: Option<(&'a Segment, BufReader<File>)>,
    line: Vec<u8>,
    /// Length of the complete lines that were read of the present file.
    good_bytes: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(segments: &'a [Segment]) -> Self {
        Self { segments: segments.iter(), reader: None, line: Vec::new(), good_bytes: 0 }
    }

    /// Goes to the next line.
    pub(crate) fn next(&mut self) -> Result<Next, AuditError> {
        loop {
            let Some((segment, reader)) = &mut self.reader else {
                let Some(segment) = self.segments.next() else { return Ok(Next::End) };
                let file = File::open(&segment.path).map_err(failed("open", &segment.path))?;
                self.reader = Some((segment, BufReader::new(file)));
                self.good_bytes = 0;
                continue;
            };
            self.line.clear();
            let length =
                read_line(reader, &mut self.line).map_err(failed("read", &segment.path))?;
            if length == 0 {
                // `good_bytes` stays: it tells about the last file when all is read.
                self.reader = None;
                continue;
            }
            if self.line.last() != Some(&b'\n') {
                if self.line.len() > RECORD_BYTES_MAX {
                    return Ok(Next::TooLong);
                }
                let is_last_file = self.segments.as_slice().is_empty();
                return Ok(Next::Torn { bytes: length, is_last_file });
            }
            let starts = (self.good_bytes == 0).then_some(segment.first);
            self.good_bytes += length;
            return Ok(Next::Line { starts });
        }
    }

    /// The present line, without its end.
    pub(crate) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    /// Length of the complete lines of the present file.
    pub(crate) fn good_bytes(&self) -> u64 {
        self.good_bytes
    }

    /// Whether record `seq` follows somewhere. Reads to the end.
    pub(crate) fn contains_later(&mut self, seq: u64) -> Result<bool, AuditError> {
        loop {
            match self.next()? {
                Next::Line { .. } => {
                    if Record::from_line(self.line()).is_some_and(|record| record.seq == seq) {
                        return Ok(true);
                    }
                }
                // What is left of a file behind such a line is read as lines of their own.
                Next::Torn { .. } | Next::TooLong => {}
                Next::End => return Ok(false),
            }
        }
    }
}
