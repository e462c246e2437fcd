//! One step towards an aim. The same code goes forward and back: only the aim differs.

use solo_types::InstanceState;

use crate::{Decision, ObservedInstance};

/// What should be there in the end, and nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) revision: u64,
    pub(crate) replicas: u32,
}

/// What must hold on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Instances that are ready and get traffic.
    pub(crate) available_min: u32,
    /// Instances that exist, those that drain included.
    pub(crate) existing_max: u32,
}

/// The first instance of a revision that gave up.
pub(crate) fn first_failed(observed: &[ObservedInstance], revision: u64) -> Option<u64> {
    let failed = |instance: &&ObservedInstance| {
        instance.revision == revision && instance.state == InstanceState::Failed
    };
    observed.iter().filter(failed).map(|instance| instance.number).min()
}

/// Ends everything else, then starts what is wanted. `None`: the aim is reached.
pub(crate) fn recreate(aim: Aim, observed: &[ObservedInstance]) -> Option<Decision> {
    let scene = Scene::new(aim, observed);
    if !scene.others.is_empty() {
        // Traffic leaves an instance before it drains.
        if scene.others.iter().any(|instance| instance.routed && is_live(instance)) {
            return Some(route(scene.targets.iter().filter(|instance| instance.routed)));
        }
        return Some(stop(scene.others.iter().filter(|instance| !is_stopping(instance))));
    }
    scene.complete(u32::MAX)
}

/// Replaces instances within bounds. `None`: the aim is reached.
pub(crate) fn rolling(
    aim: Aim,
    bounds: &Bounds,
    observed: &[ObservedInstance],
) -> Option<Decision> {
    let scene = Scene::new(aim, observed);
    if let Some(decision) = scene.route_new() {
        return Some(decision);
    }
    // What serves nobody makes room first.
    let idle = |instance: &&ObservedInstance| !is_available(instance) && !is_stopping(instance);
    if scene.others.iter().any(|instance| idle(&instance)) {
        let leaves = |instance: &&ObservedInstance| instance.routed && is_live(instance);
        if scene.others.iter().filter(idle).any(|instance| leaves(&instance)) {
            let stays = |instance: &&ObservedInstance| instance.routed && !is_stopping(instance);
            let others = scene.others.iter().filter(|instance| !idle(instance));
            return Some(route(scene.targets.iter().chain(others).filter(stays)));
        }
        return Some(stop(scene.others.iter().filter(idle)));
    }
    let existing = count(observed.len());
    let missing = aim.replicas.saturating_sub(count(scene.targets.len()));
    let start = missing.min(bounds.existing_max.saturating_sub(existing));
    if start > 0 {
        return Some(Decision::Start { revision: aim.revision, count: start });
    }
    if let Some(decision) = scene.drain_others(bounds) {
        return Some(decision);
    }
    if scene.others.is_empty() { scene.complete(0) } else { Some(Decision::Wait) }
}

/// The instances, sorted into those that are wanted and the others.
struct Scene<'a> {
    aim: Aim,
    all: &'a [ObservedInstance],
    /// Of the wanted revision and not on their way out, at most as many as are wanted.
    targets: Vec<ObservedInstance>,
    /// All the rest: also surplus, and instances of the wanted revision that are stopping.
    others: Vec<ObservedInstance>,
}

impl<'a> Scene<'a> {
    fn new(aim: Aim, all: &'a [ObservedInstance]) -> Self {
        let (mut targets, mut others): (Vec<_>, Vec<_>) = all
            .iter()
            .copied()
            .partition(|instance| instance.revision == aim.revision && !is_stopping(instance));
        // Surplus comes from a start that was repeated after a crash, or from scaling down. It
        // leaves like all the others, and gets no traffic first; the best stay.
        targets.sort_by_key(|instance| (rank(instance), instance.number));
        let replicas = usize::try_from(aim.replicas).unwrap_or(usize::MAX);
        others.extend(targets.split_off(replicas.min(targets.len())));
        Self { aim, all, targets, others }
    }

    /// Gives traffic to wanted instances that became ready.
    fn route_new(&self) -> Option<Decision> {
        let is_new =
            |target: &&ObservedInstance| target.state == InstanceState::Running && !target.routed;
        if !self.targets.iter().any(|target| is_new(&target)) {
            return None;
        }
        let keeps = |instance: &&ObservedInstance| instance.routed && !is_stopping(instance);
        let new = self.targets.iter().filter(is_new);
        Some(route(self.all.iter().filter(keeps).chain(new)))
    }

    /// Takes traffic from as many others as the bounds allow; being idle, they are stopped next.
    fn drain_others(&self, bounds: &Bounds) -> Option<Decision> {
        let available = count(self.all.iter().filter(|instance| is_available(instance)).count());
        // Those that completed serve nobody, but were what was wanted: they count, and go first.
        let mut serving: Vec<_> =
            self.others.iter().filter(|instance| is_available(instance)).collect();
        // Going back, a wanted instance that failed is written off; its place must not hold up the
        // others. Going forward there is none.
        let failed = |target: &&ObservedInstance| target.state == InstanceState::Failed;
        let written_off = count(self.targets.iter().filter(failed).count());
        let available_min = bounds.available_min.saturating_sub(written_off);
        let spare = available.saturating_sub(available_min).min(count(serving.len()));
        if spare == 0 {
            return None;
        }
        serving.sort_by_key(|instance| (instance.routed, instance.number));
        serving.truncate(usize::try_from(spare).unwrap_or(usize::MAX));
        if serving.iter().any(|instance| !instance.routed) {
            return Some(stop(serving.into_iter().filter(|instance| !instance.routed)));
        }
        let leaves = |instance: &ObservedInstance| {
            serving.iter().any(|leaving| leaving.number == instance.number)
        };
        let stays = |instance: &&ObservedInstance| {
            instance.routed && !is_stopping(instance) && !leaves(instance)
        };
        Some(route(self.all.iter().filter(stays)))
    }

    /// Brings the wanted instances to their number when the others are gone. At most `start_max`
    /// are started; a rolling step has started what it may.
    fn complete(&self, start_max: u32) -> Option<Decision> {
        let existing = count(self.targets.len());
        let start = self.aim.replicas.saturating_sub(existing).min(start_max);
        if start > 0 {
            return Some(Decision::Start { revision: self.aim.revision, count: start });
        }
        if let Some(decision) = self.route_new() {
            return Some(decision);
        }
        // A failed one counts as settled: going forward it was noticed before, going back nothing
        // better is to be had.
        let settled = |target: &ObservedInstance| {
            is_available(target) || matches!(target.state, InstanceState::Failed)
        };
        let reached = existing == self.aim.replicas && self.targets.iter().all(settled);
        if reached { None } else { Some(Decision::Wait) }
    }
}

fn is_stopping(instance: &ObservedInstance) -> bool {
    instance.state == InstanceState::Stopping
}

/// Whether traffic can reach it.
fn is_live(instance: &ObservedInstance) -> bool {
    matches!(
        instance.state,
        InstanceState::Starting | InstanceState::Running | InstanceState::Restarting
    )
}

/// Whether it does its duty: it serves, or it is a command that ran to its end.
fn is_available(instance: &ObservedInstance) -> bool {
    match instance.state {
        InstanceState::Running => instance.routed,
        InstanceState::Completed => true,
        _ => false,
    }
}

/// Whom to keep where there are too many; lower is better.
fn rank(instance: &ObservedInstance) -> u8 {
    match instance.state {
        _ if is_available(instance) => 0,
        InstanceState::Running => 1,
        InstanceState::Starting | InstanceState::Restarting => 2,
        _ => 3,
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn numbers<'a>(instances: impl IntoIterator<Item = &'a ObservedInstance>) -> Vec<u64> {
    let mut numbers: Vec<u64> = instances.into_iter().map(|instance| instance.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn route<'a>(instances: impl IntoIterator<Item = &'a ObservedInstance>) -> Decision {
    Decision::Route { numbers: numbers(instances) }
}

/// Waits where there is nobody to stop.
fn stop<'a>(instances: impl IntoIterator<Item = &'a ObservedInstance>) -> Decision {
    let numbers = numbers(instances);
    if numbers.is_empty() { Decision::Wait } else { Decision::Stop { numbers } }
}
