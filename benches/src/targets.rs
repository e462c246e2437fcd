//! The numbers of SPEC section 9 that this program measures, in base units.

use serde::Serialize;

/// What was promised and what the floor allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Target {
    pub(crate) required: f64,
    pub(crate) goal: f64,
    /// True: more is better.
    pub(crate) at_least: bool,
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
    Target { required, goal, at_least: false }
}

pub(crate) const DEPLOY_KNOWN: Target = at_most(0.1, 0.003);
pub(crate) const DEPLOY_NEW: Target = at_most(0.1, 0.04);
pub(crate) const SEND: Target = at_most(5e-6, 0.2e-6);
pub(crate) const CALL: Target = at_most(20e-6, 0.8e-6);
pub(crate) const LOOKUP: Target = at_most(50e-6, 0.1e-6);
pub(crate) const CALL_FROM_OUTSIDE: Target = at_most(0.05, 0.4e-3);
pub(crate) const SERVICES: Target = Target { required: 500.0, goal: 10_000.0, at_least: true };
pub(crate) const MEMORY_PER_SERVICE: Target = at_most(5.0 * 1024.0 * 1024.0, 35.0 * 1024.0);
pub(crate) const KERNEL_BACK: Target = at_most(1.0, 0.2);
pub(crate) const CALLS_LOST: Target = at_most(0.0, 0.0);
pub(crate) const CRASH: Target = at_most(0.1, 0.1e-3);

impl Target {
    /// Judges `value`.
    pub(crate) fn judge(&self, value: f64) -> Verdict {
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
        assert_eq!(DEPLOY_KNOWN.judge(0.003), Verdict::Goal);
        assert_eq!(DEPLOY_KNOWN.judge(0.1), Verdict::Required);
        assert_eq!(DEPLOY_KNOWN.judge(0.1001), Verdict::Missed);
        assert_eq!(CALLS_LOST.judge(0.0), Verdict::Goal);
        assert_eq!(CALLS_LOST.judge(1.0), Verdict::Missed);
        assert_eq!(SERVICES.judge(499.0), Verdict::Missed);
        assert_eq!(SERVICES.judge(500.0), Verdict::Required);
    }
}
