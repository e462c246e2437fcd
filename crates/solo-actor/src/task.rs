//! One actor: its future, its account with the scheduler, and the handle that wakes it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, waker_ref};

use crate::clock;
use crate::core::{Entity, NextUp, Tier};
use crate::current;
use crate::executor::Shared;
use crate::state::{Finished, TaskState};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timers::{Level, TimerLevels};

/// An actor as the executor keeps it.
pub(crate) struct Task {
    state: TaskState,
    pub(crate) tier: Tier,
    /// Its quota may keep it from running.
    is_limited: bool,
    /// It was interrupted: its quota must not keep it from running this once.
    excused: AtomicBool,
    /// Locked while it runs and while it is queued, by one thread each time.
    body: Mutex<Body>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) last_worker: AtomicUsize,
    cpu_ns: AtomicU64,
    quota_exceeded: AtomicU64,
    throttled_ns: AtomicU64,
    timers: TimerLevels,
}

struct Body {
    /// `None`: it ended.
    future: Option<Life>,
    entity: Entity,
}

type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It sleeps or has ended.
    Rests,
    /// Schedule it again.
    Again,
    /// It did not run, because its quota is used up or others go before it. Queue it.
    NotYet,
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
    pub(crate) fn new(shared: Arc<Shared>, entity: Entity, future: Life) -> Arc<Self> {
        Arc::new(Self {
            state: TaskState::new(),
            tier: entity.tier(),
            is_limited: entity.is_limited(),
            excused: AtomicBool::new(false),
            body: Mutex::new(Body { future: Some(future), entity }),
            shared,
            last_worker: AtomicUsize::new(0),
            cpu_ns: AtomicU64::new(0),
            quota_exceeded: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            timers: TimerLevels::new(),
        })
    }

    /// True: the caller must queue it. Only the first one is told.
    pub(crate) fn start(&self) -> bool {
        self.state.start()
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

    /// Runs it once. `next_up`: it was woken by who ran before, and runs in that one's slice. Answers
    /// also the time after it.
    pub(crate) fn run(self: &Arc<Self>, next_up: Option<NextUp>, before_ns: u64) -> (Ran, u64) {
        let mut body = self.body.lock();
        let admitted = next_up.is_none_or(|next_up| next_up.admits(&mut body.entity));
        if !admitted || body.entity.throttled_until(before_ns).is_some() {
            return (Ran::NotYet, before_ns);
        }
        self.state.begin();
        let Some(future) = body.future.as_mut() else {
            self.state.end();
            return (Ran::Rests, before_ns);
        };
        let waker = waker_ref(self);
        let mut context = Context::from_waker(&waker);
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut context));
        let polled = std::panic::catch_unwind(poll).unwrap_or_else(|_| {
            tracing::error!("An actor panicked (a bug of Solo); it is dropped");
            Poll::Ready(())
        });
        let now_ns = clock::now_ns();
        let handed_ns = current::handed_over_ns();
        let ran_ns = now_ns.saturating_sub(before_ns).saturating_sub(handed_ns);
        body.entity.charge(ran_ns, now_ns);
        if handed_ns > 0 {
            body.entity.charge_for_others(handed_ns);
        }
        self.publish(&body.entity, ran_ns);
        if polled.is_ready() {
            drop(body);
            self.end();
            return (Ran::Rests, now_ns);
        }
        drop(body);
        match self.state.finish() {
            Finished::Sleeps => (Ran::Rests, now_ns),
            Finished::RunsAgain => (Ran::Again, now_ns),
        }
    }

    /// Drops its future, and only then calls it ended, so that nobody sees an ended actor whose parts
    /// are still there. Only for whoever runs it or took it from a queue.
    pub(crate) fn end(&self) {
        let future = self.body.lock().future.take();
        // Without the lock: what is dropped may wake others.
        if std::panic::catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            tracing::error!("A part of an actor panicked when it was dropped (a bug of Solo)");
        }
        self.state.end();
        let timers = self.timers.set();
        if timers > 0 {
            self.shared.timers.forget(timers);
        }
    }

    /// Whether it was interrupted while its quota may keep it from running; once.
    pub(crate) fn take_excuse(&self) -> bool {
        self.is_excused() && self.excused.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_excused(&self) -> bool {
        self.is_limited && self.excused.load(Ordering::Relaxed)
    }

    fn publish(&self, entity: &Entity, ran_ns: u64) {
        // One thread at a time writes; readers may see the figure of a moment ago.
        let cpu_ns = self.cpu_ns.load(Ordering::Relaxed);
        self.cpu_ns.store(cpu_ns.wrapping_add(ran_ns), Ordering::Relaxed);
        self.quota_exceeded.store(entity.exceeded(), Ordering::Relaxed);
        self.throttled_ns.store(entity.throttled_ns(), Ordering::Relaxed);
    }

    /// Its timer of this level fired.
    pub(crate) fn fire(self: &Arc<Self>, level: Level) {
        self.timers.fired(level);
        self.wake_task();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.is_done()
    }
}

impl ArcWake for Task {
    fn wake_by_ref(task: &Arc<Self>) {
        task.wake_task();
    }
}

impl Actor {
    /// Where it lies in memory: for hints to the processor.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Makes it run (again). Cheap when it is about to run anyway.
    pub fn wake(&self) {
        self.0.wake_task();
    }

    /// Wakes it, and interrupts it if it runs: it is asked to give way now. One that waits for its
    /// quota runs once nevertheless, so that whoever is to end can be made to.
    pub fn interrupt(&self) {
        let task = &self.0;
        if task.is_limited {
            task.excused.store(true, Ordering::Relaxed);
        }
        task.wake_task();
        if task.state.is_running() {
            task.shared.ring(task.last_worker.load(Ordering::Relaxed));
        } else if task.is_limited {
            task.shared.release(task);
        }
    }

    /// Wakes it at `deadline_ns`, about a millisecond later, or before: who waits for a deadline looks
    /// at the clock when woken, and asks again. Called by the actor itself for each wait, it costs an
    /// atomic read most times: a timer that is set is left.
    pub fn wake_by(&self, deadline_ns: u64, now_ns: u64) {
        let task = &self.0;
        if let Some(level) = task.timers.arm(deadline_ns.saturating_sub(now_ns)) {
            task.shared.timers.add(now_ns, level, Arc::downgrade(task));
            task.shared.ticker.nudge();
        }
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
        self.0.is_done()
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("cpu", &self.cpu()).finish_non_exhaustive()
    }
}
