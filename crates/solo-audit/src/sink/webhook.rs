//! Batches as JSON lines (for a command or a file) and as the body of an HTTP request. Sends nothing.

use serde::Serialize;

use super::queue::Batch;
use crate::AuditError;
use crate::chain::Record;

/// Names the form of the body.
const FORMAT: &str = "solo-audit-1";

/// Digits of the last hash in the idempotency key: no two batches of one trail share them.
const HASH_DIGITS: usize = 16;

/// What to send to a webhook, by POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Value of the header `Idempotency-Key`; printable ASCII. The same for each attempt at one batch.
    /// After a restart batches may be cut otherwise: `seq` and `hash` of a record name it for good.
    pub idempotency_key: String,
    /// Value of the header `Content-Type`.
    pub content_type: &'static str,
    /// `{"format", "node", "first_seq", "last_seq", "records": [...]}`, the records as in the log.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    format: &'static str,
    node: &'a str,
    first_seq: u64,
    last_seq: u64,
    records: Vec<&'a Record>,
}

/// Writes a batch of `node` as a request.
///
/// # Errors
/// [`AuditError::Encode`].
pub fn webhook_request(node: &str, batch: &Batch) -> Result<WebhookRequest, AuditError> {
    let records: Vec<&Record> = batch.records.iter().map(AsRef::as_ref).collect();
    let first_seq = records.first().map_or(0, |record| record.seq);
    let last_seq = records.last().map_or(0, |record| record.seq);
    let hash = records.last().map(|record| record.hash.to_string()).unwrap_or_default();
    let hash: String = hash.chars().take(HASH_DIGITS).collect();
    let body = Body { format: FORMAT, node, first_seq, last_seq, records };
    Ok(WebhookRequest {
        idempotency_key: format!("solo-audit-{first_seq}-{last_seq}-{hash}"),
        content_type: "application/json",
        body: serde_json::to_vec(&body).map_err(AuditError::Encode)?,
    })
}

/// Writes a batch as the lines of the log: whoever has all of them can verify the chain.
///
/// # Errors
/// [`AuditError::Encode`].
pub fn json_lines(batch: &Batch) -> Result<Vec<u8>, AuditError> {
    let mut lines = Vec::new();
    for record in &batch.records {
        lines.extend_from_slice(&record.to_line()?);
    }
    Ok(lines)
}
