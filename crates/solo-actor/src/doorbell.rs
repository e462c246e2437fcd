//! Asks the actor that runs on a thread to give way. A ring is heard by that actor, or by its thread
//! before it chooses again: never lost between the two.

use crate::sync::{AtomicBool, Ordering};

/// One thread's.
#[derive(Debug)]
pub struct Doorbell(AtomicBool);

impl Doorbell {
    /// Silent.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "loom's atomics have no const constructor")]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Rings. Call it after whatever is to be found has been put there. True: nobody had rung since it
    /// was heard, so that the caller has to make the actor look.
    pub fn ring(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it was rung.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The thread will choose now. It sees what was put there by whom it hears here; whoever rings
    /// later is heard by the actor that it chooses.
    pub fn hear(&self) {
        // Read first: mostly there is nothing to be written. An exchange then, for a store could hide a
        // ring whose reason was not seen yet.
        if self.0.load(Ordering::Relaxed) {
            self.0.swap(false, Ordering::AcqRel);
        }
    }
}
