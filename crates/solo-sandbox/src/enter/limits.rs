//! Bounds that the system keeps per process, inherited by what it starts.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{EnterError, Layer};

/// Bounds per process. The sums over all processes of a service are a control group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Descriptors that one process may have open.
    pub open_files: u64,
    /// Size of one file that it writes, in bytes; `None`: as large as its volume.
    pub file_bytes: Option<u64>,
    /// Processes and threads of its user, counted in its own user namespace; `None`: as many as its
    /// control group lets it have.
    pub processes: Option<u64>,
    /// Messages and signals waiting for its user.
    pub pending: u64,
    /// Memory that it may keep from being swapped, in bytes.
    pub locked_bytes: u64,
}

impl Default for ProcessLimits {
    /// Enough for a server with some thousand connections.
    fn default() -> Self {
        Self {
            open_files: 16_384,
            file_bytes: None,
            processes: None,
            pending: 4_096,
            locked_bytes: 8 << 20,
        }
    }
}

impl ProcessLimits {
    /// Lowers the limits of this process; those that are lower already stay. Core dumps are off: they
    /// would hold what a service keeps in memory.
    pub(super) fn apply(&self) -> Result<(), EnterError> {
        let mut limits = vec![
            ("core files", Resource::RLIMIT_CORE, 0),
            ("open files", Resource::RLIMIT_NOFILE, self.open_files),
            ("pending signals", Resource::RLIMIT_SIGPENDING, self.pending),
            ("message queues", Resource::RLIMIT_MSGQUEUE, 1 << 20),
            ("locked memory", Resource::RLIMIT_MEMLOCK, self.locked_bytes),
            ("priority", Resource::RLIMIT_NICE, 0),
            ("real-time priority", Resource::RLIMIT_RTPRIO, 0),
        ];
        limits.extend(self.file_bytes.map(|bytes| ("file size", Resource::RLIMIT_FSIZE, bytes)));
        limits.into_iter().try_for_each(|(what, resource, limit)| lower(what, resource, limit))
    }

    /// Lowers what is counted per user, once this process is who it will be: set before, the limit would
    /// also count what the same user has in other sandboxes.
    pub(super) fn apply_inside(&self) -> Result<(), EnterError> {
        let Some(processes) = self.processes else { return Ok(()) };
        lower("processes", Resource::RLIMIT_NPROC, processes)
    }
}

fn lower(what: &str, resource: Resource, limit: u64) -> Result<(), EnterError> {
    let lower = || {
        let (_, hard) = getrlimit(resource)?;
        setrlimit(resource, hard.min(limit), hard.min(limit))
    };
    lower().map_err(Layer::ResourceLimits.failed_on("limit", what))
}
