//! What the heart and the kernel say to each other, over the socket pair that the heart made.
//!
//! One message a line, words separated by single spaces, at most [`LINE_BYTES_MAX`]. The heart acts
//! on a closed set of requests and builds every command line itself: a kernel that was taken over
//! can make it start cells of Solo, and nothing else.

use std::fmt;
use std::str::FromStr;

/// Longest line: the longest legal message is a third of it.
pub const LINE_BYTES_MAX: usize = 512;

/// Longest id of a cell: it becomes part of a socket path, which has 108 bytes in all.
pub const CELL_ID_CHARS_MAX: usize = 32;

/// Longest name of a tenant.
const TENANT_CHARS_MAX: usize = 63;

/// Descriptors that a child of the heart finds open.
pub mod descriptors {
    /// Kernel: the socket pair to the heart.
    pub const KERNEL_CONTROL: i32 = 3;
    /// Kernel: the API's TCP listener.
    pub const KERNEL_API_TCP: i32 = 4;
    /// Kernel: the API's Unix listener.
    pub const KERNEL_API_UNIX: i32 = 5;
    /// Kernel: the metrics listener (TCP).
    pub const KERNEL_METRICS: i32 = 6;
    /// Gateway: its listener (TCP).
    pub const GATEWAY_HTTP: i32 = 3;
}

/// Why a cell is not started that needs a control group: there are none that Solo may use.
pub const NO_CONTROL_GROUPS: &str = "no-control-groups";

/// What a cell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// Hosts WebAssembly instances.
    Wasm,
    /// Validates and compiles code.
    Compiler,
    /// Is the init of the sandbox of one external program.
    Process,
}

/// From the kernel to the heart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The kernel answers its API. Said again every two seconds: a kernel that falls silent hangs.
    Ready,
    /// Start a cell. Answered by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Its id.
        cell: String,
        /// What it does.
        kind: CellKind,
        /// Whose code it hosts: that tenant's files are shown to it. None: nobody's.
        tenant: Option<String>,
    },
    /// End a cell at once. Answered by `Exited`, also when there is no such cell.
    Kill {
        /// Its id.
        cell: String,
    },
    /// All services have stopped: end everything, the kernel included.
    Stop,
}

/// From the heart to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// At the start of a kernel, once per cell that lives.
    Cell {
        /// Its id.
        cell: String,
        /// What it does.
        kind: CellKind,
        /// Its process.
        pid: u32,
    },
    /// All living cells have been told; from now on there is news only.
    Listed,
    /// A cell was started.
    Spawned {
        /// Its id.
        cell: String,
        /// Its process.
        pid: u32,
    },
    /// A cell could not be started.
    SpawnFailed {
        /// Its id.
        cell: String,
        /// Why, without spaces: an errno name, `exists` or [`NO_CONTROL_GROUPS`].
        error: String,
    },
    /// A cell ended, or was not there.
    Exited {
        /// Its id.
        cell: String,
        /// `code:N`, `signal:N` or `absent`.
        status: String,
    },
    /// The operator wants Solo to end: stop all services, then say `Stop`.
    Terminate,
}

/// A line that is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the heart's protocol: {0:?}")]
pub struct ProtocolError(pub String);

impl CellKind {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Compiler => "compiler",
            Self::Process => "process",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Wasm, Self::Compiler, Self::Process].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Tells whether `id` is a legal cell id: 1 to 32 of `a-z`, `0-9` and `-`.
#[must_use]
pub fn is_cell_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= CELL_ID_CHARS_MAX
        && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Tells whether `name` may be a tenant's: 1 to 63 of `a-z`, `0-9` and `-`, so that it is one name of a
/// directory.
fn is_tenant(name: &str) -> bool {
    let is_legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=TENANT_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_legal)
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Spawn { cell, kind, tenant: None } => write!(f, "spawn {cell} {}", kind.as_str()),
            Self::Spawn { cell, kind, tenant: Some(tenant) } => {
                write!(f, "spawn {cell} {} {tenant}", kind.as_str())
            }
            Self::Kill { cell } => write!(f, "kill {cell}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell { cell, kind, pid } => write!(f, "cell {cell} {} {pid}", kind.as_str()),
            Self::Listed => f.write_str("listed"),
            Self::Spawned { cell, pid } => write!(f, "spawned {cell} {pid}"),
            Self::SpawnFailed { cell, error } => write!(f, "spawn-failed {cell} {error}"),
            Self::Exited { cell, status } => write!(f, "exited {cell} {status}"),
            Self::Terminate => f.write_str("terminate"),
        }
    }
}

impl FromStr for Request {
    type Err = ProtocolError;

    fn from_str(line: &str) -> Result<Self, ProtocolError> {
        let wrong = || ProtocolError(line.chars().take(LINE_BYTES_MAX).collect());
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["ready"] => Ok(Self::Ready),
            ["stop"] => Ok(Self::Stop),
            ["spawn", cell, kind, ref rest @ ..] if is_cell_id(cell) => Ok(Self::Spawn {
                cell: cell.to_owned(),
                kind: CellKind::from_name(kind).ok_or_else(wrong)?,
                tenant: match rest {
                    [] => None,
                    [tenant] if is_tenant(tenant) => Some((*tenant).to_owned()),
                    _ => return Err(wrong()),
                },
            }),
            ["kill", cell] if is_cell_id(cell) => Ok(Self::Kill { cell: cell.to_owned() }),
            _ => Err(wrong()),
        }
    }
}

impl FromStr for Report {
    type Err = ProtocolError;

    fn from_str(line: &str) -> Result<Self, ProtocolError> {
        let wrong = || ProtocolError(line.chars().take(LINE_BYTES_MAX).collect());
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["listed"] => Ok(Self::Listed),
            ["terminate"] => Ok(Self::Terminate),
            ["cell", cell, kind, pid] if is_cell_id(cell) => Ok(Self::Cell {
                cell: cell.to_owned(),
                kind: CellKind::from_name(kind).ok_or_else(wrong)?,
                pid: pid.parse().map_err(|_| wrong())?,
            }),
            ["spawned", cell, pid] if is_cell_id(cell) => {
                Ok(Self::Spawned { cell: cell.to_owned(), pid: pid.parse().map_err(|_| wrong())? })
            }
            ["spawn-failed", cell, error] if is_cell_id(cell) => {
                Ok(Self::SpawnFailed { cell: cell.to_owned(), error: error.to_owned() })
            }
            ["exited", cell, status] if is_cell_id(cell) => {
                Ok(Self::Exited { cell: cell.to_owned(), status: status.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        for request in [
            Request::Ready,
            Request::Stop,
            Request::Spawn {
                cell: "wasm-default".into(),
                kind: CellKind::Wasm,
                tenant: Some("default".into()),
            },
            Request::Spawn { cell: "compiler-0".into(), kind: CellKind::Compiler, tenant: None },
            Request::Kill { cell: "compiler-0".into() },
        ] {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
    }

    #[test]
    fn reports_survive_the_wire() {
        for report in [
            Report::Cell { cell: "a".into(), kind: CellKind::Compiler, pid: 1 },
            Report::Listed,
            Report::Spawned { cell: "a".into(), pid: 2 },
            Report::SpawnFailed { cell: "a".into(), error: "EAGAIN".into() },
            Report::Exited { cell: "a".into(), status: "signal:9".into() },
            Report::Terminate,
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
    }

    #[test]
    fn a_request_cannot_smuggle_anything() {
        for line in [
            "",
            "spawn",
            "spawn ../x wasm",
            "spawn a sh",
            "spawn a wasm ../x",
            "spawn a wasm x y",
            "spawn a wasm ",
            "kill a\nstop",
            "spawn  wasm",
        ] {
            assert!(line.parse::<Request>().is_err(), "{line:?}");
        }
        assert!(!is_cell_id(&"x".repeat(33)));
    }
}
