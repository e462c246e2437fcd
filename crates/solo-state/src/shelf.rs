//! The entries of one service in its file. Knows nothing of threads and of who asks.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use solo_types::{Problem, ProblemKind};

use crate::op::too_much;
use crate::{Answer, BATCH_BYTES_MAX, ENTRY_BYTES, Op, Page, Read, Rows, SERVICE_BYTES_MAX};

/// Of the file, as `user_version` says.
const FORMAT: i64 = 1;

/// Whoever else has the file open (a cell that is being ended, a person with a tool of SQLite) is waited for
/// so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a page of SQLite.
const PAGE_BYTES: u64 = 4_096;

/// Pages of the file: twice the entries, as space within it is not used up to the last byte.
const PAGES_MAX: u64 = (2 * SERVICE_BYTES_MAX + (4 << 20)) / PAGE_BYTES;

const SCHEMA: &str = "
    CREATE TABLE entries (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE totals (bytes INTEGER NOT NULL, version INTEGER NOT NULL) STRICT;
    INSERT INTO totals VALUES (0, 0);
    PRAGMA user_version = 1;
";

/// Why an operation was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The operation is to blame, or the room that there is: others can go on.
    Refused(Problem),
    /// The file or the disk. Nothing of the transaction is there.
    Storage(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error)
    }
}

impl Trouble {
    /// Whether one of several operations may be to blame.
    pub(crate) fn may_be_of_one(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Storage(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
        }
    }

    /// As the service is told.
    pub(crate) fn problem(self) -> Problem {
        let error = match self {
            Self::Refused(problem) => return problem,
            Self::Storage(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => full("the disk, or the file of the service, is full"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Problem::new(
                ProblemKind::Internal,
                "STORAGE_DAMAGED",
                format!("the file of the service is damaged: {error}"),
            )
            .remedy("kill the service and deploy it anew, which begins without entries"),
            _ => unavailable(&error.to_string()),
        }
    }
}

/// Storage does not answer.
pub(crate) fn unavailable(cause: &str) -> Problem {
    let cause = format!("the storage of the service cannot be used: {cause}");
    Problem::new(ProblemKind::Unavailable, "STORAGE_UNAVAILABLE", cause)
        .remedy("try again; `solo doctor` checks the machine")
}

pub(crate) fn full(cause: &str) -> Problem {
    Problem::new(ProblemKind::ResourceExhausted, "STORAGE_FULL", cause)
        .remedy("delete entries that are not needed")
}

/// What all entries take, and which change was the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Totals {
    bytes: u64,
    version: u64,
}

/// The open file of one service.
#[derive(Debug)]
pub(crate) struct Shelf {
    db: Connection,
}

impl Shelf {
    /// Opens the file, and makes it if `create`. `None`: there is none.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Option<Self>, Trouble> {
        if !create && !path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        // Acknowledged is on disk: each commit is synced (FULL), in one file (WAL).
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update(None, "cache_size", -512)?;
        db.pragma_update(None, "journal_size_limit", 4 << 20)?;
        db.pragma_update(None, "max_page_count", PAGES_MAX.cast_signed())?;
        db.set_prepared_statement_cache_capacity(24);
        let mut shelf = Self { db };
        shelf.prepare()?;
        Ok(Some(shelf))
    }

    fn prepare(&mut self) -> Result<(), Trouble> {
        let format = |db: &Connection| {
            db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        };
        if format(&self.db)? == 0 {
            let transaction =
                self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if format(&transaction)? == 0 {
                transaction.execute_batch(SCHEMA)?;
            }
            transaction.commit()?;
        }
        let format = format(&self.db)?;
        if format != FORMAT {
            return Err(Trouble::Refused(unavailable(&format!(
                "its file has format {format}, and this version of Solo knows {FORMAT}"
            ))));
        }
        Ok(())
    }

    /// Does operations in one transaction: the first, and more until the answers are as large as one may
    /// be. What is answered stands, also that one was refused.
    ///
    /// # Errors
    /// The file or the disk; then none was done.
    pub(crate) fn run(&mut self, ops: &[&Op]) -> Result<Vec<Result<Answer, Problem>>, Trouble> {
        let behavior = if ops.iter().any(|op| op.writes()) {
            rusqlite::TransactionBehavior::Immediate
        } else {
            rusqlite::TransactionBehavior::Deferred
        };
        let transaction = self.db.transaction_with_behavior(behavior)?;
        let before = totals(&transaction)?;
        let mut now = before;
        let mut answers = Vec::with_capacity(ops.len());
        let mut bytes = 0;
        for op in ops {
            let answer = whole(&transaction, op, &mut now)?;
            bytes += answer.as_ref().map_or(0, Answer::bytes);
            answers.push(answer);
            if bytes > BATCH_BYTES_MAX {
                break;
            }
        }
        if now != before {
            // Both are far below the bound of the type.
            transaction
                .prepare_cached("UPDATE totals SET bytes = ?1, version = ?2")?
                .execute(params![now.bytes.cast_signed(), now.version.cast_signed()])?;
        }
        transaction.commit()?;
        Ok(answers)
    }
}

fn totals(db: &Connection) -> Result<Totals, Trouble> {
    let mut statement = db.prepare_cached("SELECT bytes, version FROM totals")?;
    let read = |row: &rusqlite::Row<'_>| {
        let (bytes, version): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Totals { bytes: bytes.cast_unsigned(), version: version.cast_unsigned() })
    };
    Ok(statement.query_row([], read)?)
}

/// Does one operation as a whole or, if it is refused, not at all.
fn whole(
    db: &Connection,
    op: &Op,
    totals: &mut Totals,
) -> Result<Result<Answer, Problem>, Trouble> {
    let before = *totals;
    let several = matches!(op, Op::Set(entries) if entries.len() > 1);
    if several {
        db.execute_batch("SAVEPOINT whole")?;
    }
    let done = one(db, op, totals);
    if several {
        let refused = matches!(done, Err(Trouble::Refused(_)));
        db.execute_batch(if refused {
            "ROLLBACK TO whole; RELEASE whole"
        } else {
            "RELEASE whole"
        })?;
    }
    match done {
        Ok(answer) => Ok(Ok(answer)),
        Err(Trouble::Refused(problem)) => {
            *totals = before;
            Ok(Err(problem))
        }
        Err(trouble) => Err(trouble),
    }
}

fn one(db: &Connection, op: &Op, totals: &mut Totals) -> Result<Answer, Trouble> {
    match op {
        Op::Get(keys) => {
            let mut bytes = 0;
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                let value = read(db, key)?.value;
                bytes += value.as_ref().map_or(0, Vec::len);
                if bytes > BATCH_BYTES_MAX {
                    let what = format!("the values have more than {BATCH_BYTES_MAX} bytes");
                    return Err(Trouble::Refused(too_much(&what)));
                }
                values.push(value);
            }
            Ok(Answer::Values(values))
        }
        Op::Exists(key) => Ok(Answer::Is(size(db, key)?.is_some())),
        Op::Set(entries) => {
            entries.iter().try_for_each(|(key, value)| set(db, key, value, totals))?;
            Ok(Answer::Done)
        }
        Op::Delete(keys) => {
            keys.iter().try_for_each(|key| delete(db, key, totals))?;
            Ok(Answer::Done)
        }
        Op::List { prefix, after, limit } => list(db, prefix, after.as_deref(), *limit),
        Op::Rows { after, limit } => rows(db, *after, *limit),
        Op::Increment { key, delta, range } => increment(db, key, *delta, *range, totals),
        Op::Read(key) => Ok(Answer::Read(read(db, key)?)),
        Op::Swap { key, version, value } => {
            let now = read(db, key)?;
            if now.version != *version {
                return Ok(Answer::Swapped(Some(now)));
            }
            set(db, key, value, totals)?;
            Ok(Answer::Swapped(None))
        }
    }
}

fn read(db: &Connection, key: &str) -> Result<Read, Trouble> {
    let mut statement = db.prepare_cached("SELECT version, value FROM entries WHERE key = ?1")?;
    let found = statement.query_row([key], |row| {
        Ok(Read { version: row.get::<_, i64>(0)?.cast_unsigned(), value: Some(row.get(1)?) })
    });
    Ok(found.optional()?.unwrap_or(Read { version: 0, value: None }))
}

/// What an entry takes; `None`: there is none.
fn size(db: &Connection, key: &str) -> Result<Option<u64>, Trouble> {
    let mut statement = db.prepare_cached("SELECT length(value) FROM entries WHERE key = ?1")?;
    let bytes: Option<i64> = statement.query_row([key], |row| row.get(0)).optional()?;
    Ok(bytes.map(|bytes| cost(key, bytes.cast_unsigned())))
}

fn cost(key: &str, value_bytes: u64) -> u64 {
    ENTRY_BYTES + key.len() as u64 + value_bytes
}

fn set(db: &Connection, key: &str, value: &[u8], totals: &mut Totals) -> Result<(), Trouble> {
    let old = size(db, key)?.unwrap_or_default();
    let new = cost(key, value.len() as u64);
    let bytes = totals.bytes.saturating_sub(old) + new;
    // What makes it smaller is never refused.
    if bytes > SERVICE_BYTES_MAX && new > old {
        return Err(Trouble::Refused(full(&format!(
            "the service keeps {} bytes, of {SERVICE_BYTES_MAX} that it may",
            totals.bytes
        ))));
    }
    totals.bytes = bytes;
    totals.version += 1;
    db.prepare_cached(
        "INSERT INTO entries VALUES (?1, ?2, ?3) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version",
    )?
    .execute(params![key, value, totals.version.cast_signed()])?;
    Ok(())
}

fn delete(db: &Connection, key: &str, totals: &mut Totals) -> Result<(), Trouble> {
    let Some(old) = size(db, key)? else { return Ok(()) };
    db.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?;
    totals.bytes = totals.bytes.saturating_sub(old);
    totals.version += 1;
    Ok(())
}

fn list(
    db: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Answer, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT key FROM entries WHERE key >= ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )?;
    // No key is empty.
    let mut rows = statement.query(params![
        prefix,
        after.unwrap_or_default(),
        i64::try_from(limit + 1).unwrap_or(i64::MAX)
    ])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        if keys.len() == limit {
            return Ok(Answer::Page(Page { keys, more: true }));
        }
        keys.push(key);
    }
    Ok(Answer::Page(Page { keys, more: false }))
}

fn rows(db: &Connection, after: u64, limit: usize) -> Result<Answer, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT rowid, key FROM entries WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
    )?;
    // What is no number of a row is behind all of them.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let count = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map([after, count], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, String)> = found.collect::<rusqlite::Result<_>>()?;
    // The last page may be followed by an empty one.
    let last = found.last().filter(|_| found.len() == limit);
    let next = last.and_then(|(row, _)| u64::try_from(*row).ok());
    Ok(Answer::Rows(Rows { keys: found.into_iter().map(|(_, key)| key).collect(), next }))
}

fn increment(
    db: &Connection,
    key: &str,
    delta: i128,
    (least, most): (i128, i128),
    totals: &mut Totals,
) -> Result<Answer, Trouble> {
    let number = match read(db, key)?.value {
        None => 0,
        Some(bytes) => {
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| text.parse::<i128>().ok()).ok_or_else(|| {
                Trouble::Refused(
                    Problem::new(
                        ProblemKind::FailedPrecondition,
                        "NOT_A_NUMBER",
                        "the value is no whole number in decimal digits",
                    )
                    .remedy("set it to one first, or use another key"),
                )
            })?
        }
    };
    let sum = number.checked_add(delta).filter(|sum| (least..=most).contains(sum));
    let sum = sum.ok_or_else(|| {
        let cause = format!("{number} and {delta} is not within {least} and {most}");
        Trouble::Refused(Problem::new(ProblemKind::FailedPrecondition, "OUT_OF_RANGE", cause))
    })?;
    set(db, key, sum.to_string().as_bytes(), totals)?;
    Ok(Answer::Number(sum))
}
