//! The face of one instance: what others see of it and say to it, over all its incarnations.
//!
//! Holds the mailbox (`inbox` is what may get in), the figures and the order that the kernel gave last. It runs nothing: the task
//! in `instance` does, and everything here is what the two share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use solo_actor::{Actor, CpuFigures, Mailbox};
use solo_types::{Exit, ExitReason, InstanceState, RestartMode};
use tokio::sync::watch;

use super::artifact::Artifact;
use super::clock;
use super::failure::{Failure, Fault, Reason};
use super::faults::{Faults, Life};
use super::group::Processes;
use super::message::Envelope;
use super::monitor::Watchers;
use super::output::Logger;
use super::service::Service;
use super::violations::Violations;
use super::wait::Wait;
use super::warmth::{Part, Warmth};
use crate::reports::{Report, Reports};

/// Of an actor, so much is used each time that it runs.
const ACTOR_BYTES: usize = 256;

/// What no action of a limit lifts: the address space of a memory.
pub(crate) const MEMORY_CEILING_BYTES: u64 = 4 << 30;

/// Counters that one task writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Memories and tables of the incarnation that lives.
    pub(crate) memory_bytes: AtomicU64,
    /// Host-side memory that it asked for beside its mailbox: payloads of timers.
    pub(crate) host_bytes: AtomicU64,
    /// Processor time that was taken outside of this cell, by an external program.
    pub(crate) outside_us: AtomicU64,
    /// Time that a quota kept that program from running.
    pub(crate) outside_throttled_us: AtomicU64,
    /// Calls and sends that were finished.
    pub(crate) handled: AtomicU64,
    /// Of these, how many failed.
    pub(crate) errors: AtomicU64,
    /// Incarnations after the first.
    pub(crate) restarts: AtomicU64,
    /// Since when a message is being handled; 0: none is.
    pub(crate) busy_since_ns: AtomicU64,
    /// Chain of the message that is being handled; all zero: none.
    pub(crate) trace: [AtomicU64; 2],
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

/// Why an instance is ended.
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

/// Where a child that a guest started belongs.
#[derive(Debug)]
pub(crate) struct Family {
    /// Id of the instance that started it.
    pub(crate) parent: Arc<str>,
    /// Its name in its group.
    pub(crate) name: String,
    /// The group, from 1.
    pub(crate) group: u32,
    /// How the group is supervised.
    pub(crate) strategy: &'static str,
    /// When the group starts it again.
    pub(crate) mode: RestartMode,
}

/// The groups of children that an instance has.
#[derive(Debug)]
pub(crate) struct Groups {
    live: watch::Sender<usize>,
    last: AtomicU32,
    children: AtomicU64,
}

impl Groups {
    fn new() -> Self {
        Self { live: watch::Sender::new(0), last: AtomicU32::new(0), children: AtomicU64::new(0) }
    }

    /// A new one; answers its number, from 1.
    pub(crate) fn begin(&self) -> u32 {
        self.live.send_modify(|live| *live += 1);
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One has ended, with all its children.
    pub(crate) fn end(&self) {
        self.live.send_modify(|live| *live -= 1);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *self.live.borrow()
    }

    /// Waits until there are none.
    pub(crate) async fn none(&self) {
        if self.count() > 0 {
            // The sender is here.
            let _ = self.live.subscribe().wait_for(|live| *live == 0).await;
        }
    }

    /// Number of a new child, from 1.
    pub(crate) fn next_child(&self) -> u64 {
        self.children.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What a sender looks at to choose among instances and to queue a message, side by side: of thousands
/// of instances each cache line is one that the processor has to fetch.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Front {
    /// Messages are taken now. A copy of the state.
    is_open: AtomicBool,
    /// A message is being handled.
    pub(crate) is_busy: AtomicBool,
    /// Its mailbox; survives restarts.
    pub(crate) mailbox: Mailbox<Envelope>,
}

/// One instance. What each message needs comes first, in the order in which it is needed.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot {
    /// What a sender looks at.
    pub(crate) front: Front,
    /// Where the parts of its incarnation lie.
    pub(crate) warmth: Warmth,
    actor: OnceLock<Actor>,
    /// Its counters.
    pub(crate) figures: Arc<Figures>,
    /// What it is an instance of.
    pub(crate) service: Arc<Service>,
    /// There is an order or a fault: the actor looks at both before it goes on.
    attention: AtomicBool,
    /// `NODE-SERVICE-NUMBER`; of a child, `PARENT.NUMBER`.
    pub(crate) id: Arc<str>,
    /// Its code.
    pub(crate) artifact: Arc<Artifact>,
    /// `None`: the kernel started it.
    pub(crate) family: Option<Family>,
    /// Takes its output.
    pub(crate) logger: Arc<Logger>,
    /// How the first start went.
    pub(crate) first_start: watch::Sender<FirstStart>,
    /// `None` while the actor lives.
    pub(crate) ended: watch::Sender<Option<Ended>>,
    /// What it waits for.
    pub(crate) wait: Wait,
    /// Who wants to know of its end.
    pub(crate) watchers: Watchers,
    /// Its groups of children.
    pub(crate) groups: Groups,
    /// Its children, and theirs; of a child, those of the instance at the top.
    pub(crate) processes: Arc<Processes>,
    /// Limits that it exceeded.
    pub(crate) violations: Violations,
    order: watch::Sender<Order>,
    faults: Mutex<Faults>,
    /// How the incarnation that is being dropped ended.
    last_words: Mutex<Option<Exit>>,
    phase: Mutex<Phase>,
    /// Its start was taken back: what it comes to is no news.
    taken_back: AtomicBool,
    pub(super) reports: Arc<Reports>,
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
        family: Option<(Family, Arc<Processes>)>,
        reports: Arc<Reports>,
    ) -> Arc<Self> {
        let (family, processes) = match family {
            Some((family, processes)) => (Some(family), processes),
            None => (None, Processes::new(service.max_processes)),
        };
        let figures = Arc::new(Figures::default());
        let names = (Arc::clone(&service.id), Arc::clone(&id));
        let logger = Logger::new(Arc::clone(&reports), names.0, names.1, Arc::clone(&figures));
        let phase = Phase { state: InstanceState::Starting, running_since: None, last_exit: None };
        Arc::new(Self {
            id,
            front: Front {
                is_open: AtomicBool::new(true),
                is_busy: AtomicBool::new(false),
                mailbox: Mailbox::new(service.mailbox_bounds()),
            },
            service,
            artifact,
            family,
            warmth: Warmth::new(),
            figures,
            logger: Arc::new(logger),
            first_start: watch::Sender::new(FirstStart::Pending),
            ended: watch::Sender::new(None),
            wait: Wait::default(),
            watchers: Watchers::default(),
            groups: Groups::new(),
            processes,
            violations: Violations::default(),
            order: watch::Sender::new(Order::Run),
            attention: AtomicBool::new(false),
            faults: Mutex::default(),
            last_words: Mutex::new(None),
            phase: Mutex::new(phase),
            taken_back: AtomicBool::new(false),
            reports,
            actor: OnceLock::new(),
        })
    }

    /// The actor that runs it. Set once, before it runs.
    pub(crate) fn set_actor(&self, actor: Actor) {
        self.warmth.note_range(Part::Actor, actor.address(), ACTOR_BYTES);
        // A second one would be a bug; the first one stays.
        let _ = self.actor.set(actor);
    }

    /// Makes the actor run.
    pub(crate) fn wake(&self) {
        if let Some(actor) = self.actor.get() {
            actor.wake();
        }
    }

    /// Has `callee`, which was just woken, run within this instance's slice, if that can be.
    pub(crate) fn hand_over(&self, callee: &Self) {
        if let (Some(caller), Some(callee)) = (self.actor.get(), callee.actor.get()) {
            solo_actor::current::hand_over(caller, callee);
        }
    }

    /// Wakes the actor by `deadline_ns` at the latest.
    pub(crate) fn wake_by(&self, deadline_ns: u64, now_ns: u64) {
        if let Some(actor) = self.actor.get() {
            actor.wake_by(deadline_ns, now_ns);
        }
    }

    /// Processor time, over all incarnations.
    pub(crate) fn cpu(&self) -> CpuFigures {
        self.actor.get().map(Actor::cpu).unwrap_or_default()
    }

    fn interrupt(&self) {
        self.attention.store(true, Ordering::Release);
        if let Some(actor) = self.actor.get() {
            actor.interrupt();
        }
    }

    /// The incarnation that lives.
    pub(crate) fn life(&self) -> Life {
        self.faults.lock().life()
    }

    /// Ends this incarnation with this fault, if it lives yet.
    pub(crate) fn inject(&self, life: Life, fault: Fault) {
        let noted = self.faults.lock().note(life, fault);
        if noted {
            self.interrupt();
        }
    }

    /// Whether there is an order or a fault to be looked at.
    pub(crate) fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// The fault that was found from outside, once.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.faults.lock().take()
    }

    /// How the incarnation ended that is about to be dropped: for whom it was handling a message.
    pub(crate) fn set_last_words(&self, exit: Exit) {
        *self.last_words.lock() = Some(exit);
    }

    /// As set, once.
    pub(crate) fn last_words(&self) -> Option<Exit> {
        self.last_words.lock().take()
    }

    /// A new incarnation starts: faults of the last one are not its own.
    pub(crate) fn renew(&self) {
        {
            let mut faults = self.faults.lock();
            faults.renew();
            // An order that comes after this says so itself; one that came before is seen next.
            self.attention.store(false, Ordering::SeqCst);
        }
        if *self.order.borrow() != Order::Run {
            self.attention.store(true, Ordering::SeqCst);
        }
        drop(self.last_words());
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
            self.front.mailbox.close();
            self.interrupt();
        }
    }

    /// The order as it stands.
    pub(crate) fn order(&self) -> Order {
        *self.order.borrow()
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
            self.front.is_open.store(is_open(state), Ordering::Relaxed);
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
        self.front.mailbox.depth() + usize::from(self.front.is_busy.load(Ordering::Relaxed))
    }

    /// Whether messages are taken now.
    pub(crate) fn is_open(&self) -> bool {
        self.front.is_open.load(Ordering::Relaxed)
    }

    /// Whether it failed for good or is being stopped.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state(), InstanceState::Failed | InstanceState::Stopping)
    }

    /// Whether an update ends it: others come in its place.
    pub(crate) fn is_replaced(&self) -> bool {
        let (Order::Drain { reason, .. } | Order::Kill { reason }) = self.order() else {
            return false;
        };
        reason == StopReason::Updated
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
            _ if self.is_replaced() => Failure::new(
                Reason::Replaced,
                format!("an update is replacing this instance of {name}"),
            ),
            _ => Failure::new(Reason::Unavailable, format!("{name} is being stopped")),
        }
    }
}

/// Whether an instance that stands like this takes messages.
fn is_open(state: InstanceState) -> bool {
    use InstanceState as S;
    matches!(state, S::Starting | S::Running | S::Restarting)
}
