//! Decides whether and when one child that ended is started again. Reads no clock, starts nothing.
//!
//! Restart intensity follows OTP's supervisor: more than `max_restarts` restarts within the last
//! `window_ms` end the attempts. OTP restarts at once; Solo adds a delay that doubles, so that a
//! child that cannot start does not take the processor from its siblings.
//!
//! Source: OTP supervisor documentation, "Maximum Restart Intensity".

use std::collections::VecDeque;

use solo_types::{RestartMode, RestartPolicy};

/// Restarts that one window remembers: `RestartPolicy::validate` allows 1,000, and one more decides.
const HISTORY_MAX: usize = 1_001;

/// Jitter in thousandths to either side: enough that children that died together come back apart.
const JITTER_PERMILLE: u64 = 200;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitKind {
    /// It had finished: what OTP calls `normal`, `shutdown` and `{shutdown, Term}`.
    Normal,
    /// It failed; another start may help.
    Abnormal,
    /// It failed and says itself that another start will not help.
    Permanent,
}

/// What to do about a child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again.
    Restart {
        /// Wait so long first; 0 for at once.
        delay_ms: u64,
    },
    /// Its policy leaves it ended, and that is no failure.
    Stay,
    /// It failed for good: too many restarts, or a permanent exit.
    GiveUp,
}

/// Applies one [`RestartPolicy`] to the exits of one child.
///
/// Times are milliseconds of one clock with any origin. A time before the latest one seen counts
/// as that one.
#[derive(Debug, Clone)]
pub struct RestartTracker {
    mode: RestartMode,
    intensity: Intensity,
}

impl RestartTracker {
    /// Starts with no exits. `seed` decides the jitter: same seed and input, same verdicts.
    #[must_use]
    pub fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self { mode: policy.mode, intensity: Intensity::new(policy, seed) }
    }

    /// Decides about an exit at `now_ms`.
    ///
    /// A permanent exit is [`Verdict::GiveUp`] in every mode. The first restart of a window has no
    /// delay, the second `backoff_initial_ms`, each further one twice as much up to
    /// `backoff_max_ms`, all with 20 % jitter. For the delay, time spent waiting does not age the
    /// window; else a delay longer than the window would be followed by a restart at once.
    pub fn on_exit(&mut self, now_ms: u64, exit: ExitKind) -> Verdict {
        if exit == ExitKind::Permanent {
            return Verdict::GiveUp;
        }
        if !is_restarted(self.mode, exit) {
            return Verdict::Stay;
        }
        match self.intensity.restart(now_ms) {
            Some(delay_ms) => Verdict::Restart { delay_ms },
            None => Verdict::GiveUp,
        }
    }

    /// Counts the restarts that were decided so far.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.intensity.restarts
    }
}

/// Tells whether a child of this mode is started again after this exit.
pub(crate) fn is_restarted(mode: RestartMode, exit: ExitKind) -> bool {
    match (mode, exit) {
        (_, ExitKind::Permanent) | (RestartMode::Temporary, _) => false,
        (RestartMode::Permanent, _) => true,
        (RestartMode::Transient, exit) => exit == ExitKind::Abnormal,
    }
}

/// Counts restarts in the window and spaces them.
#[derive(Debug, Clone)]
pub(crate) struct Intensity {
    policy: RestartPolicy,
    /// Oldest first, at most [`HISTORY_MAX`].
    history: VecDeque<Moment>,
    latest_ms: u64,
    /// Sum of all delays that were handed out.
    delayed_ms: u64,
    restarts: u64,
    random: SplitMix64,
}

/// One restart, on two clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at_ms: u64,
    /// `at_ms` without the delays before it.
    active_ms: u64,
}

impl Intensity {
    pub(crate) fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self {
            policy,
            history: VecDeque::new(),
            latest_ms: 0,
            delayed_ms: 0,
            restarts: 0,
            random: SplitMix64(seed),
        }
    }

    /// Records one restart and answers its delay, or `None` when it is one too many.
    pub(crate) fn restart(&mut self, now_ms: u64) -> Option<u64> {
        self.latest_ms = self.latest_ms.max(now_ms);
        let at_ms = self.latest_ms;
        let earlier_active_ms = self.history.back().map_or(0, |moment| moment.active_ms);
        let active_ms = at_ms.saturating_sub(self.delayed_ms).max(earlier_active_ms);
        self.history.push_back(Moment { at_ms, active_ms });

        let window_ms = self.policy.window_ms;
        let oldest_active_ms = active_ms.saturating_sub(window_ms);
        // Active time passes more slowly, so what leaves this window has left the other as well.
        while self.history.len() > HISTORY_MAX
            || self.history.front().is_some_and(|moment| moment.active_ms < oldest_active_ms)
        {
            self.history.pop_front();
        }

        let oldest_ms = at_ms.saturating_sub(window_ms);
        let in_window = self.history.iter().rev().take_while(|m| m.at_ms >= oldest_ms).count();
        let tolerated = usize::try_from(self.policy.max_restarts).unwrap_or(usize::MAX);
        if in_window > tolerated.min(HISTORY_MAX - 1) {
            return None;
        }
        let delay_ms = self.delay_ms(self.history.len());
        self.delayed_ms = self.delayed_ms.saturating_add(delay_ms);
        self.restarts = self.restarts.saturating_add(1);
        Some(delay_ms)
    }

    /// The delay before the `ordinal`th restart of a window, counted from 1.
    fn delay_ms(&mut self, ordinal: usize) -> u64 {
        let Some(doublings) = ordinal.checked_sub(2) else {
            return 0;
        };
        let factor = u32::try_from(doublings).ok().and_then(|n| 1_u64.checked_shl(n));
        let base_ms = self
            .policy
            .backoff_initial_ms
            .saturating_mul(factor.unwrap_or(u64::MAX))
            .min(self.policy.backoff_max_ms);
        let permille = 1_000 - JITTER_PERMILLE + self.random.next() % (2 * JITTER_PERMILLE + 1);
        let jittered = u128::from(base_ms) * u128::from(permille) / 1_000;
        u64::try_from(jittered).unwrap_or(u64::MAX).min(self.policy.backoff_max_ms)
    }
}

/// Steele, Lea and Flood's generator: any seed will do, also 0. Not for secrets.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(mode: RestartMode, max_restarts: u32) -> RestartPolicy {
        RestartPolicy { mode, max_restarts, ..RestartPolicy::default() }
    }

    #[test]
    fn modes_decide_who_comes_back() {
        use ExitKind as E;
        use RestartMode as M;
        for (mode, exit, expected) in [
            (M::Permanent, E::Normal, Verdict::Restart { delay_ms: 0 }),
            (M::Permanent, E::Abnormal, Verdict::Restart { delay_ms: 0 }),
            (M::Transient, E::Normal, Verdict::Stay),
            (M::Transient, E::Abnormal, Verdict::Restart { delay_ms: 0 }),
            (M::Temporary, E::Normal, Verdict::Stay),
            (M::Temporary, E::Abnormal, Verdict::Stay),
            (M::Permanent, E::Permanent, Verdict::GiveUp),
            (M::Transient, E::Permanent, Verdict::GiveUp),
            (M::Temporary, E::Permanent, Verdict::GiveUp),
        ] {
            let mut tracker = RestartTracker::new(policy(mode, 5), 0);
            assert_eq!(tracker.on_exit(1, exit), expected, "{mode:?} after {exit:?}");
        }
    }

    #[test]
    fn delays_double_and_stop_at_the_cap() {
        let policy = RestartPolicy {
            max_restarts: 1_000,
            backoff_initial_ms: 100,
            backoff_max_ms: 1_000,
            ..RestartPolicy::default()
        };
        let mut tracker = RestartTracker::new(policy, 7);
        for base_ms in [0, 100, 200, 400, 800, 1_000, 1_000, 1_000] {
            let Verdict::Restart { delay_ms } = tracker.on_exit(5, ExitKind::Abnormal) else {
                panic!("gave up");
            };
            let longest_ms = (base_ms * 12 / 10).min(1_000);
            assert!(
                (base_ms * 8 / 10..=longest_ms).contains(&delay_ms),
                "{delay_ms} for {base_ms}"
            );
        }
        assert_eq!(tracker.restarts(), 8);
    }

    #[test]
    fn the_window_slides() {
        let mut tracker = RestartTracker::new(policy(RestartMode::Permanent, 2), 0);
        let mut gave_up = |at_ms| tracker.on_exit(at_ms, ExitKind::Abnormal) == Verdict::GiveUp;
        assert!(!gave_up(0));
        assert!(!gave_up(9_000));
        // The restart at 0 is out of the window of 10 s; the ones at 9,000 and 10,001 are not.
        assert!(!gave_up(10_001));
        assert!(gave_up(19_000));
    }

    #[test]
    fn a_quiet_window_forgets_the_delay() {
        let mut tracker = RestartTracker::new(policy(RestartMode::Permanent, 5), 0);
        for _ in 0..3 {
            tracker.on_exit(0, ExitKind::Abnormal);
        }
        let later = tracker.on_exit(60_000, ExitKind::Abnormal);
        assert_eq!(later, Verdict::Restart { delay_ms: 0 });
    }

    #[test]
    fn a_delay_longer_than_the_window_does_not_reset_itself() {
        let policy = RestartPolicy {
            max_restarts: 100,
            window_ms: 1_000,
            backoff_initial_ms: 600,
            backoff_max_ms: 30_000,
            ..RestartPolicy::default()
        };
        let mut tracker = RestartTracker::new(policy, 3);
        let mut now_ms = 0;
        let mut latest_delay_ms = 0;
        for _ in 0..12 {
            // A child that fails as soon as it is started.
            let Verdict::Restart { delay_ms } = tracker.on_exit(now_ms, ExitKind::Abnormal) else {
                panic!("gave up");
            };
            now_ms += delay_ms;
            latest_delay_ms = delay_ms;
        }
        assert!(latest_delay_ms >= 24_000, "{latest_delay_ms}");
    }

    #[test]
    fn zero_tolerated_restarts_give_up_at_once() {
        let mut tracker = RestartTracker::new(policy(RestartMode::Permanent, 0), 0);
        assert_eq!(tracker.on_exit(0, ExitKind::Abnormal), Verdict::GiveUp);
        assert_eq!(tracker.restarts(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Against OTP's own algorithm: a list of restart times, cut at the threshold, then counted.
        #[test]
        fn gives_up_exactly_when_otp_does(
            steps in prop::collection::vec(0_u64..4_000, 1..200),
            max_restarts in 0_u32..12,
            window_ms in 1_u64..20_000,
            seed: u64,
        ) {
            let policy = RestartPolicy { max_restarts, window_ms, ..RestartPolicy::default() };
            let mut tracker = RestartTracker::new(policy, seed);
            let mut model: Vec<u64> = Vec::new();
            let mut now_ms = 100_000;
            for step in steps {
                now_ms += step;
                model.retain(|at| *at >= now_ms - window_ms);
                model.push(now_ms);
                let expected = model.len() > max_restarts as usize;
                let gave_up = tracker.on_exit(now_ms, ExitKind::Abnormal) == Verdict::GiveUp;
                prop_assert_eq!(gave_up, expected);
                if expected {
                    break;
                }
            }
        }

        /// Any policy, any clock: no panic, no delay above the cap, memory stays bounded.
        #[test]
        fn nothing_panics_and_everything_is_bounded(
            times in prop::collection::vec(any::<u64>(), 1..100),
            max_restarts: u32,
            window_ms: u64,
            backoff_initial_ms: u64,
            backoff_max_ms: u64,
            seed: u64,
        ) {
            let mode = RestartMode::Permanent;
            let policy =
                RestartPolicy { mode, max_restarts, window_ms, backoff_initial_ms, backoff_max_ms };
            let mut tracker = RestartTracker::new(policy, seed);
            let mut same = RestartTracker::new(policy, seed);
            let mut restarts = 0;
            for now_ms in times {
                let verdict = tracker.on_exit(now_ms, ExitKind::Abnormal);
                prop_assert_eq!(verdict, same.on_exit(now_ms, ExitKind::Abnormal));
                if let Verdict::Restart { delay_ms } = verdict {
                    prop_assert!(delay_ms <= backoff_max_ms);
                    restarts += 1;
                }
                prop_assert_eq!(tracker.restarts(), restarts);
                prop_assert!(tracker.intensity.history.len() <= HISTORY_MAX);
            }
        }
    }
}
