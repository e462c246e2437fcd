//! Timers: the deadlines for which actors wait.
//!
//! An actor that waits says each time when it must be woken at the latest. Setting and cancelling a
//! timer each time would cost more than the message that it waits for; so a timer that is set is left,
//! it may wake too early, and whoever it wakes looks at the clock and asks again. An actor has at most
//! one timer for each power of two of the time to wait, whatever deadlines a guest makes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Weak;

use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::task::Task;

/// Logarithm of the shortest time that a timer waits, about a millisecond: the clock thread's
/// resolution.
const LEVEL_MIN: u32 = 20;

/// Timers of ended actors are removed when there are so many, and as many as others: looking through
/// all of them costs a microsecond for each dozen.
const STALE_MAX: usize = 1_024;

/// Timers of all actors.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
    /// When the first one fires; `u64::MAX`: there is none.
    first_ns: AtomicU64,
    /// About so many are of ended actors.
    stale: AtomicUsize,
}

#[derive(Debug)]
struct Timer {
    at_ns: u64,
    level: Level,
    task: Weak<Task>,
}

/// Which timers an actor has set: one bit for each level.
#[derive(Debug)]
pub struct TimerLevels(AtomicU64);

/// A time to wait: two to the power of this, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u32);

impl TimerLevels {
    /// None is set.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's atomics have no const constructor")]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The actor, while it runs, wants to be woken within `wait_ns`. `None`: a timer that is set will do
    /// that. Otherwise the caller has to set one of this level, which fires in time or too early.
    pub fn arm(&self, wait_ns: u64) -> Option<Level> {
        let level = wait_ns.max(1 << LEVEL_MIN).ilog2();
        // One of this level was set before now, so that it fires earlier than one that is set now.
        // Relaxed: whoever clears a bit wakes the actor after that. If that was before this run, the
        // run has synchronised with the wake-up and sees it; if not, the actor runs again.
        let soon_enough = u64::MAX >> (63 - level);
        if self.0.load(Ordering::Relaxed) & soon_enough != 0 {
            return None;
        }
        let before = self.0.fetch_or(1 << level, Ordering::AcqRel);
        (before & (1 << level) == 0).then_some(Level(level))
    }

    /// The timer of `level` fired. Wake the actor after this.
    pub fn fired(&self, Level(level): Level) {
        self.0.fetch_and(!(1 << level), Ordering::AcqRel);
    }

    /// How many are set.
    #[must_use]
    pub fn set(&self) -> usize {
        self.0.load(Ordering::Relaxed).count_ones() as usize
    }
}

impl Level {
    /// How long its timer waits.
    #[must_use]
    pub fn wait_ns(self) -> u64 {
        1 << self.0
    }
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            heap: Mutex::new(BinaryHeap::new()),
            first_ns: AtomicU64::new(u64::MAX),
            stale: AtomicUsize::new(0),
        }
    }

    /// Sets one that fires `level` after `now_ns`.
    pub(crate) fn add(&self, now_ns: u64, level: Level, task: Weak<Task>) {
        let at_ns = now_ns.saturating_add(level.wait_ns());
        let mut heap = self.heap.lock();
        heap.push(Reverse(Timer { at_ns, level, task }));
        self.first_ns.fetch_min(at_ns, Ordering::Relaxed);
    }

    /// An actor ended that has set so many.
    pub(crate) fn forget(&self, timers: usize) {
        self.stale.fetch_add(timers, Ordering::Relaxed);
    }

    /// When the first one fires; `u64::MAX`: there is none.
    pub(crate) fn first_ns(&self) -> u64 {
        self.first_ns.load(Ordering::Relaxed)
    }

    /// Fires what is due. Called by the clock thread alone.
    pub(crate) fn fire(&self, now_ns: u64) {
        while self.first_ns() <= now_ns {
            let due = {
                let mut heap = self.heap.lock();
                let due = heap.pop();
                self.note_first(&heap);
                due
            };
            let Some(Reverse(Timer { level, task, .. })) = due else { return };
            if let Some(task) = task.upgrade() {
                task.fire(level);
            }
        }
        let stale = self.stale.load(Ordering::Relaxed);
        if stale >= STALE_MAX && stale >= self.heap.lock().len() / 2 {
            self.pack();
        }
    }

    /// Removes timers of ended actors. An actor that is dropped here may set timers on others: so none
    /// is looked at under the lock, and a timer that falls due meanwhile fires a little later.
    fn pack(&self) {
        self.stale.store(0, Ordering::Relaxed);
        let mut all = std::mem::take(&mut *self.heap.lock());
        all.retain(|Reverse(timer)| timer.task.upgrade().is_some_and(|task| !task.is_done()));
        let mut heap = self.heap.lock();
        heap.append(&mut all);
        self.note_first(&heap);
    }

    fn note_first(&self, heap: &BinaryHeap<Reverse<Timer>>) {
        let first_ns = heap.peek().map_or(u64::MAX, |Reverse(timer)| timer.at_ns);
        self.first_ns.store(first_ns, Ordering::Relaxed);
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

// Loom's locks work in its models only.
#[cfg(not(feature = "loom"))]
#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::core::{Tier, Weight};
    use crate::{Actor, Executor, ExecutorOptions, clock};

    proptest! {
        /// Each wait ends in time, and the timers of one actor are few whatever it waits for.
        #[test]
        fn a_timer_is_set_in_time_and_they_are_few(
            waits in prop::collection::vec((any::<u64>(), 0..64_u32, any::<u32>()), 1..200),
        ) {
            let levels = TimerLevels::new();
            let mut set: Vec<(u64, Level)> = Vec::new();
            let mut now_ns = 0_u64;
            for (wait_ns, shift, pause_ns) in waits {
                let wait_ns = wait_ns >> shift;
                if let Some(level) = levels.arm(wait_ns) {
                    set.push((now_ns.saturating_add(level.wait_ns()), level));
                }
                let first_ns = set.iter().map(|(at_ns, _)| *at_ns).min().unwrap_or(u64::MAX);
                prop_assert!(first_ns <= now_ns.saturating_add(wait_ns.max(1 << LEVEL_MIN)));
                prop_assert!(set.len() <= 44 && set.len() == levels.set());
                now_ns = now_ns.saturating_add(u64::from(pause_ns));
                set.retain(|(at_ns, level)| {
                    if *at_ns <= now_ns {
                        levels.fired(*level);
                    }
                    *at_ns > now_ns
                });
            }
        }
    }

    #[test]
    fn timers_of_ended_actors_do_not_pile_up() {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let options =
            ExecutorOptions { threads: 2, bell: Arc::new(|| {}), around: Arc::new(|run| run()) };
        let executor = Executor::start(options).expect("threads");
        let handle = executor.handle();
        for _ in 0..10 * STALE_MAX {
            let own: Arc<OnceLock<Actor>> = Arc::default();
            let life = {
                let own = Arc::clone(&own);
                async move {
                    let now_ns = clock::now_ns();
                    let actor = own.get().expect("set before");
                    actor.wake_by(now_ns + HOUR_NS, now_ns);
                    actor.wake_by(now_ns + HOUR_NS / 3, now_ns);
                }
            };
            let actor = handle.prepare(Weight::default(), Tier::User, None, life);
            own.set(actor.clone()).expect("once");
            handle.begin(&actor);
        }
        let until = Instant::now() + Duration::from_secs(60);
        let timers = || handle.shared().timers.heap.lock().len();
        while timers() >= 3 * STALE_MAX {
            assert!(Instant::now() < until, "{} timers are left", timers());
            std::thread::sleep(Duration::from_millis(1));
        }
        executor.stop();
    }
}
