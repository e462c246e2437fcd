//! One thread as the others see it: what waits there, what runs there, and its doorbell.
//!
//! Whoever adds an actor looks afterwards at what runs, and rings if that can wait. So that nobody
//! looks at what ran before, the thread notes what runs next before others can add.

use crate::core::{Entity, Picked, RunQueue, Turn, place};
use crate::doorbell::Doorbell;
use crate::sync::{AtomicU64, Mutex, Ordering, fence};

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Station<T> {
    /// `None`: the thread has ended.
    queue: Mutex<Option<RunQueue<T>>>,
    /// `RunQueue::head` of `queue`, to be read without the lock.
    head: AtomicU64,
    /// The same for the actor whose slice it is; `u64::MAX` when there is none.
    running: AtomicU64,
    /// Asks that actor to give way.
    pub doorbell: Doorbell,
}

impl<T> Station<T> {
    /// Nothing waits, nothing runs.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's atomics have no const constructor")]
    pub fn new() -> Self {
        Self {
            queue: Mutex::new(Some(RunQueue::default())),
            head: AtomicU64::new(u64::MAX),
            running: AtomicU64::new(u64::MAX),
            doorbell: Doorbell::new(),
        }
    }

    /// Adds an actor. Its place in the order of all queues; `None`: the thread has ended, and the actor
    /// is dropped.
    pub fn push(&self, actor: T, entity: &mut Entity, now_ns: u64) -> Option<u64> {
        let mut queue = self.queue.lock();
        let open = queue.as_mut()?;
        open.push(actor, entity, now_ns);
        self.head.store(open.head(), Ordering::Relaxed);
        Some(place(entity.tier(), entity.virtual_time()))
    }

    /// Takes what runs next here: called by its own thread. Answers also how many wait after that.
    pub fn take(&self, turn: Turn, now_ns: u64) -> (Option<Picked<T>>, usize) {
        let mut queue = self.queue.lock();
        let Some(open) = queue.as_mut() else { return (None, 0) };
        let picked = open.pick(turn, now_ns);
        self.head.store(open.head(), Ordering::Relaxed);
        if let Some(Picked::Runs { tier, virtual_time, .. }) = &picked {
            self.running.store(turn.shown(*tier, *virtual_time), Ordering::Relaxed);
        }
        (picked, open.len())
    }

    /// Takes what would run next here for another thread.
    pub fn give(&self, now_ns: u64) -> Option<Picked<T>> {
        let mut queue = self.queue.lock();
        let open = queue.as_mut()?;
        let picked = open.pick(Turn::Usual, now_ns);
        self.head.store(open.head(), Ordering::Relaxed);
        picked
    }

    /// Its thread runs something that it did not take here. True: what was added here meanwhile goes
    /// before that, and who added it may not know.
    pub fn runs(&self, place: u64) -> bool {
        self.running.store(place, Ordering::Relaxed);
        // Who adds passes a fence between adding and looking: one of the two sees the other.
        fence(Ordering::SeqCst);
        self.head.load(Ordering::Relaxed) < place
    }

    /// The actor that runs now is at `place`, in the slice of another. Who adds at this moment may not
    /// see it, and rings or not as for that other.
    pub fn runs_within_slice(&self, place: u64) {
        self.running.store(place, Ordering::Relaxed);
    }

    /// Nothing runs any more.
    pub fn rest(&self) {
        self.running.store(u64::MAX, Ordering::Relaxed);
    }

    /// Place of the first that waits; may be a moment old.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    /// Place of what runs; may be a moment old.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// When the first that waits for its quota can run.
    #[must_use]
    pub fn next_release_ns(&self) -> Option<u64> {
        self.queue.lock().as_ref().and_then(RunQueue::next_release_ns)
    }

    /// Lets one that waits for its quota go. False: it does not wait for that here.
    pub fn release(&self, is_it: impl Fn(&T) -> bool) -> bool {
        self.queue.lock().as_mut().is_some_and(|queue| queue.release(is_it))
    }

    /// The thread ends: what waits, to be dropped without a lock. Nothing can be added any more.
    pub fn close(&self) -> Option<RunQueue<T>> {
        let mut queue = self.queue.lock();
        self.head.store(u64::MAX, Ordering::Relaxed);
        queue.take()
    }
}
