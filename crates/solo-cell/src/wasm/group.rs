//! Children that a guest started, supervised together: drives a supervisor core.
//!
//! One task per group on the runtime for input and output; it decides nothing itself. A child is an
//! instance of this cell whose restarts are the group's business: each start makes a new instance,
//! with a new mailbox, behind the same address. The group ends with the incarnation that made it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use solo_supervisor::{
    Action, ChildId, ChildOptions, EndReason, Event, ExitKind, SupervisorCore, SupervisorOptions,
};
use solo_types::InstanceState;
use tokio::sync::{mpsc, oneshot, watch};

use super::artifact::Artifact;
use super::cell::Cell;
use super::child::{ChildStart, Exited, Stop};
use super::clock;
use super::failure::Fault;
use super::faults::Life;
use super::route::Route;
use super::service::Service;
use super::slot::{Order, Slot};

/// Commands and events that wait for the group's task: it only ever waits for them.
const QUEUE_MAX: usize = 64;

/// What a child is made from.
#[derive(Debug)]
pub(crate) struct ChildPlan {
    /// Unique in its group.
    pub(crate) name: String,
    /// The service whose code it runs, with its own configuration.
    pub(crate) service: Arc<Service>,
    /// That code.
    pub(crate) artifact: Arc<Artifact>,
    /// When it is restarted, and whether its end counts.
    pub(crate) options: ChildOptions,
    /// For a graceful end; 0: none.
    pub(crate) shutdown_ms: u64,
}

/// Where messages for a child go, over its restarts.
#[derive(Debug)]
pub(crate) struct Address {
    generation: AtomicU64,
    route: Mutex<Arc<Route>>,
}

/// A child as its parent sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// In its group.
    pub(crate) name: String,
    /// Of its instance; empty before the first.
    pub(crate) instance: String,
    /// What it is doing.
    pub(crate) state: InstanceState,
    /// Starts after the first.
    pub(crate) restarts: u64,
}

/// Why a command was not carried out.
#[derive(Debug, Clone)]
pub(crate) enum GroupError {
    /// There is one of that name.
    Exists,
    /// There is none of that name.
    Unknown,
    /// The group has ended.
    Ended,
    /// It did not start.
    Failed(String),
}

/// Children of all groups of one instance, and theirs.
#[derive(Debug)]
pub(crate) struct Processes {
    count: AtomicU64,
    /// `max_processes` of the service at the top.
    pub(crate) max: u64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Arc<Processes>);

/// A group, for its parent. Dropping it ends the children.
#[derive(Debug)]
pub(crate) struct Group {
    commands: mpsc::Sender<Command>,
    members: Arc<Mutex<Vec<Member>>>,
}

enum Command {
    Spawn {
        plan: ChildPlan,
        process: Process,
        reply: oneshot::Sender<Result<Arc<Address>, GroupError>>,
    },
    Stop {
        name: String,
        reply: oneshot::Sender<Result<(), GroupError>>,
    },
}

struct Driver {
    cell: Arc<Cell>,
    parent: Arc<Slot>,
    parent_life: Life,
    number: u32,
    strategy: &'static str,
    core: SupervisorCore,
    children: HashMap<ChildId, Child>,
    events: mpsc::Sender<(ChildId, Exited)>,
    members: Arc<Mutex<Vec<Member>>>,
    forced: bool,
}

struct Child {
    plan: Arc<ChildPlan>,
    address: Arc<Address>,
    instance: String,
    stop: Option<watch::Sender<Option<Stop>>>,
    spawned: Option<oneshot::Sender<Result<Arc<Address>, GroupError>>>,
    stopped: Vec<oneshot::Sender<Result<(), GroupError>>>,
    _process: Process,
}

impl Processes {
    /// None so far.
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { count: AtomicU64::new(0), max })
    }

    /// One more. `Err`: there would be this many.
    pub(crate) fn add(self: &Arc<Self>, max: u64) -> Result<Process, u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let process = Process(Arc::clone(self));
        if count > max { Err(count) } else { Ok(process) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Address {
    fn new(plan: &ChildPlan) -> Arc<Self> {
        let route = Route::new(Arc::clone(&plan.service.id), plan.name.clone(), Vec::new(), &[]);
        Arc::new(Self { generation: AtomicU64::new(0), route: Mutex::new(Arc::new(route)) })
    }

    fn set(&self, plan: &ChildPlan, slot: &Arc<Slot>) {
        let instances = vec![Arc::clone(slot)];
        let route = Route::new(Arc::clone(&plan.service.id), plan.name.clone(), instances, &[]);
        *self.route.lock() = Arc::new(route);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes with each restart.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The instance behind it.
    pub(crate) fn route(&self) -> Arc<Route> {
        Arc::clone(&self.route.lock())
    }
}

impl Group {
    /// Makes a group of `parent`.
    pub(crate) fn open(cell: Arc<Cell>, parent: Arc<Slot>, options: SupervisorOptions) -> Self {
        let (commands, received) = mpsc::channel(QUEUE_MAX);
        let (events, happened) = mpsc::channel(QUEUE_MAX);
        let members = Arc::default();
        let seed = clock::unix_ms() ^ (Arc::as_ptr(&parent).addr() as u64);
        let driver = Driver {
            number: parent.groups.begin(),
            strategy: options.strategy.as_str(),
            core: SupervisorCore::new(options, seed),
            children: HashMap::new(),
            events,
            members: Arc::clone(&members),
            forced: false,
            parent_life: parent.life(),
            parent,
            cell: Arc::clone(&cell),
        };
        // Owned by the parent's count of groups, which waits for its end.
        cell.shared.io.spawn(driver.run(received, happened));
        Self { commands, members }
    }

    /// Starts a child; answers when it is ready.
    pub(crate) async fn spawn(
        &self,
        plan: ChildPlan,
        process: Process,
    ) -> Result<Arc<Address>, GroupError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Spawn { plan, process, reply };
        self.commands.send(command).await.map_err(|_| GroupError::Ended)?;
        answer.await.unwrap_or(Err(GroupError::Ended))
    }

    /// Ends a child and forgets it; answers when it is gone.
    pub(crate) async fn stop(&self, name: String) -> Result<(), GroupError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Stop { name, reply };
        self.commands.send(command).await.map_err(|_| GroupError::Ended)?;
        answer.await.unwrap_or(Err(GroupError::Ended))
    }

    /// The children, in the order of their start.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.members.lock().clone()
    }
}

/// Resolves when `parent` is to end at once.
async fn forced(mut orders: watch::Receiver<Order>) {
    loop {
        let order = *orders.borrow_and_update();
        let changed = match order {
            Order::Run => orders.changed().await,
            Order::Kill { .. } => return,
            Order::Drain { deadline, .. } => {
                match tokio::time::timeout_at(deadline.into(), orders.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                }
            }
        };
        if changed.is_err() {
            // The slot holds the sender, and the driver holds the slot.
            return std::future::pending().await;
        }
    }
}

impl Driver {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<(ChildId, Exited)>,
    ) {
        let mut forced = Box::pin(forced(self.parent.orders()));
        let mut open = true;
        let end = loop {
            let actions = tokio::select! {
                biased;
                () = &mut forced, if !self.forced => {
                    self.forced = true;
                    self.force();
                    self.core.on_event(clock::monotonic_ms(), Event::StopRequested)
                }
                Some((id, exited)) = events.recv() => self.happened(id, exited),
                command = commands.recv(), if open => match command {
                    Some(command) => self.command(command),
                    // The parent's incarnation is gone, or it dropped the group.
                    None => {
                        open = false;
                        self.core.on_event(clock::monotonic_ms(), Event::StopRequested)
                    }
                },
            };
            if let Some(end) = self.act(actions) {
                break end;
            }
            self.publish();
        };
        self.publish();
        // Before the parent's end could wait for it: it is what ends the parent.
        if end.is_failure() && open {
            let fault = Fault::children_failed(format!(
                "its group {} of children ended: {}",
                self.number,
                self.describe(end)
            ));
            self.parent.inject(self.parent_life, fault);
        }
        self.parent.groups.end();
    }

    fn command(&mut self, command: Command) -> Vec<Action> {
        match command {
            Command::Spawn { plan, process, reply } => {
                if self.find(&plan.name).is_some() {
                    // The caller may have gone away, here and below.
                    let _ = reply.send(Err(GroupError::Exists));
                    return Vec::new();
                }
                let id = match self.core.add(plan.options) {
                    Ok(id) => id,
                    Err(error) => {
                        let _ = reply.send(Err(GroupError::Failed(error.to_string())));
                        return Vec::new();
                    }
                };
                let child = Child {
                    address: Address::new(&plan),
                    plan: Arc::new(plan),
                    instance: String::new(),
                    stop: None,
                    spawned: Some(reply),
                    stopped: Vec::new(),
                    _process: process,
                };
                self.children.insert(id, child);
                self.core.advance()
            }
            Command::Stop { name, reply } => {
                let Some(id) = self.find(&name) else {
                    let _ = reply.send(Err(GroupError::Unknown));
                    return Vec::new();
                };
                if let Some(child) = self.children.get_mut(&id) {
                    child.stopped.push(reply);
                }
                self.core.remove(id)
            }
        }
    }

    fn find(&self, name: &str) -> Option<ChildId> {
        self.children.iter().find(|(_, child)| child.plan.name == name).map(|(id, _)| *id)
    }

    fn happened(&mut self, id: ChildId, exited: Exited) -> Vec<Action> {
        let now_ms = clock::monotonic_ms();
        let Some(child) = self.children.get_mut(&id) else { return Vec::new() };
        match exited {
            Exited::Not(slot) => {
                child.instance = slot.id.to_string();
                child.address.set(&child.plan, &slot);
                let actions = self.core.on_event(now_ms, Event::Started(id));
                if let Some(spawned) = child.spawned.take() {
                    let _ = spawned.send(Ok(Arc::clone(&child.address)));
                }
                actions
            }
            Exited::Yes(kind, message) => {
                child.stop = None;
                let actions = self.core.on_event(now_ms, Event::Exited(id, kind));
                if let Some(spawned) = child.spawned.take() {
                    let _ = spawned.send(Err(GroupError::Failed(message)));
                }
                actions
            }
        }
    }

    /// Carries actions out; answers the end of the group.
    fn act(&mut self, actions: Vec<Action>) -> Option<EndReason> {
        let mut end = None;
        for action in actions {
            match action {
                Action::Start { child, delay_ms } => self.start(child, delay_ms),
                Action::Stop(id) => {
                    let Some(child) = self.children.get(&id) else { continue };
                    let grace = Duration::from_millis(child.plan.shutdown_ms);
                    let stop = if self.forced || grace.is_zero() {
                        Stop::Kill
                    } else {
                        Stop::Drain(Instant::now() + grace)
                    };
                    if let Some(sender) = &child.stop {
                        sender.send_replace(Some(stop));
                    }
                }
                Action::End(reason) => end = Some(reason),
            }
        }
        let core = &self.core;
        let gone = self.children.extract_if(|id, _| end.is_some() || !core.contains(*id));
        for (_, child) in gone.collect::<Vec<_>>() {
            if let Some(spawned) = child.spawned {
                let _ = spawned.send(Err(GroupError::Ended));
            }
            for stopped in child.stopped {
                let _ = stopped.send(Ok(()));
            }
        }
        end
    }

    fn start(&mut self, id: ChildId, delay_ms: u64) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let (stop, stopped) = watch::channel(None);
        child.stop = Some(stop);
        let start = ChildStart {
            cell: Arc::clone(&self.cell),
            parent: Arc::clone(&self.parent),
            group: (self.number, self.strategy),
            plan: Arc::clone(&child.plan),
            delay: Duration::from_millis(delay_ms),
            stop: stopped,
            events: self.events.clone(),
            id,
        };
        // Ends with the child's `Exited::Yes`, which this driver waits for.
        self.cell.shared.io.spawn(start.run());
    }

    /// Ends at once what is being ended gracefully.
    fn force(&self) {
        for child in self.children.values() {
            if let Some(stop) = &child.stop {
                stop.send_if_modified(|stop| {
                    let is_stopping = stop.is_some();
                    if is_stopping {
                        *stop = Some(Stop::Kill);
                    }
                    is_stopping
                });
            }
        }
    }

    fn publish(&self) {
        let members = self.core.children().filter_map(|id| {
            let child = self.children.get(&id)?;
            Some(Member {
                name: child.plan.name.clone(),
                instance: child.instance.clone(),
                state: self.core.state(id)?,
                restarts: self.core.restarts(id),
            })
        });
        *self.members.lock() = members.collect();
    }

    fn describe(&self, end: EndReason) -> String {
        match end {
            EndReason::Ordered => "as ordered".to_owned(),
            EndReason::TooManyRestarts(_) => "a child needed one restart too many".to_owned(),
            EndReason::PermanentExit(_) => "a child said that no restart will help".to_owned(),
            EndReason::AutoShutdown(_) => "a significant child ended".to_owned(),
            EndReason::StartFailed(_) => "a child did not start".to_owned(),
        }
    }
}

/// What an exit means to a supervisor.
pub(crate) fn exit_kind(exit: &solo_types::Exit) -> ExitKind {
    if exit.permanent {
        ExitKind::Permanent
    } else if exit.reason.is_abnormal() {
        ExitKind::Abnormal
    } else {
        ExitKind::Normal
    }
}
