//! The loop of one thread: takes the actor that runs next, runs it, and sleeps when there is none.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::core::{NextUp, Picked, Processor, RunQueue, Tier, Turn, first, place, victim};
use crate::current::{self, Local};
use crate::executor::{Arrival, Shared};
use crate::station::Station;
use crate::sync::Ordering;
use crate::task::{Ran, Task};

/// A thread that has nothing to do looks out for work so long before it sleeps: waking one takes 20 to
/// 50 us.
const LINGER_NS: u64 = 20_000;

/// It does so only after a sleep that was shorter, that is: where work comes soon, as when one asks again
/// and again and waits for each answer. Else it would burn the processor for nothing.
const SHORT_SLEEP_NS: u64 = 3 * LINGER_NS;

/// What the loop carries along.
struct Loop<'a> {
    shared: &'a Arc<Shared>,
    local: &'a Local,
    index: usize,
    station: &'a Station<Arc<Task>>,
    processor: Processor,
    now_ns: u64,
    /// How long the last actor ran.
    last_ran_ns: u64,
    /// Of the actor that others see running here.
    running: Tier,
    /// Whether it was worth while, or would have been, to linger the last time.
    lingers: bool,
}

/// Runs actors until the executor stops.
pub(crate) fn run(shared: &Arc<Shared>, index: usize) {
    current::enter(shared, index, |local| Loop::new(shared, local, index).run_all());
}

impl<'a> Loop<'a> {
    fn new(shared: &'a Arc<Shared>, local: &'a Local, index: usize) -> Self {
        Self {
            shared,
            local,
            index,
            station: shared.station(index),
            processor: Processor::default(),
            now_ns: clock::now_ns(),
            last_ran_ns: 0,
            running: Tier::User,
            lingers: false,
        }
    }

    fn run_all(mut self) {
        while !self.shared.is_stopping() {
            match self.next() {
                Some((task, next_up)) => self.run(&task, next_up),
                None => self.sleep(),
            }
        }
        // What waits here ends; actors that sleep elsewhere go with the process. What is dropped may
        // wake others: no lock is held, and none of them comes to this thread any more.
        let next = self.local.take_next();
        self.local.leave();
        let queued = self.station.close();
        next.iter().for_each(|task| task.end());
        queued.into_iter().flat_map(RunQueue::into_actors).for_each(|task| task.end());
    }

    fn next(&mut self) -> Option<(Arc<Task>, Option<NextUp>)> {
        if let Some(task) = self.local.take_next() {
            if !self.local.slice_is_over(self.now_ns) && !self.station.doorbell.is_rung() {
                let next_up = self.next_up(&task);
                return Some((task, Some(next_up)));
            }
            // It shares the slice of who woke it, and that is used up.
            self.queue(&task, Arrival::Woken);
        }
        self.pick().map(|task| (task, None))
    }

    /// What `task` must pass to run in the slice of who woke it.
    fn next_up(&mut self, task: &Arc<Task>) -> NextUp {
        let own = self.station.head();
        let waiting = usize::from(own != u64::MAX);
        if self.processor.calls_for_help(waiting, self.now_ns, self.last_ran_ns) {
            self.shared.call_for_help(self.index);
        }
        let clock = self.shared.clock(task.tier).now();
        if task.tier != self.running {
            // So that a system-tier actor does not wait for one of the user tier that another of the
            // system tier has woken.
            self.running = task.tier;
            self.station.runs_within_slice(place(task.tier, clock));
        }
        self.processor.next_up(own, clock)
    }

    /// Takes what is furthest behind, from the own queue or another one.
    fn pick(&mut self) -> Option<Arc<Task>> {
        self.station.doorbell.hear();
        self.processor.end_slice(self.now_ns);
        self.local.begin_slice(self.now_ns);
        loop {
            let turn = self.processor.turn();
            let others = self.first_of_others();
            // When it is the user tier's turn, it is that of the own queue: others have their own.
            let from = match turn {
                Turn::Usual => victim(others, self.station.head()),
                Turn::User => None,
            };
            let given = from.and_then(|other| self.shared.station(other).give(self.now_ns));
            let pulled = given.is_some();
            match given.or_else(|| self.take_own(turn))? {
                Picked::Released { actor, since_ns } => {
                    let waited_ns = self.now_ns.saturating_sub(since_ns);
                    actor.with_entity(|entity| entity.note_throttled(waited_ns));
                    self.queue(&actor, Arrival::Woken);
                }
                Picked::Runs { actor, tier, virtual_time } => {
                    self.shared.clock(tier).advance(virtual_time);
                    let others = if pulled { self.first_of_others() } else { others };
                    self.processor.begin_slice(turn, tier, others.0);
                    self.running = tier;
                    if pulled && self.station.runs(place(tier, virtual_time)) {
                        self.shared.ring(self.index);
                    }
                    return Some(actor);
                }
            }
        }
    }

    fn first_of_others(&self) -> (u64, usize) {
        let others = (0..self.shared.workers.len()).filter(|other| *other != self.index);
        first(others.map(|other| (self.shared.station(other).head(), other)))
    }

    fn take_own(&mut self, turn: Turn) -> Option<Picked<Arc<Task>>> {
        let (picked, waiting) = self.station.take(turn, self.now_ns);
        if self.processor.calls_for_help(waiting, self.now_ns, self.last_ran_ns) {
            self.shared.call_for_help(self.index);
        }
        picked
    }

    fn run(&mut self, task: &Arc<Task>, next_up: Option<NextUp>) {
        self.local.set_now(self.now_ns);
        task.last_worker.store(self.index, Ordering::Relaxed);
        let before_ns = self.now_ns;
        let (ran, now_ns) = task.run(next_up, before_ns);
        self.now_ns = now_ns;
        self.last_ran_ns = now_ns.saturating_sub(before_ns);
        match ran {
            Ran::Rests => {}
            Ran::Again | Ran::NotYet => self.queue(task, Arrival::RanOn),
        }
    }

    fn queue(&self, task: &Arc<Task>, arrival: Arrival) {
        // The thread has not ended: it is this one.
        let _ = self.shared.queue(task, self.index, arrival, self.now_ns);
    }

    fn sleep(&mut self) {
        let shared = self.shared;
        let me = &shared.workers[self.index];
        self.station.rest();
        self.processor.rest();
        shared.sleepers.enter(self.index);
        let stays = self.has_work() || (self.lingers && self.linger());
        if !stays {
            let began_ns = clock::now_ns();
            let release_ns = self.station.next_release_ns();
            me.busy.store(false, Ordering::Release);
            match release_ns.map(|at_ns| at_ns.saturating_sub(clock::now_ns())) {
                None => thread::park(),
                Some(0) => {}
                Some(wait_ns) => thread::park_timeout(Duration::from_nanos(wait_ns)),
            }
            me.busy.store(true, Ordering::Relaxed);
            shared.ticker.nudge();
            self.lingers = clock::now_ns().saturating_sub(began_ns) < SHORT_SLEEP_NS;
        }
        shared.sleepers.leave(self.index);
        self.now_ns = clock::now_ns();
        self.local.set_now(self.now_ns);
    }

    /// There is something to do, or the executor stops.
    fn has_work(&self) -> bool {
        let mut workers = self.shared.workers.iter();
        workers.any(|worker| worker.station.head() != u64::MAX) || self.shared.is_stopping()
    }

    /// Looks out for work, as one that sleeps already: who wakes it then does not call the system. False:
    /// none came, or another thread does that.
    fn linger(&self) -> bool {
        let Some(_lookout) = self.shared.sleepers.look_out(self.index) else { return false };
        let until_ns = clock::now_ns() + LINGER_NS;
        loop {
            if self.has_work() {
                return true;
            }
            if clock::now_ns() >= until_ns {
                return false;
            }
            // Others may need the processor more.
            thread::yield_now();
        }
    }
}
