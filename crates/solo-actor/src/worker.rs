//! The loop of one thread: takes the actor that runs next, runs it, and sleeps when there is none.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::core::{PULL_MARGIN, Pick, Tier};
use crate::current;
use crate::executor::Shared;
use crate::sync::Ordering;
use crate::task::{Ran, Task};

/// Work may wait so long behind others before a thread that sleeps is woken for it: waking one takes
/// 20 to 50 us, and actors that talk are better off together.
const BACKLOG_NS: u64 = 50_000;

/// With so many actors waiting a sleeping thread is woken at once.
const BACKLOG_MAX: usize = 3;

/// What the loop carries along.
struct Loop<'a> {
    shared: &'a Arc<Shared>,
    index: usize,
    now_ns: u64,
    /// Ran since the last pick, by tier.
    ran_ns: [u64; 2],
    /// How long the last actor ran.
    last_ran_ns: u64,
    /// Since when something waits here.
    backlog_since_ns: Option<u64>,
}

/// Runs actors until the executor stops.
pub(crate) fn run(shared: &Arc<Shared>, index: usize) {
    current::begin(shared, index);
    let mut state = Loop {
        shared,
        index,
        now_ns: clock::now_ns(),
        ran_ns: [0; 2],
        last_ran_ns: 0,
        backlog_since_ns: None,
    };
    while !shared.stopping.load(Ordering::Relaxed) {
        match state.next() {
            Some(task) => state.run(&task),
            None => state.sleep(),
        }
    }
    // What waits here is dropped; actors that sleep elsewhere go with the process.
    drop(current::take_next());
    drop(std::mem::take(&mut *shared.workers[index].queue.lock()));
}

impl Loop<'_> {
    fn next(&mut self) -> Option<Arc<Task>> {
        let over = current::slice_is_over(self.now_ns) || self.shared.is_rung(self.index);
        if let Some(task) = current::take_next() {
            if !over {
                return Some(task);
            }
            // It shares the slice of who woke it, and that is used up.
            self.shared.queue_here(&task, self.index, true);
        }
        self.pick()
    }

    /// Takes what is furthest behind, from the own queue or another one.
    fn pick(&mut self) -> Option<Arc<Task>> {
        self.shared.heard(self.index);
        current::begin_slice(self.now_ns);
        let own = self.shared.workers[self.index].head.load(Ordering::Relaxed);
        let others = (0..self.shared.workers.len()).filter(|other| *other != self.index);
        let richest = others
            .map(|other| (self.shared.workers[other].head.load(Ordering::Relaxed), other))
            .min()
            .filter(|(head, _)| head.saturating_add(PULL_MARGIN / 2) < own);
        let mut picked = None;
        if let Some((_, other)) = richest {
            picked = self.take_from(other);
        }
        let Pick { actor, tier, virtual_time, throttled_since_ns } =
            picked.or_else(|| self.take_from(self.index))?;
        let mut virtual_time = virtual_time;
        if let Some(since_ns) = throttled_since_ns {
            virtual_time = actor.with_entity(|entity| {
                entity.note_throttled(self.now_ns.saturating_sub(since_ns));
                entity.wake(self.shared.clock(tier));
                entity.virtual_time()
            });
        }
        self.shared.advance(tier, virtual_time);
        let running = crate::core::head_of(tier, virtual_time);
        self.shared.workers[self.index].running.store(running, Ordering::Relaxed);
        Some(actor)
    }

    fn take_from(&mut self, worker: usize) -> Option<Pick<Arc<Task>>> {
        let victim = &self.shared.workers[worker];
        let mut queue = victim.queue.lock();
        if worker == self.index {
            for (tier, ran_ns) in [Tier::System, Tier::User].into_iter().zip(&mut self.ran_ns) {
                if *ran_ns > 0 {
                    queue.ran(tier, std::mem::take(ran_ns));
                }
            }
        }
        let picked = queue.pick(self.now_ns);
        victim.head.store(queue.head(), Ordering::Relaxed);
        let waiting = queue.len();
        drop(queue);
        if worker == self.index {
            self.watch_backlog(waiting);
        }
        picked
    }

    /// Calls for help when work piles up behind the actor that runs now.
    fn watch_backlog(&mut self, waiting: usize) {
        if waiting == 0 {
            self.backlog_since_ns = None;
            return;
        }
        let since_ns = *self.backlog_since_ns.get_or_insert(self.now_ns);
        let waited_ns = self.now_ns.saturating_sub(since_ns).max(self.last_ran_ns);
        if waiting >= BACKLOG_MAX || waited_ns >= BACKLOG_NS {
            self.shared.call_for_help(self.index);
        }
    }

    fn run(&mut self, task: &Arc<Task>) {
        current::set_now(self.now_ns);
        task.last_worker.store(self.index, Ordering::Relaxed);
        let before_ns = self.now_ns;
        let (ran, tier, now_ns) = task.run(before_ns);
        self.now_ns = now_ns;
        self.last_ran_ns = now_ns.saturating_sub(before_ns);
        self.ran_ns[tier as usize] += self.last_ran_ns;
        match ran {
            Ran::Rests => {}
            Ran::Again | Ran::Throttled => self.shared.queue_here(task, self.index, false),
        }
    }

    fn sleep(&mut self) {
        let shared = self.shared;
        let me = &shared.workers[self.index];
        me.running.store(u64::MAX, Ordering::Relaxed);
        self.backlog_since_ns = None;
        shared.sleepers.enter(self.index);
        let has_work = shared.workers.iter().any(|w| w.head.load(Ordering::Relaxed) != u64::MAX);
        if !has_work && !shared.stopping.load(Ordering::SeqCst) {
            let release_ns = me.queue.lock().next_release_ns();
            me.busy.store(false, Ordering::SeqCst);
            match release_ns.map(|at_ns| at_ns.saturating_sub(clock::now_ns())) {
                None => thread::park(),
                Some(0) => {}
                Some(wait_ns) => thread::park_timeout(Duration::from_nanos(wait_ns)),
            }
            me.busy.store(true, Ordering::SeqCst);
            shared.ticker.nudge();
        }
        shared.sleepers.leave(self.index);
        self.now_ns = clock::now_ns();
        current::set_now(self.now_ns);
    }
}
