//! What numbers must be, in base units: SPEC section 9 for Solo as a whole, and what was set for actors
//! in a cell, which is stricter.

use serde::Serialize;

use crate::stats::Summary;

/// What was promised and what the floor allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Target {
    pub(crate) required: f64,
    pub(crate) goal: f64,
    /// True: more is better.
    pub(crate) at_least: bool,
    /// Which of the samples is judged.
    pub(crate) judged: Judged,
}

/// Which of the samples must hold. Where no percentile of messages is named it is the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judged {
    P50,
    P99,
    /// The worst one.
    Max,
}

/// How a value stands to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The goal is met.
    Goal,
    /// What is required is met, the goal is not.
    Required,
    /// Neither is.
    Missed,
}

const fn at_most(required: f64, goal: f64) -> Target {
    Target { required, goal, at_least: false, judged: Judged::P99 }
}

const fn median_at_most(required: f64, goal: f64) -> Target {
    Target { required, goal, at_least: false, judged: Judged::P50 }
}

pub(crate) const DEPLOY_KNOWN: Target = at_most(0.1, 0.003);
pub(crate) const DEPLOY_NEW: Target = at_most(0.1, 0.04);
pub(crate) const SEND: Target = median_at_most(5e-6, 0.2e-6);
pub(crate) const CALL: Target = median_at_most(20e-6, 0.8e-6);
pub(crate) const LOOKUP: Target = median_at_most(50e-6, 0.1e-6);
pub(crate) const CALL_FROM_OUTSIDE: Target = at_most(0.05, 0.4e-3);
pub(crate) const SERVICES: Target =
    Target { required: 500.0, goal: 10_000.0, at_least: true, judged: Judged::P99 };
pub(crate) const MEMORY_PER_SERVICE: Target = at_most(5.0 * 1024.0 * 1024.0, 35.0 * 1024.0);
pub(crate) const KERNEL_BACK: Target = at_most(1.0, 0.2);
pub(crate) const CALLS_LOST: Target = at_most(0.0, 0.0);
pub(crate) const CRASH: Target = at_most(0.1, 0.1e-3);
pub(crate) const TOKEN_COLD: Target = median_at_most(100e-6, 60e-6);
pub(crate) const TOKEN_SEEN: Target = median_at_most(5e-6, 1e-6);
pub(crate) const AUDITED: Target =
    Target { required: 1_000.0, goal: 5_000.0, at_least: true, judged: Judged::P50 };
/// What the audit log may add to a deploy.
pub(crate) const AUDIT_ADDS: Target = at_most(0.02, 0.005);
/// From the answer to a revocation to the first refused call of a guest that runs.
pub(crate) const REVOKED: Target = at_most(0.1, 0.001);

/// From the request to a prepared sandbox to the first instruction of its program.
pub(crate) const PROGRAM_START: Target = at_most(5e-3, 1e-3);
pub(crate) const PROGRAM_DEPLOY: Target = at_most(0.02, 0.01);
pub(crate) const PROGRAM_MEMORY: Target = at_most(2.5 * 1024.0 * 1024.0, 2.0 * 1024.0 * 1024.0);
pub(crate) const PROGRAMS: Target =
    Target { required: 500.0, goal: 500.0, at_least: true, judged: Judged::P50 };
/// Processes, mounts, control groups, files and sockets that programs leave behind.
pub(crate) const LEFT_BEHIND: Target = at_most(0.0, 0.0);

pub(crate) const ACTOR_SEND: Target = median_at_most(1e-6, 0.2e-6);
pub(crate) const ACTOR_CALL: Target = median_at_most(2e-6, 0.8e-6);
pub(crate) const ACTOR_BESIDE_HOGS: Target = at_most(1e-3, 60e-6);
pub(crate) const ACTOR_CRASH: Target = at_most(1e-3, 50e-6);
pub(crate) const ACTOR_WEIGHTS: Target =
    Target { required: 0.05, goal: 0.025, at_least: false, judged: Judged::Max };
pub(crate) const ACTOR_START: Target = at_most(100e-6, 20e-6);
pub(crate) const ACTOR_IDLE: Target =
    Target { required: 10_000.0, goal: 10_000.0, at_least: true, judged: Judged::P50 };
pub(crate) const ACTOR_IDLE_MEMORY: Target = at_most(100.0 * 1024.0, 35.0 * 1024.0);
pub(crate) const ACTOR_GROWTH: Target = median_at_most(4.0, 2.5);

impl Target {
    /// Judges what was measured.
    pub(crate) fn judge(&self, measured: &Summary) -> Verdict {
        self.verdict(self.judged.of(measured))
    }

    fn verdict(&self, value: f64) -> Verdict {
        let meets = |bound: f64| if self.at_least { value >= bound } else { value <= bound };
        if meets(self.goal) {
            Verdict::Goal
        } else if meets(self.required) {
            Verdict::Required
        } else {
            Verdict::Missed
        }
    }
}

impl Judged {
    /// That sample.
    pub(crate) fn of(self, measured: &Summary) -> f64 {
        match self {
            Self::P50 => measured.p50,
            Self::P99 => measured.p99,
            Self::Max => measured.max,
        }
    }
}

impl Verdict {
    /// One word for the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Required => "required",
            Self::Missed => "MISSED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_what_they_bound() {
        assert_eq!(DEPLOY_KNOWN.verdict(0.003), Verdict::Goal);
        assert_eq!(DEPLOY_KNOWN.verdict(0.1), Verdict::Required);
        assert_eq!(DEPLOY_KNOWN.verdict(0.1001), Verdict::Missed);
        assert_eq!(CALLS_LOST.verdict(0.0), Verdict::Goal);
        assert_eq!(CALLS_LOST.verdict(1.0), Verdict::Missed);
        assert_eq!(SERVICES.verdict(499.0), Verdict::Missed);
        assert_eq!(SERVICES.verdict(500.0), Verdict::Required);
    }

    #[test]
    fn the_percentile_is_the_one_that_was_promised() {
        let measured = Summary { n: 100, min: 0.0, p50: 10e-6, p99: 0.2, max: 0.2 };
        assert_eq!(CALL.judge(&measured), Verdict::Required);
        assert_eq!(DEPLOY_KNOWN.judge(&measured), Verdict::Missed);
    }
}
