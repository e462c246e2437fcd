//! The virtual time of all actors of a tier: what woken and new ones are placed by.

use crate::core::{Entity, SLICE_VIRTUAL, start};
use crate::sync::{AtomicU64, Ordering};

/// On a cache line of its own: read at each wake-up.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct VirtualClock {
    /// Highest virtual time of those that were picked.
    now: AtomicU64,
    /// Where the last new actor began.
    last_start: AtomicU64,
    /// The longest step by which any actor advances in a slice.
    step: AtomicU64,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(0),
            last_start: AtomicU64::new(0),
            step: AtomicU64::new(SLICE_VIRTUAL),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// An actor with this virtual time was picked.
    pub(crate) fn advance(&self, virtual_time: u64) {
        // Read first: most times it is no news, and a write would take the line from other threads.
        if self.now() < virtual_time {
            self.now.fetch_max(virtual_time, Ordering::Relaxed);
        }
    }

    /// Places an actor that starts.
    pub(crate) fn start(&self, entity: &mut Entity) {
        self.step.fetch_max(entity.slice_virtual(), Ordering::Relaxed);
        // Two that start at the same moment may begin at the same place: no harm.
        let virtual_time = start(self.now(), self.last_start.load(Ordering::Relaxed));
        self.last_start.store(virtual_time, Ordering::Relaxed);
        entity.start(virtual_time);
    }

    /// Places an actor that would run on.
    pub(crate) fn keep_up(&self, entity: &mut Entity) {
        entity.keep_up(self.now(), self.step.load(Ordering::Relaxed));
    }
}
