//! The file of records: JSON lines, appended to; when it has grown, rewritten with what memory keeps.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Record;
use super::ring::Line;

/// Appended bytes after which the file is rewritten: memory keeps at most twice as much.
const COMPACT_AFTER_BYTES: u64 = 32 << 20;

/// What a rewrite writes at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Longest line that is read back; no writer makes longer ones.
const LINE_BYTES_MAX: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    appended: u64,
    failing: bool,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The line of a record, with its end.
pub(super) fn line(record: &Record) -> Option<Line> {
    let mut line = serde_json::to_vec(record).ok()?;
    line.push(b'\n');
    Some(line.into())
}

impl Segment {
    /// Opens the file and hands on what it has. Lines that cannot be read are passed over and counted.
    pub(super) fn open(path: PathBuf, mut each: impl FnMut(&Record, Line)) -> io::Result<Self> {
        let mut file = open(&path)?;
        let mut damaged = 0_u64;
        let mut reader = BufReader::new(File::open(&path)?);
        let mut bytes = Vec::new();
        let mut whole = true;
        loop {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            whole = bytes.last() == Some(&b'\n');
            match serde_json::from_slice(&bytes) {
                Ok(record) if bytes.len() <= LINE_BYTES_MAX => {
                    if !whole {
                        bytes.push(b'\n');
                    }
                    each(&record, bytes.as_slice().into());
                }
                _ => damaged += 1,
            }
        }
        if damaged > 0 {
            tracing::warn!(damaged, path = %path.display(), "Some records could not be read");
        }
        if !whole {
            // A torn last line: the next record begins a line of its own.
            file.write_all(b"\n")?;
        }
        let appended = file.metadata()?.len();
        Ok(Self { path, file, appended, failing: false })
    }

    /// Appends a batch in one write. A disk that fails is told once; memory goes on.
    pub(super) fn write<'a>(&mut self, batch: impl Iterator<Item = &'a Line>) {
        let bytes: Vec<u8> = batch.flat_map(|line| line.iter().copied()).collect();
        match self.file.write_all(&bytes) {
            Ok(()) => {
                self.appended += bytes.len() as u64;
                self.failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, path = %self.path.display(), "Failed to write records");
                }
            }
        }
    }

    pub(super) fn wants_compaction(&self) -> bool {
        self.appended > COMPACT_AFTER_BYTES
    }

    /// Rewrites the file with `kept`. When that fails the old file goes on.
    pub(super) fn compact<'a>(&mut self, kept: impl Iterator<Item = &'a Line>) {
        let temporary = self.path.with_extension("tmp");
        let rewrite = |kept: &mut dyn Iterator<Item = &'a Line>| -> io::Result<(File, u64)> {
            let file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            // By pieces: all at once would be as much memory as the records themselves.
            let mut file = io::BufWriter::with_capacity(PIECE_BYTES, file);
            for line in kept {
                file.write_all(line)?;
            }
            file.flush()?;
            drop(file);
            std::fs::rename(&temporary, &self.path)?;
            Ok((open(&self.path)?, 0))
        };
        let mut kept = kept;
        match rewrite(&mut kept) {
            Ok((file, appended)) => {
                self.file = file;
                self.appended = appended;
            }
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "Failed to rewrite records");
                // Not again with the next record, but after as much growth again.
                self.appended = 0;
            }
        }
    }
}
