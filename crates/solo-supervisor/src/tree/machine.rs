//! The state machine of one supervisor: what an event means. [`super`] documents its protocol.

use solo_types::InstanceState;

use super::children::{Attempt, Child, Children, State};
use super::{Action, AutoShutdown, ChildId, EndReason, Event, Strategy, SupervisorOptions};
use crate::restart::{ExitKind, Intensity, is_restarted};

/// State machine of one supervisor.
///
/// All methods that answer actions answer those to take now, in order; each child occurs at most
/// once in one answer. Memory grows with the children that are known, and with nothing else.
#[derive(Debug, Clone)]
pub struct SupervisorCore {
    strategy: Strategy,
    pub(super) auto_shutdown: AutoShutdown,
    intensity: Intensity,
    pub(super) children: Children,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Whoever is wanted is started.
    Serving,
    /// Ends `first` and the children after it, to start them again `delay_ms` later.
    Clearing {
        first: ChildId,
        delay_ms: u64,
    },
    /// Ends all children.
    Ending(EndReason),
    Ended,
}

impl SupervisorCore {
    /// Starts without children. `seed` decides the jitter of delays.
    #[must_use]
    pub fn new(options: SupervisorOptions, seed: u64) -> Self {
        Self {
            strategy: options.strategy,
            auto_shutdown: options.auto_shutdown,
            intensity: Intensity::new(options.policy, seed),
            children: Children::new(options.strategy == Strategy::OneForOne),
            phase: Phase::Serving,
        }
    }

    /// Takes in what happened at `now_ms` and answers what to do now.
    ///
    /// `now_ms`: of one clock with any origin; a time before the latest one counts as that one.
    pub fn on_event(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        match event {
            Event::Started(id) => {
                if self.state_of(id) == Some(State::Starting) {
                    self.children.set(id, State::Up);
                    self.first_start_is_over(id);
                }
            }
            Event::Ignored(id) => match self.state_of(id) {
                Some(State::Starting) => {
                    self.first_start_is_over(id);
                    self.gone(id, ExitKind::Normal);
                }
                Some(State::Stopping) => self.stopped(id),
                _ => {}
            },
            Event::Exited(id, exit) => match self.state_of(id) {
                Some(State::Starting) => self.start_failed(now_ms, id, exit),
                Some(State::Up) => self.ended(now_ms, id, exit),
                Some(State::Stopping) => self.stopped(id),
                _ => {}
            },
            Event::StopRequested => self.end(EndReason::Ordered),
        }
        self.advance()
    }

    /// Answers what can be done now. Calling it again without an event answers nothing.
    pub fn advance(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Serving => self.start_wanted(),
            Phase::Clearing { first, delay_ms } => match self.stop_last_from(first) {
                Clear::Stop(action) => vec![action],
                Clear::Wait => Vec::new(),
                Clear::Empty => {
                    self.phase = Phase::Serving;
                    self.want_again(first, delay_ms);
                    self.start_wanted()
                }
            },
            Phase::Ending(reason) => match self.stop_last_from(ChildId(0)) {
                Clear::Stop(action) => vec![action],
                Clear::Wait => Vec::new(),
                Clear::Empty => {
                    self.phase = Phase::Ended;
                    vec![Action::End(reason)]
                }
            },
            Phase::Ended => Vec::new(),
        }
    }

    /// Whether no start, stop or restart is under way: nothing will happen until the next exit or
    /// command. After the end it is settled too.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Serving => self.children.is_settled(),
            Phase::Clearing { .. } | Phase::Ending(_) => false,
            Phase::Ended => true,
        }
    }

    /// Whether the child is known, that is, not forgotten.
    #[must_use]
    pub fn contains(&self, id: ChildId) -> bool {
        self.children.get(id).is_some()
    }

    /// The children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildId> + '_ {
        self.children.ids()
    }

    /// How the child stands, in the words of the tree. `None` for an unknown child.
    #[must_use]
    pub fn state(&self, id: ChildId) -> Option<InstanceState> {
        let child = self.children.get(id)?;
        Some(match child.state() {
            // Down, but about to come back with its group.
            State::Completed | State::Failed if self.is_cleared(id) && !child.held => {
                InstanceState::Restarting
            }
            State::Wanted if child.starts > 0 => InstanceState::Restarting,
            State::Starting if child.starts > 1 => InstanceState::Restarting,
            State::Wanted | State::Starting => InstanceState::Starting,
            State::Up => InstanceState::Running,
            State::Stopping => InstanceState::Stopping,
            State::Completed => InstanceState::Completed,
            State::Failed => InstanceState::Failed,
        })
    }

    /// Starts of the child after its first one, failed ones included; 0 for an unknown child.
    #[must_use]
    pub fn restarts(&self, id: ChildId) -> u64 {
        self.children.get(id).map_or(0, |child| child.starts.saturating_sub(1))
    }

    fn state_of(&self, id: ChildId) -> Option<State> {
        self.children.get(id).map(Child::state)
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Ended)
    }

    /// Whether the child belongs to a group that is being stopped to be started again.
    pub(super) fn is_cleared(&self, id: ChildId) -> bool {
        matches!(self.phase, Phase::Clearing { first, .. } if id >= first)
    }

    fn first_start_is_over(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(id) {
            child.attempt = Attempt::Again;
        }
    }

    /// Begins the end. The first reason stays.
    fn end(&mut self, reason: EndReason) {
        if !self.is_ending() {
            self.phase = Phase::Ending(reason);
        }
    }

    /// A child that was asked to end has.
    fn stopped(&mut self, id: ChildId) {
        if self.children.get(id).is_some_and(|child| child.removing) {
            self.children.forget(id);
        } else {
            self.gone(id, ExitKind::Normal);
        }
    }

    /// A child is down and not started again by itself.
    pub(super) fn gone(&mut self, id: ChildId, exit: ExitKind) {
        let Some(child) = self.children.get(id) else { return };
        if child.is_temporary() {
            self.children.forget(id);
        } else {
            let completed = exit == ExitKind::Normal;
            self.children.set(id, if completed { State::Completed } else { State::Failed });
        }
    }

    fn start_failed(&mut self, now_ms: u64, id: ChildId, exit: ExitKind) {
        let Some(attempt) = self.children.get(id).map(|child| child.attempt) else { return };
        let retried = attempt == Attempt::Again && !self.is_ending() && !self.is_cleared(id);
        if attempt == Attempt::Added {
            self.children.forget(id);
            return;
        }
        self.gone(id, ExitKind::Abnormal);
        if attempt == Attempt::Specified {
            self.end(EndReason::StartFailed(id));
        } else if retried && exit != ExitKind::Permanent {
            self.start_again(now_ms, id);
        } else if retried && self.strategy != Strategy::OneForOne {
            self.end(EndReason::PermanentExit(id));
        }
    }

    /// A child that ran ended by itself.
    fn ended(&mut self, now_ms: u64, id: ChildId, exit: ExitKind) {
        let Some(child) = self.children.get(id) else { return };
        let (mode, significant, temporary) = (child.mode, child.significant, child.is_temporary());
        self.gone(id, exit);
        if self.is_ending() {
            return;
        }
        if exit == ExitKind::Permanent && !temporary && self.strategy != Strategy::OneForOne {
            self.end(EndReason::PermanentExit(id));
            return;
        }
        if self.is_cleared(id) {
            // It ended before its turn to be stopped had come: part of the same restart.
            return;
        }
        if is_restarted(mode, exit) {
            self.start_again(now_ms, id);
        } else if significant && self.is_shutdown_due() {
            self.end(EndReason::AutoShutdown(id));
        }
    }

    /// Whether the supervisor ends now that a significant child has.
    fn is_shutdown_due(&self) -> bool {
        match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                !self.children.has_significant() && !self.is_significant_cleared()
            }
        }
    }

    /// Whether a significant child is down only because its group is about to be started again.
    fn is_significant_cleared(&self) -> bool {
        let Phase::Clearing { first, .. } = self.phase else { return false };
        let comes_back = |child: &Child| child.significant && !child.held;
        self.children
            .ids_from(first)
            .into_iter()
            .any(|id| self.children.get(id).is_some_and(comes_back))
    }

    /// Restarts a child that is down, and whom it takes with it.
    fn start_again(&mut self, now_ms: u64, id: ChildId) {
        let Some(delay_ms) = self.intensity.restart(now_ms) else {
            self.end(EndReason::TooManyRestarts(id));
            return;
        };
        let first = match (self.strategy, self.phase) {
            (Strategy::OneForOne, _) => {
                if let Some(child) = self.children.get_mut(id) {
                    child.attempt = Attempt::Again;
                    child.delay_ms = delay_ms;
                }
                self.children.set(id, State::Wanted);
                return;
            }
            (Strategy::OneForAll, _) => ChildId(0),
            // A restart of later siblings is under way: it becomes larger.
            (Strategy::RestForOne, Phase::Clearing { first, .. }) => id.min(first),
            (Strategy::RestForOne, _) => id,
        };
        self.phase = Phase::Clearing { first, delay_ms };
    }

    /// After a group was cleared: all of it is started again, also whoever had ended before, as in
    /// OTP. Temporary children are forgotten by now, but for such as wait for their first start.
    fn want_again(&mut self, first: ChildId, delay_ms: u64) {
        let mut delay_ms = delay_ms;
        for id in self.children.ids_from(first) {
            let Some(child) = self.children.get_mut(id) else { continue };
            if std::mem::take(&mut child.held) {
                continue;
            }
            if child.attempt == Attempt::Asked {
                child.attempt = Attempt::Again;
            }
            child.delay_ms = std::mem::take(&mut delay_ms);
            self.children.set(id, State::Wanted);
        }
    }

    fn start_wanted(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(id) = self.children.next_to_start() {
            self.children.set(id, State::Starting);
            if let Some(child) = self.children.get_mut(id) {
                child.starts = child.starts.saturating_add(1);
                let delay_ms = std::mem::take(&mut child.delay_ms);
                actions.push(Action::Start { child: id, delay_ms });
            }
        }
        actions
    }

    /// Stops the last child at or after `first` that is not down, one at a time.
    fn stop_last_from(&mut self, first: ChildId) -> Clear {
        match self.children.last_alive_from(first) {
            None => Clear::Empty,
            Some(id) if self.state_of(id) == Some(State::Stopping) => Clear::Wait,
            Some(id) => {
                self.children.set(id, State::Stopping);
                Clear::Stop(Action::Stop(id))
            }
        }
    }
}

/// How far a group has been stopped.
enum Clear {
    Stop(Action),
    Wait,
    Empty,
}
