//! The keeper, driven by hand: starts always work and get the next process id.

use super::*;
use crate::backoff::DELAY_MIN;

/// A keeper with a clock and processes that exist on paper only.
struct Node {
    keeper: Keeper,
    now: Duration,
    next_pid: u32,
    failing: bool,
}

const KERNEL: u32 = 1;
const GATEWAY: u32 = 2;

impl Node {
    /// Kernel 1 and gateway 2 run; the kernel is ready.
    fn up() -> Self {
        let mut node =
            Self { keeper: Keeper::new(), now: Duration::ZERO, next_pid: 1, failing: false };
        let done = node.tell(Event::Tick);
        assert_eq!(
            done,
            [Action::Start(Role::Kernel), Action::Start(Role::Gateway), report(Report::Listed)]
        );
        node.tell(Event::Request(Request::Ready));
        node
    }

    /// Handles `event` and answers the starts that it causes. Leaves out notices.
    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut done = Vec::new();
        let mut events = vec![event];
        while !events.is_empty() {
            for action in self.keeper.handle(self.now, events.remove(0)) {
                if let Action::Start(role) = &action {
                    let role = role.clone();
                    events.push(if self.failing {
                        Event::StartFailed { role, error: "ENOENT".into() }
                    } else {
                        self.next_pid += 1;
                        Event::Started { role, pid: self.next_pid - 1 }
                    });
                }
                if !matches!(action, Action::Notice(_)) {
                    done.push(action);
                }
            }
        }
        done
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.tell(Event::Tick)
    }

    fn die(&mut self, pid: u32) -> Vec<Action> {
        self.tell(Event::Exited { pid, status: Status::Signal(9) })
    }

    fn spawn(&mut self, cell: &str) -> Vec<Action> {
        self.tell(Event::Request(Request::Spawn {
            cell: cell.into(),
            kind: CellKind::Wasm,
            tenant: None,
        }))
    }
}

fn report(report: Report) -> Action {
    Action::Report(report)
}

fn wasm(cell: &str) -> Role {
    Role::Cell { cell: cell.into(), kind: CellKind::Wasm, tenant: None }
}

#[test]
fn a_kernel_comes_back_at_once_and_learns_of_living_cells() {
    let mut node = Node::up();
    assert_eq!(
        node.spawn("a"),
        [Action::Start(wasm("a")), report(Report::Spawned { cell: "a".into(), pid: 3 })]
    );
    assert_eq!(
        node.die(KERNEL),
        [
            Action::Forget(Role::Kernel),
            Action::CloseControl,
            Action::Start(Role::Kernel),
            report(Report::Cell { cell: "a".into(), kind: CellKind::Wasm, pid: 3 }),
            report(Report::Listed),
        ]
    );
    assert_eq!(node.keeper.deadline(), None);
}

#[test]
fn a_kernel_that_never_gets_ready_is_tried_for_ever_and_slower() {
    let mut node = Node::up();
    node.failing = true;
    node.die(KERNEL);
    let mut delays = Vec::new();
    for _ in 0..10 {
        let at = node.keeper.deadline().expect("a next try");
        delays.push((at - node.now).as_millis());
        let wait = at - node.now;
        assert!(node.wait(wait).contains(&Action::Start(Role::Kernel)));
    }
    assert_eq!(delays, [10, 20, 40, 80, 160, 320, 500, 500, 500, 500]);
    node.failing = false;
    let at = node.keeper.deadline().expect("a next try");
    node.wait(at - node.now);
    node.tell(Event::Request(Request::Ready));
    node.wait(Duration::from_secs(1));
    let pid = node.next_pid - 1;
    assert!(node.die(pid).contains(&Action::Start(Role::Kernel)), "a good life starts over");
}

#[test]
fn a_gateway_backs_off_on_its_own() {
    let mut node = Node::up();
    assert!(node.die(GATEWAY).contains(&Action::Start(Role::Gateway)));
    let again = node.next_pid - 1;
    assert_eq!(node.die(again), [Action::Forget(Role::Gateway)]);
    assert_eq!(node.keeper.deadline(), Some(DELAY_MIN));
}

#[test]
fn cells_are_started_once_and_their_ends_are_told() {
    let mut node = Node::up();
    node.spawn("a");
    let refused = report(Report::SpawnFailed { cell: "a".into(), error: "exists".into() });
    assert_eq!(node.spawn("a"), [refused]);
    let kill = node.tell(Event::Request(Request::Kill { cell: "a".into() }));
    assert_eq!(kill, [Action::Kill { pid: 3 }]);
    let told = |status: &str| report(Report::Exited { cell: "a".into(), status: status.into() });
    assert_eq!(node.die(3), [Action::Forget(wasm("a")), told("signal:9")]);
    assert_eq!(node.tell(Event::Request(Request::Kill { cell: "a".into() })), [told("absent")]);
    node.failing = true;
    let failed = report(Report::SpawnFailed { cell: "a".into(), error: "ENOENT".into() });
    assert_eq!(node.spawn("a"), [Action::Start(wasm("a")), failed]);
    node.failing = false;
    for n in 0..CELLS_MAX {
        node.spawn(&format!("c{n}"));
    }
    let refused = report(Report::SpawnFailed { cell: "more".into(), error: "EAGAIN".into() });
    assert_eq!(node.spawn("more"), [refused]);
}

#[test]
fn a_kernel_that_breaks_the_protocol_is_killed_and_replaced() {
    let mut node = Node::up();
    let done = node.tell(Event::ControlBroken);
    assert_eq!(done, [Action::CloseControl, Action::Kill { pid: KERNEL }]);
    assert!(node.die(KERNEL).contains(&Action::Start(Role::Kernel)));
}

#[test]
fn a_kernel_without_control_socket_has_a_deadline() {
    let mut node = Node::up();
    assert_eq!(node.tell(Event::ControlClosed), [Action::CloseControl]);
    assert_eq!(node.wait(KERNEL_TERM_WAIT), [Action::Kill { pid: KERNEL }]);
    assert_eq!(node.wait(KERNEL_TERM_WAIT), []);
}

#[test]
fn a_reload_restarts_the_kernel_only_and_is_no_failure() {
    let mut node = Node::up();
    node.spawn("a");
    for _ in 0..5 {
        let pid = node.keeper.kernel.pid().expect("runs");
        assert_eq!(node.tell(Event::Reload), [Action::Terminate { pid }]);
        assert!(node.die(pid).contains(&Action::Start(Role::Kernel)), "at once, every time");
    }
    let pid = node.keeper.kernel.pid().expect("runs");
    node.tell(Event::Reload);
    assert_eq!(node.wait(KERNEL_TERM_WAIT), [Action::Kill { pid }], "deaf to SIGTERM");
}

#[test]
fn the_end_goes_gateway_services_everything() {
    let mut node = Node::up();
    node.spawn("a");
    let done = node.tell(Event::Terminate);
    assert_eq!(done, [Action::Terminate { pid: GATEWAY }, report(Report::Terminate)]);
    assert_eq!(node.die(GATEWAY), [Action::Forget(Role::Gateway)], "not restarted");
    let refused = report(Report::SpawnFailed { cell: "b".into(), error: "ECANCELED".into() });
    assert_eq!(node.spawn("b"), [refused]);
    let done = node.tell(Event::Request(Request::Stop));
    assert_eq!(done, [Action::Terminate { pid: KERNEL }, Action::Kill { pid: 3 }]);
    node.die(KERNEL);
    let done = node.die(3);
    assert_eq!(done.last(), Some(&Action::Finish));
    assert_eq!(node.keeper.deadline(), None);
}

#[test]
fn the_end_has_deadlines_for_every_deaf_process() {
    let mut node = Node::up();
    node.spawn("a");
    node.tell(Event::Terminate);
    let end = |pid| Action::Terminate { pid };
    let kill = |pid| Action::Kill { pid };
    assert_eq!(node.wait(STOP_WAIT), [end(GATEWAY), end(KERNEL), kill(3)]);
    assert_eq!(node.wait(END_WAIT), [GATEWAY, KERNEL, 3].map(kill));
    assert_eq!(node.wait(KILL_WAIT), [Action::Finish], "a process that cannot die holds nothing");
}

#[test]
fn more_signals_make_the_end_faster() {
    let mut node = Node::up();
    node.tell(Event::Terminate);
    let both = |action: fn(u32) -> Action| vec![action(GATEWAY), action(KERNEL)];
    assert_eq!(node.tell(Event::Terminate), both(|pid| Action::Terminate { pid }));
    assert_eq!(node.tell(Event::Terminate), both(|pid| Action::Kill { pid }));
    node.die(KERNEL);
    assert_eq!(node.die(GATEWAY).last(), Some(&Action::Finish));
}

#[test]
fn the_death_of_the_kernel_during_the_end_moves_on() {
    let mut node = Node::up();
    node.spawn("a");
    node.tell(Event::Terminate);
    let done = node.die(KERNEL);
    assert!(done.contains(&Action::Kill { pid: 3 }) && !done.contains(&Action::Finish));
    assert!(!done.contains(&Action::Start(Role::Kernel)));
}

#[test]
fn an_end_without_a_kernel_does_not_wait_for_one() {
    let mut node = Node::up();
    node.failing = true;
    node.die(KERNEL);
    assert_eq!(node.tell(Event::Terminate), [Action::Terminate { pid: GATEWAY }]);
    assert_eq!(node.die(GATEWAY).last(), Some(&Action::Finish));
}

#[test]
fn strangers_are_reaped_and_forgotten() {
    assert_eq!(Node::up().die(4711), []);
}

#[test]
fn a_kernel_that_falls_silent_is_killed_but_not_while_it_stops_services() {
    let mut node = Node::up();
    for _ in 0..10 {
        assert_eq!(node.wait(Duration::from_secs(2)), []);
        node.tell(Event::Request(Request::Ready));
    }
    assert_eq!(node.wait(KERNEL_SILENCE_MAX), [Action::Kill { pid: KERNEL }]);
    let mut node = Node::up();
    node.tell(Event::Terminate);
    assert_eq!(node.wait(KERNEL_SILENCE_MAX * 2), []);
}
