//! What a tree consists of. Plain values; nothing here runs.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use solo_types::{RestartMode, RestartPolicy};
use tokio::sync::watch;

use super::handle::TreeError;
use crate::Strategy;

/// Children of one supervisor: one per service that a node may have (20,000, twice what SPEC wants),
/// and some beside them.
pub(super) const CHILDREN_MAX: usize = 20_100;

/// Depth of a tree: the kernel's has 4 levels, and each level costs a task.
const DEPTH_MAX: usize = 16;

/// Makes the future of a worker, once per start.
///
/// `Ok` is a normal exit. An error, a panic and an abort are abnormal ones.
pub type WorkerFactory =
    Arc<dyn Fn(ChildContext) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// One supervisor and what is below it.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    /// Its name among its siblings: not empty, without `/`.
    pub name: String,
    /// Who is restarted with whom.
    pub strategy: Strategy,
    /// Intensity and delays. The mode is not used: each child has its own.
    pub policy: RestartPolicy,
    /// In start order.
    pub children: Vec<ChildSpec>,
}

/// One child of a supervisor.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    /// Its name among its siblings: not empty, without `/`.
    pub name: String,
    /// When it is started again.
    pub mode: RestartMode,
    /// From the wish to stop to its abort. For a supervisor: for all below it together.
    pub shutdown_ms: u64,
    /// What it is.
    pub kind: ChildKind,
}

/// What a child is.
#[derive(Clone)]
pub enum ChildKind {
    /// An actor.
    Worker(WorkerFactory),
    /// A supervisor of its own; that it gave up is an abnormal exit. The name in the specification
    /// is not used: the child's counts.
    ///
    /// Each start begins with the children of the specification. Children that were added later
    /// are gone after a restart, as in OTP; whoever added them adds them again.
    Supervisor(SupervisorSpec),
}

impl fmt::Debug for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(_) => f.write_str("Worker"),
            Self::Supervisor(spec) => f.debug_tuple("Supervisor").field(spec).finish(),
        }
    }
}

impl ChildSpec {
    /// Describes a worker from an async closure.
    pub fn worker<F, W>(name: &str, mode: RestartMode, shutdown_ms: u64, factory: F) -> Self
    where
        F: Fn(ChildContext) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        let factory: WorkerFactory = Arc::new(move |context| Box::pin(factory(context)));
        Self { name: name.to_owned(), mode, shutdown_ms, kind: ChildKind::Worker(factory) }
    }

    /// Describes a permanent supervisor below another one.
    #[must_use]
    pub fn supervisor(spec: SupervisorSpec, shutdown_ms: u64) -> Self {
        Self {
            name: spec.name.clone(),
            mode: RestartMode::Permanent,
            shutdown_ms,
            kind: ChildKind::Supervisor(spec),
        }
    }
}

/// What a worker is told by its supervisor.
#[derive(Debug, Clone)]
pub struct ChildContext {
    pub(super) stop: watch::Receiver<bool>,
    pub(super) name: Arc<str>,
}

impl ChildContext {
    /// Waits until the worker should end. It then has `shutdown_ms` to do so.
    pub async fn stop_requested(&self) {
        // An error says that the supervisor is gone, which is a wish to stop as well.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Whether the worker should end.
    #[must_use]
    pub fn is_stop_requested(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// The name of the child.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Checks names and bounds of a whole specification.
pub(super) fn check_supervisor(spec: &SupervisorSpec) -> Result<(), TreeError> {
    check_name(&spec.name)?;
    check_children(spec, 1)
}

/// Checks names and bounds of a child and of what is below it.
pub(super) fn check_child(child: &ChildSpec, depth: usize) -> Result<(), TreeError> {
    check_name(&child.name)?;
    match &child.kind {
        ChildKind::Worker(_) => Ok(()),
        ChildKind::Supervisor(spec) => check_children(spec, depth + 1),
    }
}

fn check_children(spec: &SupervisorSpec, depth: usize) -> Result<(), TreeError> {
    if depth > DEPTH_MAX {
        return Err(TreeError::TooDeep { limit: DEPTH_MAX });
    }
    if spec.children.len() > CHILDREN_MAX {
        return Err(TreeError::TooManyChildren { limit: CHILDREN_MAX });
    }
    let mut names = std::collections::HashSet::new();
    for child in &spec.children {
        if !names.insert(child.name.as_str()) {
            return Err(TreeError::NameTaken { name: child.name.clone() });
        }
        check_child(child, depth)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), TreeError> {
    if name.is_empty() || name.contains('/') {
        return Err(TreeError::IllegalName { name: name.to_owned() });
    }
    Ok(())
}
