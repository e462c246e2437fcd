//! One actor: its future, its account with the scheduler, and the handle that wakes it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, waker_ref};

use crate::clock;
use crate::core::{Entity, Tier};
use crate::executor::Shared;
use crate::state::{Finished, TaskState};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};

/// Shortest time that a timer waits: the clock thread's resolution.
const TIMER_MIN_NS: u64 = 1_000_000;

/// No timer is set.
const UNARMED: u64 = u64::MAX;

/// An actor as the executor keeps it.
pub(crate) struct Task {
    state: TaskState,
    /// Locked while it runs and while it is queued, by one thread each time.
    body: Mutex<Body>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) last_worker: AtomicUsize,
    cpu_ns: AtomicU64,
    quota_exceeded: AtomicU64,
    throttled_ns: AtomicU64,
    /// When the earliest timer of it fires.
    armed_ns: AtomicU64,
}

struct Body {
    /// `None`: it ended.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    entity: Entity,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It sleeps or has ended.
    Rests,
    /// Schedule it again.
    Again,
    /// Its quota is used up: it did not run. Queue it.
    Throttled,
}

/// Processor time of an actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuFigures {
    /// Time that it ran.
    pub cpu_ns: u64,
    /// Periods in which it used up its quota.
    pub quota_exceeded: u64,
    /// Time that its quota kept it from running.
    pub throttled_ns: u64,
}

/// Handle of an actor. Keeps it findable, not alive.
#[derive(Clone)]
pub struct Actor(pub(crate) Arc<Task>);

impl Task {
    pub(crate) fn new(
        shared: Arc<Shared>,
        entity: Entity,
        future: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: TaskState::new(),
            body: Mutex::new(Body { future: Some(future), entity }),
            shared,
            last_worker: AtomicUsize::new(0),
            cpu_ns: AtomicU64::new(0),
            quota_exceeded: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            armed_ns: AtomicU64::new(UNARMED),
        })
    }

    pub(crate) fn wake_task(self: &Arc<Self>) {
        if self.state.wake() {
            self.shared.submit(Arc::clone(self));
        }
    }

    /// Gives `entity` to `f`. Not to be called by the actor itself.
    pub(crate) fn with_entity<R>(&self, f: impl FnOnce(&mut Entity) -> R) -> R {
        f(&mut self.body.lock().entity)
    }

    /// Runs it once. Answers also its tier and the time after it.
    pub(crate) fn run(self: &Arc<Self>, before_ns: u64) -> (Ran, Tier, u64) {
        let mut body = self.body.lock();
        let tier = body.entity.tier();
        if body.entity.throttled_until(before_ns).is_some() {
            return (Ran::Throttled, tier, before_ns);
        }
        self.state.begin();
        let Some(future) = body.future.as_mut() else { return (Ran::Rests, tier, before_ns) };
        let waker = waker_ref(self);
        let mut context = Context::from_waker(&waker);
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut context));
        let polled = std::panic::catch_unwind(poll).unwrap_or_else(|_| {
            tracing::error!("An actor panicked (a bug of Solo); it is dropped");
            Poll::Ready(())
        });
        let now_ns = clock::now_ns();
        let ran_ns = now_ns.saturating_sub(before_ns);
        body.entity.charge(ran_ns, now_ns);
        self.publish(&body.entity, ran_ns);
        if polled.is_ready() {
            // Under the lock, so that nobody sees an ended actor whose parts are still there.
            body.future = None;
            drop(body);
            self.state.end();
            return (Ran::Rests, tier, now_ns);
        }
        drop(body);
        match self.state.finish() {
            Finished::Sleeps => (Ran::Rests, tier, now_ns),
            Finished::RunsAgain => (Ran::Again, tier, now_ns),
        }
    }

    fn publish(&self, entity: &Entity, ran_ns: u64) {
        // One thread at a time writes; readers may see the figure of a moment ago.
        let cpu_ns = self.cpu_ns.load(Ordering::Relaxed);
        self.cpu_ns.store(cpu_ns.wrapping_add(ran_ns), Ordering::Relaxed);
        self.quota_exceeded.store(entity.exceeded(), Ordering::Relaxed);
        self.throttled_ns.store(entity.throttled_ns(), Ordering::Relaxed);
    }

    /// A timer for `at_ns` fired: wakes, unless an earlier one did already.
    pub(crate) fn fire(self: &Arc<Self>, at_ns: u64) {
        let armed =
            self.armed_ns.compare_exchange(at_ns, UNARMED, Ordering::AcqRel, Ordering::Relaxed);
        if armed.is_ok() {
            self.wake_task();
        }
    }
}

impl ArcWake for Task {
    fn wake_by_ref(task: &Arc<Self>) {
        task.wake_task();
    }
}

impl Actor {
    /// Makes it run (again). Cheap when it is about to run anyway.
    pub fn wake(&self) {
        self.0.wake_task();
    }

    /// Wakes it, and interrupts it if it runs: it is asked to give way now.
    pub fn interrupt(&self) {
        self.0.wake_task();
        if self.0.state.is_running() {
            self.0.shared.ring(self.0.last_worker.load(Ordering::Relaxed));
        }
    }

    /// Wakes it at `deadline_ns` or before: who waits for a deadline looks at the clock when woken, and
    /// asks again. Called by the actor itself for each wait, it costs an atomic read most times: a
    /// timer that is set is left, and one that fires early is set anew.
    pub fn wake_by(&self, deadline_ns: u64, now_ns: u64) {
        let task = &self.0;
        if task.armed_ns.load(Ordering::Relaxed) <= deadline_ns {
            return;
        }
        // The largest power of two that fits: so one actor has as many timers as a number has bits,
        // whatever deadlines a guest makes up.
        let wait_ns = deadline_ns.saturating_sub(now_ns).max(TIMER_MIN_NS);
        let at_ns = if wait_ns <= 2 * TIMER_MIN_NS {
            now_ns + wait_ns
        } else {
            now_ns + (1 << wait_ns.ilog2())
        };
        task.armed_ns.store(at_ns, Ordering::Relaxed);
        task.shared.timers.add(at_ns, Arc::downgrade(task));
    }

    /// Its processor time so far.
    #[must_use]
    pub fn cpu(&self) -> CpuFigures {
        CpuFigures {
            cpu_ns: self.0.cpu_ns.load(Ordering::Relaxed),
            quota_exceeded: self.0.quota_exceeded.load(Ordering::Relaxed),
            throttled_ns: self.0.throttled_ns.load(Ordering::Relaxed),
        }
    }

    /// Whether it ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.state.is_done()
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("cpu", &self.cpu()).finish_non_exhaustive()
    }
}
