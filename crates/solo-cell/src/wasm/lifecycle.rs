//! What follows the end of an incarnation. Pure: an exit and a time in, a decision out.

use solo_supervisor::{ExitKind, RestartTracker, Verdict};
use solo_types::{Exit, RestartPolicy};

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A new incarnation, after a while.
    Restart {
        /// Milliseconds; 0 at once.
        delay_ms: u64,
    },
    /// It ended normally and stays down.
    Complete,
    /// It failed and stays down.
    Fail,
}

/// The exits of one instance against its restart policy.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    tracker: RestartTracker,
}

impl Lifecycle {
    /// An instance that never ended. `seed` decides the jitter of its delays.
    pub(crate) fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self { tracker: RestartTracker::new(policy, seed) }
    }

    /// Decides after `exit` at `now_ms` (monotonic).
    pub(crate) fn on_exit(&mut self, now_ms: u64, exit: &Exit) -> Next {
        let kind = if exit.permanent {
            ExitKind::Permanent
        } else if exit.reason.is_abnormal() {
            ExitKind::Abnormal
        } else {
            ExitKind::Normal
        };
        match self.tracker.on_exit(now_ms, kind) {
            Verdict::Restart { delay_ms } => Next::Restart { delay_ms },
            Verdict::Stay if kind == ExitKind::Normal => Next::Complete,
            Verdict::Stay | Verdict::GiveUp => Next::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use solo_types::{ExitReason, RestartMode};

    use super::*;

    fn exit(reason: ExitReason, permanent: bool) -> Exit {
        Exit { reason, message: String::new(), backtrace: Vec::new(), at_unix_ms: 0, permanent }
    }

    fn check(mode: RestartMode, reason: ExitReason, permanent: bool, expected: Next) {
        let mut lifecycle = Lifecycle::new(RestartPolicy { mode, ..RestartPolicy::default() }, 1);
        assert_eq!(lifecycle.on_exit(0, &exit(reason, permanent)), expected, "{mode:?} {reason:?}");
    }

    #[test]
    fn policies_decide() {
        use ExitReason as R;
        use RestartMode as M;
        let at_once = Next::Restart { delay_ms: 0 };
        check(M::Permanent, R::Trap, false, at_once);
        check(M::Permanent, R::Normal, false, at_once);
        check(M::Transient, R::Limit, false, at_once);
        check(M::Transient, R::Normal, false, Next::Complete);
        check(M::Temporary, R::Normal, false, Next::Complete);
        check(M::Temporary, R::ExitCode, false, Next::Fail);
        check(M::Permanent, R::InitFailed, true, Next::Fail);
    }

    #[test]
    fn intensity_ends_the_attempts() {
        let policy = RestartPolicy { max_restarts: 2, ..RestartPolicy::default() };
        let mut lifecycle = Lifecycle::new(policy, 1);
        let trap = exit(ExitReason::Trap, false);
        assert_eq!(lifecycle.on_exit(0, &trap), Next::Restart { delay_ms: 0 });
        assert!(matches!(lifecycle.on_exit(1, &trap), Next::Restart { delay_ms: 1.. }));
        assert_eq!(lifecycle.on_exit(2, &trap), Next::Fail);
    }
}
