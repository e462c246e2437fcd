//! Supervision with OTP semantics: when to restart what, how soon, and when to give up.
//!
//! Three layers, each usable alone. [`RestartTracker`] decides for one child; the heart and the
//! cells use it. [`SupervisorCore`] decides for one supervisor with its children, all that OTP's
//! does: strategies, intensity, significant children, children that come and go. Both are pure: time
//! and events in, decisions out. [`start`] runs a tree of supervisors and workers as tokio tasks;
//! the kernel is such a tree. Nothing here knows what a child does. [`tree`] documents the protocol
//! between the core and whoever drives it.

mod restart;
mod shell;
pub mod tree;

pub use restart::{ExitKind, RestartTracker, Verdict};
pub use shell::{
    ChildContext, ChildKind, ChildSpec, Node, NodeKind, SupervisorEnd, SupervisorHandle,
    SupervisorSpec, TreeError, WorkerFactory, start,
};
pub use tree::{
    Action, AutoShutdown, ChildError, ChildId, ChildOptions, EndReason, Event, Strategy,
    SupervisorCore, SupervisorOptions,
};
