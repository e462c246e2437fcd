//! Runs a supervisor tree as tokio tasks. Decides nothing: that is [`crate::SupervisorCore`]'s duty.
//!
//! Each supervisor is one task that owns its children's tasks. A child's panic, error or end comes
//! back through its join handle; no child can end without its supervisor noticing, and when a
//! supervisor's task ends, its children are aborted with it.

mod failure;
mod handle;
mod runner;
mod spec;

pub use handle::{Node, NodeKind, SupervisorEnd, SupervisorHandle, TreeError, start};
pub use spec::{ChildContext, ChildKind, ChildSpec, SupervisorSpec, WorkerFactory};

#[cfg(test)]
mod tests;
