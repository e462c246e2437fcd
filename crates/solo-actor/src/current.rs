//! What a thread of the executor knows of itself: read by the actor that runs on it.

use std::cell::Cell;
use std::sync::Arc;

use crate::clock;
use crate::core::SLICE_NS;
use crate::executor::Shared;
use crate::task::Task;

struct Local {
    /// Address of the executor; 0 on other threads.
    owner: Cell<usize>,
    worker: Cell<usize>,
    /// Woken last by an actor of this thread: runs next, on this thread.
    run_next: Cell<Option<Arc<Task>>>,
    slice_began_ns: Cell<u64>,
    now_ns: Cell<u64>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            owner: Cell::new(0),
            worker: Cell::new(0),
            run_next: Cell::new(None),
            slice_began_ns: Cell::new(0),
            now_ns: Cell::new(0),
        }
    };
}

/// Where an actor that was woken went.
pub(crate) enum Offered {
    /// It runs next on this thread.
    RunsNext,
    /// It runs next; this one was to and must be queued here.
    Displaced(Arc<Task>, usize),
    /// This is no thread of the executor.
    Elsewhere(Arc<Task>),
}

/// When the running actor was resumed: at most a slice ago. On other threads, now.
#[must_use]
pub fn now_ns() -> u64 {
    let now_ns = LOCAL.with(|local| local.now_ns.get());
    if now_ns == 0 { clock::now_ns() } else { now_ns }
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
        if shared.is_rung(worker) {
            return true;
        }
        if clock::now_ns().saturating_sub(local.slice_began_ns.get()) >= SLICE_NS {
            return true;
        }
        false
    })
}

pub(crate) fn begin(shared: &Arc<Shared>, worker: usize) {
    LOCAL.with(|local| {
        local.owner.set(address(shared));
        local.worker.set(worker);
    });
}

pub(crate) fn offer(shared: &Arc<Shared>, task: Arc<Task>) -> Offered {
    LOCAL.with(|local| {
        if local.owner.get() != address(shared) {
            return Offered::Elsewhere(task);
        }
        match local.run_next.replace(Some(task)) {
            None => Offered::RunsNext,
            Some(displaced) => Offered::Displaced(displaced, local.worker.get()),
        }
    })
}

pub(crate) fn take_next() -> Option<Arc<Task>> {
    LOCAL.with(|local| local.run_next.take())
}

pub(crate) fn set_now(now_ns: u64) {
    LOCAL.with(|local| local.now_ns.set(now_ns));
}

pub(crate) fn begin_slice(now_ns: u64) {
    LOCAL.with(|local| local.slice_began_ns.set(now_ns));
}

pub(crate) fn slice_is_over(now_ns: u64) -> bool {
    LOCAL.with(|local| now_ns.saturating_sub(local.slice_began_ns.get()) >= SLICE_NS)
}

fn address(shared: &Arc<Shared>) -> usize {
    Arc::as_ptr(shared).addr()
}
