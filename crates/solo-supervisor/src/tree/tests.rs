//! Runs the core against a small world in which stops and starts take effect on demand.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
// Else the glob of proptest has one as well.
use super::Strategy;

/// Executes actions and checks what must hold whatever happens.
struct World {
    core: SupervisorCore,
    /// Runs, or waits for its start.
    alive: BTreeSet<ChildId>,
    starting: Vec<ChildId>,
    stopping: Vec<ChildId>,
    trace: Vec<Action>,
    now_ms: u64,
}

impl World {
    fn new(strategy: Strategy, max_restarts: u32, modes: &[RestartMode]) -> Self {
        let policy = RestartPolicy { max_restarts, ..RestartPolicy::default() };
        let mut world = Self {
            core: SupervisorCore::new(strategy, policy, 1),
            alive: BTreeSet::new(),
            starting: Vec::new(),
            stopping: Vec::new(),
            trace: Vec::new(),
            now_ms: 0,
        };
        for mode in modes {
            world.core.add(*mode).expect("not ending");
        }
        let actions = world.core.advance();
        world.execute(actions);
        world
    }

    /// A world of permanent children that all run.
    fn running(strategy: Strategy, max_restarts: u32, count: usize) -> Self {
        let mut world = Self::new(strategy, max_restarts, &vec![RestartMode::Permanent; count]);
        world.settle();
        assert_eq!(world.alive.len(), count);
        world.trace.clear();
        world
    }

    fn execute(&mut self, actions: Vec<Action>) {
        let mut seen = BTreeSet::new();
        for action in actions {
            let last = self.trace.last();
            assert!(!matches!(last, Some(Action::GiveUp | Action::Stopped)), "after the end");
            match action {
                Action::Start { child, .. } => {
                    assert!(seen.insert(child), "{child:?} twice");
                    assert!(self.alive.insert(child), "{child:?} runs already");
                    self.starting.push(child);
                }
                Action::Stop(child) => {
                    assert!(seen.insert(child), "{child:?} twice");
                    assert!(self.alive.contains(&child), "{child:?} does not run");
                    self.stopping.push(child);
                }
                Action::GiveUp | Action::Stopped => assert!(self.alive.is_empty()),
            }
            self.trace.push(action);
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Exited(child, _) = event {
            self.alive.remove(&child);
            self.starting.retain(|other| *other != child);
            self.stopping.retain(|other| *other != child);
        }
        let actions = self.core.on_event(self.now_ms, event);
        self.execute(actions);
        assert_eq!(self.core.advance(), [], "nothing new without an event");
    }

    /// Lets all starts and stops take effect.
    fn settle(&mut self) {
        loop {
            if let Some(child) = self.stopping.first().copied() {
                self.event(Event::Exited(child, ExitKind::Normal));
            } else if let Some(child) = self.starting.first().copied() {
                self.starting.retain(|other| *other != child);
                self.event(Event::Started(child));
            } else {
                return;
            }
        }
    }

    fn crash(&mut self, child: u64) {
        self.event(Event::Exited(ChildId(child), ExitKind::Abnormal));
    }

    fn stops(&self) -> Vec<u64> {
        let stop = |action: &Action| if let Action::Stop(id) = action { Some(id.0) } else { None };
        self.trace.iter().filter_map(stop).collect()
    }

    fn starts(&self) -> Vec<u64> {
        let start = |action: &Action| match action {
            Action::Start { child, .. } => Some(child.0),
            _ => None,
        };
        self.trace.iter().filter_map(start).collect()
    }
}

/// Crashes one of `count` children and compares who was stopped and started, in order.
fn check(strategy: Strategy, count: u64, crashed: u64, stops: Vec<u64>, starts: Vec<u64>) {
    let mut world = World::running(strategy, 5, usize::try_from(count).expect("small"));
    world.crash(crashed);
    world.settle();
    assert_eq!(world.stops(), stops, "stops");
    assert_eq!(world.starts(), starts, "starts");
    assert_eq!(world.alive.len() as u64, count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn each_strategy_touches_exactly_its_children(count in 1_u64..8, pick: prop::sample::Index) {
        let crashed = pick.index(usize::try_from(count).expect("small")) as u64;
        check(Strategy::OneForOne, count, crashed, vec![], vec![crashed]);
        let later = (crashed + 1..count).rev().collect();
        check(Strategy::RestForOne, count, crashed, later, (crashed..count).collect());
        let others = (0..count).rev().filter(|id| *id != crashed).collect();
        check(Strategy::OneForAll, count, crashed, others, (0..count).collect());
    }

    #[test]
    fn giving_up_stops_all_in_reverse_order(count in 1_u64..8, pick: prop::sample::Index) {
        for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
            let count_usize = usize::try_from(count).expect("small");
            let crashed = pick.index(count_usize) as u64;
            let mut world = World::running(strategy, 0, count_usize);
            world.crash(crashed);
            world.settle();
            let others: Vec<u64> = (0..count).rev().filter(|id| *id != crashed).collect();
            prop_assert_eq!(world.stops(), others);
            prop_assert_eq!(world.trace.last(), Some(&Action::GiveUp));
        }
    }

    /// Exits, starts, removals and additions at random moments; `World` checks the invariants.
    #[test]
    fn any_order_of_events_keeps_the_invariants(
        strategy in prop::sample::select(
            vec![Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
        modes in prop::collection::vec(
            prop::sample::select(
                vec![RestartMode::Permanent, RestartMode::Transient, RestartMode::Temporary]),
            1..6),
        max_restarts in 0_u32..20,
        steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>(), 0_u64..2_000), 0..80),
    ) {
        let mut world = World::new(strategy, max_restarts, &modes);
        for (kind, pick, wait_ms) in steps {
            world.now_ms += wait_ms;
            let alive: Vec<ChildId> = world.alive.iter().copied().collect();
            let some = if alive.is_empty() { None } else { Some(*pick.get(&alive)) };
            match (kind, some) {
                (0, Some(id)) => world.event(Event::Exited(id, ExitKind::Normal)),
                (1 | 2, Some(id)) => world.event(Event::Exited(id, ExitKind::Abnormal)),
                (3, Some(id)) if pick.index(8) == 0 => {
                    world.event(Event::Exited(id, ExitKind::Permanent));
                }
                (4, _) => {
                    let _ = world.core.add(*pick.get(&modes));
                    let actions = world.core.advance();
                    world.execute(actions);
                }
                (5, Some(id)) => {
                    let actions = world.core.remove(id);
                    world.execute(actions);
                }
                (6, _) => {
                    if let Some(child) = world.starting.first().copied()
                        && !world.stopping.contains(&child)
                    {
                        world.starting.retain(|other| *other != child);
                        world.event(Event::Started(child));
                    }
                }
                _ => world.settle(),
            }
        }
        world.settle();
        world.event(Event::StopRequested);
        world.settle();
        prop_assert!(world.alive.is_empty());
        prop_assert!(matches!(world.trace.last(), Some(Action::Stopped | Action::GiveUp)));
        prop_assert!(world.core.add(RestartMode::Permanent).is_none());
    }
}

#[test]
fn later_children_start_when_the_earlier_ones_run() {
    let mut world = World::new(Strategy::RestForOne, 5, &[RestartMode::Permanent; 3]);
    assert_eq!(world.starts(), [0]);
    world.event(Event::Started(ChildId(0)));
    assert_eq!(world.starts(), [0, 1]);
}

#[test]
fn an_earlier_exit_widens_a_restart_under_way() {
    let mut world = World::running(Strategy::RestForOne, 5, 3);
    world.crash(1);
    assert_eq!(world.stops(), [2]);
    world.crash(0);
    world.settle();
    // Child 1 was down already, so only 2 was stopped, and all three started in order.
    assert_eq!(world.stops(), [2]);
    assert_eq!(world.starts(), [0, 1, 2]);
}

#[test]
fn only_the_first_start_of_a_group_waits() {
    let mut world = World::running(Strategy::OneForAll, 5, 2);
    world.crash(0);
    world.settle();
    world.trace.clear();
    world.crash(0);
    world.settle();
    let starts: Vec<_> =
        world.trace.iter().filter(|action| matches!(action, Action::Start { .. })).collect();
    let [Action::Start { delay_ms: first, .. }, Action::Start { delay_ms: second, .. }] =
        starts[..]
    else {
        panic!("{starts:?}");
    };
    assert!(*first >= 40, "{first}");
    assert_eq!(*second, 0);
}

#[test]
fn temporary_children_do_not_come_back_with_their_group() {
    let modes = [RestartMode::Permanent, RestartMode::Temporary, RestartMode::Transient];
    let mut world = World::new(Strategy::OneForAll, 5, &modes);
    world.settle();
    // A transient child that had finished is started again with its group, as in OTP.
    world.event(Event::Exited(ChildId(2), ExitKind::Normal));
    assert_eq!(world.core.state(ChildId(2)), Some(InstanceState::Completed));
    world.trace.clear();
    world.crash(0);
    world.settle();
    assert_eq!(world.starts(), [0, 2]);
    assert_eq!(world.core.state(ChildId(1)), Some(InstanceState::Completed));
    assert_eq!(world.core.restarts(ChildId(0)), 1);
}

#[test]
fn a_permanent_exit_ends_a_group_but_not_its_independent_siblings() {
    let mut world = World::running(Strategy::OneForOne, 5, 2);
    world.event(Event::Exited(ChildId(0), ExitKind::Permanent));
    assert_eq!(world.core.state(ChildId(0)), Some(InstanceState::Failed));
    assert_eq!(world.trace, []);

    let mut world = World::running(Strategy::RestForOne, 5, 2);
    world.event(Event::Exited(ChildId(0), ExitKind::Permanent));
    world.settle();
    assert_eq!(world.trace, [Action::Stop(ChildId(1)), Action::GiveUp]);
}

#[test]
fn a_removed_child_is_forgotten_when_it_has_ended() {
    let mut world = World::running(Strategy::OneForOne, 5, 2);
    let actions = world.core.remove(ChildId(0));
    world.execute(actions);
    assert!(world.core.contains(ChildId(0)));
    world.settle();
    assert!(!world.core.contains(ChildId(0)));
    assert_eq!(world.stops(), [0]);
    assert_eq!(world.core.remove(ChildId(0)), []);
}
