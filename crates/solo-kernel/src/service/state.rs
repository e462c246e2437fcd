//! What is known of one service. Plain data and pure steps; the actor and the reports change it.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use solo_api::cell::v1 as wire;
use solo_types::{
    Exit, ExitReason, InstanceId, InstanceState, ServiceId, ServiceSpec, ServiceState,
};

use crate::store::{Outcome, RolloutRow, ServiceRow};

/// Exits that a service remembers, as `solo.v1` documents it.
const EXITS_MAX: usize = 8;

/// One instance, as its cell last said.
#[derive(Debug, Clone)]
pub(crate) struct InstanceView {
    pub(crate) revision: u64,
    pub(crate) state: InstanceState,
    /// As its present cell counts.
    pub(crate) restarts: u64,
    /// In cells that are gone.
    pub(crate) restarts_before: u64,
    pub(crate) last_exit: Option<Exit>,
    /// Whether messages go to it.
    pub(crate) routed: bool,
}

/// One service.
#[derive(Debug)]
pub(crate) struct State {
    /// The revision that should serve.
    pub(crate) revision: u64,
    pub(crate) spec: Arc<ServiceSpec>,
    /// By number.
    pub(crate) instances: BTreeMap<u64, InstanceView>,
    /// First number that no instance has had.
    pub(crate) next_instance: u64,
    /// Set once it ended by itself for good.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) rollout: Option<RolloutRow>,
    /// With the instance's id, oldest first.
    pub(crate) exits: VecDeque<(String, Exit)>,
    /// Restarts of instances that are gone.
    pub(crate) restarts_gone: u64,
    /// Unix milliseconds.
    pub(crate) updated_at: u64,
    /// It is being ended.
    pub(crate) ending: bool,
    /// Incarnation of the cell whose instances were taken over when the kernel started.
    pub(crate) adopted_in: Option<String>,
}

impl State {
    /// A service whose instances are not known yet.
    pub(crate) fn from_row(row: ServiceRow) -> Self {
        let outcome = row.outcome;
        Self {
            revision: row.revision,
            spec: Arc::new(row.spec),
            instances: BTreeMap::new(),
            next_instance: row.next_instance,
            exits: outcome.as_ref().map(|o| o.exits.clone().into()).unwrap_or_default(),
            restarts_gone: outcome.as_ref().map_or(0, |o| o.restarts),
            outcome,
            rollout: row.rollout,
            updated_at: row.updated_at,
            ending: false,
            adopted_in: None,
        }
    }

    /// Where the service stands.
    pub(crate) fn service_state(&self) -> ServiceState {
        if self.ending {
            return ServiceState::Stopping;
        }
        if let Some(outcome) = &self.outcome {
            return outcome.state;
        }
        let state = ServiceState::of(self.instances.values().map(|instance| instance.state));
        let is_over = matches!(
            state,
            ServiceState::Completed | ServiceState::Failed | ServiceState::Stopping
        );
        // Between the old instances and the new ones it is not over.
        if is_over && self.rollout.is_some() { ServiceState::Starting } else { state }
    }

    /// Over all instances, also those that are gone.
    pub(crate) fn restarts(&self) -> u64 {
        let living = self.instances.values().map(|i| i.restarts + i.restarts_before).sum::<u64>();
        self.restarts_gone + living
    }

    pub(crate) fn last_exit(&self) -> Option<&(String, Exit)> {
        self.exits.back()
    }

    /// Takes `count` new instance numbers.
    pub(crate) fn take_numbers(&mut self, count: u64) -> Vec<u64> {
        let first = self.next_instance;
        self.next_instance += count;
        (first..self.next_instance).collect()
    }

    /// Notes instances that are about to be started.
    pub(crate) fn add_starting(&mut self, numbers: &[u64], revision: u64) {
        for number in numbers {
            self.instances.entry(*number).or_insert(InstanceView {
                revision,
                state: InstanceState::Starting,
                restarts: 0,
                restarts_before: 0,
                last_exit: None,
                routed: false,
            });
        }
    }

    /// Notes instances that are ready.
    pub(crate) fn set_state(&mut self, numbers: &[u64], state: InstanceState) {
        for number in numbers {
            if let Some(instance) = self.instances.get_mut(number) {
                instance.state = state;
            }
        }
    }

    /// Notes that instances are ready. A report may have been faster, and may know of a crash already.
    pub(crate) fn started(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(view) = self.instances.get_mut(number)
                && view.state == InstanceState::Starting
            {
                view.state = InstanceState::Running;
            }
        }
    }

    /// Notes that messages go to exactly these instances.
    pub(crate) fn set_routed(&mut self, numbers: &[u64]) {
        for (number, instance) in &mut self.instances {
            instance.routed = numbers.contains(number);
        }
    }

    /// Forgets instances that are gone.
    pub(crate) fn remove(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(gone) = self.instances.remove(number) {
                self.restarts_gone += gone.restarts + gone.restarts_before;
            }
        }
    }

    /// Takes what a cell says about all instances of `service` that it hosts. Children are none.
    pub(crate) fn adopt(&mut self, service: ServiceId, snapshot: &wire::SnapshotResponse) {
        let routed: HashSet<&str> =
            snapshot.routes.iter().flat_map(|r| &r.instances).map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        for instance in snapshot.instances.iter().filter(|instance| instance.parent.is_empty()) {
            let Some(number) = replica_number(service, &instance.id) else { continue };
            seen.insert(number);
            self.next_instance = self.next_instance.max(number + 1);
            let before = self.instances.get(&number).map_or(0, |known| known.restarts_before);
            let exit = instance.last_exit.clone().map(solo_api::cell_exit);
            if let Some(exit) = &exit {
                self.push_new_exit(&instance.id, exit);
            }
            self.instances.insert(
                number,
                InstanceView {
                    revision: instance.revision,
                    state: InstanceState::from_name(&instance.state)
                        .unwrap_or(InstanceState::Failed),
                    restarts: instance.restarts,
                    restarts_before: before,
                    last_exit: exit,
                    routed: routed.contains(instance.id.as_str()),
                },
            );
        }
        let gone: Vec<u64> =
            self.instances.keys().copied().filter(|number| !seen.contains(number)).collect();
        self.remove(&gone);
    }

    /// Whether all is as it should be, so that a cell whose instances were just taken over needs no
    /// command at all.
    pub(crate) fn is_settled(&self) -> bool {
        let as_wanted = |view: &InstanceView| {
            let revision = view.revision == self.revision;
            revision && view.routed && view.state != InstanceState::Stopping
        };
        self.rollout.is_none()
            && self.outcome.is_none()
            && self.instances.len() == self.spec.replicas as usize
            && self.instances.values().all(as_wanted)
    }

    /// Takes one change of one instance. Changes of instances that are not known are old news.
    pub(crate) fn instance_changed(&mut self, number: u64, id: &str, change: wire::StateChange) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        if let Some(state) = InstanceState::from_name(&change.state) {
            instance.state = state;
        }
        instance.restarts = change.restarts;
        if let Some(exit) = change.exit {
            let exit = solo_api::cell_exit(exit);
            instance.last_exit = Some(exit.clone());
            self.push_new_exit(id, &exit);
        }
    }

    /// Notes that the cell died with all instances.
    pub(crate) fn cell_lost(&mut self, why: &str, at_unix_ms: u64, id: impl Fn(u64) -> String) {
        let exit = Exit {
            reason: ExitReason::CellLost,
            message: why.to_owned(),
            backtrace: Vec::new(),
            at_unix_ms,
            permanent: false,
        };
        let mut lost = Vec::new();
        for (number, instance) in &mut self.instances {
            if matches!(instance.state, InstanceState::Completed | InstanceState::Failed) {
                continue;
            }
            instance.state = InstanceState::Restarting;
            instance.restarts_before += instance.restarts + 1;
            instance.restarts = 0;
            instance.last_exit = Some(exit.clone());
            lost.push(*number);
        }
        for number in lost {
            self.push_exit(id(number), exit.clone());
        }
    }

    pub(crate) fn push_exit(&mut self, instance: String, exit: Exit) {
        if self.exits.len() == EXITS_MAX {
            self.exits.pop_front();
        }
        self.exits.push_back((instance, exit));
    }

    /// Notes an exit that may have been noted before.
    fn push_new_exit(&mut self, instance: &str, exit: &Exit) {
        let known = |(id, known): &(String, Exit)| id == instance && known == exit;
        if !self.exits.iter().any(known) {
            self.push_exit(instance.to_owned(), exit.clone());
        }
    }

    /// How the service ended by itself, if all its instances have.
    pub(crate) fn ended_by_itself(&self) -> Option<ServiceState> {
        let busy = self.rollout.is_some() || self.ending || self.outcome.is_some();
        if busy || self.instances.is_empty() {
            return None;
        }
        match ServiceState::of(self.instances.values().map(|instance| instance.state)) {
            state @ (ServiceState::Completed | ServiceState::Failed) => Some(state),
            _ => None,
        }
    }

    /// Makes the outcome that is kept.
    pub(crate) fn outcome(&self, state: ServiceState, log_tail: Vec<String>) -> Outcome {
        Outcome {
            state,
            exits: self.exits.iter().cloned().collect(),
            log_tail,
            restarts: self.restarts(),
        }
    }
}

/// The number in `NODE-SERVICE-NUMBER`; none for a child (`NODE-SERVICE-NUMBER.CHILD`) and for an
/// instance of another service.
pub(crate) fn replica_number(service: ServiceId, id: &str) -> Option<u64> {
    id.parse::<InstanceId>().ok().filter(|id| id.service == service).map(|id| id.number)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
