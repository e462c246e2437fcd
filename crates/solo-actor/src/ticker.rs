//! The clock thread: ticks while actors run, so that each gives way in time, and fires timers.
//!
//! It rests when nothing runs and no timer is set: an idle cell costs no wake-ups. It ends last: an
//! actor that runs while the executor stops must still be asked to give way.

use std::sync::OnceLock;
use std::thread::{self, Thread};
use std::time::Duration;

use crate::clock;
use crate::executor::Shared;
use crate::rest::Rest;

/// Time between two ticks: a slice.
const TICK: Duration = Duration::from_nanos(crate::core::SLICE_NS);

/// Ticks without a running actor until the thread rests: messages in quick succession should not
/// wake it each time.
const IDLE_TICKS_MAX: u32 = 10;

/// Drives the executor.
#[derive(Debug)]
pub(crate) struct Ticker {
    rest: Rest,
    thread: OnceLock<Thread>,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self { rest: Rest::new(), thread: OnceLock::new() }
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        // Set once, by who started it.
        let _ = self.thread.set(thread);
    }

    pub(crate) fn run(&self, shared: &Shared) {
        let mut idle_ticks = 0;
        while !shared.has_ended() {
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
        self.rest.begin();
        if !shared.any_busy() && !shared.is_stopping() {
            match shared.timers.first_ns() {
                u64::MAX => thread::park(),
                at_ns => {
                    let wait_ns = at_ns.saturating_sub(clock::now_ns());
                    thread::park_timeout(Duration::from_nanos(wait_ns));
                }
            }
        }
        self.rest.end();
    }

    /// Something runs, or there is an earlier timer.
    pub(crate) fn nudge(&self) {
        if self.rest.ends()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
