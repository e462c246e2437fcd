//! What the fuzz targets check. A target turns its input into a call of one `check` here, which panics
//! when a promise is broken.
//!
//! Nothing of Solo runs: no kernel, no socket, no file. Everything that takes input of strangers before
//! anything is known about it is called as the kernel calls it.

pub mod capability_text;
pub mod requests;
pub mod samples;
pub mod token_changes;
pub mod token_text;
