//! How long a sink rests after a failure. Pure: same seed and failures, same waits.

/// The part of a wait that is left to chance, to both sides, in permille: sinks that failed together
/// do not come back together.
const JITTER_PERMILLE: u64 = 200;

/// Waits that double from failure to failure.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial_ms: u64,
    max_ms: u64,
    /// State of a generator of which nothing but spread is asked.
    random: u64,
}

impl Backoff {
    /// Waits from `initial_ms` to `max_ms`, both 1 at least. `seed` decides the jitter.
    #[must_use]
    pub fn new(initial_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self { initial_ms: initial_ms.clamp(1, max_ms.max(1)), max_ms: max_ms.max(1), random: seed }
    }

    /// The wait after the `failures`th failure in a row, from 1; never longer than the maximum.
    pub fn wait_ms(&mut self, failures: u32) -> u64 {
        let factor = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        let base_ms = self.initial_ms.saturating_mul(factor).min(self.max_ms);
        let permille = 1_000 - JITTER_PERMILLE + self.next() % (2 * JITTER_PERMILLE + 1);
        let wait_ms = u128::from(base_ms) * u128::from(permille) / 1_000;
        u64::try_from(wait_ms).unwrap_or(u64::MAX).clamp(1, self.max_ms)
    }

    /// SplitMix64 (Steele, Lea and Flood): any seed will do. Not for secrets.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stop_at_the_maximum() {
        let mut backoff = Backoff::new(100, 1_000, 7);
        for (failures, base_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (99, 1_000)]
        {
            let wait_ms = backoff.wait_ms(failures);
            let longest_ms = (base_ms * 12 / 10).min(1_000);
            assert!((base_ms * 8 / 10..=longest_ms).contains(&wait_ms), "{wait_ms}: {base_ms}");
        }
        assert_eq!(Backoff::new(0, 0, 0).wait_ms(u32::MAX), 1);
        assert_eq!(Backoff::new(5, 9, 1).wait_ms(0), Backoff::new(5, 9, 1).wait_ms(1));
    }
}
