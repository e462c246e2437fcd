//! The executor: its threads' shared state, and where an actor that was woken is placed.
//!
//! An actor woken by one of the threads runs next on that thread, so that callers and callees share a
//! cache and no thread is woken. One woken from outside goes to a thread that sleeps, or else rings
//! the bell of the thread whose running actor can best wait.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use crate::core::{Entity, Quota, Tier, Weight, deserves_ring, target};
use crate::current::{self, Offered};
use crate::sleepers::Sleepers;
use crate::station::Station;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use crate::task::{Actor, Task};
use crate::ticker::Ticker;
use crate::timers::Timers;
use crate::virtual_clock::VirtualClock;
use crate::worker;

/// Runs on a thread of the executor around its whole loop.
pub type Around = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// How to run.
#[derive(Clone)]
pub struct ExecutorOptions {
    /// Threads that run actors; at least one.
    pub threads: usize,
    /// Makes each running actor ask [`current::should_yield`] soon. Called from any thread, and every
    /// millisecond while actors run.
    pub bell: Arc<dyn Fn() + Send + Sync>,
    /// Called on each thread with its loop.
    pub around: Arc<Around>,
}

/// Threads that run actors. Dropping it ends them when the actors that run give way. Actors that wait
/// to run are dropped; those that sleep are not.
#[derive(Debug)]
pub struct Executor {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// Starts actors.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What the threads share.
pub(crate) struct Shared {
    pub(crate) workers: Box<[Worker]>,
    /// By tier.
    clocks: [VirtualClock; 2],
    pub(crate) sleepers: Sleepers,
    pub(crate) ticker: Ticker,
    pub(crate) timers: Timers,
    stopping: AtomicBool,
    /// Threads that have not ended.
    alive: AtomicUsize,
    bell: Arc<dyn Fn() + Send + Sync>,
}

/// One thread as others see it.
pub(crate) struct Worker {
    pub(crate) station: Station<Arc<Task>>,
    /// It does not sleep.
    pub(crate) busy: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Whence an actor comes that is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It never ran.
    Starts,
    /// It slept, or its quota kept it from running.
    Woken,
    /// It ran until now.
    RanOn,
}

/// Counts a thread.
struct Alive(Arc<Shared>);

impl Executor {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the machine has no more threads.
    pub fn start(options: ExecutorOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            workers: (0..options.threads.max(1)).map(|_| Worker::new()).collect(),
            clocks: [VirtualClock::new(), VirtualClock::new()],
            sleepers: Sleepers::new(),
            ticker: Ticker::new(),
            timers: Timers::new(),
            stopping: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            bell: options.bell,
        });
        let mut executor = Self { handle: Handle(Arc::clone(&shared)), threads: Vec::new() };
        for index in 0..shared.workers.len() {
            let (shared, around) = (Arc::clone(&shared), Arc::clone(&options.around));
            let alive = Alive::new(shared);
            let thread = thread::Builder::new()
                .name(format!("actors-{index}"))
                .spawn(move || around(&mut || worker::run(&alive.0, index)))?;
            executor.handle.0.workers[index].thread.set(thread.thread().clone()).ok();
            executor.threads.push(thread);
        }
        let ticks = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("clock".into()).spawn(move || ticks.ticker.run(&ticks))?;
        shared.ticker.set_thread(thread.thread().clone());
        executor.threads.push(thread);
        Ok(executor)
    }

    /// Starts actors on it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the threads and waits for them. Actors that run must give way for this to return.
    pub fn stop(mut self) {
        self.handle.0.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.handle.0.stop();
    }
}

impl Handle {
    /// Starts an actor. It runs soon, on any of the threads.
    pub fn spawn(
        &self,
        weight: Weight,
        tier: Tier,
        quota: Option<Quota>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Actor {
        let actor = self.prepare(weight, tier, quota, future);
        self.begin(&actor);
        actor
    }

    /// Makes an actor that does not run before [`begin`](Self::begin), so that its handle can be put
    /// where the actor needs it.
    pub fn prepare(
        &self,
        weight: Weight,
        tier: Tier,
        quota: Option<Quota>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Actor {
        let entity = Entity::new(weight, tier, quota);
        Actor(Task::new(Arc::clone(&self.0), entity, Box::pin(future)))
    }

    /// Starts an actor that was prepared. Another time it does nothing.
    pub fn begin(&self, actor: &Actor) {
        if actor.0.start() {
            self.0.submit_from_outside(Arc::clone(&actor.0), Arrival::Starts);
        }
    }

    /// Threads that run actors.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.workers.len()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Alive {
    fn new(shared: Arc<Shared>) -> Self {
        shared.alive.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Release);
    }
}

impl Worker {
    fn new() -> Self {
        Self { station: Station::new(), busy: AtomicBool::new(true), thread: OnceLock::new() }
    }
}

impl Shared {
    /// Places an actor that was woken. It is in the state `SCHEDULED` and the caller's.
    pub(crate) fn submit(self: &Arc<Self>, task: Arc<Task>) {
        match current::offer(self, task) {
            Offered::RunsNext => {}
            Offered::Displaced(task, worker) => {
                self.queue(&task, worker, Arrival::Woken, current::now_ns());
            }
            Offered::Elsewhere(task) => self.submit_from_outside(task, Arrival::Woken),
        }
    }

    fn submit_from_outside(&self, task: Arc<Task>, arrival: Arrival) {
        let last = task.last_worker.load(Ordering::Relaxed);
        let target = target(last, self.workers.len(), |worker| self.station(worker).running());
        let Some(place) = self.queue(&task, target, arrival, current::now_ns()) else { return };
        // It passes a fence between queueing and looking at what runs: see `Station::runs`.
        if let Some(sleeper) = self.sleepers.take(target) {
            self.unpark(sleeper);
        } else if deserves_ring(place, self.station(target).running()) {
            self.ring(target);
        }
    }

    /// Puts a task into the queue of `worker`; answers its place in the order of all queues, or `None`
    /// if that thread has ended.
    pub(crate) fn queue(
        &self,
        task: &Arc<Task>,
        worker: usize,
        arrival: Arrival,
        now_ns: u64,
    ) -> Option<u64> {
        let clock = self.clock(task.tier);
        let queued = task.with_entity(|entity| {
            if task.take_excuse() {
                entity.excuse();
            }
            match arrival {
                Arrival::Starts => clock.start(entity),
                Arrival::Woken => entity.wake(clock.now()),
                Arrival::RanOn => clock.keep_up(entity),
            }
            self.station(worker).push(Arc::clone(task), entity, now_ns)
        });
        // It was interrupted since: who did that may have looked for it before it was queued.
        if task.is_excused() {
            self.release(task);
        }
        queued
    }

    /// Lets a task go that waits for its quota.
    pub(crate) fn release(&self, task: &Arc<Task>) {
        let is_it = |waiting: &Arc<Task>| Arc::ptr_eq(waiting, task);
        // Its thread may sleep until the quota is there.
        (0..self.workers.len())
            .find(|worker| self.station(*worker).release(is_it))
            .into_iter()
            .for_each(|worker| self.unpark(worker));
    }

    pub(crate) fn clock(&self, tier: Tier) -> &VirtualClock {
        &self.clocks[tier as usize]
    }

    pub(crate) fn station(&self, worker: usize) -> &Station<Arc<Task>> {
        &self.workers[worker].station
    }

    /// Asks the actor that runs on `worker` to give way.
    pub(crate) fn ring(&self, worker: usize) {
        let Some(worker) = self.workers.get(worker) else { return };
        if worker.station.doorbell.ring() {
            (self.bell)();
        }
    }

    pub(crate) fn is_rung(&self, worker: usize) -> bool {
        self.station(worker).doorbell.is_rung()
    }

    /// Lets every running actor ask whether it should give way.
    pub(crate) fn tick(&self) {
        (self.bell)();
    }

    fn unpark(&self, worker: usize) {
        if let Some(thread) = self.workers[worker].thread.get() {
            thread.unpark();
        }
    }

    /// Wakes a thread that sleeps, to take what waits on another one.
    pub(crate) fn call_for_help(&self, worker: usize) {
        if self.sleepers.any()
            && let Some(sleeper) = self.sleepers.take(worker)
        {
            self.unpark(sleeper);
        }
    }

    pub(crate) fn any_busy(&self) -> bool {
        self.workers.iter().any(|worker| worker.busy.load(Ordering::Relaxed))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Every thread is woken after this is said, so that none sleeps through it.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        (0..self.workers.len()).for_each(|worker| {
            self.ring(worker);
            self.unpark(worker);
        });
        self.ticker.nudge();
    }

    /// It was stopped, and no actor runs any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_stopping() && self.alive.load(Ordering::Acquire) == 0
    }
}

impl fmt::Debug for ExecutorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorOptions").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("threads", &self.threads()).finish()
    }
}
