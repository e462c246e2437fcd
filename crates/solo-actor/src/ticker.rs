//! The clock thread: ticks while actors run, so that each gives way in time, and fires timers.
//!
//! It rests when nothing runs and no timer is set: an idle cell costs no wake-ups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::clock;
use crate::executor::Shared;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::task::Task;

/// Time between two ticks: a slice.
const TICK: Duration = Duration::from_nanos(crate::core::SLICE_NS);

/// Ticks without a running actor until the thread rests: messages in quick succession should not
/// wake it each time.
const IDLE_TICKS_MAX: u32 = 10;

/// Drives the executor.
#[derive(Debug)]
pub(crate) struct Ticker {
    resting: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Timers of all actors.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
    /// When the first one fires; `u64::MAX`: there is none.
    first_ns: AtomicU64,
}

#[derive(Debug)]
struct Timer {
    at_ns: u64,
    task: Weak<Task>,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self { resting: AtomicBool::new(false), thread: OnceLock::new() }
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        // Set once, by who started it.
        let _ = self.thread.set(thread);
    }

    pub(crate) fn run(&self, shared: &Shared) {
        let mut idle_ticks = 0;
        while !shared.stopping.load(Ordering::Relaxed) {
            shared.timers.fire(clock::now_ns());
            if shared.any_busy() {
                idle_ticks = 0;
            } else if idle_ticks < IDLE_TICKS_MAX {
                idle_ticks += 1;
            } else {
                idle_ticks = 0;
                self.rest(shared);
                continue;
            }
            thread::sleep(TICK);
            shared.tick();
        }
    }

    /// Sleeps until an actor runs or a timer fires.
    fn rest(&self, shared: &Shared) {
        self.resting.store(true, Ordering::SeqCst);
        // Who came in before this was seen does not unpark: look once more.
        if !shared.any_busy() && !shared.stopping.load(Ordering::SeqCst) {
            match shared.timers.first_ns.load(Ordering::SeqCst) {
                u64::MAX => thread::park(),
                at_ns => {
                    let wait_ns = at_ns.saturating_sub(clock::now_ns());
                    thread::park_timeout(Duration::from_nanos(wait_ns));
                }
            }
        }
        self.resting.store(false, Ordering::SeqCst);
    }

    /// Something runs, or there is an earlier timer.
    pub(crate) fn nudge(&self) {
        if self.resting.load(Ordering::SeqCst)
            && self.resting.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { heap: Mutex::new(BinaryHeap::new()), first_ns: AtomicU64::new(u64::MAX) }
    }
}

impl Timers {
    /// Called by actors that run, so that the clock thread does not rest for long: it needs no nudge.
    pub(crate) fn add(&self, at_ns: u64, task: Weak<Task>) {
        let mut heap = self.heap.lock();
        heap.push(Reverse(Timer { at_ns, task }));
        self.first_ns.fetch_min(at_ns, Ordering::SeqCst);
    }

    fn fire(&self, now_ns: u64) {
        while self.first_ns.load(Ordering::SeqCst) <= now_ns {
            let due = {
                let mut heap = self.heap.lock();
                let due = heap.pop();
                let first = heap.peek().map_or(u64::MAX, |Reverse(timer)| timer.at_ns);
                self.first_ns.store(first, Ordering::SeqCst);
                due
            };
            let Some(Reverse(Timer { at_ns, task })) = due else { return };
            if let Some(task) = task.upgrade() {
                task.fire(at_ns);
            }
        }
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at_ns == other.at_ns
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ns.cmp(&other.at_ns)
    }
}
