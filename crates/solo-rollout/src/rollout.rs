//! The plan of a rollout, what it is asked and what it answers.

use serde::{Deserialize, Serialize};
use solo_types::InstanceState;

use crate::step;

/// How the new revision takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// All old instances end, then the new ones start. There is a gap, and never a mixture.
    Recreate,
    /// A new instance is ready and gets traffic before an old one drains.
    Rolling,
}

/// From what to what, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSpec {
    /// Revision that serves now.
    pub from: u64,
    /// Revision that is to serve.
    pub to: u64,
    /// Instances of `from`.
    pub replicas_from: u32,
    /// Instances of `to`.
    pub replicas_to: u32,
    /// Instances that may exist beyond the larger of both numbers, those that drain included.
    pub max_surge: u32,
    /// Instances that may be missing from the smaller of both numbers. With 0 surge and 0
    /// unavailable nothing could ever move: then the surge is 1.
    pub max_unavailable: u32,
}

/// One instance as it is now. Instances that are gone for good are not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedInstance {
    /// Number within the service.
    pub number: u64,
    /// What it runs.
    pub revision: u64,
    /// Where it stands.
    pub state: InstanceState,
    /// Whether it gets traffic.
    pub routed: bool,
}

/// The next step. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Start so many more instances.
    Start {
        /// Of this revision.
        revision: u64,
        /// At least 1.
        count: u32,
    },
    /// End these gracefully and forget them; they get no traffic any more. May contain instances
    /// that have ended by themselves.
    Stop {
        /// Ascending, at least one.
        numbers: Vec<u64>,
    },
    /// Send traffic to exactly these from now on.
    Route {
        /// Ascending.
        numbers: Vec<u64>,
    },
    /// Nothing to do until something changes.
    Wait,
    /// The new revision serves; the rollout is over.
    Done,
    /// The new revision failed. Call [`Rollout::roll_back`] with the reason, store the rollout, ask
    /// again.
    RollBack {
        /// For people.
        reason: String,
    },
    /// The old revision serves again, as far as its instances still can; the rollout is over.
    RolledBack {
        /// Why it was turned back.
        reason: String,
    },
}

/// One rollout, to be stored after it was made and after it was turned back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    strategy: Strategy,
    spec: RolloutSpec,
    /// Set: goes back to the old revision.
    turned_back: Option<String>,
}

impl Rollout {
    /// Plans a rollout.
    #[must_use]
    pub fn new(strategy: Strategy, spec: RolloutSpec) -> Self {
        Self { strategy, spec, turned_back: None }
    }

    /// The strategy.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The plan.
    #[must_use]
    pub fn spec(&self) -> &RolloutSpec {
        &self.spec
    }

    /// Why it was turned back; `None`: it goes forward.
    #[must_use]
    pub fn turned_back(&self) -> Option<&str> {
        self.turned_back.as_deref()
    }

    /// Turns the rollout back to the old revision, because it failed, took too long or is no longer
    /// wanted. The first reason stays.
    pub fn roll_back(&mut self, reason: impl Into<String>) {
        self.turned_back.get_or_insert_with(|| reason.into());
    }

    /// Answers the next step for the instances that exist.
    ///
    /// `observed`: all instances of the service, of any revision, in any order. An instance of a
    /// revision that is not the rollout's aim is drained, whatever it is.
    #[must_use]
    pub fn next(&self, observed: &[ObservedInstance]) -> Decision {
        let spec = &self.spec;
        let (revision, replicas) = match self.turned_back {
            None => (spec.to, spec.replicas_to),
            Some(_) => (spec.from, spec.replicas_from),
        };
        if self.turned_back.is_none()
            && let Some(failed) = step::first_failed(observed, revision)
        {
            let reason = format!("instance {failed} of revision {revision} failed to become ready");
            return Decision::RollBack { reason };
        }
        let aim = step::Aim { revision, replicas };
        let step = match self.strategy {
            Strategy::Recreate => step::recreate(aim, observed),
            Strategy::Rolling => step::rolling(aim, &self.bounds(), observed),
        };
        match (step, &self.turned_back) {
            (Some(decision), _) => decision,
            (None, None) => Decision::Done,
            (None, Some(reason)) => Decision::RolledBack { reason: reason.clone() },
        }
    }

    fn bounds(&self) -> step::Bounds {
        let spec = &self.spec;
        let fewest = spec.replicas_from.min(spec.replicas_to);
        let most = spec.replicas_from.max(spec.replicas_to);
        let stuck = spec.max_surge == 0 && spec.max_unavailable.min(fewest) == 0;
        let surge = if stuck { 1 } else { spec.max_surge };
        step::Bounds {
            available_min: fewest.saturating_sub(spec.max_unavailable),
            existing_max: most.saturating_add(surge),
        }
    }
}
