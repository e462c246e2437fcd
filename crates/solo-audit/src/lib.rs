//! The audit log: who did what to which object, and how it ended (SPEC C6).
//!
//! One JSON object per line. Each record carries the hash of the one before it, so that
//! [`verify`] finds the first record that was changed, removed or moved. An entry counts as written
//! when the append has answered; an operation must not happen before.
//!
//! [`AuditLog`] is one file. [`Trail`] is a directory of segments, of which each begins with a record
//! that carries the end of the one before; every so many records, and at the end of each segment, a
//! checkpoint signs all that is before it. [`verify_trail`] checks all of it. [`Records`] and
//! [`Follower`] read it, [`Filter`] selects, and [`sink`] decides what is sent elsewhere, and in which
//! form.
//!
//! # What is noticed, and what is not
//!
//! - The chain alone shows what was changed, removed or moved by who did not make all hashes behind
//!   it anew.
//! - Signatures show a trail that was written anew from some record on: the first checkpoint behind
//!   it is not signed, or missing. Which record was the first cannot be told more exactly than
//!   between two checkpoints; the error names where what is proven ends.
//! - **Not noticed with the files alone**: records that were cut off behind a checkpoint (the newest
//!   segments as a whole included), and up to [`TrailOptions::checkpoint_every`] records at the end
//!   that were changed or added with fresh hashes. A [`Checkpoint`] that was kept elsewhere shows both
//!   for all that is before it, and the newest [`Head`] for everything.
//! - **Not noticed at all**: what the holder of the secret key does; an older state of the log put
//!   back together with an older kept checkpoint; another log that was signed with the same key, if
//!   no checkpoint is kept (one key, one log); a record that was false when it was written.

#![warn(missing_docs)]

mod batch;
mod chain;
mod check;
mod checkpoint;
mod error;
mod files;
mod filter;
mod hex;
mod key;
mod layout;
mod lines;
mod log;
mod marks;
mod read;
mod rotate;
pub mod sink;
mod sizes;
mod steps;
mod trail;
mod verify;
mod writer;

pub use chain::{Entry, Head, Record};
pub use checkpoint::Checkpoint;
pub use error::AuditError;
pub use filter::Filter;
pub use key::{CheckpointKey, PublicKey};
pub use log::AuditLog;
pub use read::{Follower, Records};
pub use rotate::{Pruned, Retention};
pub use sizes::{SegmentSize, segment_sizes};
pub use trail::{Appended, CHECKPOINT_EVERY_DEFAULT, SEGMENT_BYTES_DEFAULT, Trail, TrailOptions};
pub use verify::{Summary, TrailCheck, TrailSummary, verify, verify_head, verify_trail};

#[cfg(test)]
mod tests;
