//! Which threads sleep: nobody sleeps while there is work that nobody will take.
//!
//! Who adds work does so first and looks for sleepers then; who goes to sleep says so first and looks
//! for work then. A fence on either side makes at least one of them see the other.

use crate::sync::{AtomicUsize, Mutex, Ordering, fence};

/// The sleepers by their numbers.
#[derive(Debug)]
pub struct Sleepers {
    /// As many as `asleep` holds, to be read without the lock.
    count: AtomicUsize,
    asleep: Mutex<Vec<usize>>,
    /// The sleeper that is awake yet and looks out for work; `usize::MAX`: none.
    lookout: AtomicUsize,
}

/// A sleeper looks out for work until this is dropped.
#[derive(Debug)]
pub struct Lookout<'a>(&'a Sleepers);

impl Drop for Lookout<'_> {
    fn drop(&mut self) {
        self.0.lookout.store(usize::MAX, Ordering::Relaxed);
    }
}

impl Sleepers {
    /// Nobody sleeps.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's locks have no const constructor")]
    pub fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            asleep: Mutex::new(Vec::new()),
            lookout: AtomicUsize::new(usize::MAX),
        }
    }

    /// `worker` will sleep. It must look for work once more after this, and then either sleep or
    /// [`leave`](Self::leave).
    pub fn enter(&self, worker: usize) {
        let mut asleep = self.asleep.lock();
        asleep.push(worker);
        self.count.store(asleep.len(), Ordering::Relaxed);
        drop(asleep);
        fence(Ordering::SeqCst);
    }

    /// `worker` does not sleep (any more). False: somebody woke it.
    pub fn leave(&self, worker: usize) -> bool {
        let mut asleep = self.asleep.lock();
        let place = asleep.iter().position(|sleeper| *sleeper == worker);
        if let Some(place) = place {
            asleep.swap_remove(place);
        }
        self.count.store(asleep.len(), Ordering::Relaxed);
        place.is_some()
    }

    /// `worker`, which has entered, looks for work a little longer, and is woken before the others. One at
    /// a time: `None` if another does.
    pub fn look_out(&self, worker: usize) -> Option<Lookout<'_>> {
        let (old, new) = (usize::MAX, worker);
        let taken = self.lookout.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok().then(|| Lookout(self))
    }

    /// Work was added: the number of a sleeper that must be woken; the one that looks out, or `preferred`,
    /// if it sleeps.
    pub fn take(&self, preferred: usize) -> Option<usize> {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut asleep = self.asleep.lock();
        let lookout = self.lookout.load(Ordering::Relaxed);
        let place_of = |worker| asleep.iter().position(|sleeper| *sleeper == worker);
        let place = place_of(lookout).or_else(|| place_of(preferred));
        let taken = match place {
            Some(place) => Some(asleep.swap_remove(place)),
            None => asleep.pop(),
        };
        self.count.store(asleep.len(), Ordering::Relaxed);
        taken
    }

    /// Whether somebody sleeps; may be a moment old.
    #[must_use]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }
}
