//! Starts a process as the first one of a pid namespace: what it starts ends with it, and it sees
//! nobody else. It changes nothing of the process that starts it but, once, its right to do so.

use std::fs::File;
use std::io;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use crate::enter::{EnterError, Identity, Process, can_administer};

/// Gives this process the right to make namespaces: root has it, others make a user namespace for
/// themselves, in which they are who they were. Call it while there is one thread.
///
/// # Errors
/// [`EnterError`]: the machine does not let this user make namespaces.
pub fn own_namespaces() -> Result<(), EnterError> {
    if can_administer() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let identity = Identity { outside: None, user_inside: user, group_inside: group };
    Process::open()?.enter_namespace(identity)
}

/// Spawns `command` as process 1 of a new pid namespace. This thread's further children are where they
/// would have been without it.
///
/// Such a process gets no signal that it does not handle, but SIGKILL and SIGSTOP from outside.
///
/// # Errors
/// As the system says: without the right to make namespaces `EPERM`.
pub fn spawn_in_pid_namespace(command: &mut Command) -> io::Result<Child> {
    let own = File::open("/proc/thread-self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let child = command.spawn();
    // Without the way back the next child would be shut into this one's namespace.
    if let Err(error) = setns(&own, CloneFlags::CLONE_NEWPID) {
        if let Ok(mut child) = child {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait()?;
        }
        return Err(error.into());
    }
    child
}
