//! Whether an actor sleeps, waits for a thread or runs: one atomic, so that no wake-up is lost.

use crate::sync::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const SCHEDULED: u8 = 1;
const RUNNING: u8 = 2;
/// Runs, and was woken meanwhile.
const NOTIFIED: u8 = 3;
const DONE: u8 = 4;
/// Was not started yet.
const PREPARED: u8 = 5;

/// The state.
#[derive(Debug)]
pub struct TaskState(AtomicU8);

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It sleeps until it is woken.
    Sleeps,
    /// It was woken while it ran: schedule it again.
    RunsAgain,
}

impl TaskState {
    /// Of an actor that was not started. It is not to be woken before [`start`](Self::start).
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's atomics have no const constructor")]
    pub fn new() -> Self {
        Self(AtomicU8::new(PREPARED))
    }

    /// Starts. True: the caller must schedule it; it is the only one who is told.
    pub fn start(&self) -> bool {
        let started =
            self.0.compare_exchange(PREPARED, SCHEDULED, Ordering::AcqRel, Ordering::Relaxed);
        started.is_ok()
    }

    /// Wakes. True: the caller must schedule it; it is the only one who is told.
    pub fn wake(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            let next = match state {
                IDLE => SCHEDULED,
                RUNNING => NOTIFIED,
                // It will run in any case, and will see what this wake-up is for: each exchange up to
                // that of `begin` reads the one before it, and so synchronises with it.
                SCHEDULED | NOTIFIED | PREPARED => state,
                _ => return false,
            };
            match self.0.compare_exchange(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return state == IDLE,
                Err(now) => state = now,
            }
        }
    }

    /// A thread took it and runs it now.
    pub fn begin(&self) {
        self.0.swap(RUNNING, Ordering::AcqRel);
    }

    /// It gave way.
    pub fn finish(&self) -> Finished {
        match self.0.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Finished::Sleeps,
            Err(_) => {
                // An exchange, no store: that would hide from the next run what was done by whoever
                // woke it since.
                self.0.swap(SCHEDULED, Ordering::AcqRel);
                Finished::RunsAgain
            }
        }
    }

    /// It ended.
    pub fn end(&self) {
        self.0.swap(DONE, Ordering::AcqRel);
    }

    /// Whether a thread runs it at the moment.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), RUNNING | NOTIFIED)
    }

    /// Whether it ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }
}
