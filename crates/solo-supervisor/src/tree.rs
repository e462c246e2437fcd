//! Decides for one supervisor which children to stop and start. Reads no clock, starts nothing.
//!
//! The three strategies, the order of starts and stops and the restart intensity are OTP's; the
//! intensity is the supervisor's, not the child's. What takes time in the world (a stop, a start
//! after a delay) is one action out and one event back, so that the supervisor never waits on what
//! it supervises: a new exit in the middle of a restart only changes what comes next.
//!
//! Where OTP has no rule: a child with a permanent exit stays down. Under `one_for_one` its siblings
//! go on; under the other strategies, where siblings depend on it, the supervisor gives up.
//!
//! Source: OTP supervisor documentation, "Restart Strategy" and "Maximum Restart Intensity".

use serde::{Deserialize, Serialize};
use solo_types::{InstanceState, RestartMode, RestartPolicy};

use crate::restart::{ExitKind, Intensity, is_restarted};

/// Which siblings are restarted with a child that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// None.
    OneForOne,
    /// All.
    OneForAll,
    /// Those that were started after it.
    RestForOne,
}

impl Strategy {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        }
    }
}

/// A child of one supervisor. Ids grow in start order and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(u64);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A child that was to start runs.
    Started(ChildId),
    /// A child ended, or its start failed, or its start was called off by [`Action::Stop`].
    Exited(ChildId, ExitKind),
    /// The supervisor and all its children are to end.
    StopRequested,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End the child, or call off its start. Answered by [`Event::Exited`].
    Stop(ChildId),
    /// Start the child. Answered by [`Event::Started`], or by [`Event::Exited`] where that fails.
    Start {
        /// Who.
        child: ChildId,
        /// Wait so long first.
        delay_ms: u64,
    },
    /// All children have ended after too many restarts. The supervisor fails; its last action.
    GiveUp,
    /// All children have ended as requested. The last action.
    Stopped,
}

/// State machine of one supervisor.
#[derive(Debug, Clone)]
pub struct SupervisorCore {
    strategy: Strategy,
    intensity: Intensity,
    /// In start order, thus by id.
    children: Vec<Child>,
    phase: Phase,
    next_id: u64,
}

#[derive(Debug, Clone)]
struct Child {
    id: ChildId,
    mode: RestartMode,
    state: State,
    /// Before its next start.
    delay_ms: u64,
    starts: u64,
    /// Forget it once it has ended.
    removing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Down, to be started.
    Wanted,
    /// `Start` was handed out.
    Starting,
    Up,
    /// `Stop` was handed out.
    Stopping,
    /// Down for good, without failure.
    Completed,
    /// Down for good.
    Failed,
}

impl State {
    fn is_down(self) -> bool {
        matches!(self, Self::Wanted | Self::Completed | Self::Failed)
    }
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
    Ending {
        gave_up: bool,
    },
    Ended,
}

impl SupervisorCore {
    /// Starts without children. Of `policy` the mode is not used: each child has its own.
    #[must_use]
    pub fn new(strategy: Strategy, policy: RestartPolicy, seed: u64) -> Self {
        Self {
            strategy,
            intensity: Intensity::new(policy, seed),
            children: Vec::new(),
            phase: Phase::Serving,
            next_id: 0,
        }
    }

    /// Adds a child behind the others; [`Self::advance`] or the next event starts it.
    ///
    /// `None`: the supervisor is ending.
    pub fn add(&mut self, mode: RestartMode) -> Option<ChildId> {
        if matches!(self.phase, Phase::Ending { .. } | Phase::Ended) {
            return None;
        }
        let id = ChildId(self.next_id);
        self.next_id += 1;
        self.children.push(Child {
            id,
            mode,
            state: State::Wanted,
            delay_ms: 0,
            starts: 0,
            removing: false,
        });
        Some(id)
    }

    /// Ends a child and forgets it once it has ended. Nothing for an unknown child.
    pub fn remove(&mut self, id: ChildId) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(child) = self.child_mut(id) {
            child.removing = true;
            if matches!(child.state, State::Starting | State::Up) {
                child.state = State::Stopping;
                actions.push(Action::Stop(id));
            }
        }
        self.forget_removed();
        actions.extend(self.advance());
        actions
    }

    /// Takes in what happened at `now_ms` and answers what to do now, in order.
    ///
    /// Each child occurs at most once. Events about unknown children, and such that do not fit the
    /// child's state, change nothing.
    pub fn on_event(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        match event {
            Event::Started(id) => {
                if let Some(child) = self.child_mut(id)
                    && child.state == State::Starting
                {
                    child.state = State::Up;
                }
            }
            Event::Exited(id, exit) => self.exited(now_ms, id, exit),
            Event::StopRequested => {
                if self.phase != Phase::Ended {
                    // Whoever had given up before goes on giving up.
                    let gave_up = self.phase == Phase::Ending { gave_up: true };
                    self.phase = Phase::Ending { gave_up };
                }
            }
        }
        self.forget_removed();
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
            Phase::Ending { gave_up } => match self.stop_last_from(ChildId(0)) {
                Clear::Stop(action) => vec![action],
                Clear::Wait => Vec::new(),
                Clear::Empty => {
                    self.phase = Phase::Ended;
                    vec![if gave_up { Action::GiveUp } else { Action::Stopped }]
                }
            },
            Phase::Ended => Vec::new(),
        }
    }

    /// Whether the child is known, that is, not yet removed.
    #[must_use]
    pub fn contains(&self, id: ChildId) -> bool {
        self.child(id).is_some()
    }

    /// The children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildId> + '_ {
        self.children.iter().map(|child| child.id)
    }

    /// How the child stands, in the words of the tree. `None` for an unknown child.
    #[must_use]
    pub fn state(&self, id: ChildId) -> Option<InstanceState> {
        let cleared_from = match self.phase {
            Phase::Clearing { first, .. } => Some(first),
            _ => None,
        };
        self.child(id).map(|child| match child.state {
            // Down, but about to come back with its group.
            State::Completed | State::Failed
                if child.mode != RestartMode::Temporary
                    && cleared_from.is_some_and(|first| id >= first) =>
            {
                InstanceState::Restarting
            }
            State::Wanted | State::Starting if child.starts > 1 => InstanceState::Restarting,
            State::Wanted if child.starts > 0 => InstanceState::Restarting,
            State::Wanted | State::Starting => InstanceState::Starting,
            State::Up => InstanceState::Running,
            State::Stopping => InstanceState::Stopping,
            State::Completed => InstanceState::Completed,
            State::Failed => InstanceState::Failed,
        })
    }

    /// Starts of the child after its first one; 0 for an unknown child.
    #[must_use]
    pub fn restarts(&self, id: ChildId) -> u64 {
        self.child(id).map_or(0, |child| child.starts.saturating_sub(1))
    }

    fn child(&self, id: ChildId) -> Option<&Child> {
        let index = self.children.binary_search_by_key(&id, |child| child.id).ok()?;
        self.children.get(index)
    }

    fn child_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        let index = self.children.binary_search_by_key(&id, |child| child.id).ok()?;
        self.children.get_mut(index)
    }

    fn exited(&mut self, now_ms: u64, id: ChildId, exit: ExitKind) {
        let ending = matches!(self.phase, Phase::Ending { .. } | Phase::Ended);
        let independent = self.strategy == Strategy::OneForOne;
        let Some(child) = self.child_mut(id) else { return };
        if child.state.is_down() {
            return;
        }
        let was_asked = child.state == State::Stopping;
        let mode = child.mode;
        let restarted = is_restarted(mode, exit);
        child.state = match (was_asked, exit) {
            // Stopped to be started again, unless nobody wants it: see `want_again`.
            (true, _) | (false, ExitKind::Normal) => State::Completed,
            (false, _) => State::Failed,
        };
        if was_asked || ending {
            return;
        }
        if restarted {
            self.restart(now_ms, id);
        } else if exit == ExitKind::Permanent && mode != RestartMode::Temporary && !independent {
            self.phase = Phase::Ending { gave_up: true };
        }
    }

    fn restart(&mut self, now_ms: u64, id: ChildId) {
        let mut from = match self.strategy {
            Strategy::OneForOne | Strategy::RestForOne => id,
            Strategy::OneForAll => ChildId(0),
        };
        if let Phase::Clearing { first, .. } = self.phase {
            if id >= first {
                // It died while its turn to be stopped had not come: part of the same restart.
                return;
            }
            from = from.min(first);
        }
        let Some(delay_ms) = self.intensity.restart(now_ms) else {
            self.phase = Phase::Ending { gave_up: true };
            return;
        };
        if self.strategy != Strategy::OneForOne {
            self.phase = Phase::Clearing { first: from, delay_ms };
        } else if let Some(child) = self.child_mut(id) {
            child.state = State::Wanted;
            child.delay_ms = delay_ms;
        }
    }

    /// After a group was cleared: all but its temporary children are started again, as in OTP.
    fn want_again(&mut self, first: ChildId, delay_ms: u64) {
        let mut delay_ms = delay_ms;
        for child in self.children.iter_mut().filter(|child| child.id >= first) {
            // One that was added meanwhile has no start yet, whatever its mode.
            if child.mode != RestartMode::Temporary || child.state == State::Wanted {
                child.state = State::Wanted;
                child.delay_ms = std::mem::take(&mut delay_ms);
            }
        }
    }

    fn start_wanted(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for child in &mut self.children {
            let in_turn = self.strategy != Strategy::OneForOne;
            if child.state == State::Wanted {
                child.state = State::Starting;
                child.starts = child.starts.saturating_add(1);
                let delay_ms = std::mem::take(&mut child.delay_ms);
                actions.push(Action::Start { child: child.id, delay_ms });
            }
            // Later siblings may need this one: they start when it runs.
            if in_turn && child.state == State::Starting {
                break;
            }
        }
        actions
    }

    /// Stops the last child at or after `first` that is not down, one at a time.
    fn stop_last_from(&mut self, first: ChildId) -> Clear {
        let last = self.children.iter_mut().rev().take_while(|child| child.id >= first);
        match last.into_iter().find(|child| !child.state.is_down()) {
            None => Clear::Empty,
            Some(child) if child.state == State::Stopping => Clear::Wait,
            Some(child) => {
                child.state = State::Stopping;
                Clear::Stop(Action::Stop(child.id))
            }
        }
    }

    fn forget_removed(&mut self) {
        self.children.retain(|child| !(child.removing && child.state.is_down()));
    }
}

/// How far a group has been stopped.
enum Clear {
    Stop(Action),
    Wait,
    Empty,
}

#[cfg(test)]
mod tests;
