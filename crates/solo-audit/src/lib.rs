//! The audit log: who did what to which object, and how it ended (SPEC C6).
//!
//! One file, one JSON object per line. Each record carries the hash of the one before it, so that
//! [`verify`] finds the first record that was changed, removed or moved. An entry counts as written
//! when [`AuditLog::append_batch`] has answered; an operation must not happen before.
//!
//! What a chain alone cannot show: records cut off at the end, and a file that was written anew from
//! some record on with fresh hashes. Both are noticed by [`verify_head`], given a [`Head`] that was
//! kept elsewhere. Signed checkpoints, rotation and further sinks (syslog, webhook, command) are not
//! built yet; they belong to the issue on audit.

mod chain;
mod error;
mod log;
mod verify;

pub use chain::{Entry, Head, Record};
pub use error::AuditError;
pub use log::AuditLog;
pub use verify::{Summary, verify, verify_head};

#[cfg(test)]
mod tests;
