//! Durable key-value storage of services (SPEC S5): one SQLite file per service, in a directory of its
//! tenant.
//!
//! Who may write to which service's file is the caller's business: this knows ids. It runs in the cell of the
//! tenant, which is shut in; the kernel never opens these files, as a cell that was taken over could have
//! written anything to them. It only removes those of services that are gone.
//!
//! What was answered is on disk: jobs that wait for the same service share a transaction and a sync, and are
//! answered after it.

mod op;
mod shelf;
mod stores;
mod worker;

#[cfg(test)]
mod tests;

pub use op::{Answer, Op, Page, Read, Rows};
pub use stores::{FILE_EXTENSION, Stores, of_service};

/// Bytes of a key, which has at least one.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Bytes of a value: those of a message.
pub const VALUE_BYTES_MAX: usize = solo_types::bounds::MESSAGE_BYTES_MAX;

/// Bytes that one operation may bring or get: as many keys and values as are handed over at once.
pub const BATCH_BYTES_MAX: usize = 4 * VALUE_BYTES_MAX;

/// Keys of one operation.
pub const BATCH_KEYS_MAX: usize = 4_096;

/// Keys that one page of a list has at most.
pub const PAGE_KEYS_MAX: usize = 1_000;

/// Bytes that a service may keep: keys, values and [`ENTRY_BYTES`] for each.
pub const SERVICE_BYTES_MAX: u64 = 256 << 20;

/// What an entry takes beside its key and its value.
pub const ENTRY_BYTES: u64 = 64;

/// So much of the disk is left to others: the kernel's own records are there.
pub const KEEP_FREE_BYTES: u64 = 256 << 20;
