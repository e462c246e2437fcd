//! What a thread of the executor knows of itself: read by the actor that runs on it.

use std::cell::Cell;
use std::sync::Arc;

use crate::clock;
use crate::core::SLICE_NS;
use crate::executor::{Arrival, Shared};
use crate::sync::Ordering;
use crate::task::{Ran, Task};

/// Actors that may run within one another: each takes some kilobytes of the stack below it.
const HAND_OVERS_MAX: usize = 4;

/// Of the thread that runs.
pub(crate) struct Local {
    /// Address of the executor; 0 on other threads.
    owner: Cell<usize>,
    worker: Cell<usize>,
    /// Woken last by an actor of this thread: runs next, on this thread.
    run_next: Cell<Option<Arc<Task>>>,
    slice_began_ns: Cell<u64>,
    now_ns: Cell<u64>,
    /// Actors that run within one another here, by hand-overs.
    depth: Cell<usize>,
    /// Time that the running actor had others run.
    handed_over_ns: Cell<u64>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            owner: Cell::new(0),
            worker: Cell::new(0),
            run_next: Cell::new(None),
            slice_began_ns: Cell::new(0),
            now_ns: Cell::new(0),
            depth: Cell::new(0),
            handed_over_ns: Cell::new(0),
        }
    };
}

/// Where an actor that was woken went.
pub(crate) enum Offered {
    /// It runs next on this thread.
    RunsNext,
    /// It or the one that was to run next, and this one must be queued here.
    Displaced(Arc<Task>, usize),
    /// This is no thread of the executor.
    Elsewhere(Arc<Task>),
}

/// When the running actor was resumed: at most a slice ago. On other threads, now.
#[must_use]
pub fn now_ns() -> u64 {
    match LOCAL.try_with(|local| local.now_ns.get()) {
        Ok(now_ns) if now_ns > 0 => now_ns,
        _ => clock::now_ns(),
    }
}

/// Whether the running actor should give way: its slice is used up, or the doorbell was rung. To be
/// asked at each tick, outside of the executor's own locks.
#[must_use]
pub fn should_yield(shared: &crate::Handle) -> bool {
    let shared = shared.shared();
    LOCAL.with(|local| {
        if local.owner.get() != address(shared) {
            return false;
        }
        let worker = local.worker.get();
        shared.is_rung(worker) || local.slice_is_over(clock::now_ns())
    })
}

/// Runs `callee` here and now, within `caller`, which is the running actor and has just woken it: so a
/// caller that waits for nothing else need not give way. Does nothing unless it is what this thread
/// would run next, within the slice that is used. The caller looks for what it waits for afterwards,
/// as it would after any wake-up.
pub fn hand_over(caller: &crate::Actor, callee: &crate::Actor) {
    let (caller, callee) = (&caller.0, &callee.0);
    let shared = &callee.shared;
    // A tier of its own would have to be shown to those who look whom they can interrupt.
    if caller.tier != callee.tier {
        return;
    }
    LOCAL.with(|local| {
        if local.owner.get() != address(shared) || local.depth.get() >= HAND_OVERS_MAX {
            return;
        }
        let before_ns = clock::now_ns();
        let worker = local.worker.get();
        if shared.is_rung(worker) || local.slice_is_over(before_ns) {
            return;
        }
        let Some(task) = local.run_next.take() else { return };
        if !Arc::ptr_eq(&task, callee) {
            return local.run_next.set(Some(task));
        }
        local.depth.set(local.depth.get() + 1);
        let handed_before_ns = local.handed_over_ns.replace(0);
        local.now_ns.set(before_ns);
        task.last_worker.store(worker, Ordering::Relaxed);
        let (ran, now_ns) = task.run(None, before_ns);
        local.now_ns.set(now_ns);
        local.handed_over_ns.set(handed_before_ns + now_ns.saturating_sub(before_ns));
        local.depth.set(local.depth.get() - 1);
        if ran != Ran::Rests {
            // The thread has not ended: it is this one.
            let _ = shared.queue(&task, worker, Arrival::RanOn, now_ns);
        }
    });
}

/// Time that the running actor had others run; once.
pub(crate) fn handed_over_ns() -> u64 {
    LOCAL.with(|local| local.handed_over_ns.take())
}

/// Runs `f` as thread `worker` of the executor.
pub(crate) fn enter<R>(shared: &Arc<Shared>, worker: usize, f: impl FnOnce(&Local) -> R) -> R {
    LOCAL.with(|local| {
        local.owner.set(address(shared));
        local.worker.set(worker);
        f(local)
    })
}

/// Makes an actor that was woken run next on this thread, if it is one of the executor.
pub(crate) fn offer(shared: &Arc<Shared>, task: Arc<Task>) -> Offered {
    let mut task = Some(task);
    // Not there on a thread that ends and wakes by what it drops.
    let offered = LOCAL.try_with(|local| {
        let here = local.owner.get() == address(shared);
        task.take_if(|_| here).map(|task| local.offer(task))
    });
    match (offered, task) {
        (_, Some(task)) => Offered::Elsewhere(task),
        (offered, None) => offered.ok().flatten().unwrap_or(Offered::RunsNext),
    }
}

impl Local {
    fn offer(&self, task: Arc<Task>) -> Offered {
        let (next, displaced) = match self.run_next.take() {
            None => (task, None),
            // The one that was woken last, for it finds most in the cache; but never before a higher
            // tier.
            Some(waiting) if waiting.tier < task.tier => (waiting, Some(task)),
            Some(waiting) => (task, Some(waiting)),
        };
        self.run_next.set(Some(next));
        displaced.map_or(Offered::RunsNext, |task| Offered::Displaced(task, self.worker.get()))
    }

    pub(crate) fn take_next(&self) -> Option<Arc<Task>> {
        self.run_next.take()
    }

    pub(crate) fn set_now(&self, now_ns: u64) {
        self.now_ns.set(now_ns);
    }

    pub(crate) fn begin_slice(&self, now_ns: u64) {
        self.slice_began_ns.set(now_ns);
    }

    pub(crate) fn slice_is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.slice_began_ns.get()) >= SLICE_NS
    }

    /// This is no thread of an executor any more.
    pub(crate) fn leave(&self) {
        self.owner.set(0);
        self.now_ns.set(0);
    }
}

fn address(shared: &Arc<Shared>) -> usize {
    Arc::as_ptr(shared).addr()
}
