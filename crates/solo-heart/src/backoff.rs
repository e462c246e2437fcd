//! How long the heart waits before it starts the kernel or the gateway again.
//!
//! Pure: it is told how a life went and answers with a delay. It never gives up: without the kernel
//! there is no control plane, so trying again is the only thing that can help.

use std::time::Duration;

/// Delay before the second start in a row that failed. The first restart is immediate: most ends
/// (a kill, a new binary) are not the fault of the program, and every millisecond is downtime.
pub(crate) const DELAY_MIN: Duration = Duration::from_millis(10);

/// Longest delay: half of the second within which the control plane has to answer again (SPEC 9).
pub(crate) const DELAY_MAX: Duration = Duration::from_millis(500);

/// A life at least this long, with the work begun, was a good one.
pub(crate) const GOOD_LIFE_MIN: Duration = Duration::from_secs(1);

/// Counts ends in a row and turns them into delays.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes the end of a life and returns the delay before the next start.
    pub(crate) fn after_end(&mut self, ready: bool, lived: Duration) -> Duration {
        if ready && lived >= GOOD_LIFE_MIN {
            self.reset();
        }
        let delay = match self.failures {
            0 => Duration::ZERO,
            // Beyond 2^16 the cap holds anyway; the bound keeps the shift legal.
            n => DELAY_MIN.saturating_mul(1 << (n - 1).min(16)).min(DELAY_MAX),
        };
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Forgets all ends, as after one that was asked for.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Ends in a row, the last one included.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays_ms(backoff: &mut Backoff, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.after_end(true, Duration::ZERO).as_millis()).collect()
    }

    #[test]
    fn delays_double_from_nothing_to_the_cap() {
        let mut backoff = Backoff::default();
        assert_eq!(delays_ms(&mut backoff, 9), [0, 10, 20, 40, 80, 160, 320, 500, 500]);
        for _ in 0..100 {
            assert_eq!(backoff.after_end(true, Duration::ZERO), DELAY_MAX);
        }
    }

    #[test]
    fn a_good_life_starts_over() {
        let mut backoff = Backoff::default();
        delays_ms(&mut backoff, 5);
        assert_eq!(backoff.after_end(false, GOOD_LIFE_MIN * 9), Duration::from_millis(160));
        assert_eq!(backoff.after_end(true, GOOD_LIFE_MIN), Duration::ZERO);
        assert_eq!(backoff.failures(), 1);
    }
}
