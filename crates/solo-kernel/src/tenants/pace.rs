//! How often something may happen within a minute. Pure: the time comes in.

use std::time::{Duration, Instant};

/// The quota of deployments is counted over so long.
const MINUTE: Duration = Duration::from_secs(60);

/// A bucket that is filled once a minute: as many at once, and then as many per minute.
#[derive(Debug, Default)]
pub(super) struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// Takes one, or says how long to wait for it.
    pub(super) fn take(&mut self, per_minute: u64, now: Instant) -> Result<(), Duration> {
        let count = u32::try_from(per_minute).unwrap_or(u32::MAX);
        let Some(cost) = MINUTE.checked_div(count) else { return Err(MINUTE) };
        let after = self.full_at.map_or(now, |full| full.max(now)) + cost;
        match after.checked_duration_since(now + MINUTE) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = Some(after);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_may_be_used_at_once_and_then_at_its_pace() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..6 {
            assert_eq!(pace.take(6, now), Ok(()));
        }
        assert_eq!(pace.take(6, now), Err(Duration::from_secs(10)));
        assert_eq!(pace.take(6, now + Duration::from_secs(9)), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(6, now + Duration::from_secs(10)), Ok(()));
        assert!(pace.take(6, now + Duration::from_secs(10)).is_err());
        let later = now + Duration::from_secs(1_000);
        assert_eq!((0..9).filter(|_| pace.take(6, later).is_ok()).count(), 6);
        assert_eq!(pace.take(0, later), Err(MINUTE));
        assert_eq!(Pace::default().take(u64::MAX, later), Ok(()));
    }
}
