//! Plays rollouts in a small world whose instances fail at random, and whose kernel forgets.

use proptest::prelude::*;
use solo_types::InstanceState;

use super::{Decision, ObservedInstance, Rollout, RolloutSpec, Strategy};

const OLD: u64 = 1;
const NEW: u64 = 2;

/// Rounds after which a rollout that has not ended never will.
const ROUNDS_MAX: usize = 2_000;

/// What can go wrong in a world.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    /// Of 100 new instances, so many fail to become ready.
    new_fails_percent: u32,
    /// The same for old ones that are started again.
    old_fails_percent: u32,
    /// Instances that run crash, and come back or fail.
    crashes: bool,
    /// A start is carried out twice, as after a kernel that died between doing and knowing.
    repeats: bool,
}

struct World {
    instances: Vec<ObservedInstance>,
    next_number: u64,
    random: u64,
    trouble: Trouble,
    routes: Vec<Vec<u64>>,
    most: usize,
    fewest_available: usize,
}

impl World {
    fn new(replicas: u32, trouble: Trouble, seed: u64) -> Self {
        let running = |number| ObservedInstance {
            number,
            revision: OLD,
            state: InstanceState::Running,
            routed: true,
        };
        Self {
            instances: (1..=u64::from(replicas)).map(running).collect(),
            next_number: u64::from(replicas) + 1,
            random: seed,
            trouble,
            routes: Vec::new(),
            most: 0,
            fewest_available: usize::MAX,
        }
    }

    /// A linear congruential generator (Knuth's MMIX): enough to throw dice.
    fn below(&mut self, bound: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.random >> 33).expect("31 bits") % bound
    }

    fn start(&mut self, revision: u64, count: u32) {
        for _ in 0..count {
            let number = self.next_number;
            self.next_number += 1;
            let state = InstanceState::Starting;
            self.instances.push(ObservedInstance { number, revision, state, routed: false });
        }
    }

    fn execute(&mut self, decision: &Decision) {
        match decision {
            Decision::Start { revision, count } => {
                assert!(*count > 0);
                let times = if self.trouble.repeats && self.below(4) == 0 { 2 } else { 1 };
                for _ in 0..times {
                    self.start(*revision, *count);
                }
            }
            Decision::Stop { numbers } => {
                assert!(!numbers.is_empty());
                for instance in &mut self.instances {
                    if numbers.contains(&instance.number) {
                        assert!(
                            !instance.routed || !serves(instance.state),
                            "stopped with traffic"
                        );
                        instance.state = InstanceState::Stopping;
                        instance.routed = false;
                    }
                }
            }
            Decision::Route { numbers } => {
                self.routes.push(numbers.clone());
                for instance in &mut self.instances {
                    instance.routed = numbers.contains(&instance.number);
                }
            }
            _ => {}
        }
        self.note();
    }

    fn note(&mut self) {
        let available =
            self.instances.iter().filter(|i| i.state == InstanceState::Running && i.routed).count();
        self.fewest_available = self.fewest_available.min(available);
        self.most = self.most.max(self.instances.len());
    }

    /// Time passes for some instances.
    fn tick(&mut self) {
        use InstanceState as I;
        let mut next = Vec::new();
        for mut instance in std::mem::take(&mut self.instances) {
            let moves = self.below(2) == 0;
            let fails_percent = match instance.revision {
                NEW => self.trouble.new_fails_percent,
                _ => self.trouble.old_fails_percent,
            };
            match instance.state {
                I::Stopping if moves => continue,
                I::Starting | I::Restarting if moves => {
                    let fails = self.below(100) < fails_percent;
                    instance.state = if fails { I::Failed } else { I::Running };
                }
                I::Running if self.trouble.crashes && self.below(30) == 0 => {
                    instance.state = I::Restarting;
                }
                _ => {}
            }
            next.push(instance);
        }
        self.instances = next;
        self.note();
    }
}

fn serves(state: InstanceState) -> bool {
    matches!(state, InstanceState::Running | InstanceState::Starting | InstanceState::Restarting)
}

/// Plays to the end and answers the last decision.
fn play(rollout: &mut Rollout, world: &mut World) -> Decision {
    for _ in 0..ROUNDS_MAX {
        // A kernel that restarts has what it stored, and nothing else.
        let stored = serde_json::to_string(&rollout).expect("serializes");
        *rollout = serde_json::from_str(&stored).expect("reads its own form");
        match rollout.next(&world.instances) {
            decision @ (Decision::Done | Decision::RolledBack { .. }) => return decision,
            Decision::RollBack { reason } => rollout.roll_back(reason),
            decision => world.execute(&decision),
        }
        world.tick();
    }
    panic!("does not end: {rollout:?} {:?} {:?}", world.instances, rollout.next(&world.instances));
}

fn spec(replicas_from: u32, replicas_to: u32) -> RolloutSpec {
    RolloutSpec { from: OLD, to: NEW, replicas_from, replicas_to, max_surge: 1, max_unavailable: 0 }
}

/// Whether exactly `replicas` instances of `revision` are there, all serving.
fn is_exactly(world: &World, revision: u64, replicas: u32) -> bool {
    world.instances.len() == replicas as usize
        && world
            .instances
            .iter()
            .all(|i| i.revision == revision && i.routed && i.state == InstanceState::Running)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn rolling_keeps_its_bounds_and_ends(
        replicas_from in 1_u32..6,
        replicas_to in 1_u32..6,
        max_surge in 0_u32..3,
        max_unavailable in 0_u32..3,
        new_fails_percent in prop_oneof![Just(0), 0_u32..100],
        seed: u64,
    ) {
        let spec = RolloutSpec { max_surge, max_unavailable, ..spec(replicas_from, replicas_to) };
        let mut rollout = Rollout::new(Strategy::Rolling, spec);
        let trouble = Trouble { new_fails_percent, ..Trouble::default() };
        let mut world = World::new(replicas_from, trouble, seed);
        let end = play(&mut rollout, &mut world);

        let fewest = replicas_from.min(replicas_to);
        let surge = if max_surge == 0 && max_unavailable == 0 { 1 } else { max_surge };
        let available_min = fewest.saturating_sub(max_unavailable) as usize;
        prop_assert!(world.fewest_available >= available_min, "{}", world.fewest_available);
        // With room for nobody at all, one more must be allowed.
        let existing_max = (replicas_from.max(replicas_to) + surge) as usize;
        prop_assert!(world.most <= existing_max, "{} of {existing_max}", world.most);
        match end {
            Decision::Done => prop_assert!(is_exactly(&world, NEW, replicas_to)),
            _ => prop_assert!(is_exactly(&world, OLD, replicas_from)),
        }
        if new_fails_percent == 0 {
            prop_assert_eq!(end, Decision::Done);
        }
    }

    #[test]
    fn recreate_never_mixes_and_ends(
        replicas_from in 1_u32..6,
        replicas_to in 1_u32..6,
        new_fails_percent in prop_oneof![Just(0), 0_u32..100],
        seed: u64,
    ) {
        let mut rollout = Rollout::new(Strategy::Recreate, spec(replicas_from, replicas_to));
        let trouble = Trouble { new_fails_percent, ..Trouble::default() };
        let mut world = World::new(replicas_from, trouble, seed);
        let end = play(&mut rollout, &mut world);
        prop_assert!(world.most <= replicas_from.max(replicas_to) as usize);
        match end {
            Decision::Done => prop_assert!(is_exactly(&world, NEW, replicas_to)),
            _ => prop_assert!(is_exactly(&world, OLD, replicas_from)),
        }
        // The old ones are numbered up to `replicas_from`; no table holds both revisions.
        let old = |number: &u64| *number <= u64::from(replicas_from);
        for route in &world.routes {
            prop_assert!(route.iter().all(old) || !route.iter().any(old), "{route:?}");
        }
    }

    /// Both revisions fail, instances crash, starts happen twice, somebody turns it back: it ends,
    /// and only what was wanted is left.
    #[test]
    fn it_ends_whatever_happens(
        strategy in prop::sample::select(vec![Strategy::Rolling, Strategy::Recreate]),
        replicas_from in 1_u32..5,
        replicas_to in 1_u32..5,
        new_fails_percent in 0_u32..60,
        old_fails_percent in 0_u32..101,
        crashes: bool,
        abort_after in 0_usize..60,
        seed: u64,
    ) {
        let mut rollout = Rollout::new(strategy, spec(replicas_from, replicas_to));
        let trouble =
            Trouble { new_fails_percent, old_fails_percent, crashes, repeats: true };
        let mut world = World::new(replicas_from, trouble, seed);
        for _ in 0..abort_after {
            match rollout.next(&world.instances) {
                Decision::Done | Decision::RolledBack { .. } => break,
                Decision::RollBack { reason } => rollout.roll_back(reason),
                decision => world.execute(&decision),
            }
            world.tick();
        }
        rollout.roll_back("no longer wanted");
        let end = play(&mut rollout, &mut world);
        prop_assert!(matches!(end, Decision::RolledBack { .. }), "it ended otherwise");
        prop_assert_eq!(world.instances.len(), replicas_from as usize);
        prop_assert!(world.instances.iter().all(|i| i.revision == OLD));
        if old_fails_percent == 0 {
            prop_assert!(is_exactly(&world, OLD, replicas_from));
        }
    }
}

#[test]
fn a_rolling_step_goes_start_route_drain_stop() {
    let rollout = Rollout::new(Strategy::Rolling, spec(1, 1));
    let old =
        ObservedInstance { number: 1, revision: OLD, state: InstanceState::Running, routed: true };
    let new = ObservedInstance { number: 2, revision: NEW, routed: false, ..old };
    let starting = ObservedInstance { state: InstanceState::Starting, ..new };
    for (observed, expected) in [
        (vec![old], Decision::Start { revision: NEW, count: 1 }),
        (vec![old, starting], Decision::Wait),
        (vec![old, new], Decision::Route { numbers: vec![1, 2] }),
        (vec![old, ObservedInstance { routed: true, ..new }], Decision::Route { numbers: vec![2] }),
        (
            vec![
                ObservedInstance { routed: false, ..old },
                ObservedInstance { routed: true, ..new },
            ],
            Decision::Stop { numbers: vec![1] },
        ),
        (
            vec![
                ObservedInstance { routed: false, state: InstanceState::Stopping, ..old },
                ObservedInstance { routed: true, ..new },
            ],
            Decision::Wait,
        ),
        (vec![ObservedInstance { routed: true, ..new }], Decision::Done),
    ] {
        assert_eq!(rollout.next(&observed), expected, "{observed:?}");
        // Asked again, it answers the same.
        assert_eq!(rollout.next(&observed), expected, "{observed:?}");
    }
}

#[test]
fn commands_that_completed_are_replaced_and_may_complete() {
    let completed = |number, revision| ObservedInstance {
        number,
        revision,
        state: InstanceState::Completed,
        routed: false,
    };
    for strategy in [Strategy::Rolling, Strategy::Recreate] {
        let rollout = Rollout::new(strategy, spec(1, 1));
        assert_eq!(rollout.next(&[completed(2, NEW)]), Decision::Done);
        let both = [completed(1, OLD), completed(2, NEW)];
        assert_eq!(rollout.next(&both), Decision::Stop { numbers: vec![1] });
    }
}

#[test]
fn a_failed_instance_turns_the_rollout_back_once() {
    let mut rollout = Rollout::new(Strategy::Rolling, spec(1, 1));
    let failed =
        ObservedInstance { number: 2, revision: NEW, state: InstanceState::Failed, routed: false };
    let Decision::RollBack { reason } = rollout.next(&[failed]) else { panic!("goes on") };
    assert_eq!(reason, "instance 2 of revision 2 failed to become ready");
    rollout.roll_back(reason.clone());
    rollout.roll_back("another reason");
    assert_eq!(rollout.turned_back(), Some(reason.as_str()));
    assert_eq!(rollout.next(&[failed]), Decision::Stop { numbers: vec![2] });
    assert_eq!(rollout.next(&[]), Decision::Start { revision: OLD, count: 1 });
}

#[test]
fn surplus_leaves_without_ever_getting_traffic() {
    let ready = |number, routed| ObservedInstance {
        number,
        revision: NEW,
        state: InstanceState::Running,
        routed,
    };
    for strategy in [Strategy::Rolling, Strategy::Recreate] {
        let rollout = Rollout::new(strategy, spec(1, 1));
        let expected = Decision::Stop { numbers: vec![3] };
        assert_eq!(rollout.next(&[ready(2, true), ready(3, false)]), expected);
        let expected = Decision::Route { numbers: vec![2] };
        assert_eq!(rollout.next(&[ready(2, true), ready(3, true)]), expected);
    }
}
