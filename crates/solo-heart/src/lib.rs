//! solo-heart.

pub mod protocol;
