//! What every child of the heart does first: it ties its life to the heart's.
//!
//! A process that lost its heart has nobody to restart, stop or account for it, so it must not
//! outlive it. The system does that, also when the heart is killed or the child is stuck.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid};

/// Environment variable in which the heart tells its children its process id.
pub const HEART_PID_VARIABLE: &str = "SOLO_HEART_PID";

/// Why a role must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// Started by hand.
    #[error("this role is started by `solo up`, not by hand ({HEART_PID_VARIABLE} is not set)")]
    NotAChild,
    /// The heart ended before the tie was made.
    #[error("the heart (process {0}) is gone")]
    HeartGone(i32),
    /// The system refused.
    #[error("failed to {action}")]
    System {
        /// What.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes this process end when the heart does (SIGKILL), forbids it to gain privileges by a
/// program that it starts, lets through the signals that the heart blocks for itself, and names
/// it after its role (`solo-kernel`).
///
/// Call it before anything else and before a thread is started: threads inherit the signal mask.
///
/// # Errors
/// [`ParentError`]; the process must end then.
pub fn bind_to_parent() -> Result<(), ParentError> {
    let system = |action| move |errno: Errno| ParentError::System { action, source: errno.into() };
    let heart = heart()?;
    end_with(heart)?;
    prctl::set_no_new_privs().map_err(system("set no_new_privs"))?;
    SigSet::all().thread_unblock().map_err(system("unblock signals"))?;
    let arguments: Vec<String> = std::env::args().skip(1).take(2).collect();
    if let Ok(name) = CString::new(process_name(&arguments)) {
        // A name is a convenience; the system cuts it at 15 bytes.
        let _ = prctl::set_name(&name);
    }
    Ok(())
}

/// Makes this process end when the heart does once more: becoming another user forgets it.
///
/// # Errors
/// [`ParentError`]; the process must end then.
pub fn end_with_parent() -> Result<(), ParentError> {
    end_with(heart()?)
}

fn heart() -> Result<i32, ParentError> {
    let number = std::env::var(HEART_PID_VARIABLE).ok().and_then(|text| text.parse().ok());
    number.ok_or(ParentError::NotAChild)
}

fn end_with(heart: i32) -> Result<(), ParentError> {
    let system = |action| move |errno: Errno| ParentError::System { action, source: errno.into() };
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(system("set the parent death signal"))?;
    // Only now is it sure that a death from here on is noticed; one before shows in the parent, or, to
    // the first process of a pid namespace, which has none there, in the pipe that the heart holds open.
    let gone = if getpid().as_raw() == 1 {
        let stdin = std::io::stdin();
        let mut alive = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        poll(&mut alive, PollTimeout::ZERO).map_err(system("look for the heart"))? > 0
    } else {
        getppid().as_raw() != heart
    };
    if gone { Err(ParentError::HeartGone(heart)) } else { Ok(()) }
}

/// `solo-kernel`, `solo-gateway`, `solo-wasm`: the role, or what a cell does.
fn process_name(arguments: &[String]) -> String {
    match arguments {
        [role, kind, ..] if role == "cell" => format!("solo-{kind}"),
        [role, ..] => format!("solo-{role}"),
        [] => "solo".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_after_what_they_do() {
        let name = |words: &[&str]| {
            process_name(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(name(&["kernel", "--home"]), "solo-kernel");
        assert_eq!(name(&["cell", "compiler"]), "solo-compiler");
        assert_eq!(name(&[]), "solo");
    }

    #[test]
    fn a_role_started_by_hand_is_refused() {
        // The variable is not set in tests, so nothing of this process is changed.
        assert!(matches!(bind_to_parent(), Err(ParentError::NotAChild)));
    }
}
