//! Whether a thread rests for which there is seldom something to do: nobody who looks for it wakes it in
//! vain, and it does not rest once somebody needs it.
//!
//! Who needs it says so first and asks [`Rest::ends`] then; who goes to rest calls [`Rest::begin`] first
//! and looks whether somebody needs it then. A fence on either side makes at least one see the other.

use crate::sync::{AtomicBool, Ordering, fence};

/// Of one thread.
#[derive(Debug)]
pub struct Rest(AtomicBool);

impl Rest {
    /// It does not rest.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's atomics have no const constructor")]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// It will rest: to be called by it. It must look once more after this.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// It does not rest any more: to be called by it.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Somebody needs it. True: the caller must wake it.
    pub fn ends(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
