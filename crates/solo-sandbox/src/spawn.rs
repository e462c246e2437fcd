//! Starts a process as the first one of a pid namespace: what it starts ends with it, and it sees
//! nobody else. It changes nothing of the process that starts it but, once, its right to do so.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getegid, geteuid};

use crate::enter::{EnterError, Identity, Process, can_administer, pass_on};

/// Of a thread that starts a process and waits.
const STACK_BYTES: usize = 256 << 10;

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

/// Spawns `command` as process 1 of a new pid namespace.
///
/// Such a process has the capabilities of this one, and is to give them up ([`crate::Sandbox::enter`]). It
/// gets no signal that it does not handle, but SIGKILL and SIGSTOP from outside. The thread
/// that made the namespace waits for its end: what a parent's death means to a child is told by the thread
/// that it comes from, and one thread can make one such namespace only.
///
/// # Errors
/// As the system says: without the right to make namespaces `EPERM`.
pub fn spawn_in_pid_namespace(mut command: Command) -> io::Result<Child> {
    let (answer, answered) = mpsc::sync_channel(1);
    let parent = move || {
        let prepare = || {
            unshare(CloneFlags::CLONE_NEWPID)?;
            // What it starts needs the rights of who owns that namespace, to show it in `/proc`.
            if geteuid().is_root() { Ok(()) } else { pass_on().map_err(io::Error::from) }
        };
        let spawned = prepare().and_then(|()| command.spawn());
        let pid = spawned.as_ref().ok().and_then(|child| i32::try_from(child.id()).ok());
        // Who asked waits for this answer.
        let _ = answer.send(spawned);
        if let Some(pid) = pid {
            wait_for_end(Pid::from_raw(pid));
        }
    };
    thread::Builder::new().name("parent".into()).stack_size(STACK_BYTES).spawn(parent)?;
    answered.recv().map_err(io::Error::other)?
}

/// Waits until a child has ended, and leaves it to be reaped.
fn wait_for_end(child: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(child), flags) == Err(Errno::EINTR) {}
}
