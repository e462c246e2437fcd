//! The executor: its threads' shared state, and where an actor that was woken is placed.
//!
//! An actor woken by one of the threads runs next on that thread, so that callers and callees share a
//! cache and no thread is woken. One woken from outside goes to a thread that sleeps, or else rings
//! the bell of the thread whose running actor can best wait.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use crate::core::{Entity, Quota, RunQueue, Tier, Weight};
use crate::current::{self, Offered};
use crate::sleepers::Sleepers;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::task::{Actor, Task};
use crate::ticker::{Ticker, Timers};
use crate::worker;

/// Threads that are looked at to find the one to interrupt: with more, the last one and some beside.
const CANDIDATES_MAX: usize = 8;

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

/// Threads that run actors. Dropping it ends them when the actors that run give way; actors that sleep
/// are not dropped.
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
    /// Virtual time of the actors that ran last, by tier.
    clocks: [AtomicU64; 2],
    pub(crate) sleepers: Sleepers,
    pub(crate) ticker: Ticker,
    pub(crate) timers: Timers,
    pub(crate) stopping: AtomicBool,
    bell: Arc<dyn Fn() + Send + Sync>,
}

/// One thread as others see it. On cache lines of its own.
#[repr(align(128))]
pub(crate) struct Worker {
    pub(crate) queue: Mutex<RunQueue<Arc<Task>>>,
    /// `RunQueue::head` of `queue`, to be read without the lock.
    pub(crate) head: AtomicU64,
    /// The same for the actor that runs; `u64::MAX` when none does.
    pub(crate) running: AtomicU64,
    /// The actor that runs should give way.
    rung: AtomicBool,
    /// It does not sleep.
    pub(crate) busy: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Executor {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the machine has no more threads.
    pub fn start(options: ExecutorOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            workers: (0..options.threads.max(1)).map(|_| Worker::new()).collect(),
            clocks: [AtomicU64::new(0), AtomicU64::new(0)],
            sleepers: Sleepers::new(),
            ticker: Ticker::new(),
            timers: Timers::default(),
            stopping: AtomicBool::new(false),
            bell: options.bell,
        });
        let mut executor = Self { handle: Handle(Arc::clone(&shared)), threads: Vec::new() };
        for index in 0..shared.workers.len() {
            let (shared, around) = (Arc::clone(&shared), Arc::clone(&options.around));
            let thread = thread::Builder::new()
                .name(format!("actors-{index}"))
                .spawn(move || around(&mut || worker::run(&shared, index)))?;
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

    /// Starts an actor that was prepared. Once.
    pub fn begin(&self, actor: &Actor) {
        self.0.submit_from_outside(Arc::clone(&actor.0));
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

impl Worker {
    fn new() -> Self {
        Self {
            queue: Mutex::new(RunQueue::default()),
            head: AtomicU64::new(u64::MAX),
            running: AtomicU64::new(u64::MAX),
            rung: AtomicBool::new(false),
            busy: AtomicBool::new(true),
            thread: OnceLock::new(),
        }
    }
}

impl Shared {
    /// Places an actor that was woken. It is in the state `SCHEDULED` and the caller's.
    pub(crate) fn submit(self: &Arc<Self>, task: Arc<Task>) {
        match current::offer(self, task) {
            Offered::RunsNext => {}
            Offered::Displaced(task, worker) => self.queue_here(&task, worker, true),
            Offered::Elsewhere(task) => self.submit_from_outside(task),
        }
    }

    fn submit_from_outside(&self, task: Arc<Task>) {
        let target = self.target(task.last_worker.load(Ordering::Relaxed));
        let head = self.push(&task, target, true);
        if let Some(sleeper) = self.sleepers.take(target) {
            self.unpark(sleeper);
        } else if head < self.workers[target].running.load(Ordering::Relaxed) {
            self.ring(target);
        }
    }

    /// Queues on the own thread. `woken`: it slept before; otherwise it just ran.
    pub(crate) fn queue_here(&self, task: &Arc<Task>, worker: usize, woken: bool) {
        self.push(task, worker, woken);
    }

    /// The thread to interrupt for an actor that ran on `last`: the one whose actor can best wait.
    fn target(&self, last: usize) -> usize {
        let count = self.workers.len();
        let candidates = (0..count.min(CANDIDATES_MAX)).map(|step| (last + step) % count);
        // The first of equals: where it ran before.
        let best = candidates.reduce(|best, other| {
            let of = |worker: usize| self.workers[worker].running.load(Ordering::Relaxed);
            if of(other) > of(best) { other } else { best }
        });
        best.unwrap_or(0)
    }

    /// Puts a task into the queue of `worker`; answers its place in the order of all queues.
    fn push(&self, task: &Arc<Task>, worker: usize, woken: bool) -> u64 {
        let now_ns = current::now_ns();
        task.with_entity(|entity| {
            let tier = entity.tier();
            if woken {
                entity.wake(self.clock(tier));
            }
            let worker = &self.workers[worker];
            let mut queue = worker.queue.lock();
            queue.push(Arc::clone(task), entity, now_ns);
            worker.head.store(queue.head(), Ordering::Relaxed);
            crate::core::head_of(tier, entity.virtual_time())
        })
    }

    pub(crate) fn clock(&self, tier: Tier) -> u64 {
        self.clocks[tier as usize].load(Ordering::Relaxed)
    }

    /// An actor with this virtual time runs now.
    pub(crate) fn advance(&self, tier: Tier, virtual_time: u64) {
        // Read first: most times it is no news, and a write would take the line from other threads.
        if self.clock(tier) < virtual_time {
            self.clocks[tier as usize].fetch_max(virtual_time, Ordering::Relaxed);
        }
    }

    /// Asks the actor that runs on `worker` to give way.
    pub(crate) fn ring(&self, worker: usize) {
        let Some(worker) = self.workers.get(worker) else { return };
        // Once is enough until it was heard.
        if !worker.rung.swap(true, Ordering::AcqRel) {
            (self.bell)();
        }
    }

    pub(crate) fn is_rung(&self, worker: usize) -> bool {
        self.workers[worker].rung.load(Ordering::Acquire)
    }

    pub(crate) fn heard(&self, worker: usize) {
        let rung = &self.workers[worker].rung;
        if rung.load(Ordering::Relaxed) {
            rung.store(false, Ordering::Release);
        }
    }

    /// Lets every running actor ask whether it should give way.
    pub(crate) fn tick(&self) {
        (self.bell)();
    }

    pub(crate) fn unpark(&self, worker: usize) {
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
        self.workers.iter().any(|worker| worker.busy.load(Ordering::SeqCst))
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        (0..self.workers.len()).for_each(|worker| {
            self.ring(worker);
            self.unpark(worker);
        });
        self.ticker.nudge();
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
