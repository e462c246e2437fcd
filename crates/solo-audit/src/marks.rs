//! The records that the log writes about itself: segments, checkpoints, retention.
//!
//! They are ordinary records of the chain whose operation begins with [`PREFIX`], which callers
//! cannot use. Each has exactly one form; what differs from it is no mark and does not verify. No
//! files here.

use std::collections::BTreeMap;

use solo_types::Digest;

use crate::chain::{Entry, Head, Record};
use crate::key::{CheckpointKey, PublicKey};
use crate::{AuditError, hex};

/// Operations that begin like this are the log's own.
const PREFIX: &str = "audit.";

const SEGMENT: &str = "audit.segment";
const CHECKPOINT: &str = "audit.checkpoint";
const RETENTION: &str = "audit.retention";

/// The principal of what nobody asked for.
const PRINCIPAL: &str = "audit";

/// Names what is signed, so that a signature cannot stand for anything else.
const CONTEXT: &[u8] = b"solo audit checkpoint, format 1\0";

/// Whether entries of callers cannot have this operation.
pub(crate) fn is_reserved(operation: &str) -> bool {
    operation.starts_with(PREFIX)
}

/// What a record of the log about itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Begins a segment. The head of the one before is what the record links to.
    Segment {
        /// First record of the segment before; 0 for none.
        previous_first: u64,
    },
    /// Proves everything before it.
    Checkpoint(Seal),
    /// Allows that segments are missing at the start.
    Retention {
        /// First record that must still be there.
        first_kept: u64,
    },
}

/// The signed part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// At most so many records follow before the next checkpoint.
    pub(crate) every: u64,
    /// Whose signature it is. A claim: who verifies has keys of their own.
    key: [u8; 32],
    signature: [u8; 64],
}

impl Seal {
    /// Whether one of `keys` signed this checkpoint.
    pub(crate) fn is_of(&self, record: &Record, keys: &[PublicKey]) -> bool {
        let message = message(record.seq, record.prev, record.at_unix_ms, self.every);
        keys.iter()
            .any(|key| key.to_bytes() == self.key && key.has_signed(&message, &self.signature))
    }

    /// Hexadecimal digits of the key that it claims to be of.
    pub(crate) fn key(&self) -> String {
        hex::encode(&self.key)
    }
}

/// The head is the one before the checkpoint: `prev`, and `seq` less one. Together with the one
/// form that a checkpoint has, all of its record is signed.
fn message(seq: u64, prev: Digest, at_unix_ms: u64, every: u64) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    for number in [seq, at_unix_ms, every] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(&prev.0);
    message
}

/// The entry that begins a segment behind `head`.
pub(crate) fn segment(head: Head, previous_first: u64, at_unix_ms: u64) -> Entry {
    let details = [
        ("previous_hash", head.hash.to_string()),
        ("previous_segment", previous_first.to_string()),
        ("previous_seq", head.seq.to_string()),
    ];
    own(SEGMENT, at_unix_ms, details)
}

/// The checkpoint that follows `head`.
pub(crate) fn checkpoint(head: Head, every: u64, at_unix_ms: u64, key: &CheckpointKey) -> Entry {
    let seq = head.seq.saturating_add(1);
    let signature = key.sign(&message(seq, head.hash, at_unix_ms, every));
    let details = [
        ("every", every.to_string()),
        ("key", hex::encode(&key.public().to_bytes())),
        ("signature", hex::encode(&signature)),
    ];
    own(CHECKPOINT, at_unix_ms, details)
}

/// The entry of `principal` removing what is before `first_kept`, which links to `before`.
pub(crate) fn retention(
    before: Head,
    removed_segments: usize,
    principal: &str,
    request_id: &str,
    at_unix_ms: u64,
) -> Entry {
    let details = [
        ("removed_hash", before.hash.to_string()),
        ("removed_segments", removed_segments.to_string()),
        ("removed_through", before.seq.to_string()),
    ];
    let mut entry = own(RETENTION, at_unix_ms, details);
    principal.clone_into(&mut entry.principal);
    request_id.clone_into(&mut entry.request_id);
    entry
}

fn own<const N: usize>(operation: &str, at_unix_ms: u64, details: [(&str, String); N]) -> Entry {
    Entry {
        at_unix_ms,
        principal: PRINCIPAL.to_owned(),
        operation: operation.to_owned(),
        object: String::new(),
        outcome: "ok".to_owned(),
        request_id: String::new(),
        details: details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// Reads what a record says about the log; none for a record of a caller.
///
/// # Errors
/// [`AuditError::Changed`] if it has a reserved operation and not the form of it.
pub(crate) fn read(record: &Record) -> Result<Option<Mark>, AuditError> {
    if !is_reserved(&record.operation) {
        return Ok(None);
    }
    parse(record).map(Some).ok_or(AuditError::Changed { seq: record.seq })
}

fn parse(record: &Record) -> Option<Mark> {
    let details = &record.details;
    let is_own = record.object.is_empty() && record.outcome == "ok" && details.len() == 3;
    let is_unasked = record.principal == PRINCIPAL && record.request_id.is_empty();
    let before = record.seq.checked_sub(1)?;
    match record.operation.as_str() {
        SEGMENT if is_own && is_unasked => {
            let links = details.get("previous_hash")? == &record.prev.to_string()
                && number(details, "previous_seq")? == before;
            let previous_first = number(details, "previous_segment")?;
            links.then_some(Mark::Segment { previous_first })
        }
        CHECKPOINT if is_own && is_unasked => Some(Mark::Checkpoint(Seal {
            every: number(details, "every")?,
            key: hex::decode(details.get("key")?)?,
            signature: hex::decode(details.get("signature")?)?,
        })),
        RETENTION if is_own => {
            let _shape: [u8; 32] = hex::decode(details.get("removed_hash")?)?;
            let _count = number(details, "removed_segments")?;
            let through = number(details, "removed_through")?;
            // It cannot allow that itself is missing.
            (through < before).then_some(Mark::Retention { first_kept: through + 1 })
        }
        _ => None,
    }
}

/// A number, written in the one way that there is.
fn number(details: &BTreeMap<String, String>, key: &str) -> Option<u64> {
    let text = details.get(key)?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == *text).then_some(number)
}
