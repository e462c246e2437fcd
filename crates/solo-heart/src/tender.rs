//! Runs a program of the operator's for the kernel, and ends it with everything that it started.
//!
//! The kernel gives its records to a program (a sink of the audit log). A program that outlived its
//! kernel would have nobody who knows of it, and one that is ended may have started others. So a
//! process of Solo stands between: it takes in whatever the program leaves behind, and ends all of it
//! when the program ends, or when nobody holds the other end of its standard output any more: the
//! kernel let go, or died. It reads nothing and decides nothing else.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// This binary, also if it was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The role of [`tend_command`], which the binary must know.
const ROLE: &str = "audit-command";

/// What was killed dies within this time, or waits for a device that hangs.
const END_WAIT: Duration = Duration::from_secs(2);

/// Between two looks at what is left.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Starts `program` without a shell, with a process between that ends it and all that it started when
/// what this answers is closed. Its standard input is what the program reads, its standard output says
/// how the program ended and must be held.
///
/// `PATH` is all of the environment, `/` the directory, and the standard error that of this process.
///
/// # Errors
/// No process can be started. That the program cannot is told by the output.
pub fn start_tended(program: &str, arguments: &[String]) -> io::Result<Child> {
    Command::new(OWN_PROGRAM)
        .arg0("solo")
        .args([ROLE, "--", program])
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .current_dir("/")
        .spawn()
}

/// Runs `program` with this process's standard input until it ends or is to be ended; writes how it
/// ended to standard output (`code 1`, `signal 9`, `absent: ...`).
///
/// # Errors
/// The system refused what this needs; nothing was started then, or it was ended.
pub fn tend_command(program: &OsStr, arguments: &[OsString]) -> io::Result<()> {
    // What the program leaves behind becomes a child of this process.
    prctl::set_child_subreaper(true)?;
    let started =
        Command::new(program).args(arguments).stdout(Stdio::null()).process_group(0).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return tell(&format!("absent: {error}")),
    };
    // Blocked only now: the program would inherit it.
    let ended = wait(&mut child);
    end_all(&child);
    match ended? {
        Some(status) => tell(&described(status)),
        None => Ok(()),
    }
}

/// Waits until the program has ended, and tells how; none if it is to be ended.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let output = io::stdout();
    loop {
        // First: it may have ended before its signal was blocked.
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // An error is told unasked: nobody can read any more.
            PollFd::new(output.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[1].revents().is_some_and(|happened| !happened.is_empty()) {
            return Ok(None);
        }
        while let Some(signal) = signals.read_signal()? {
            if i32::try_from(signal.ssi_signo) != Ok(Signal::SIGCHLD as i32) {
                return Ok(None);
            }
        }
    }
}

/// Kills the program's group, then whatever else it left behind, and takes notice of all of it.
fn end_all(child: &Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // Fails if nobody is left in it. Its number cannot be another's while one is.
        let _none = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let began = Instant::now();
    while began.elapsed() < END_WAIT {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            // The children of what ended are ours now.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => continue,
            _ => {}
        }
        for orphan in children_of(getpid()) {
            // It is not reaped yet, so that its number is still its own.
            let _gone = kill(orphan, Signal::SIGKILL);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The processes whose parent is `parent`.
fn children_of(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let parents: HashMap<i32, i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // A name can contain anything, also `)`.
            let rest = stat.rsplit_once(')')?.1;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let is_child = |(_, of): &(i32, i32)| *of == parent.as_raw();
    parents.into_iter().filter(is_child).map(|(pid, _)| Pid::from_raw(pid)).collect()
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Who let go does not listen.
fn tell(how: &str) -> io::Result<()> {
    let mut output = io::stdout();
    match writeln!(output, "{how}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
