//! Processes of a heart that died without its ending.
//!
//! The system kills them (see `parent.rs`), but that takes a moment, in which they still hold the
//! ports and the store. A new heart waits for them, so that there are never two kernels on one
//! home. It kills only a process that names this home in its command line.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::{info, warn};

use crate::HeartError;

/// Time to die on their own: the system's kill takes microseconds to milliseconds.
const WAIT: Duration = Duration::from_secs(2);

/// Time to die after a kill of ours.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until none of `pids` is a process of the home `home`.
///
/// # Errors
/// [`HeartError::Survivors`].
pub(crate) fn outlast(pids: &[u32], home: &Path) -> Result<(), HeartError> {
    let left = wait_for(pids, home, Duration::ZERO);
    if left.is_empty() {
        return Ok(());
    }
    info!(pids = ?left, "Waiting for processes of a former heart to end");
    if wait_for(pids, home, WAIT).is_empty() {
        return Ok(());
    }
    for pid in pids.iter().filter(|pid| is_ours(**pid, home)) {
        warn!(pid, "Killing a process that a former heart left behind");
        if let Ok(pid) = i32::try_from(*pid) {
            // It may be gone by now; what counts is the next look.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let pids = wait_for(pids, home, KILL_WAIT);
    if pids.is_empty() { Ok(()) } else { Err(HeartError::Survivors { pids }) }
}

fn wait_for(pids: &[u32], home: &Path, time: Duration) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| is_ours(*pid, home)).collect();
        if left.is_empty() || start.elapsed() >= time {
            return left;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Tells whether a process lives and has the home, or a path below it, among its arguments.
fn is_ours(pid: u32, home: &Path) -> bool {
    // Dead processes that nobody reaped have an empty command line. An id may belong to a stranger.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|argument| Path::new(std::ffi::OsStr::from_bytes(argument)).starts_with(home))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_processes_of_the_home_are_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = |argument: &str| {
            // `sh -c` keeps further arguments in its command line.
            Command::new("sh").args(["-c", "read x; sleep 60", argument]).stdin(pipe()).spawn()
        };
        let mut ours = start(&directory.path().join("run/x").display().to_string()).expect("sh");
        let mut other = start("elsewhere").expect("sh");
        let pids = [ours.id(), other.id(), std::process::id()];
        // A new program has no command line for a moment.
        let start = Instant::now();
        while !is_ours(ours.id(), directory.path()) && start.elapsed() < WAIT {}
        assert_eq!(wait_for(&pids, directory.path(), Duration::ZERO), [ours.id()]);
        outlast(&pids, directory.path()).expect("ended");
        assert!(!ours.wait().expect("reaped").success());
        assert!(other.try_wait().expect("looked").is_none(), "the other one lives");
        other.kill().expect("killed");
        other.wait().expect("reaped");
    }

    fn pipe() -> std::process::Stdio {
        std::process::Stdio::piped()
    }
}
