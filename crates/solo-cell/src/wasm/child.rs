//! One start of one child: an instance from its making to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_supervisor::{ChildId, ExitKind};
use solo_types::InstanceState;
use tokio::sync::{mpsc, watch};

use super::cell::Cell;
use super::group::{ChildPlan, exit_kind};
use super::slot::{Family, FirstStart, Order, Slot, StopReason};

/// How a child is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// When it has finished, or then.
    Drain(Instant),
    /// At once.
    Kill,
}

/// What came of a start.
#[derive(Debug)]
pub(crate) enum Exited {
    /// It runs.
    Not(Arc<Slot>),
    /// It ended, or never ran; why.
    Yes(ExitKind, String),
}

/// One start of a child.
pub(crate) struct ChildStart {
    /// Where it lives.
    pub(crate) cell: Arc<Cell>,
    /// Whose child it is.
    pub(crate) parent: Arc<Slot>,
    /// Which of its parent's groups, and how that is supervised.
    pub(crate) group: (u32, &'static str),
    /// What it is made from.
    pub(crate) plan: Arc<ChildPlan>,
    /// Waits so long first.
    pub(crate) delay: Duration,
    /// How it is to end, once that is wished.
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// Is told `Not` when it is ready, and `Yes` once, at the end.
    pub(crate) events: mpsc::Sender<(ChildId, Exited)>,
    /// For `events`.
    pub(crate) id: ChildId,
}

impl ChildStart {
    /// Starts it and follows it to its end.
    pub(crate) async fn run(mut self) {
        // The group's task is there until every child has ended.
        let ended = self.live().await;
        let _ = self.events.send((self.id, ended)).await;
    }

    async fn live(&mut self) -> Exited {
        if !self.delay.is_zero() {
            let stopped = self.stop.wait_for(Option::is_some);
            let _ = tokio::time::timeout(self.delay, stopped).await;
        }
        if self.stop.borrow().is_some() {
            return Exited::Yes(ExitKind::Normal, "it was ended before it started".to_owned());
        }
        let (group, strategy) = self.group;
        let family = Family {
            parent: Arc::clone(&self.parent.id),
            name: self.plan.name.clone(),
            group,
            strategy,
            mode: self.plan.options.mode,
        };
        let slot = self.cell.start_child(&self.parent, &self.plan, family);
        let (mut first, mut ended) = (slot.first_start.subscribe(), slot.ended.subscribe());
        let mut told = false;
        while slot.ended.borrow().is_none() {
            if !told && matches!(*slot.first_start.borrow(), FirstStart::Ready) {
                told = true;
                let _ = self.events.send((self.id, Exited::Not(Arc::clone(&slot)))).await;
            }
            tokio::select! {
                biased;
                changed = self.stop.changed() => {
                    // Without a driver nobody is left who wants the child.
                    let how = if changed.is_ok() { *self.stop.borrow() } else { Some(Stop::Kill) };
                    if let Some(how) = how {
                        order(&slot, how);
                    }
                    if changed.is_err() {
                        let _ = ended.changed().await;
                    }
                }
                _ = first.changed() => {}
                _ = ended.changed() => {}
            }
        }
        let failure = match &*slot.first_start.borrow() {
            FirstStart::Failed(failure) => Some(failure.message.clone()),
            FirstStart::Pending | FirstStart::Ready => None,
        };
        let exit = slot.phase().last_exit;
        let kind = exit.as_ref().map_or(ExitKind::Abnormal, exit_kind);
        let message = failure.or_else(|| exit.map(|exit| exit.message)).unwrap_or_default();
        Exited::Yes(kind, message)
    }
}

fn order(slot: &Slot, how: Stop) {
    let reason = StopReason::Stopped;
    // The state first: who is refused from now on is told why.
    slot.enter(InstanceState::Stopping, None);
    slot.give(match how {
        Stop::Drain(deadline) => Order::Drain { deadline, reason },
        Stop::Kill => Order::Kill { reason },
    });
}
