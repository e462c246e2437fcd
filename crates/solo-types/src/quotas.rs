//! What a tenant may have (SPEC L2), as pure arithmetic.

use serde::{Deserialize, Serialize};

use crate::{Limits, Problem, ProblemKind, ServiceSpec};

/// The tenant that is always there: the owner's own.
pub const DEFAULT_TENANT: &str = "default";

/// What a tenant may have at most; `None`: no bound but those of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// Services, also those that have failed or completed: until they are killed.
    pub services: Option<u64>,
    /// Instances that services should have. Children of guests are bounded by `max_processes` of each.
    pub instances: Option<u64>,
    /// The memory limits of all those instances together.
    pub memory_bytes: Option<u64>,
    /// Their CPU shares together.
    pub cpu_shares: Option<u64>,
    /// Code that is stored.
    pub artifact_bytes: Option<u64>,
    /// Deploy and Update requests within a minute.
    pub deploys_per_minute: Option<u64>,
    /// Grants that are in force for what is the tenant's.
    pub tokens: Option<u64>,
}

impl Quotas {
    /// Of a new tenant that says nothing else: what an agent at work needs, and a machine has.
    pub const OF_A_NEW_TENANT: Self = Self {
        services: Some(100),
        instances: Some(200),
        memory_bytes: Some(32 << 30),
        cpu_shares: Some(200 * 1_024),
        artifact_bytes: Some(1 << 30),
        deploys_per_minute: Some(120),
        tokens: Some(1_000),
    };
}

/// What services take of the quotas that count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Services.
    pub services: u64,
    /// Instances.
    pub instances: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Shares.
    pub cpu_shares: u64,
}

impl Usage {
    /// What one service should have.
    #[must_use]
    pub fn of(spec: &ServiceSpec) -> Self {
        Self::of_instances(spec.replicas, &spec.limits)
    }

    /// What one service of `replicas` instances should have.
    #[must_use]
    pub fn of_instances(replicas: u32, limits: &Limits) -> Self {
        let instances = u64::from(replicas);
        Self {
            services: 1,
            instances,
            memory_bytes: instances.saturating_mul(limits.max_memory_bytes),
            cpu_shares: instances.saturating_mul(limits.cpu_shares),
        }
    }

    /// With `more`.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        self.with(more, u64::saturating_add)
    }

    /// Without `less`.
    #[must_use]
    pub fn minus(self, less: Self) -> Self {
        self.with(less, u64::saturating_sub)
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    fn with(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            services: f(self.services, other.services),
            instances: f(self.instances, other.instances),
            memory_bytes: f(self.memory_bytes, other.memory_bytes),
            cpu_shares: f(self.cpu_shares, other.cpu_shares),
        }
    }

    /// Whether a change from `before` to this keeps the quotas. What does not grow is no offence, also
    /// where a quota was lowered below what there is.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` with the first one that would be exceeded.
    pub fn check(self, before: Self, quotas: &Quotas) -> Result<(), Problem> {
        for (name, quota, before, after) in [
            ("services", quotas.services, before.services, self.services),
            ("instances", quotas.instances, before.instances, self.instances),
            ("memory_bytes", quotas.memory_bytes, before.memory_bytes, self.memory_bytes),
            ("cpu_shares", quotas.cpu_shares, before.cpu_shares, self.cpu_shares),
        ] {
            if let Some(quota) = quota
                && after > quota
                && after > before
            {
                return Err(Self::exceeded(name, quota, after));
            }
        }
        Ok(())
    }

    /// The problem of a tenant that wants more than its quota of `name`.
    #[must_use]
    pub fn exceeded(name: &str, quota: u64, wanted: u64) -> Problem {
        let cause = format!("the tenant would have {wanted} {name}, its quota is {quota}");
        Problem::new(ProblemKind::ResourceExhausted, "QUOTA_EXCEEDED", cause)
            .remedy("ask for less, end what is not needed, or ask the operator for a larger quota")
            .detail("quota", name)
            .detail("allowed", quota.to_string())
            .detail("wanted", wanted.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Usage = Usage { services: 1, instances: 3, memory_bytes: 300, cpu_shares: 30 };

    #[test]
    fn what_grows_beyond_a_quota_is_refused() {
        let none = Usage::default();
        assert_eq!(SOME.check(none, &Quotas::default()), Ok(()));
        for (name, quotas) in [
            ("services", Quotas { services: Some(0), ..Quotas::default() }),
            ("instances", Quotas { instances: Some(2), ..Quotas::default() }),
            ("memory_bytes", Quotas { memory_bytes: Some(299), ..Quotas::default() }),
            ("cpu_shares", Quotas { cpu_shares: Some(29), ..Quotas::default() }),
        ] {
            let problem = SOME.check(none, &quotas).expect_err(name);
            assert_eq!(problem.reason, "QUOTA_EXCEEDED");
            assert!(problem.details.contains(&("quota".into(), name.into())), "{problem:?}");
            // It is there already: a lowered quota ends nothing.
            assert_eq!(SOME.check(SOME, &quotas), Ok(()));
        }
        let exact = Quotas {
            services: Some(1),
            instances: Some(3),
            memory_bytes: Some(300),
            cpu_shares: Some(30),
            ..Quotas::default()
        };
        assert_eq!(SOME.check(none, &exact), Ok(()));
    }

    #[test]
    fn sums_saturate() {
        let most = Usage { memory_bytes: u64::MAX, ..SOME };
        assert_eq!(most.plus(SOME).memory_bytes, u64::MAX);
        assert_eq!(Usage::default().minus(SOME), Usage::default());
        assert_eq!(SOME.plus(SOME).minus(SOME), SOME);
        assert_eq!(SOME.max(most), most);
    }
}
