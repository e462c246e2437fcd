//! The face of one instance: what others see of it and say to it, over all its incarnations.
//!
//! Holds the mailbox, the figures and the order that the kernel gave last. It runs nothing: the task
//! in `instance` does, and everything here is what the two share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use solo_types::{Exit, ExitReason, InstanceState, ServiceKind};
use tokio::sync::{oneshot, watch};

use super::artifact::Artifact;
use super::clock;
use super::failure::{Failure, Reason};
use super::mailbox::{MAILBOX_BYTES_MAX, Mailbox, PushError, Ticket};
use super::message::{Answer, Envelope, Work};
use super::output::Logger;
use super::service::Service;
use crate::reports::{Report, Reports};

/// Longest chain of waiting instances that is followed: a longer one is answered by its timeout.
const WAIT_CHAIN_MAX: usize = 64;

/// Counters that one task writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Memories and tables of the incarnation that lives.
    pub(crate) memory_bytes: AtomicU64,
    /// Time spent in polls, over all incarnations.
    pub(crate) cpu_ns: AtomicU64,
    /// Calls and sends that were finished.
    pub(crate) handled: AtomicU64,
    /// Of these, how many failed.
    pub(crate) errors: AtomicU64,
    /// Incarnations after the first.
    pub(crate) restarts: AtomicU64,
    /// A message is being handled.
    pub(crate) busy: AtomicBool,
}

/// What the kernel wants. Later variants are stronger; nothing leads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Live.
    Run,
    /// Finish what waits, then end; at the deadline end at once.
    Drain {
        /// Until then.
        deadline: Instant,
        /// For `terminate` and the exit.
        reason: StopReason,
    },
    /// End at once.
    Kill {
        /// For the exit.
        reason: StopReason,
    },
}

/// Why the kernel ends an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// By Kill.
    Killed,
    /// By a shutdown.
    Stopped,
    /// By an update.
    Updated,
}

/// How the first start went.
#[derive(Debug, Clone)]
pub(crate) enum FirstStart {
    /// Still under way.
    Pending,
    /// It was ready once.
    Ready,
    /// It never was, and the instance is gone.
    Failed(Failure),
}

/// How the task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// It did not end in time by itself.
    pub(crate) forced: bool,
}

/// What a snapshot shows beside the counters.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// Where the instance stands.
    pub(crate) state: InstanceState,
    /// Since when it runs.
    pub(crate) running_since: Option<Instant>,
    /// `None`: it never ended.
    pub(crate) last_exit: Option<Exit>,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `NODE-SERVICE-NUMBER`.
    pub(crate) id: Arc<str>,
    /// What it is an instance of.
    pub(crate) service: Arc<Service>,
    /// Its code.
    pub(crate) artifact: Arc<Artifact>,
    /// Its mailbox; survives restarts.
    pub(crate) mailbox: Mailbox,
    /// Its counters.
    pub(crate) figures: Arc<Figures>,
    /// Takes its output.
    pub(crate) logger: Arc<Logger>,
    /// How the first start went.
    pub(crate) first_start: watch::Sender<FirstStart>,
    /// `None` while the task lives.
    pub(crate) ended: watch::Sender<Option<Ended>>,
    order: watch::Sender<Order>,
    phase: Mutex<Phase>,
    /// Its start was taken back: what it comes to is no news.
    taken_back: AtomicBool,
    reports: Arc<Reports>,
    /// The instance whose answer this one waits for.
    waits_for: Mutex<Option<Arc<Slot>>>,
}

impl StopReason {
    /// Reads the word of the protocol; an unknown one is `killed`.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "stopped" => Self::Stopped,
            "updated" => Self::Updated,
            _ => Self::Killed,
        }
    }

    /// What `terminate` is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Updated => "updated",
        }
    }

    /// The exit that it makes, now.
    pub(crate) fn exit(self, forced: bool) -> Exit {
        let (reason, message) = match self {
            Self::Killed => (ExitReason::Killed, "it was killed"),
            Self::Stopped => (ExitReason::Stopped, "it was stopped"),
            Self::Updated => (ExitReason::Stopped, "it was replaced by an update"),
        };
        let how = if forced { ", at once" } else { " and had finished" };
        Exit {
            reason,
            message: format!("{message}{how}"),
            backtrace: Vec::new(),
            at_unix_ms: clock::unix_ms(),
            permanent: false,
        }
    }
}

impl Slot {
    /// An instance that starts.
    pub(crate) fn new(
        id: Arc<str>,
        service: Arc<Service>,
        artifact: Arc<Artifact>,
        reports: Arc<Reports>,
    ) -> Arc<Self> {
        let logger = Logger::new(Arc::clone(&reports), Arc::clone(&service.id), Arc::clone(&id));
        let phase = Phase { state: InstanceState::Starting, running_since: None, last_exit: None };
        Arc::new(Self {
            id,
            mailbox: Mailbox::new(service.message_queue_limit),
            service,
            artifact,
            figures: Arc::new(Figures::default()),
            logger: Arc::new(logger),
            first_start: watch::Sender::new(FirstStart::Pending),
            ended: watch::Sender::new(None),
            order: watch::Sender::new(Order::Run),
            phase: Mutex::new(phase),
            taken_back: AtomicBool::new(false),
            reports,
            waits_for: Mutex::new(None),
        })
    }

    /// Gives an order. A weaker one than the last, or a later deadline, changes nothing.
    pub(crate) fn give(&self, new: Order) {
        let changed = self.order.send_if_modified(|order| {
            let stronger = match (&*order, &new) {
                (Order::Run, Order::Drain { .. })
                | (Order::Run | Order::Drain { .. }, Order::Kill { .. }) => true,
                (Order::Drain { deadline: old, .. }, Order::Drain { deadline, .. }) => {
                    deadline < old
                }
                _ => false,
            };
            if stronger {
                *order = new;
            }
            stronger
        });
        // Also for a kill: what was not taken yet will not be.
        if changed {
            self.mailbox.close();
        }
    }

    /// The order, and its changes.
    pub(crate) fn orders(&self) -> watch::Receiver<Order> {
        self.order.subscribe()
    }

    /// Where the instance stands.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.lock().clone()
    }

    /// Where the instance stands, without a copy of the last exit.
    pub(crate) fn state(&self) -> InstanceState {
        self.phase.lock().state
    }

    /// Changes the state and reports it. An instance that is being stopped, or stays down, does not
    /// come to life again: such a change is not made.
    pub(crate) fn enter(&self, state: InstanceState, exit: Option<Exit>) {
        use InstanceState as S;
        {
            let mut phase = self.phase.lock();
            let leads_back = match phase.state {
                S::Starting | S::Running | S::Restarting => false,
                S::Stopping => !matches!(state, S::Completed | S::Failed),
                S::Completed | S::Failed => true,
            };
            if leads_back {
                return;
            }
            phase.state = state;
            phase.running_since = (state == InstanceState::Running).then(Instant::now);
            if exit.is_some() {
                phase.last_exit.clone_from(&exit);
            }
        }
        if self.taken_back.load(Ordering::Relaxed) {
            return;
        }
        let restarts = self.figures.restarts.load(Ordering::Relaxed);
        self.reports.push(
            clock::unix_ms(),
            Arc::clone(&self.service.id),
            Arc::clone(&self.id),
            Report::State { state, restarts, exit },
        );
    }

    /// Reports no more changes: the start request failed, and its answer says everything. A report
    /// of an instance that never came to be would look like the end of one that did.
    pub(crate) fn take_back(&self) {
        self.taken_back.store(true, Ordering::Relaxed);
    }

    /// How much waits here, for the choice of the least loaded instance.
    pub(crate) fn load(&self) -> usize {
        self.mailbox.depth() + usize::from(self.figures.busy.load(Ordering::Relaxed))
    }

    /// Whether messages are taken now.
    pub(crate) fn is_open(&self) -> bool {
        use InstanceState as S;
        matches!(self.state(), S::Starting | S::Running | S::Restarting)
    }

    /// Whether it failed for good or is being stopped.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state(), InstanceState::Failed | InstanceState::Stopping)
    }

    /// Why messages are not taken.
    pub(crate) fn closed(&self) -> Failure {
        let phase = self.phase();
        let name = &self.service.name;
        match (phase.state, phase.last_exit) {
            (InstanceState::Completed, Some(exit)) if exit.reason == ExitReason::Normal => {
                Failure::new(Reason::Completed, format!("{name} ran to completion"))
            }
            (InstanceState::Failed, Some(exit)) => Failure::new(
                Reason::Unavailable,
                format!("{name} failed and stays down: {}", exit.message),
            ),
            _ => Failure::new(Reason::Unavailable, format!("{name} is being stopped")),
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// `OVERLOADED`, `UNAVAILABLE`, `COMPLETED` or `NOT_CALLABLE`.
    pub(crate) fn push(&self, envelope: Envelope) -> Result<Ticket, Failure> {
        if self.service.kind == ServiceKind::Command && self.is_open() {
            let message = format!("{} is a program and takes no messages", self.service.name);
            return Err(Failure::new(Reason::NotCallable, message));
        }
        self.mailbox.push(envelope).map_err(|error| {
            let bound = match error {
                PushError::Closed => return self.closed(),
                PushError::Full => {
                    format!("message_queue_limit = {}", self.service.message_queue_limit)
                }
                PushError::FullOfBytes => {
                    format!("together they may have {} MiB", MAILBOX_BYTES_MAX >> 20)
                }
            };
            let (name, depth) = (&self.service.name, self.mailbox.depth());
            let message = format!("the mailbox of {name} is full: {depth} messages wait ({bound})");
            Failure::new(Reason::Overloaded, message)
        })
    }

    /// Queues a message and waits for its answer. Dropping the future withdraws the message if it was
    /// not taken yet.
    ///
    /// # Errors
    /// As [`Slot::push`]; `TIMEOUT`; `CRASHED`; whatever the handler answers.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        work: Work,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let ticket = self.push(Envelope { work, reply: Some(reply), deadline: Some(deadline) })?;
        let mut waiting = Withdraw { slot: self, ticket: Some(ticket) };
        let timeout = || {
            let message = format!("{} did not answer in time", self.service.name);
            Failure::new(Reason::Timeout, message)
        };
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => {
                waiting.ticket = None;
                result
            }
            // Skipped because its deadline had passed, or thrown away with the instance.
            Ok(Err(_)) if Instant::now() >= deadline => Err(timeout()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(timeout()),
        }
    }

    /// Notes that this instance waits for `callee` until the guard is dropped. `None`: `callee`
    /// waits, over whatever chain, for this one.
    ///
    /// An instance handles one message at a time, so that it waits for one other at most, and a cycle
    /// of waiting is a deadlock whichever messages it is made of. Each side notes first and looks
    /// then: of two that close a cycle at the same moment, at least one sees it.
    pub(crate) fn wait_for<'a>(self: &'a Arc<Self>, callee: &Arc<Self>) -> Option<Waiting<'a>> {
        *self.waits_for.lock() = Some(Arc::clone(callee));
        let waiting = Waiting(self);
        let mut current = Arc::clone(callee);
        for _ in 0..WAIT_CHAIN_MAX {
            if Arc::ptr_eq(&current, self) {
                return None;
            }
            let next = current.waits_for.lock().clone();
            match next {
                Some(next) => current = next,
                None => return Some(waiting),
            }
        }
        Some(waiting)
    }
}

/// Removes a message that nobody waits for any more.
struct Withdraw<'a> {
    slot: &'a Slot,
    ticket: Option<Ticket>,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.slot.mailbox.remove(ticket);
        }
    }
}

/// An instance waits for another one.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Slot);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.0.waits_for.lock() = None;
    }
}
