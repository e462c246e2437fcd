//! The least that the work of Solo costs on this machine: the same mechanisms, bare.
//!
//! Nothing here talks to Solo. Each floor does one thing that Solo cannot do without, with the same
//! library and the same settings, and nothing around it.

mod disk;
mod echo;
mod local;
mod pair;
mod process;
mod wasm;

pub(crate) use disk::Disk;
pub(crate) use echo::{Echo, serve as serve_echo};
pub(crate) use local::{look_up, queue_send};
pub(crate) use pair::Way;
pub(crate) use process::start_and_end;
pub(crate) use wasm::{Engines, Handler};
