//! The children of one supervisor, with the indices that keep a decision cheap among thousands.
//! Decides only whose turn it is to start: one after the other, or at once.

use std::collections::{BTreeMap, BTreeSet};

use solo_types::RestartMode;

use super::{ChildId, ChildOptions};

/// One child.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) mode: RestartMode,
    pub(super) significant: bool,
    pub(super) attempt: Attempt,
    /// Before its next start.
    pub(super) delay_ms: u64,
    pub(super) starts: u64,
    /// Forget it once it has ended.
    pub(super) removing: bool,
    /// Leave it down when its group is started again: it was terminated meanwhile.
    pub(super) held: bool,
    state: State,
}

impl Child {
    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.mode == RestartMode::Temporary
    }
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
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
    /// Down, and nothing is going to change that by itself: OTP's pid is `undefined`.
    pub(super) fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// Why a child is started, which decides what a failure of the start means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// First start of a child of the specification: a failure ends the supervisor.
    Specified,
    /// First start of a child that was added later: a failure makes it forgotten.
    Added,
    /// By command: a failure leaves it down.
    Asked,
    /// After an exit: a failure is counted and tried again.
    Again,
}

/// Children in start order.
#[derive(Debug, Clone)]
pub(super) struct Children {
    all: BTreeMap<ChildId, Child>,
    /// Whether children are started without regard to each other, after their first start.
    independent: bool,
    /// Wanted, one after the other.
    in_turn: BTreeSet<ChildId>,
    /// Wanted, at once.
    at_once: BTreeSet<ChildId>,
    /// Whose turn it is: those behind wait until it runs or is down.
    turn: Option<ChildId>,
    /// Starting, up or stopping.
    alive: BTreeSet<ChildId>,
    /// Starting or stopping.
    changing: usize,
    /// Significant ones that have not ended.
    significant: usize,
    next_id: u64,
}

impl Children {
    pub(super) fn new(independent: bool) -> Self {
        Self {
            all: BTreeMap::new(),
            independent,
            in_turn: BTreeSet::new(),
            at_once: BTreeSet::new(),
            turn: None,
            alive: BTreeSet::new(),
            changing: 0,
            significant: 0,
            next_id: 0,
        }
    }

    /// Adds a child behind the others, to be started.
    pub(super) fn push(&mut self, options: ChildOptions, attempt: Attempt) -> ChildId {
        let id = ChildId(self.next_id);
        self.next_id += 1;
        let child = Child {
            mode: options.mode,
            significant: options.significant,
            attempt,
            delay_ms: 0,
            starts: 0,
            removing: false,
            held: false,
            state: State::Completed,
        };
        self.all.insert(id, child);
        self.set(id, State::Wanted);
        id
    }

    pub(super) fn get(&self, id: ChildId) -> Option<&Child> {
        self.all.get(&id)
    }

    /// For everything but the state: that is for [`Self::set`].
    pub(super) fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.all.get_mut(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ChildId> + '_ {
        self.all.keys().copied()
    }

    pub(super) fn ids_from(&self, first: ChildId) -> Vec<ChildId> {
        self.all.range(first..).map(|(id, _)| *id).collect()
    }

    /// Moves a child to another state. Its attempt must be up to date.
    pub(super) fn set(&mut self, id: ChildId, state: State) {
        let Some(child) = self.all.get_mut(&id) else { return };
        let before = std::mem::replace(&mut child.state, state);
        let in_turn = !self.independent || child.attempt == Attempt::Specified;
        let significant = child.significant;
        self.unindex(id, before, significant);
        if significant && !state.is_ended() {
            self.significant += 1;
        }
        match state {
            State::Wanted if in_turn => _ = self.in_turn.insert(id),
            State::Wanted => _ = self.at_once.insert(id),
            State::Starting | State::Stopping => {
                self.changing += 1;
                self.alive.insert(id);
            }
            State::Up => _ = self.alive.insert(id),
            State::Completed | State::Failed => {}
        }
        match state {
            State::Starting if in_turn => self.turn = Some(id),
            // A start that is called off keeps its turn until it is down.
            State::Starting | State::Stopping => {}
            _ if self.turn == Some(id) => self.turn = None,
            _ => {}
        }
    }

    pub(super) fn forget(&mut self, id: ChildId) {
        if let Some(child) = self.all.remove(&id) {
            self.unindex(id, child.state, child.significant);
            self.turn = self.turn.filter(|turn| *turn != id);
        }
    }

    fn unindex(&mut self, id: ChildId, state: State, significant: bool) {
        if significant && !state.is_ended() {
            self.significant -= 1;
        }
        match state {
            State::Wanted => {
                self.in_turn.remove(&id);
                self.at_once.remove(&id);
            }
            State::Starting | State::Stopping => {
                self.changing -= 1;
                self.alive.remove(&id);
            }
            State::Up => _ = self.alive.remove(&id),
            State::Completed | State::Failed => {}
        }
    }

    /// The next child that may be started now.
    pub(super) fn next_to_start(&self) -> Option<ChildId> {
        if let Some(id) = self.at_once.first() {
            return Some(*id);
        }
        if self.turn.is_some() { None } else { self.in_turn.first().copied() }
    }

    /// The last child from `first` on that is starting, up or stopping.
    pub(super) fn last_alive_from(&self, first: ChildId) -> Option<ChildId> {
        self.alive.range(first..).next_back().copied()
    }

    /// Whether a significant child has not ended.
    pub(super) fn has_significant(&self) -> bool {
        self.significant > 0
    }

    /// Whether nothing is to be started and no start or stop is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.changing == 0 && self.in_turn.is_empty() && self.at_once.is_empty()
    }
}
