//! The outside of a running tree: looking at it, changing it, ending it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use solo_types::InstanceState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::runner;
use super::spec::{ChildSpec, SupervisorSpec, check_child, check_supervisor};
use crate::{ChildId, Strategy};

/// Commands that wait for one supervisor. Each is answered in microseconds; whoever finds the queue
/// full waits for that, so it only has to keep a burst of callers from taking turns one by one.
pub(super) const COMMANDS_MAX: usize = 64;

/// For a supervisor to take a command. It never waits for its children, so that only a runtime that
/// is starved takes so long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// For tasks to notice that they were aborted.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Why a tree could not be started or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A name that cannot be part of a path.
    #[error("`{name}` is no name for a child: it must not be empty or contain `/`")]
    IllegalName {
        /// What was given.
        name: String,
    },
    /// A sibling has that name.
    #[error("there is a child `{name}` already")]
    NameTaken {
        /// What was given.
        name: String,
    },
    /// More children than a supervisor may have.
    #[error("a supervisor has at most {limit} children")]
    TooManyChildren {
        /// The bound.
        limit: usize,
    },
    /// More levels than a tree may have.
    #[error("a tree has at most {limit} levels")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// No supervisor at that path, or it does not run at the moment.
    #[error("no supervisor runs at `{path}`")]
    UnknownSupervisor {
        /// What was given.
        path: String,
    },
    /// The supervisor has no such child.
    #[error("there is no child `{name}`")]
    UnknownChild {
        /// What was given.
        name: String,
    },
    /// The supervisor is ending or has ended.
    #[error("the supervisor is ending")]
    Ending,
    /// The supervisor did not answer in time.
    #[error("the supervisor did not take the command in time")]
    Timeout,
}

/// How a tree ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorEnd {
    /// As requested, each child in its time.
    Stopped,
    /// Too many restarts.
    GaveUp,
    /// By force: the time for the shutdown was over.
    Aborted,
}

/// What a node of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Has children.
    Supervisor,
    /// Works.
    Actor,
}

/// One node of a tree as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name among its siblings.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Of a supervisor.
    pub strategy: Option<Strategy>,
    /// Where it stands.
    pub state: InstanceState,
    /// Starts after the first one.
    pub restarts: u64,
    /// Why it ended the last time it failed; `None`: it never did.
    pub last_error: Option<String>,
    /// In start order.
    pub children: Vec<Node>,
}

/// A supervisor as others see it, shared with its task.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) strategy: Strategy,
    pub(super) commands: mpsc::Sender<Command>,
    children: Mutex<BTreeMap<ChildId, ChildView>>,
}

/// A child as others see it.
#[derive(Debug)]
pub(super) struct ChildView {
    pub(super) name: Arc<str>,
    pub(super) state: InstanceState,
    pub(super) restarts: u64,
    pub(super) last_error: Option<String>,
    /// Of a supervisor, with what is below it while it runs.
    pub(super) supervisor: Option<(Strategy, Option<Arc<Shared>>)>,
}

/// A wish to a supervisor's task.
#[derive(Debug)]
pub(super) enum Command {
    Add(ChildSpec, oneshot::Sender<Result<(), TreeError>>),
    /// Answered when the child has ended.
    Remove(String, oneshot::Sender<Result<(), TreeError>>),
}

impl Shared {
    pub(super) fn new(strategy: Strategy, commands: mpsc::Sender<Command>) -> Self {
        Self { strategy, commands, children: Mutex::default() }
    }

    /// The children; also after a panic elsewhere, for no panic leaves a view half written.
    pub(super) fn children(&self) -> MutexGuard<'_, BTreeMap<ChildId, ChildView>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> Vec<Node> {
        // The locks are taken from the top down and nobody holds one and waits for another above.
        self.children().values().map(ChildView::node).collect()
    }
}

impl ChildView {
    fn node(&self) -> Node {
        let (kind, strategy, children) = match &self.supervisor {
            None => (NodeKind::Actor, None, Vec::new()),
            Some((strategy, running)) => {
                let children = running.as_ref().map(|shared| shared.nodes()).unwrap_or_default();
                (NodeKind::Supervisor, Some(*strategy), children)
            }
        };
        Node {
            name: self.name.to_string(),
            kind,
            strategy,
            state: self.state,
            restarts: self.restarts,
            last_error: self.last_error.clone(),
            children,
        }
    }
}

/// A running tree. When the last clone is dropped, the tree is asked to stop.
#[derive(Debug, Clone)]
pub struct SupervisorHandle {
    name: Arc<str>,
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<bool>>,
    ended: watch::Receiver<Option<SupervisorEnd>>,
    task: AbortHandle,
}

/// Starts a tree on the current tokio runtime.
///
/// # Errors
/// A name that is illegal or used twice, too many children or levels.
pub fn start(spec: SupervisorSpec) -> Result<SupervisorHandle, TreeError> {
    check_supervisor(&spec)?;
    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(None);
    let name: Arc<str> = spec.name.as_str().into();
    let (shared, root) = runner::supervise(&name, spec, stopped);
    let task = tokio::spawn(async move {
        let how = root.await;
        end.send_replace(Some(how));
    });
    let task = task.abort_handle();
    Ok(SupervisorHandle { name, shared, stop: Arc::new(stop), ended, task })
}

impl SupervisorHandle {
    /// Shows the tree as it is now. Waits for nobody.
    #[must_use]
    pub fn snapshot(&self) -> Node {
        let state = match *self.ended.borrow() {
            None if self.task.is_finished() => InstanceState::Failed,
            None if *self.stop.borrow() => InstanceState::Stopping,
            None => InstanceState::Running,
            Some(SupervisorEnd::Stopped) => InstanceState::Completed,
            Some(SupervisorEnd::GaveUp | SupervisorEnd::Aborted) => InstanceState::Failed,
        };
        Node {
            name: self.name.to_string(),
            kind: NodeKind::Supervisor,
            strategy: Some(self.shared.strategy),
            state,
            restarts: 0,
            last_error: None,
            children: self.shared.nodes(),
        }
    }

    /// Adds a child behind the others of the supervisor at `path` and starts it.
    ///
    /// `path`: names below the root, joined by `/`; empty for the root itself.
    ///
    /// # Errors
    /// [`TreeError`]; nothing was changed then, but after [`TreeError::Timeout`] it may have been.
    pub async fn add_child(&self, path: &str, child: ChildSpec) -> Result<(), TreeError> {
        check_child(&child, path.split('/').filter(|name| !name.is_empty()).count() + 1)?;
        let (reply, answer) = oneshot::channel();
        self.command(path, Command::Add(child, reply)).await?;
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(answer) => answer.unwrap_or(Err(TreeError::Ending)),
            Err(_) => Err(TreeError::Timeout),
        }
    }

    /// Stops a child of the supervisor at `path` and forgets it. Answers when it has ended, which
    /// takes at most its `shutdown_ms` and a second.
    ///
    /// # Errors
    /// As [`Self::add_child`].
    pub async fn remove_child(&self, path: &str, name: &str) -> Result<(), TreeError> {
        let (reply, answer) = oneshot::channel();
        self.command(path, Command::Remove(name.to_owned(), reply)).await?;
        // The deadline is the child's: its supervisor aborts it and answers.
        answer.await.unwrap_or(Err(TreeError::Ending))
    }

    /// Ends the tree: children in reverse start order, each within its `shutdown_ms`, all within
    /// `timeout`; whatever runs then is aborted.
    pub async fn shutdown(&self, timeout: Duration) -> SupervisorEnd {
        self.stop.send_replace(true);
        if let Ok(end) = tokio::time::timeout(timeout, self.wait()).await {
            return end;
        }
        tracing::warn!(tree = &*self.name, "Aborted a tree that did not stop in time");
        self.task.abort();
        // A task that never yields cannot be ended; do not wait for it.
        tokio::time::timeout(ABORT_GRACE, self.wait()).await.unwrap_or(SupervisorEnd::Aborted)
    }

    /// Waits until the tree has ended, by whatever cause.
    pub async fn wait(&self) -> SupervisorEnd {
        match self.ended.clone().wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(SupervisorEnd::Aborted),
            Err(_) => SupervisorEnd::Aborted,
        }
    }

    async fn command(&self, path: &str, command: Command) -> Result<(), TreeError> {
        let supervisor = self.find(path)?;
        match supervisor.commands.send_timeout(command, COMMAND_TIMEOUT).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(TreeError::Timeout),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(TreeError::Ending),
        }
    }

    fn find(&self, path: &str) -> Result<Arc<Shared>, TreeError> {
        let mut found = Arc::clone(&self.shared);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let below = found.children().values().find_map(|child| match &child.supervisor {
                Some((_, running)) if *child.name == *name => running.clone(),
                _ => None,
            });
            found = below.ok_or_else(|| TreeError::UnknownSupervisor { path: path.to_owned() })?;
        }
        Ok(found)
    }
}
