//! Records and their chain. No files here.
//!
//! The canonical bytes of a record are its JSON line without the field `hash`; there is exactly one
//! line for a record, so that not even a space can be changed unnoticed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use solo_types::Digest;

/// Bytes of one line: room for a full set of details, and what a reader must hold in memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 10;

/// What happened, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, by the clock of the node.
    pub at_unix_ms: u64,
    /// Who: `owner`, `token:ID`, `kernel`.
    pub principal: String,
    /// What: `deploy`, `kill`, `grant`.
    pub operation: String,
    /// To what: the name of a service, the id of a token; empty for the node.
    pub object: String,
    /// `ok`, `started`, or the stable reason of the problem.
    pub outcome: String,
    /// What binds the records of one request together; empty for none.
    pub request_id: String,
    /// More. Never secrets.
    pub details: BTreeMap<String, String>,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counts up from 1.
    pub seq: u64,
    /// When, by the clock of the node.
    pub at_unix_ms: u64,
    /// Who.
    pub principal: String,
    /// What.
    pub operation: String,
    /// To what.
    pub object: String,
    /// How it ended.
    pub outcome: String,
    /// Of which request.
    pub request_id: String,
    /// More.
    pub details: BTreeMap<String, String>,
    /// Hash of the record before; for the first one [`Head::start`].
    pub prev: Digest,
    /// BLAKE3 over `prev` and the canonical bytes.
    pub hash: Digest,
}

/// The end of a chain. Kept elsewhere, it makes a cut noticeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the last record; 0 for none.
    pub seq: u64,
    /// Of the last record.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty log. Its hash names the format, so that no record of another format
    /// can be the first.
    #[must_use]
    pub fn start() -> Self {
        Self { seq: 0, hash: Digest(*blake3::hash(b"solo audit log, format 1").as_bytes()) }
    }
}

/// The fields of a record that are hashed, in the order of the line.
#[derive(Serialize)]
struct Canonical<'a> {
    seq: u64,
    at_unix_ms: u64,
    principal: &'a str,
    operation: &'a str,
    object: &'a str,
    outcome: &'a str,
    request_id: &'a str,
    details: &'a BTreeMap<String, String>,
    prev: Digest,
}

impl Record {
    /// When, as text; none for a time beyond the year 9999.
    #[must_use]
    pub fn at_rfc3339(&self) -> Option<String> {
        crate::sink::rfc3339(self.at_unix_ms)
    }

    /// Makes the record of `entry` that follows `head`.
    pub(crate) fn after(head: Head, entry: &Entry) -> Result<Self, serde_json::Error> {
        let entry = entry.clone();
        let mut record = Self {
            seq: head.seq.saturating_add(1),
            at_unix_ms: entry.at_unix_ms,
            principal: entry.principal,
            operation: entry.operation,
            object: entry.object,
            outcome: entry.outcome,
            request_id: entry.request_id,
            details: entry.details,
            prev: head.hash,
            hash: Digest([0; 32]),
        };
        record.hash = record.expected_hash()?;
        Ok(record)
    }

    /// The hash that belongs to the other fields.
    pub(crate) fn expected_hash(&self) -> Result<Digest, serde_json::Error> {
        let canonical = serde_json::to_vec(&Canonical {
            seq: self.seq,
            at_unix_ms: self.at_unix_ms,
            principal: &self.principal,
            operation: &self.operation,
            object: &self.object,
            outcome: &self.outcome,
            request_id: &self.request_id,
            details: &self.details,
            prev: self.prev,
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.prev.0);
        hasher.update(&canonical);
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// The line, without its end.
    pub(crate) fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The line, as it is in the log: for exports that others can verify.
    ///
    /// # Errors
    /// [`crate::AuditError::Encode`].
    pub fn to_line(&self) -> Result<Vec<u8>, crate::AuditError> {
        let mut line = self.line().map_err(crate::AuditError::Encode)?;
        line.push(b'\n');
        Ok(line)
    }

    /// Bytes of the line with its end. A record that could not be written counts as the longest.
    pub(crate) fn line_bytes(&self) -> usize {
        let mut counter = Counter(1);
        match serde_json::to_writer(&mut counter, self) {
            Ok(()) => counter.0,
            Err(_) => RECORD_BYTES_MAX,
        }
    }

    /// Reads a line (without its end). `None`: it is no record, or not written as Solo writes it.
    pub(crate) fn from_line(line: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(line).ok()?;
        // Spaces, another order of fields or escapes: somebody else wrote it.
        (record.line().ok()? == line).then_some(record)
    }

    /// The chain up to this record.
    pub(crate) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
