//! Where the parts of an incarnation lie in memory, so that they can be fetched before they are needed.
//!
//! With thousands of instances most of what one needs to handle a message is in no cache, and it would
//! wait for one line after the other. Whoever queues the first message asks for all of them at once, and
//! goes on. Only a hint: what lies there by then does not matter, and nothing is read.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Of each part at most so many bytes: more at a time than the processor can ask for is of no use.
const PART_BYTES_MAX: usize = 2_048;

/// Parts that are noted.
const PARTS: usize = 6;

/// What fewer instances need stays in the caches, and to ask for it would be a twentieth of a call.
const MANY: usize = 200;

/// Instances that there are.
static INSTANCES: AtomicUsize = AtomicUsize::new(0);

/// The parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// What the scheduler knows of it.
    Actor,
    /// The future that lives.
    Life,
    /// What is around it.
    Around,
    /// The guest.
    Guest,
    /// Its store.
    Store,
    /// The stack of its fiber, from its end.
    Stack,
}

/// Address and bytes of each part; 0: there is none.
#[derive(Debug)]
pub(crate) struct Warmth([(AtomicUsize, AtomicUsize); PARTS]);

impl Warmth {
    /// Of one more instance.
    pub(crate) fn new() -> Self {
        INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self(Default::default())
    }

    /// This part lies here.
    pub(crate) fn note<T: ?Sized>(&self, part: Part, place: &T) {
        let address = std::ptr::from_ref(place).addr();
        self.note_range(part, address, size_of_val(place));
    }

    /// As [`Self::note`], for what begins before something that can be seen.
    pub(crate) fn note_range(&self, part: Part, address: usize, bytes: usize) {
        let (at, length) = &self.0[part as usize];
        at.store(address, Ordering::Relaxed);
        length.store(bytes.min(PART_BYTES_MAX), Ordering::Relaxed);
    }

    /// The incarnation ends; the actor, which comes first, stays.
    pub(crate) fn forget(&self) {
        self.0[1..].iter().for_each(|(_, length)| length.store(0, Ordering::Relaxed));
    }

    /// Asks for where all this is written.
    pub(crate) fn fetch_self(&self) {
        if INSTANCES.load(Ordering::Relaxed) >= MANY {
            fetch_range(std::ptr::from_ref(self).addr(), size_of::<Self>());
        }
    }

    /// Asks for all parts.
    pub(crate) fn fetch(&self) {
        if INSTANCES.load(Ordering::Relaxed) < MANY {
            return;
        }
        for (address, bytes) in &self.0 {
            let (address, bytes) = (address.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
            fetch_range(address, bytes);
        }
    }
}

impl Drop for Warmth {
    fn drop(&mut self) {
        INSTANCES.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fetch_range(address: usize, bytes: usize) {
    (0..bytes).step_by(LINE).for_each(|offset| fetch_line(address.wrapping_add(offset)));
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an intrinsic; a prefetch reads nothing and faults nowhere")]
fn fetch_line(address: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch may be given any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address)) }
}

/// Elsewhere there is no stable way to say it.
#[cfg(not(target_arch = "x86_64"))]
fn fetch_line(_address: usize) {}
