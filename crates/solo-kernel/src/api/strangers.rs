//! Refusals of requests without a token that is one: written down, but not as often as strangers like.
//!
//! Whoever reaches a listener can send such requests without end, and each record of the audit log
//! costs a synced write and space for good. Within a second the first ones are written one by one; the
//! next record says how many were not. Pure: the caller brings the time and writes.

use std::time::{Duration, Instant};

/// Records per second. A person who mistypes, or a client that is set up wrongly, stays far below.
const RECORDS_MAX: u32 = 100;

const WINDOW: Duration = Duration::from_secs(1);

/// What strangers did lately.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    began: Option<Instant>,
    written: u32,
    /// Refusals that no record tells of yet.
    untold: u64,
}

impl Strangers {
    /// Decides about one refusal: `None`, it is counted only; else it is to be written, with the number
    /// of those before it that were not.
    pub(crate) fn refused(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            self.began = Some(now);
            self.written = 0;
        }
        if self.written >= RECORDS_MAX {
            self.untold += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told() {
        let mut strangers = Strangers::default();
        let began = Instant::now();
        let written = (0..1_000).filter_map(|_| strangers.refused(began)).collect::<Vec<_>>();
        assert_eq!(written, vec![0; RECORDS_MAX as usize]);
        assert_eq!(strangers.refused(began + WINDOW), Some(900));
        assert_eq!(strangers.refused(began + WINDOW), Some(0));
    }
}
