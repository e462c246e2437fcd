//! The cells of this node, as the kernel sees them: who hosts instances, who compiles.

mod compilers;
mod connection;
mod host;
mod work;

pub(crate) use compilers::{Compiled, Compilers, Turns};
pub(crate) use connection::{CellHandle, lost};
pub(crate) use host::{CellHost, CellState, InstanceReports};

#[cfg(test)]
mod tests;
