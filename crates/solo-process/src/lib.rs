//! The cell of one program: its process is the init of the program's sandbox.
//!
//! [`run`] is that process, from its first instruction to its end: *prepared* it has its namespaces and
//! nothing of a guest, *sealed* it is shut in for one instance and starts, reaps and reports its
//! program. [`wire`] is what is spoken with it (`proto/solo/process/v1/process.proto`), for the kernel
//! and for the proxy in the wasm cell.
//!
//! It has one thread, no runtime and no log: there is one per program, and it must cost next to nothing.
//! It decides nothing: when a program is started again, and what its output means, others know.

mod init;
pub mod wire;

pub use init::{Options, ProcessError, run};
