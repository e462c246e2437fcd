//! What the keeper is told and what it answers: the words between the pure core and its shell.
//!
//! Values only; nothing here decides or does anything.

use std::fmt;
use std::time::Duration;

use crate::protocol::{CellKind, Report, Request};

/// A process that the heart starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Kernel,
    Gateway,
    /// `tenant`: whose files it is shown; not told of one that ended.
    Cell {
        cell: String,
        kind: CellKind,
        tenant: Option<String>,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time passed. The first one starts everything.
    Tick,
    /// [`Action::Start`] worked.
    Started { role: Role, pid: u32 },
    /// [`Action::Start`] did not work; `error` is an errno name.
    StartFailed { role: Role, error: String },
    /// A child was reaped.
    Exited { pid: u32, status: Status },
    /// The kernel asked for something.
    Request(Request),
    /// The kernel closed its control socket: it is about to end, or wants no orders any more.
    ControlClosed,
    /// The kernel broke the protocol, or does not read its reports.
    ControlBroken,
    /// The operator wants Solo to end; again: at once; once more: by force.
    Terminate,
    /// The operator wants a new kernel from the program path.
    Reload,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the process of a role.
    Start(Role),
    /// Send SIGTERM.
    Terminate { pid: u32 },
    /// Send SIGKILL.
    Kill { pid: u32 },
    /// Tell the kernel.
    Report(Report),
    /// Close the control socket: its kernel is gone or cut off.
    CloseControl,
    /// Remove what a dead process left in the run directory.
    Forget(Role),
    /// Say it in the log.
    Notice(Notice),
    /// Leave.
    Finish,
}

/// What an operator should read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Ended { role: Role, status: Status },
    StartFailed { role: Role, error: String },
    Restarting { role: Role, delay: Duration, failures: u32 },
    KernelReady { after: Duration },
    KernelCutOff,
    KernelSilent,
    Stopping,
    Ending,
    Killing,
    Survivors,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::Gateway => f.write_str("gateway"),
            Self::Cell { cell, .. } => write!(f, "cell {cell}"),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code:{code}"),
            Self::Signal(signal) => write!(f, "signal:{signal}"),
        }
    }
}
