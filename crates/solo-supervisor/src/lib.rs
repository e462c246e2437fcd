//! Supervision with OTP semantics: when to restart what, how soon, and when to give up.
//!
//! [`RestartTracker`] decides for one child; it is pure and is what the heart, the kernel and the
//! cells share. Nothing here knows what a child is.

mod restart;

pub use restart::{ExitKind, RestartTracker, Verdict};
