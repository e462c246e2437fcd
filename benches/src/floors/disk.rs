//! What it costs to have something on disk: one commit of SQLite, one synced append.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::Connection;

/// Bytes of a record in a hash-chained log: the length of one for a deployment.
const RECORD_BYTES: usize = 400;

/// Bytes of a row: the length of a service's specification as JSON.
const ROW_BYTES: usize = 1_500;

/// A database and a log of their own, on the disk that Solo's homes are on.
#[derive(Debug)]
pub(crate) struct Disk {
    connection: Connection,
    log: File,
}

impl Disk {
    /// Makes them in `directory`.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(directory.join("floor.db"))?;
        // What an acknowledged write needs to survive a power loss, as in Solo's store.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE rows (id INTEGER PRIMARY KEY, spec TEXT NOT NULL) STRICT;",
        )?;
        let log = File::create(directory.join("floor.log")).context("failed to make a log")?;
        Ok(Self { connection, log })
    }

    /// Commits one row.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn commit(&self) -> anyhow::Result<Duration> {
        let row = "x".repeat(ROW_BYTES);
        let began = Instant::now();
        self.connection.prepare_cached("INSERT INTO rows (spec) VALUES (?1)")?.execute([row])?;
        Ok(began.elapsed())
    }

    /// Appends one record and waits for the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn append(&mut self) -> anyhow::Result<Duration> {
        let record = [b'x'; RECORD_BYTES];
        let began = Instant::now();
        self.log.write_all(&record)?;
        self.log.sync_data()?;
        Ok(began.elapsed())
    }
}
