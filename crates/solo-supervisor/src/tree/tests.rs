//! Runs the core against a small world in which stops and starts take effect on demand.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use solo_types::InstanceState;

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
        let children: Vec<ChildOptions> = modes.iter().map(|mode| (*mode).into()).collect();
        Self::with(strategy, AutoShutdown::Never, max_restarts, &children)
    }

    fn with(
        strategy: Strategy,
        auto_shutdown: AutoShutdown,
        max_restarts: u32,
        children: &[ChildOptions],
    ) -> Self {
        let policy = RestartPolicy { max_restarts, ..RestartPolicy::default() };
        let options = SupervisorOptions { strategy, auto_shutdown, policy };
        let mut world = Self {
            core: SupervisorCore::new(options, 1),
            alive: BTreeSet::new(),
            starting: Vec::new(),
            stopping: Vec::new(),
            trace: Vec::new(),
            now_ms: 0,
        };
        for child in children {
            world.core.specify(*child).expect("a legal child");
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
            assert!(!matches!(last, Some(Action::End(_))), "after the end");
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
                Action::End(_) => assert!(self.alive.is_empty()),
            }
            self.trace.push(action);
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Exited(child, _) | Event::Ignored(child) = event {
            self.alive.remove(&child);
            self.starting.retain(|other| *other != child);
            self.stopping.retain(|other| *other != child);
        }
        let actions = self.core.on_event(self.now_ms, event);
        self.execute(actions);
        assert_eq!(self.core.advance(), [], "nothing new without an event");
        let idle = self.starting.is_empty() && self.stopping.is_empty();
        assert_eq!(self.core.is_settled(), idle, "settled when nothing is under way");
    }

    fn exit(&mut self, child: u64, exit: ExitKind) {
        self.event(Event::Exited(ChildId(child), exit));
    }

    fn state(&self, child: u64) -> Option<InstanceState> {
        self.core.state(ChildId(child))
    }

    /// Adds a child and begins its start.
    fn add(&mut self, child: impl Into<ChildOptions>) -> ChildId {
        let id = self.core.add(child).expect("a legal child");
        let actions = self.core.advance();
        self.execute(actions);
        id
    }

    fn command(
        &mut self,
        command: impl FnOnce(&mut SupervisorCore) -> Result<Vec<Action>, ChildError>,
    ) -> Result<(), ChildError> {
        let actions = command(&mut self.core)?;
        self.execute(actions);
        Ok(())
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
            let end = Action::End(EndReason::TooManyRestarts(ChildId(crashed)));
            prop_assert_eq!(world.trace.last(), Some(&end));
        }
    }

    /// Exits, starts, failed starts and commands at random moments; `World` checks the invariants.
    #[test]
    fn any_order_of_events_keeps_the_invariants(
        strategy in prop::sample::select(
            vec![Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
        auto_shutdown in prop::sample::select(
            vec![AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]),
        children in prop::collection::vec(any_child(), 1..6),
        max_restarts in 0_u32..20,
        steps in prop::collection::vec((0_u8..14, any::<prop::sample::Index>(), 0_u64..2_000), 0..80),
    ) {
        let legal = |child: &ChildOptions| ChildOptions {
            significant: child.significant && child.check(auto_shutdown).is_ok(),
            ..*child
        };
        let children: Vec<ChildOptions> = children.iter().map(legal).collect();
        let mut world = World::with(strategy, auto_shutdown, max_restarts, &children);
        for (kind, pick, wait_ms) in steps {
            world.now_ms += wait_ms;
            world.random_step(kind, pick, &children);
        }
        world.settle();
        prop_assert!(world.core.is_settled());
        world.event(Event::StopRequested);
        world.settle();
        prop_assert!(world.alive.is_empty());
        prop_assert!(matches!(world.trace.last(), Some(Action::End(_))));
        prop_assert_eq!(world.core.add(RestartMode::Permanent), Err(ChildError::Ending));
    }
}

fn any_child() -> impl proptest::strategy::Strategy<Value = ChildOptions> {
    let modes = vec![RestartMode::Permanent, RestartMode::Transient, RestartMode::Temporary];
    let child = |(mode, significant)| ChildOptions { mode, significant };
    (prop::sample::select(modes), any::<bool>()).prop_map(child)
}

impl World {
    fn random_step(&mut self, kind: u8, pick: prop::sample::Index, children: &[ChildOptions]) {
        let known: Vec<ChildId> = self.core.children().collect();
        let alive: Vec<ChildId> = self.alive.iter().copied().collect();
        let some = if alive.is_empty() { None } else { Some(*pick.get(&alive)) };
        let any = if known.is_empty() { ChildId(77) } else { *pick.get(&known) };
        let startable = self.starting.iter().copied().find(|id| !self.stopping.contains(id));
        match (kind, some) {
            (0, Some(id)) => self.event(Event::Exited(id, ExitKind::Normal)),
            (1 | 2, Some(id)) => self.event(Event::Exited(id, ExitKind::Abnormal)),
            (3, Some(id)) if pick.index(8) == 0 => {
                self.event(Event::Exited(id, ExitKind::Permanent));
            }
            (4, _) => {
                if self.core.add(*pick.get(children)).is_ok() {
                    let actions = self.core.advance();
                    self.execute(actions);
                }
            }
            (5, Some(id)) => {
                let actions = self.core.remove(id);
                self.execute(actions);
            }
            (6 | 7, _) => {
                if let Some(child) = startable {
                    self.starting.retain(|other| *other != child);
                    self.event(Event::Started(child));
                }
            }
            (8, _) => {
                if let Some(child) = startable {
                    self.event(Event::Ignored(child));
                }
            }
            (9, _) => {
                let known = self.core.contains(any);
                assert_eq!(self.command(|core| core.terminate(any)).is_ok(), known);
            }
            (10, _) => {
                let _ = self.command(|core| core.restart(any));
            }
            (11, _) => {
                let was_alive = self.alive.contains(&any);
                assert!(self.core.delete(any).is_err() || !was_alive);
            }
            // Events that fit nothing.
            (12, _) => {
                if !self.alive.contains(&any) {
                    self.event(Event::Exited(any, ExitKind::Abnormal));
                }
                self.event(Event::Started(ChildId(1_000)));
            }
            _ => self.settle(),
        }
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
    assert!(!world.core.contains(ChildId(1)), "forgotten, as in OTP");
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
    let end = Action::End(EndReason::PermanentExit(ChildId(0)));
    assert_eq!(world.trace, [Action::Stop(ChildId(1)), end]);
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

#[test]
fn a_specified_child_that_does_not_start_ends_the_supervisor() {
    let mut world = World::new(Strategy::OneForOne, 5, &[RestartMode::Permanent; 3]);
    world.starting.clear();
    world.event(Event::Started(ChildId(0)));
    // One after the other, also under `one_for_one`: the third was never started.
    assert_eq!(world.starts(), [0, 1]);
    world.exit(1, ExitKind::Abnormal);
    world.settle();
    assert_eq!(world.stops(), [0]);
    assert_eq!(world.trace.last(), Some(&Action::End(EndReason::StartFailed(ChildId(1)))));
}

#[test]
fn an_added_child_that_does_not_start_is_forgotten() {
    let mut world = World::running(Strategy::OneForAll, 5, 1);
    let id = world.add(RestartMode::Permanent);
    world.event(Event::Exited(id, ExitKind::Abnormal));
    assert!(!world.core.contains(id));
    assert_eq!(world.stops(), [], "its sibling is left alone");
    let id = world.add(RestartMode::Permanent);
    world.event(Event::Ignored(id));
    assert_eq!(world.core.state(id), Some(InstanceState::Completed));
    let id = world.add(RestartMode::Temporary);
    world.event(Event::Ignored(id));
    assert!(!world.core.contains(id));
}

#[test]
fn a_failed_restart_is_tried_again_and_counted() {
    let mut world = World::running(Strategy::RestForOne, 3, 3);
    world.crash(0);
    world.settle();
    world.trace.clear();
    world.crash(0);
    // 2, then 1 are stopped, and 0 is started.
    world.event(Event::Exited(ChildId(2), ExitKind::Normal));
    world.event(Event::Exited(ChildId(1), ExitKind::Normal));
    world.starting.clear();
    world.event(Event::Started(ChildId(0)));
    // 1 does not start, though it says `normal`: tried again, and 0 stays up.
    world.exit(1, ExitKind::Normal);
    assert_eq!(world.starts(), [0, 1, 1]);
    world.exit(1, ExitKind::Abnormal);
    world.settle();
    assert_eq!(world.stops(), [2, 1, 0]);
    let end = Action::End(EndReason::TooManyRestarts(ChildId(1)));
    assert_eq!(world.trace.last(), Some(&end));
}

#[test]
fn commands_do_what_those_of_otp_do() {
    let mut world = World::running(Strategy::OneForOne, 5, 2);
    let first = ChildId(0);
    assert_eq!(world.core.delete(first), Err(ChildError::Running));
    assert_eq!(world.core.restart(first), Err(ChildError::Running));
    assert_eq!(world.command(|core| core.terminate(first)), Ok(()));
    world.settle();
    assert_eq!(world.state(0), Some(InstanceState::Completed));
    assert_eq!(world.command(|core| core.restart(first)), Ok(()));
    assert_eq!(world.core.restart(first), Err(ChildError::Restarting));
    // A start by command that fails is not tried again.
    world.exit(0, ExitKind::Abnormal);
    assert_eq!(world.state(0), Some(InstanceState::Failed));
    assert_eq!(world.core.delete(first), Ok(()));
    for refused in [world.core.terminate(first), world.core.restart(first)] {
        assert_eq!(refused, Err(ChildError::Unknown));
    }
    assert_eq!(world.core.delete(first), Err(ChildError::Unknown));
}

#[test]
fn a_child_terminated_while_its_group_restarts_stays_down() {
    let mut world = World::running(Strategy::OneForAll, 5, 3);
    world.crash(2);
    assert_eq!(world.stops(), [1]);
    let restarting = world.command(|core| core.restart(ChildId(2)));
    assert_eq!(restarting, Err(ChildError::Restarting));
    assert_eq!(world.command(|core| core.terminate(ChildId(0))), Ok(()));
    assert_eq!(world.command(|core| core.terminate(ChildId(2))), Ok(()));
    world.settle();
    assert_eq!(world.starts(), [1]);
    // The next restart of the group takes them along, as in OTP.
    world.trace.clear();
    world.crash(1);
    world.settle();
    assert_eq!(world.starts(), [0, 1, 2]);
}

#[test]
fn significant_children_end_the_supervisor() {
    let significant = |mode| ChildOptions { mode, significant: mode != RestartMode::Permanent };
    let modes = [RestartMode::Permanent, RestartMode::Transient, RestartMode::Temporary];
    let children = modes.map(significant);
    let world = |auto| World::with(Strategy::OneForOne, auto, 5, &children);

    let mut any = world(AutoShutdown::AnySignificant);
    any.settle();
    any.exit(0, ExitKind::Normal);
    any.exit(1, ExitKind::Abnormal);
    any.settle();
    assert_eq!(any.stops(), [], "those are restarted");
    any.exit(2, ExitKind::Abnormal);
    any.settle();
    assert_eq!(any.stops(), [1, 0]);
    assert_eq!(any.trace.last(), Some(&Action::End(EndReason::AutoShutdown(ChildId(2)))));

    let mut all = world(AutoShutdown::AllSignificant);
    all.settle();
    // That it was terminated is no end of its own, but it does not count as running either.
    assert_eq!(all.command(|core| core.terminate(ChildId(2))), Ok(()));
    all.settle();
    assert_eq!(all.state(0), Some(InstanceState::Running));
    all.exit(1, ExitKind::Normal);
    all.settle();
    assert_eq!(all.trace.last(), Some(&Action::End(EndReason::AutoShutdown(ChildId(1)))));

    let mut core = world(AutoShutdown::AnySignificant).core;
    let permanent = ChildOptions { mode: RestartMode::Permanent, significant: true };
    assert_eq!(core.add(permanent), Err(ChildError::PermanentSignificant));
    let mut core = World::running(Strategy::OneForOne, 5, 1).core;
    let transient = ChildOptions { mode: RestartMode::Transient, significant: true };
    assert_eq!(core.add(transient), Err(ChildError::SignificantForNever));
}

#[test]
fn a_significant_child_that_comes_back_with_its_group_has_not_ended() {
    let children = [
        ChildOptions { mode: RestartMode::Temporary, significant: true },
        ChildOptions { mode: RestartMode::Permanent, significant: false },
        ChildOptions { mode: RestartMode::Permanent, significant: false },
        ChildOptions { mode: RestartMode::Transient, significant: true },
    ];
    let mut world = World::with(Strategy::RestForOne, AutoShutdown::AllSignificant, 5, &children);
    world.settle();
    world.crash(1);
    world.exit(3, ExitKind::Normal);
    // 3 is stopped, 2 is being stopped: the only significant child that runs ends.
    world.exit(0, ExitKind::Normal);
    world.settle();
    assert_eq!(world.state(3), Some(InstanceState::Running));
    world.exit(3, ExitKind::Normal);
    world.settle();
    assert_eq!(world.trace.last(), Some(&Action::End(EndReason::AutoShutdown(ChildId(3)))));
}

#[test]
fn without_delays_in_its_policy_every_restart_is_immediate() {
    let policy = RestartPolicy {
        max_restarts: 50,
        backoff_initial_ms: 0,
        backoff_max_ms: 0,
        ..RestartPolicy::default()
    };
    let mut core = SupervisorCore::new(SupervisorOptions::new(Strategy::OneForOne, policy), 1);
    let child = core.specify(RestartMode::Permanent).expect("a legal child");
    let start = Action::Start { child, delay_ms: 0 };
    assert_eq!(core.advance(), [start]);
    for _ in 0..50 {
        assert_eq!(core.on_event(7, Event::Started(child)), []);
        assert_eq!(core.on_event(7, Event::Exited(child, ExitKind::Abnormal)), [start]);
    }
}
