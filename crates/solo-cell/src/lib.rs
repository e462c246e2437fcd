//! The cells of Solo: the compiler cell, which parses and compiles code, and the wasm cell, which
//! runs it. Everything that depends on wasmtime is here.
//!
//! A cell speaks `solo.cell.v1` on one Unix socket. It trusts the kernel that commands it and the
//! files that the compiler cell wrote, and nothing that a guest does. It decides nothing about what
//! should run: that is the kernel's.

mod clean;
pub mod compiler;
mod describe;
pub mod engine;
mod reports;
mod runtimes;
mod sent;
pub mod values;
pub mod wasm;
