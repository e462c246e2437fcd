//! The decisions of the heart: what to start, signal, report and when to end.
//!
//! Pure: events and a time go in, actions come out in the order to be done. No process, socket,
//! clock or file is touched here; `run.rs` is the shell that does. A start is answered by
//! [`Event::Started`] or [`Event::StartFailed`] before any other event is handled.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::protocol::{CellKind, Report, Request};
use crate::vocabulary::{Action, Event, Notice, Role, Status};

/// Cells at one time: one for each instance of a program, and some tens that host many instances. A node
/// with more is a kernel gone wrong; the list of them must also fit the output buffer toward a new kernel.
pub(crate) const CELLS_MAX: usize = 2_048;

/// Longest wait for the kernel to stop all services: the default `shutdown_timeout_ms` of a service
/// (30 s, SPEC 5) and time to write that down.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(35);

/// From SIGTERM to SIGKILL at the end of everything.
pub(crate) const END_WAIT: Duration = Duration::from_secs(2);

/// From SIGKILL to the end of the heart: a process in an uninterruptible wait must not hold it.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(5);

/// The kernel says `ready` every two seconds; after five silent rounds it hangs, and a new one takes
/// over under running services.
const KERNEL_SILENCE_MAX: Duration = Duration::from_secs(10);

/// From SIGTERM (or its goodbye on the control socket) to SIGKILL for a kernel that is to restart.
pub(crate) const KERNEL_TERM_WAIT: Duration = Duration::from_secs(5);

/// One of the two processes that must always run.
#[derive(Debug)]
struct Kept {
    life: Life,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Waiting {
        at: Duration,
    },
    Starting,
    Running {
        pid: u32,
        since: Duration,
        /// The kernel said so; a gateway counts as ready from its start.
        ready: bool,
        /// Its end was asked for, so it is no failure.
        planned: bool,
        /// When patience ends.
        kill_at: Option<Duration>,
        /// When a kernel that has been heard is taken for one that hangs.
        silent_at: Option<Duration>,
    },
    /// Not to be started again.
    Over,
}

#[derive(Debug)]
struct Cell {
    kind: CellKind,
    /// `None` only between the decision to start it and the answer.
    pid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The kernel stops the services.
    Stopping {
        until: Duration,
    },
    /// Every process was told to end.
    Ending {
        kill_at: Option<Duration>,
        give_up_at: Duration,
    },
    Finished,
}

/// The state behind the decisions.
#[derive(Debug)]
pub(crate) struct Keeper {
    phase: Phase,
    kernel: Kept,
    gateway: Kept,
    cells: BTreeMap<String, Cell>,
}

impl Keeper {
    /// Nothing runs yet: the first event starts the kernel and the gateway.
    pub(crate) fn new() -> Self {
        let kept =
            || Kept { life: Life::Waiting { at: Duration::ZERO }, backoff: Backoff::default() };
        Self { phase: Phase::Running, kernel: kept(), gateway: kept(), cells: BTreeMap::new() }
    }

    /// Takes in one event; `now` is monotonic and never goes back.
    pub(crate) fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Tick => {}
            Event::Started { role, pid } => self.started(now, role, pid, &mut out),
            Event::StartFailed { role, error } => self.start_failed(now, role, error, &mut out),
            Event::Exited { pid, status } => self.exited(now, pid, status, &mut out),
            Event::Request(request) => self.requested(now, request, &mut out),
            Event::ControlClosed => {
                out.push(Action::CloseControl);
                self.kernel.stop_listening();
                if let Life::Running { kill_at, .. } = &mut self.kernel.life {
                    kill_at.get_or_insert(now + KERNEL_TERM_WAIT);
                }
            }
            Event::ControlBroken => {
                out.push(Action::CloseControl);
                if let Some(pid) = self.kernel.pid() {
                    out.extend([Action::Notice(Notice::KernelCutOff), Action::Kill { pid }]);
                }
            }
            Event::Terminate => self.terminate(now, &mut out),
            Event::Reload => self.reload(now, &mut out),
        }
        self.advance(now, &mut out);
        out
    }

    /// When to come back with a [`Event::Tick`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Running | Phase::Finished => None,
            Phase::Stopping { until } => Some(until),
            Phase::Ending { kill_at, give_up_at } => Some(kill_at.unwrap_or(give_up_at)),
        };
        [phase, self.kernel.deadline(), self.gateway.deadline()].into_iter().flatten().min()
    }

    fn started(&mut self, now: Duration, role: Role, pid: u32, out: &mut Vec<Action>) {
        let life = |ready| Life::Running {
            pid,
            since: now,
            ready,
            planned: false,
            kill_at: None,
            silent_at: None,
        };
        match role {
            Role::Kernel => {
                self.kernel.life = life(false);
                out.extend(self.cells.iter().filter_map(|(id, cell)| {
                    let report = Report::Cell { cell: id.clone(), kind: cell.kind, pid: cell.pid? };
                    Some(Action::Report(report))
                }));
                out.push(Action::Report(Report::Listed));
            }
            Role::Gateway => self.gateway.life = life(true),
            Role::Cell { cell, kind, .. } => {
                self.cells.insert(cell.clone(), Cell { kind, pid: Some(pid) });
                out.push(Action::Report(Report::Spawned { cell, pid }));
            }
        }
        if matches!(self.phase, Phase::Ending { .. }) {
            // Whoever starts that late has nothing to put away.
            out.push(Action::Kill { pid });
        }
    }

    fn start_failed(&mut self, now: Duration, role: Role, error: String, out: &mut Vec<Action>) {
        out.push(Action::Notice(Notice::StartFailed { role: role.clone(), error: error.clone() }));
        match role {
            Role::Cell { cell, .. } => {
                self.cells.remove(&cell);
                out.push(Action::Report(Report::SpawnFailed { cell, error }));
            }
            kept => self.kept_ended(now, kept, out),
        }
    }

    fn exited(&mut self, now: Duration, pid: u32, status: Status, out: &mut Vec<Action>) {
        let role = if self.kernel.pid() == Some(pid) {
            Role::Kernel
        } else if self.gateway.pid() == Some(pid) {
            Role::Gateway
        } else if let Some((id, cell)) = self.cells.iter().find(|(_, c)| c.pid == Some(pid)) {
            Role::Cell { cell: id.clone(), kind: cell.kind, tenant: None }
        } else {
            // An orphan that init handed to the heart, when the heart is init.
            return;
        };
        out.push(Action::Notice(Notice::Ended { role: role.clone(), status }));
        out.push(Action::Forget(role.clone()));
        match role {
            Role::Cell { cell, .. } => {
                self.cells.remove(&cell);
                out.push(Action::Report(Report::Exited { cell, status: status.to_string() }));
            }
            kept => self.kept_ended(now, kept, out),
        }
    }

    /// Decides how it goes on after the kernel or the gateway ended, or did not start.
    fn kept_ended(&mut self, now: Duration, role: Role, out: &mut Vec<Action>) {
        let is_kernel = role == Role::Kernel;
        if is_kernel {
            out.push(Action::CloseControl);
        }
        let kept = if is_kernel { &mut self.kernel } else { &mut self.gateway };
        if self.phase != Phase::Running {
            kept.life = Life::Over;
            if is_kernel && matches!(self.phase, Phase::Stopping { .. }) {
                self.end(now, out);
            }
            return;
        }
        let delay = match kept.life {
            Life::Running { planned: true, .. } => {
                kept.backoff.reset();
                Duration::ZERO
            }
            Life::Running { since, ready, .. } => {
                kept.backoff.after_end(ready, now.saturating_sub(since))
            }
            _ => kept.backoff.after_end(false, Duration::ZERO),
        };
        kept.life = Life::Waiting { at: now + delay };
        let failures = kept.backoff.failures();
        out.push(Action::Notice(Notice::Restarting { role, delay, failures }));
    }

    fn requested(&mut self, now: Duration, request: Request, out: &mut Vec<Action>) {
        match request {
            Request::Ready => {
                if let Life::Running { ready, since, silent_at, .. } = &mut self.kernel.life {
                    if !*ready {
                        *ready = true;
                        let after = now.saturating_sub(*since);
                        out.push(Action::Notice(Notice::KernelReady { after }));
                    }
                    // From now on silence means that it hangs. An end has deadlines of its own.
                    if self.phase == Phase::Running {
                        *silent_at = Some(now + KERNEL_SILENCE_MAX);
                    }
                }
            }
            Request::Spawn { cell, kind, tenant } => match self.spawn_refusal(&cell) {
                Some(error) => {
                    let error = error.to_owned();
                    out.push(Action::Report(Report::SpawnFailed { cell, error }));
                }
                None => {
                    self.cells.insert(cell.clone(), Cell { kind, pid: None });
                    out.push(Action::Start(Role::Cell { cell, kind, tenant }));
                }
            },
            Request::Kill { cell } => match self.cells.get(&cell).and_then(|cell| cell.pid) {
                Some(pid) => out.push(Action::Kill { pid }),
                None => {
                    let status = "absent".to_owned();
                    out.push(Action::Report(Report::Exited { cell, status }));
                }
            },
            Request::Stop => self.end(now, out),
        }
    }

    fn spawn_refusal(&self, cell: &str) -> Option<&'static str> {
        if self.cells.contains_key(cell) {
            Some("exists")
        } else if self.phase != Phase::Running {
            Some("ECANCELED")
        } else if self.cells.len() >= CELLS_MAX {
            Some("EAGAIN")
        } else {
            None
        }
    }

    fn terminate(&mut self, now: Duration, out: &mut Vec<Action>) {
        match self.phase {
            // No kernel, so nobody who could stop the services in order.
            Phase::Running if self.kernel.pid().is_none() => self.end(now, out),
            Phase::Running => {
                out.push(Action::Notice(Notice::Stopping));
                self.phase = Phase::Stopping { until: now + STOP_WAIT };
                self.kernel.stop_listening();
                self.gateway.hold();
                // The front door first: no new work comes in while the services stop.
                out.extend(self.gateway.pid().map(|pid| Action::Terminate { pid }));
                out.push(Action::Report(Report::Terminate));
            }
            Phase::Stopping { .. } => self.end(now, out),
            Phase::Ending { give_up_at, .. } => {
                self.phase = Phase::Ending { kill_at: Some(now), give_up_at };
            }
            Phase::Finished => {}
        }
    }

    fn reload(&mut self, now: Duration, out: &mut Vec<Action>) {
        if self.phase != Phase::Running {
            return;
        }
        match &mut self.kernel.life {
            Life::Running { pid, planned, kill_at, silent_at, .. } => {
                *planned = true;
                *silent_at = None;
                kill_at.get_or_insert(now + KERNEL_TERM_WAIT);
                out.push(Action::Terminate { pid: *pid });
            }
            Life::Waiting { at } => *at = now,
            Life::Starting | Life::Over => {}
        }
    }

    /// Tells every process to end.
    fn end(&mut self, now: Duration, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Ending { .. } | Phase::Finished) {
            return;
        }
        self.kernel.stop_listening();
        let kill_at = now + END_WAIT;
        self.phase = Phase::Ending { kill_at: Some(kill_at), give_up_at: kill_at + KILL_WAIT };
        self.gateway.hold();
        self.kernel.hold();
        out.push(Action::Notice(Notice::Ending));
        let kept = [self.gateway.pid(), self.kernel.pid()];
        out.extend(kept.into_iter().flatten().map(|pid| Action::Terminate { pid }));
        // Cells keep nothing that they would have to put away, and the first process of a pid
        // namespace does not get other signals.
        let cells = self.cells.values().filter_map(|cell| cell.pid);
        out.extend(cells.map(|pid| Action::Kill { pid }));
    }

    /// Does what is due at `now`.
    fn advance(&mut self, now: Duration, out: &mut Vec<Action>) {
        if let Life::Running { pid, kill_at, silent_at, .. } = &mut self.kernel.life {
            if kill_at.is_some_and(|at| at <= now) {
                *kill_at = None;
                out.push(Action::Kill { pid: *pid });
            }
            if silent_at.is_some_and(|at| at <= now) {
                *silent_at = None;
                out.extend([Action::Notice(Notice::KernelSilent), Action::Kill { pid: *pid }]);
            }
        }
        if let Phase::Stopping { until } = self.phase
            && until <= now
        {
            self.end(now, out);
        }
        match self.phase {
            Phase::Running => {
                for (kept, role) in
                    [(&mut self.kernel, Role::Kernel), (&mut self.gateway, Role::Gateway)]
                {
                    if matches!(kept.life, Life::Waiting { at } if at <= now) {
                        kept.life = Life::Starting;
                        out.push(Action::Start(role));
                    }
                }
            }
            Phase::Ending { kill_at, give_up_at } => {
                let gone = self.gone();
                if !gone && kill_at.is_some_and(|at| at <= now) {
                    self.phase = Phase::Ending { kill_at: None, give_up_at };
                    out.push(Action::Notice(Notice::Killing));
                    out.extend(self.living().map(|pid| Action::Kill { pid }));
                }
                if gone || give_up_at <= now {
                    self.phase = Phase::Finished;
                    if !gone {
                        out.push(Action::Notice(Notice::Survivors));
                    }
                    out.push(Action::Finish);
                }
            }
            Phase::Stopping { .. } | Phase::Finished => {}
        }
    }

    /// Processes that live: gateway, kernel, then cells.
    fn living(&self) -> impl Iterator<Item = u32> {
        let kept = [self.gateway.pid(), self.kernel.pid()];
        kept.into_iter().flatten().chain(self.cells.values().filter_map(|cell| cell.pid))
    }

    fn gone(&self) -> bool {
        self.kernel.life == Life::Over && self.gateway.life == Life::Over && self.cells.is_empty()
    }
}

impl Kept {
    fn pid(&self) -> Option<u32> {
        match self.life {
            Life::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.life {
            Life::Waiting { at } => Some(at),
            Life::Running { kill_at, silent_at, .. } => kill_at.into_iter().chain(silent_at).min(),
            Life::Starting | Life::Over => None,
        }
    }

    /// Waits for signs of life no more: the end has deadlines of its own.
    fn stop_listening(&mut self) {
        if let Life::Running { silent_at, .. } = &mut self.life {
            *silent_at = None;
        }
    }

    /// Takes back a start that has not happened.
    fn hold(&mut self) {
        if matches!(self.life, Life::Waiting { .. }) {
            self.life = Life::Over;
        }
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
