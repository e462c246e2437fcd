//! What is spoken with the cell of a program: messages, frames, and descriptors that come with them.
//!
//! [`encode`] and [`Frames`] are pure, [`send`] and [`receive`] take a socket as it is (also one that does
//! not block, under a runtime), [`Connection`] waits. Refuses frames of more than [`FRAME_BYTES_MAX`]
//! and more than [`DESCRIPTORS_MAX`] descriptors that nobody has taken.

mod client;
mod entries;
mod frame;
mod socket;

pub use client::Connection;
pub use entries::entry_message;
pub(crate) use entries::read_entry;
pub use frame::{Frames, WireError, encode, take_descriptors};
pub use socket::{receive, send};

/// The version that this crate speaks.
pub const VERSION: u32 = 1;

/// Size of a message. A Seal with some thousand entries, or a Start with a large environment, is less.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Descriptors that come with one message are at most four; a few messages may be read at once.
pub const DESCRIPTORS_MAX: usize = 64;

/// The generated messages.
#[allow(clippy::large_enum_variant, reason = "generated; the large ones come once in a life")]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/solo.process.v1.rs"));
}

impl std::fmt::Debug for messages::Variable {
    /// Values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}
