//! What others found wrong with an incarnation.
//!
//! Who judges from elsewhere (a sender, a health check, a group of children) may be done when it is
//! another incarnation that lives: a fault names the one that it is about.

use super::failure::Fault;

/// Names an incarnation of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Life(u64);

/// The incarnation that lives, and what was found of it.
#[derive(Debug, Default)]
pub(super) struct Faults {
    life: Life,
    found: Option<Fault>,
}

impl Faults {
    /// The incarnation that lives.
    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// Another one begins: nothing was found of it.
    pub(super) fn renew(&mut self) {
        self.life = Life(self.life.0.wrapping_add(1));
        self.found = None;
    }

    /// Notes a fault; the first one counts. False: it is not this one's.
    pub(super) fn note(&mut self, life: Life, fault: Fault) -> bool {
        if life != self.life {
            return false;
        }
        self.found.get_or_insert(fault);
        true
    }

    /// The fault, once.
    pub(super) fn take(&mut self) -> Option<Fault> {
        self.found.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_the_incarnation_that_it_is_about_and_no_other() {
        let mut faults = Faults::default();
        faults.renew();
        let first = faults.life();
        assert!(faults.note(first, Fault::limit("first".to_owned())));
        assert!(faults.note(first, Fault::limit("second".to_owned())));
        assert!(faults.take().is_some_and(|fault| fault.message.contains("first")));
        assert!(faults.take().is_none());
        // Found before the next one began, told before and after.
        assert!(faults.note(first, Fault::limit("late".to_owned())));
        faults.renew();
        assert!(faults.take().is_none());
        assert!(!faults.note(first, Fault::limit("later".to_owned())));
        assert!(faults.take().is_none());
        assert!(faults.note(faults.life(), Fault::limit("its own".to_owned())));
        assert!(faults.take().is_some());
    }
}
