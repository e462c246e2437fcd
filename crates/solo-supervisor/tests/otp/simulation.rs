//! A world of cores: supervisors and workers without processes, in which one thing happens at a time.
//!
//! It does for [`SupervisorCore`] what Erlang's processes do for `supervisor`, and no more: starts
//! and stops take effect at once; exits wait in the supervisor's mailbox while it is busy; a failed
//! start of a restart is put there too, as OTP's supervisor casts `try_again_restart` to itself.
//!
//! The trace has one line per step: what the step answered; `+name` a worker runs, `!name` its start
//! failed, `~name` it was ignored, `-name` it was stopped, `^name` a supervisor begins, `vname:why`
//! it has ended; then the children of the tree in start order, `name-` for one that is down.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

use solo_supervisor::{
    Action, ChildError, ChildId, EndReason, Event, ExitKind, SupervisorCore, SupervisorOptions,
};
use solo_types::{RestartMode, RestartPolicy};

use crate::script::{Kind, Node, Outcome, Reason, Script, Step};

/// Answers the trace.
pub(crate) fn run(script: &Script) -> String {
    let mut world = World::default();
    let mut root = Supervisor::boot(&script.tree, &mut world);
    world.line("boot", root.as_ref());
    for step in &script.steps {
        let Some(supervisor) = &mut root else { break };
        let answer = supervisor.step(step, &mut world);
        root = root.filter(|root| !root.ended);
        world.line(answer, root.as_ref());
    }
    world.trace
}

/// What all supervisors of a tree share.
#[derive(Default)]
struct World {
    trace: String,
    /// Since the last line.
    notes: String,
    /// Starts of each worker so far.
    attempts: HashMap<String, usize>,
    /// How the last start that came to its end did so.
    outcome: &'static str,
}

impl World {
    fn note(&mut self, sign: char, name: &str) {
        let _ = write!(self.notes, " {sign}{name}");
    }

    fn line(&mut self, answer: &str, root: Option<&Supervisor>) {
        let state = root.map_or_else(|| "gone".to_owned(), Supervisor::state);
        let _ = writeln!(self.trace, "{answer}:{} = {state}", std::mem::take(&mut self.notes));
    }
}

struct Supervisor {
    name: String,
    core: SupervisorCore,
    children: BTreeMap<ChildId, Child>,
    mailbox: VecDeque<Event>,
    ended: bool,
}

struct Child {
    node: Node,
    run: Run,
}

enum Run {
    Down,
    Worker,
    Supervisor(Box<Supervisor>),
}

impl Supervisor {
    /// Starts a supervisor and its children; `None`: one of them did not start.
    fn boot(node: &Node, world: &mut World) -> Option<Self> {
        let Kind::Supervisor { strategy, max_restarts, auto_shutdown, children } = &node.kind
        else {
            panic!("{} is no supervisor", node.name);
        };
        let policy = RestartPolicy {
            mode: RestartMode::Permanent,
            max_restarts: *max_restarts,
            window_ms: 1_000_000_000,
            // As in OTP: no delays.
            backoff_initial_ms: 0,
            backoff_max_ms: 0,
        };
        let options =
            SupervisorOptions { strategy: *strategy, auto_shutdown: *auto_shutdown, policy };
        let mut supervisor = Self {
            name: node.name.clone(),
            core: SupervisorCore::new(options, 0),
            children: BTreeMap::new(),
            mailbox: VecDeque::new(),
            ended: false,
        };
        world.note('^', &node.name);
        for child in children {
            let id = supervisor.core.specify(child.options).expect("legal");
            supervisor.children.insert(id, Child { node: child.clone(), run: Run::Down });
        }
        let actions = supervisor.core.advance();
        supervisor.perform(actions, world);
        if supervisor.ended { None } else { Some(supervisor) }
    }

    /// Executes actions and what follows from them, until the mailbox is empty or the end.
    fn perform(&mut self, actions: Vec<Action>, world: &mut World) {
        let mut actions = VecDeque::from(actions);
        loop {
            let event = match actions.pop_front() {
                Some(Action::Start { child, delay_ms }) => {
                    assert_eq!(delay_ms, 0, "no delays in OTP");
                    self.start(child, world)
                }
                Some(Action::Stop(child)) => Some(self.stop(child, world)),
                Some(Action::End(reason)) => {
                    self.end(reason, world);
                    None
                }
                None => match self.mailbox.pop_front() {
                    Some(event) if !self.ended => Some(event),
                    _ => break,
                },
            };
            if let Some(event) = event {
                actions.extend(self.core.on_event(0, event));
            }
            self.children.retain(|id, _| self.core.contains(*id));
        }
        assert!(self.core.is_settled(), "{} has come to rest", self.name);
    }

    fn start(&mut self, id: ChildId, world: &mut World) -> Option<Event> {
        let child = self.children.get_mut(&id).expect("known");
        assert!(matches!(child.run, Run::Down), "{} runs already", child.node.name);
        let outcome = match &child.node.kind {
            Kind::Worker { outcomes } => {
                let attempt = world.attempts.entry(child.node.name.clone()).or_default();
                let outcome = outcomes.get(*attempt).copied().unwrap_or(Outcome::Runs);
                *attempt += 1;
                let sign = match outcome {
                    Outcome::Runs => '+',
                    Outcome::Fails => '!',
                    Outcome::Ignored => '~',
                };
                world.note(sign, &child.node.name);
                if outcome == Outcome::Runs {
                    child.run = Run::Worker;
                }
                outcome
            }
            Kind::Supervisor { .. } => match Self::boot(&child.node, world) {
                Some(supervisor) => {
                    child.run = Run::Supervisor(Box::new(supervisor));
                    Outcome::Runs
                }
                None => Outcome::Fails,
            },
        };
        match outcome {
            Outcome::Runs => {
                world.outcome = "ok";
                Some(Event::Started(id))
            }
            Outcome::Ignored => {
                world.outcome = "undefined";
                Some(Event::Ignored(id))
            }
            Outcome::Fails => {
                world.outcome = "failed";
                self.mailbox.push_back(Event::Exited(id, ExitKind::Abnormal));
                None
            }
        }
    }

    fn stop(&mut self, id: ChildId, world: &mut World) -> Event {
        let child = self.children.get_mut(&id).expect("known");
        match std::mem::replace(&mut child.run, Run::Down) {
            Run::Worker => world.note('-', &child.node.name),
            Run::Supervisor(mut below) => {
                let actions = below.core.on_event(0, Event::StopRequested);
                below.perform(actions, world);
                assert!(below.ended, "{} has ended", below.name);
            }
            // It had ended by itself: that is now no news any more.
            Run::Down => self.mailbox.retain(|event| *event_child(event) != id),
        }
        Event::Exited(id, ExitKind::Normal)
    }

    fn end(&mut self, reason: EndReason, world: &mut World) {
        let why = match reason {
            EndReason::Ordered => "ordered",
            EndReason::TooManyRestarts(_) => "too_many_restarts",
            EndReason::AutoShutdown(_) => "auto_shutdown",
            EndReason::StartFailed(_) => "start_failed",
            EndReason::PermanentExit(_) => panic!("OTP has no permanent exits"),
        };
        world.note('v', &format!("{}:{why}", self.name));
        self.ended = true;
    }

    fn step(&mut self, step: &Step, world: &mut World) -> &'static str {
        match step {
            Step::Stop => {
                let actions = self.core.on_event(0, Event::StopRequested);
                self.perform(actions, world);
                "ok"
            }
            Step::Crash(name, reason) => {
                // The supervisor's name is before the last dot.
                let supervisor = name.rsplit_once('.').map_or("", |(supervisor, _)| supervisor);
                let crash = [(name.clone(), *reason)];
                self.at(supervisor, world, &mut |found, world| found.crash(&crash, world))
                    .unwrap_or("absent")
            }
            Step::Burst(supervisor, crashes) => self
                .at(supervisor, world, &mut |found, world| {
                    found.crash(crashes, world);
                    "ok"
                })
                .unwrap_or("absent"),
            Step::Start(supervisor, child) => self
                .at(supervisor, world, &mut |found, world| found.start_child(child, world))
                .unwrap_or("absent"),
            Step::Terminate(supervisor, child) => self
                .at(supervisor, world, &mut |found, world| {
                    found.command(child, world, |core, id| core.terminate(id))
                })
                .unwrap_or("absent"),
            Step::Restart(supervisor, child) => self
                .at(supervisor, world, &mut |found, world| {
                    let answer = found.command(child, world, |core, id| core.restart(id));
                    if answer == "ok" { world.outcome } else { answer }
                })
                .unwrap_or("absent"),
            Step::Delete(supervisor, child) => self
                .at(supervisor, world, &mut |found, world| {
                    found.command(child, world, |core, id| core.delete(id).map(|()| Vec::new()))
                })
                .unwrap_or("absent"),
        }
    }

    /// Does something to the running supervisor of that name, here or below; then, where it has
    /// ended of it, its own supervisor hears of that.
    fn at(
        &mut self,
        name: &str,
        world: &mut World,
        work: &mut dyn FnMut(&mut Self, &mut World) -> &'static str,
    ) -> Option<&'static str> {
        if self.name == name {
            return Some(work(self, world));
        }
        let mut found = None;
        for (id, child) in &mut self.children {
            if let Run::Supervisor(below) = &mut child.run
                && let Some(answer) = below.at(name, world, work)
            {
                found = Some((*id, answer, below.ended));
                break;
            }
        }
        let (id, answer, ended) = found?;
        if ended {
            self.children.get_mut(&id).expect("known").run = Run::Down;
            // Whatever the reason, a supervisor of OTP exits with `shutdown`.
            self.mailbox.push_back(Event::Exited(id, ExitKind::Normal));
            self.perform(Vec::new(), world);
        }
        Some(answer)
    }

    /// Ends workers by themselves, all before the supervisor takes notice.
    fn crash(&mut self, crashes: &[(String, Reason)], world: &mut World) -> &'static str {
        let mut answer = "absent";
        for (name, reason) in crashes {
            let Some((id, child)) = self.find(name) else { continue };
            if matches!(child.run, Run::Worker) {
                child.run = Run::Down;
                let exit = match reason {
                    Reason::Normal | Reason::Shutdown | Reason::ShutdownWith => ExitKind::Normal,
                    Reason::Abnormal | Reason::Killed => ExitKind::Abnormal,
                };
                self.mailbox.push_back(Event::Exited(id, exit));
                answer = "ok";
            }
        }
        self.perform(Vec::new(), world);
        answer
    }

    fn start_child(&mut self, node: &Node, world: &mut World) -> &'static str {
        let present = match self.find(&node.name) {
            Some((_, Child { run: Run::Down, .. })) => Some("already_present"),
            Some(_) => Some("already_started"),
            None => None,
        };
        if let Some(answer) = present {
            // OTP looks at the specification first. Asked of a copy, for it would be added.
            return match self.core.clone().add(node.options) {
                Ok(_) => answer,
                Err(_) => "bad_combination",
            };
        }
        match self.core.add(node.options) {
            Ok(id) => {
                self.children.insert(id, Child { node: node.clone(), run: Run::Down });
                let actions = self.core.advance();
                self.perform(actions, world);
                world.outcome
            }
            Err(ChildError::PermanentSignificant | ChildError::SignificantForNever) => {
                "bad_combination"
            }
            Err(error) => panic!("{} refused a child: {error}", self.name),
        }
    }

    fn command(
        &mut self,
        child: &str,
        world: &mut World,
        command: impl FnOnce(&mut SupervisorCore, ChildId) -> Result<Vec<Action>, ChildError>,
    ) -> &'static str {
        let Some((id, _)) = self.find(child) else { return "not_found" };
        match command(&mut self.core, id) {
            Ok(actions) => {
                self.children.retain(|id, _| self.core.contains(*id));
                self.perform(actions, world);
                "ok"
            }
            Err(ChildError::Running) => "running",
            Err(ChildError::Restarting) => "restarting",
            Err(error) => panic!("{} refused a command: {error}", self.name),
        }
    }

    fn find(&mut self, name: &str) -> Option<(ChildId, &mut Child)> {
        let mut children = self.children.iter_mut();
        children.find(|(_, child)| child.node.name == name).map(|(id, child)| (*id, child))
    }

    fn state(&self) -> String {
        let children = self.children.values().map(|child| match &child.run {
            Run::Down => format!("{}-", child.node.name),
            Run::Worker => child.node.name.clone(),
            Run::Supervisor(below) => format!("{}{}", child.node.name, below.state()),
        });
        format!("[{}]", children.collect::<Vec<_>>().join(" "))
    }
}

fn event_child(event: &Event) -> &ChildId {
    match event {
        Event::Started(id) | Event::Ignored(id) | Event::Exited(id, _) => id,
        Event::StopRequested => panic!("nobody puts that into a mailbox"),
    }
}
