//! One life of the program: from its start until nothing of its tree is left.
//!
//! Keeps the ends of its streams, so that it lives on when its proxy does not, and reaps all that ends
//! inside: whoever loses a parent becomes this process' child.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus, wait};

use solo_sandbox::Watch;

use super::notify::{self, Told};
use super::usage::Used;
use crate::wire::messages::{Descriptor, Exited, exited::How};

/// Processes that are reaped in one turn, so that what else happens is seen.
const REAPED_AT_ONCE: usize = 256;

/// Everybody but this process: it is the first of its pid namespace.
const ALL: Pid = Pid::from_raw(-1);

/// What belongs to a program from its start on.
#[derive(Debug)]
pub(super) struct Streams {
    /// Output and error output, then what else was asked for.
    pub(super) handed: Vec<(Descriptor, OwnedFd)>,
    pub(super) notify: Option<UnixDatagram>,
}

#[derive(Debug)]
pub(super) struct Life {
    pid: Pid,
    streams: Streams,
    told: Told,
    /// What of it the proxy knows.
    known: Told,
    began: Instant,
    used_before: Used,
    /// Counted in the control group when it began.
    pub(super) before: Counted,
    /// How the program itself ended; its tree may still be ending.
    how: Option<How>,
    /// Set when nothing is left.
    end: Option<Exited>,
}

/// What was found to have ended.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// More may have.
    pub(super) is_behind: bool,
    /// Nothing is left, just now.
    pub(super) exited: Option<Exited>,
}

impl Life {
    pub(super) fn new(pid: Pid, streams: Streams, used_before: Used) -> Self {
        let (told, known) = (Told::default(), Told::default());
        let began = Instant::now();
        Self {
            pid,
            streams,
            told,
            known,
            began,
            used_before,
            before: Counted::default(),
            how: None,
            end: None,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        u32::try_from(self.pid.as_raw()).unwrap_or_default()
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    pub(super) fn used_before(&self) -> Used {
        self.used_before
    }

    /// The program, while it was not seen to have ended.
    pub(super) fn running(&self) -> Option<Pid> {
        self.how.is_none().then_some(self.pid)
    }

    /// How it ended, once nothing is left of it.
    pub(super) fn exited(&self) -> Option<&Exited> {
        self.end.as_ref()
    }

    pub(super) fn notify(&self) -> Option<BorrowedFd<'_>> {
        Some(self.streams.notify.as_ref()?.as_fd())
    }

    /// Copies of the descriptors, to be handed out.
    pub(super) fn streams(&self) -> io::Result<Vec<(Descriptor, OwnedFd)>> {
        let copy =
            |(kind, descriptor): &(Descriptor, OwnedFd)| Ok((*kind, descriptor.try_clone()?));
        self.streams.handed.iter().map(copy).collect()
    }

    pub(super) fn close_input(&mut self) {
        self.streams.handed.retain(|(kind, _)| *kind != Descriptor::Input);
    }

    /// Sends a signal to the program, or to all that runs.
    pub(super) fn signal(&self, signal: Signal, whole_tree: bool) -> Result<(), Errno> {
        kill(if whole_tree { ALL } else { self.pid }, signal)
    }

    /// Ends all that runs. Whoever forks meanwhile is found too: the system forks nothing while it
    /// looks for them.
    pub(super) fn kill_all(&self) {
        if self.end.is_none() {
            // Fails only if there is nobody.
            let _ = kill(ALL, Signal::SIGKILL);
        }
    }

    /// Takes notice of all that has ended.
    pub(super) fn reap(&mut self, watch: Option<&Watch>) -> Reaped {
        for _ in 0..REAPED_AT_ONCE {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid.as_raw_pid() == self.pid.as_raw() && self.how.is_none() {
                        self.how = Some(how(status));
                        self.kill_all();
                    }
                }
                Ok(None) => return Reaped::default(),
                // No children, that is, nothing is left.
                Err(_) => return Reaped { is_behind: false, exited: self.finish(watch) },
            }
        }
        Reaped { is_behind: true, exited: None }
    }

    fn finish(&mut self, watch: Option<&Watch>) -> Option<Exited> {
        if self.end.is_some() {
            return None;
        }
        let used = Used::by_ended();
        let counted = Counted::now(watch);
        self.end = Some(Exited {
            how: self.how,
            user_micros: used.user_micros.saturating_sub(self.used_before.user_micros),
            system_micros: used.system_micros.saturating_sub(self.used_before.system_micros),
            max_rss_bytes: used.max_rss_bytes,
            oom_kills: counted.oom_kills.saturating_sub(self.before.oom_kills),
            processes_refused: counted
                .processes_refused
                .saturating_sub(self.before.processes_refused),
        });
        self.end
    }

    /// Reads what the program told.
    pub(super) fn listen(&mut self) {
        if let Some(socket) = &self.streams.notify {
            notify::read(socket, &mut self.told);
        }
    }

    pub(super) fn has_new_status(&self) -> bool {
        self.told.status != self.known.status
    }

    /// What the proxy does not know, which it does from now on: ready, stopping, status.
    pub(super) fn take_news(&mut self, with_status: bool) -> (bool, bool, Option<String>) {
        let ready = self.told.ready && !self.known.ready;
        let stopping = self.told.stopping && !self.known.stopping;
        let status = (with_status && self.has_new_status()).then(|| self.told.status.clone());
        self.known.ready = self.told.ready;
        self.known.stopping = self.told.stopping;
        if let Some(status) = &status {
            self.known.status.clone_from(status);
        }
        (ready, stopping, status)
    }
}

/// What a control group counts over all lives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// Processes that were ended for want of memory.
    oom_kills: u64,
    /// Processes that were not started.
    processes_refused: u64,
}

impl Counted {
    pub(super) fn now(watch: Option<&Watch>) -> Self {
        watch.map_or_else(Self::default, |watch| {
            let usage = watch.usage();
            Self { oom_kills: usage.oom_kills, processes_refused: usage.processes_refused }
        })
    }
}

fn how(status: WaitStatus) -> How {
    let number = |number: i32| u32::try_from(number).unwrap_or_default();
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Code(number(code)),
        (None, signal) => How::Signal(signal.map_or(0, number)),
    }
}
