//! The event loop of one supervisor. Executes what the core decides; waits for events only, never
//! for one child.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use solo_types::InstanceState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::failure::{cut, describe};
use super::handle::{COMMANDS_MAX, ChildView, Command, Shared, SupervisorEnd, TreeError};
use super::spec::{CHILDREN_MAX, ChildContext, ChildKind, ChildSpec, SupervisorSpec};
use crate::{Action, ChildId, EndReason, Event, ExitKind, SupervisorCore, SupervisorOptions};

/// For an aborted task to end. One that does not yield for so long is left behind.
const ABORT_GRACE: Duration = Duration::from_secs(1);

type ChildEnd = Result<(), String>;

/// One supervisor's task.
struct Runner {
    name: Arc<str>,
    core: SupervisorCore,
    shared: Arc<Shared>,
    slots: HashMap<ChildId, Slot>,
    tasks: JoinSet<ChildEnd>,
    /// Which child a task is. A task that was left behind is not in it.
    owners: HashMap<Id, ChildId>,
    commands: mpsc::Receiver<Command>,
    started_at: Instant,
    /// What is still to be done; empty whenever the loop waits. At most one action per child, for
    /// the core hands out no second one before it heard of the first.
    actions: VecDeque<Action>,
    end: Option<SupervisorEnd>,
}

struct Slot {
    spec: ChildSpec,
    name: Arc<str>,
    run: Run,
    /// How it ended the last time.
    exit: ExitKind,
    removed: Vec<oneshot::Sender<Result<(), TreeError>>>,
}

enum Run {
    Down,
    /// Starts at that time.
    Due(Instant),
    Up(Task),
}

struct Task {
    id: Id,
    abort: AbortHandle,
    stop: watch::Sender<bool>,
    /// After the wish to stop: when to abort, then when to leave it behind.
    deadline: Option<Instant>,
    aborted: bool,
}

/// Makes a supervisor: what others see of it, and what runs it.
///
/// A boxed future, not an `async fn`: supervisors contain supervisors.
pub(super) fn supervise(
    name: &Arc<str>,
    spec: SupervisorSpec,
    mut stop: watch::Receiver<bool>,
) -> (Arc<Shared>, BoxFuture<'static, SupervisorEnd>) {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let shared = Arc::new(Shared::new(spec.strategy, sender));
    // Jitter is no secret, and this is the standard library's only source of randomness.
    let seed = RandomState::new().hash_one(&*spec.name);
    let mut runner = Runner {
        name: Arc::clone(name),
        core: SupervisorCore::new(SupervisorOptions::new(spec.strategy, spec.policy), seed),
        shared: Arc::clone(&shared),
        slots: HashMap::new(),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        commands,
        started_at: Instant::now(),
        actions: VecDeque::new(),
        end: None,
    };
    let run = async move {
        for child in spec.children {
            let id = runner.core.specify(child.mode);
            // Nothing is significant here, and the supervisor has just begun.
            if let Ok(id) = id {
                runner.take_in(id, child);
            }
        }
        runner.actions.extend(runner.core.advance());
        runner.run(&mut stop).await
    };
    (shared, Box::pin(run))
}

impl Runner {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> SupervisorEnd {
        let mut stopping = false;
        loop {
            self.execute();
            if let Some(end) = self.end {
                return end;
            }
            let wake = self.next_deadline();
            tokio::select! {
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
                // `stop` closed: the owner is gone.
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    self.on_event(Event::StopRequested);
                }
                Some(command) = self.commands.recv() => self.command(command),
                () = sleep_until(wake) => self.fire_due(),
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadline = |slot: &Slot| match &slot.run {
            Run::Down => None,
            Run::Due(at) => Some(*at),
            Run::Up(task) => task.deadline,
        };
        self.slots.values().filter_map(deadline).min()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn on_event(&mut self, event: Event) {
        let actions = self.core.on_event(self.now_ms(), event);
        if let Event::Started(child) | Event::Exited(child, _) = event {
            self.publish(child);
        }
        self.actions.extend(actions);
    }

    /// Executes what is to be done, and what follows from it at once. A queue and no recursion: a
    /// group of thousands starts one by one.
    fn execute(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Start { child, delay_ms: 0 } => self.start(child),
                Action::Start { child, delay_ms } => {
                    if let Some(slot) = self.slots.get_mut(&child) {
                        // Backoff is at most an hour: no overflow of the clock.
                        slot.run = Run::Due(Instant::now() + Duration::from_millis(delay_ms));
                    }
                    self.publish(child);
                }
                Action::Stop(child) => self.stop(child),
                Action::End(reason) => self.end = Some(self.describe_end(reason)),
            }
        }
    }

    fn describe_end(&self, reason: EndReason) -> SupervisorEnd {
        if !reason.is_failure() {
            return SupervisorEnd::Stopped;
        }
        tracing::error!(supervisor = &*self.name, ?reason, "Gave up");
        SupervisorEnd::GaveUp
    }

    fn start(&mut self, child: ChildId) {
        let Some(slot) = self.slots.get_mut(&child) else { return };
        let (stop, stopped) = watch::channel(false);
        let mut below = None;
        let run: BoxFuture<'static, ChildEnd> = match &slot.spec.kind {
            ChildKind::Worker(factory) => {
                let factory = Arc::clone(factory);
                let context = ChildContext { stop: stopped, name: Arc::clone(&slot.name) };
                // Inside the task, so that a panic of the factory is the child's too.
                Box::pin(async move { factory(context).await })
            }
            ChildKind::Supervisor(spec) => {
                let (shared, run) = supervise(&slot.name, spec.clone(), stopped);
                below = Some(shared);
                Box::pin(async move {
                    match run.await {
                        SupervisorEnd::Stopped => Ok(()),
                        SupervisorEnd::GaveUp => Err("gave up after too many restarts".to_owned()),
                        SupervisorEnd::Aborted => Err("was aborted".to_owned()),
                    }
                })
            }
        };
        let abort = self.tasks.spawn(run);
        let id = abort.id();
        slot.run = Run::Up(Task { id, abort, stop, deadline: None, aborted: false });
        self.owners.insert(id, child);
        if let Some(view) = self.shared.children().get_mut(&child)
            && let Some((_, running)) = &mut view.supervisor
        {
            *running = below;
        }
        tracing::debug!(supervisor = &*self.name, child = &*slot.name, "Started a child");
        self.on_event(Event::Started(child));
    }

    fn stop(&mut self, child: ChildId) {
        self.publish(child);
        let Some(slot) = self.slots.get_mut(&child) else { return };
        match &mut slot.run {
            Run::Up(task) => {
                task.stop.send_replace(true);
                let shutdown = Duration::from_millis(slot.spec.shutdown_ms);
                // Without a representable deadline the child may take for ever, as it asked.
                task.deadline = Instant::now().checked_add(shutdown);
            }
            Run::Due(_) | Run::Down => self.ended(child, ExitKind::Normal, None),
        }
    }

    /// Starts and aborts whatever is due.
    fn fire_due(&mut self) {
        let now = Instant::now();
        let mut due: Vec<ChildId> = Vec::new();
        for (child, slot) in &self.slots {
            match &slot.run {
                Run::Due(at) if *at <= now => due.push(*child),
                Run::Up(task) if task.deadline.is_some_and(|at| at <= now) => due.push(*child),
                _ => {}
            }
        }
        due.sort_unstable();
        for child in due {
            let Some(slot) = self.slots.get_mut(&child) else { continue };
            match &mut slot.run {
                Run::Due(_) => self.start(child),
                Run::Up(task) if !task.aborted => {
                    tracing::warn!(
                        supervisor = &*self.name,
                        child = &*slot.name,
                        "Aborted a child that did not stop in time"
                    );
                    task.abort.abort();
                    task.aborted = true;
                    task.deadline = Some(now + ABORT_GRACE);
                }
                Run::Up(task) => {
                    tracing::error!(
                        supervisor = &*self.name,
                        child = &*slot.name,
                        "Left a task behind that does not yield"
                    );
                    self.owners.remove(&task.id);
                    let error = "did not end when it was aborted".to_owned();
                    self.ended(child, ExitKind::Abnormal, Some(error));
                }
                Run::Down => {}
            }
        }
    }

    fn joined(&mut self, joined: Result<(Id, ChildEnd), JoinError>) {
        let (id, error) = match joined {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(error))) => (id, Some(error)),
            Err(error) => (error.id(), Some(describe(error))),
        };
        // Else: a task that was left behind has ended after all.
        let Some(child) = self.owners.remove(&id) else { return };
        let exit = if error.is_some() { ExitKind::Abnormal } else { ExitKind::Normal };
        self.ended(child, exit, error);
    }

    fn ended(&mut self, child: ChildId, exit: ExitKind, error: Option<String>) {
        if let Some(slot) = self.slots.get_mut(&child) {
            slot.run = Run::Down;
            slot.exit = exit;
            if let Some(error) = &error {
                tracing::warn!(
                    supervisor = &*self.name, child = &*slot.name, %error, "A child failed"
                );
            }
        }
        if let Some(view) = self.shared.children().get_mut(&child) {
            if let Some((_, running)) = &mut view.supervisor {
                *running = None;
            }
            view.last_error = error.map(cut).or_else(|| view.last_error.take());
        }
        self.on_event(Event::Exited(child, exit));
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Add(spec, reply) => {
                let added = self.try_add(spec);
                let _ = reply.send(added);
                self.actions.extend(self.core.advance());
            }
            Command::Remove(name, reply) => {
                let found = self.slots.iter_mut().find(|(_, slot)| *slot.name == *name);
                let Some((child, slot)) = found else {
                    let _ = reply.send(Err(TreeError::UnknownChild { name }));
                    return;
                };
                slot.removed.push(reply);
                let child = *child;
                let actions = self.core.remove(child);
                self.publish(child);
                self.actions.extend(actions);
            }
        }
    }

    fn try_add(&mut self, spec: ChildSpec) -> Result<(), TreeError> {
        if self.slots.values().any(|slot| *slot.name == *spec.name) {
            return Err(TreeError::NameTaken { name: spec.name });
        }
        if self.slots.len() >= CHILDREN_MAX {
            return Err(TreeError::TooManyChildren { limit: CHILDREN_MAX });
        }
        match self.core.add(spec.mode) {
            Ok(child) => {
                self.take_in(child, spec);
                Ok(())
            }
            // The other reasons are about significant children, of which there are none here.
            Err(_) => Err(TreeError::Ending),
        }
    }

    /// Remembers a child that the core knows, and shows it to others.
    fn take_in(&mut self, child: ChildId, spec: ChildSpec) {
        let name: Arc<str> = spec.name.as_str().into();
        let supervisor = match &spec.kind {
            ChildKind::Worker(_) => None,
            ChildKind::Supervisor(spec) => Some((spec.strategy, None)),
        };
        let view = ChildView {
            name: Arc::clone(&name),
            state: InstanceState::Starting,
            restarts: 0,
            last_error: None,
            supervisor,
        };
        self.shared.children().insert(child, view);
        let (run, exit, removed) = (Run::Down, ExitKind::Normal, Vec::new());
        self.slots.insert(child, Slot { spec, name, run, exit, removed });
    }

    /// Shows a child's state to others, or that it is gone.
    ///
    /// A temporary child that ended is forgotten by the core, but others want to see how it ended:
    /// its slot stays until somebody removes it.
    fn publish(&mut self, child: ChildId) {
        let Some(slot) = self.slots.get_mut(&child) else { return };
        let known = self.core.state(child);
        if known.is_none() && !slot.removed.is_empty() {
            self.shared.children().remove(&child);
            for reply in self.slots.remove(&child).map(|slot| slot.removed).unwrap_or_default() {
                let _ = reply.send(Ok(()));
            }
            return;
        }
        if let Some(view) = self.shared.children().get_mut(&child) {
            let completed = slot.exit == ExitKind::Normal;
            let ended = if completed { InstanceState::Completed } else { InstanceState::Failed };
            view.state = known.unwrap_or(ended);
            if known.is_some() {
                view.restarts = self.core.restarts(child);
            }
        }
    }
}

/// Sleeps for ever where there is nothing to wake up for.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
