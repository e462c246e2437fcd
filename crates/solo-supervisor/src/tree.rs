//! Decides for one supervisor which children to stop and start. Reads no clock, starts nothing.
//!
//! The strategies, the order of starts and stops, restart intensity, significant children and what
//! each command does are OTP's; `tests/otp` runs random trees through this core and through Erlang's
//! own `supervisor` and compares. The intensity is the supervisor's, not the child's.
//!
//! # Protocol
//! [`SupervisorCore`] answers every event and command with the [`Action`]s to take now, in order.
//! Whoever drives it executes them, waits for nothing, and tells what came of them:
//!
//! | action | what must follow |
//! |---|---|
//! | [`Action::Start`] | Wait `delay_ms`, then start the child. Then exactly one of: [`Event::Started`] (it runs), [`Event::Ignored`] (it declined, which is no failure), [`Event::Exited`] (its start failed). |
//! | [`Action::Stop`] | End the child, by force when its time is over; [`Event::Exited`] when it is gone. If it has not started yet, call the start off and answer the same. Handed out at most once per start, and only where no `Exited` was taken in. Where it crosses an end of the child's own, one `Exited` answers both. |
//! | [`Action::End`] | Nothing. No child runs or is started any more; the core answers nothing from here on. |
//!
//! After `Started` there is exactly one `Exited`, whenever the child ends, asked or not. Events that
//! do not fit (of unknown children, a second `Exited`, `Started` after a `Stop`) change nothing, so
//! that crossing messages need no care.
//!
//! The children of the specification come first: [`SupervisorCore::specify`] each, then
//! [`SupervisorCore::advance`] once. They are started one after the other; when one of those first
//! starts fails, the supervisor ends ([`EndReason::StartFailed`]). Commands come at any time after:
//!
//! | command (OTP's name) | how its outcome shows |
//! |---|---|
//! | [`add`](SupervisorCore::add), then `advance` (`start_child`) | `Started` or `Ignored` of that child; `Exited` before them: it did not start and is forgotten |
//! | [`terminate`](SupervisorCore::terminate) (`terminate_child`) | done when [`state`](SupervisorCore::state) says `completed` or `failed`, or the child is forgotten: at once, or with its `Exited` |
//! | [`restart`](SupervisorCore::restart) (`restart_child`) | as `add`, but a child that did not start stays, ended |
//! | [`delete`](SupervisorCore::delete) (`delete_child`) | at once |
//! | [`remove`](SupervisorCore::remove) (terminate and delete) | done when [`contains`](SupervisorCore::contains) says no |
//! | [`Event::StopRequested`] (an exit signal of the parent) | [`Action::End`] |
//!
//! A child is forgotten by an event or command about itself only, never by one about a sibling: ask
//! `contains` after each. Forgotten are temporary children that ended, as in OTP, children whose
//! `add` failed, and what `delete` and `remove` name.
//!
//! # Where this differs from OTP
//! - A restart may wait (backoff). A policy whose `backoff_initial_ms` and `backoff_max_ms` are 0
//!   has OTP's restarts at once.
//! - [`ExitKind::Permanent`], which OTP does not have: the child stays down. Under `one_for_one` its
//!   siblings go on; under the other strategies, where siblings depend on it, the supervisor ends.
//! - OTP's supervisor takes up nothing while it waits for a child. This one does, since it must never
//!   wait on what it supervises: an exit of an earlier sibling in the middle of a restart of a group
//!   makes that restart larger, a later one is part of it, and a command is carried out around it.
//!   Who hands in the next event only when [`SupervisorCore::is_settled`] has OTP's very order.
//! - For [`AutoShutdown::AllSignificant`] a child whose turn in a restart has not come counts as
//!   running. To OTP it has ended if another start of that restart failed and was not yet repeated.
//!
//! Source: OTP supervisor documentation; `supervisor.erl` of OTP 25.

mod children;
mod commands;
mod machine;

use serde::{Deserialize, Serialize};
use solo_types::{RestartMode, RestartPolicy};

use crate::ExitKind;

pub use machine::SupervisorCore;

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

/// When ends of significant children end the supervisor with all the others.
///
/// Only ends after which a child is not restarted count, and only the child's own: not that it was
/// terminated, nor that it was stopped with its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// Never. No child may be significant.
    #[default]
    Never,
    /// With the first one.
    AnySignificant,
    /// With the last one: when no other significant child runs or is being restarted.
    AllSignificant,
}

impl AutoShutdown {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AnySignificant => "any_significant",
            Self::AllSignificant => "all_significant",
        }
    }
}

/// How a supervisor treats its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisorOptions {
    /// Who is restarted with whom.
    pub strategy: Strategy,
    /// When it ends by itself.
    pub auto_shutdown: AutoShutdown,
    /// Intensity and delays. The mode is not used: each child has its own.
    pub policy: RestartPolicy,
}

impl SupervisorOptions {
    /// A supervisor that never ends because of significant children.
    #[must_use]
    pub fn new(strategy: Strategy, policy: RestartPolicy) -> Self {
        Self { strategy, auto_shutdown: AutoShutdown::Never, policy }
    }
}

/// How one child is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildOptions {
    /// When it is started again.
    pub mode: RestartMode,
    /// Whether its end counts for [`AutoShutdown`].
    pub significant: bool,
}

impl From<RestartMode> for ChildOptions {
    fn from(mode: RestartMode) -> Self {
        Self { mode, significant: false }
    }
}

impl ChildOptions {
    /// Checks OTP's rules for significant children.
    ///
    /// # Errors
    /// [`ChildError::PermanentSignificant`], [`ChildError::SignificantForNever`].
    pub fn check(self, auto_shutdown: AutoShutdown) -> Result<(), ChildError> {
        match (self.significant, self.mode, auto_shutdown) {
            (true, _, AutoShutdown::Never) => Err(ChildError::SignificantForNever),
            (true, RestartMode::Permanent, _) => Err(ChildError::PermanentSignificant),
            _ => Ok(()),
        }
    }
}

/// A child of one supervisor. Ids grow in start order and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(u64);

/// What happened. [`self`] says when each is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A child that was to start runs.
    Started(ChildId),
    /// A child that was to start declined: it is not needed, and that is no failure.
    Ignored(ChildId),
    /// A child ended, or its start failed, or its start was called off by [`Action::Stop`].
    ///
    /// A failed start of a restart is tried again whatever the kind, but for
    /// [`ExitKind::Permanent`]; the kind of an end that was asked for is not looked at.
    Exited(ChildId, ExitKind),
    /// The supervisor and all its children are to end.
    StopRequested,
}

/// What to do. [`self`] says what must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End the child, or call off its start.
    Stop(ChildId),
    /// Start the child.
    Start {
        /// Who.
        child: ChildId,
        /// Wait so long first.
        delay_ms: u64,
    },
    /// The supervisor has ended, and all its children before it. The last action.
    End(EndReason),
}

/// Why a supervisor ended.
///
/// To its own supervisor OTP's exits with `shutdown` in each case but the last, which is a failed
/// start: hand in [`ExitKind::Normal`] for the same, whereupon only a permanent one is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// As requested.
    Ordered,
    /// This child would have needed one restart too many.
    TooManyRestarts(ChildId),
    /// This child, on which others depend, said that another start will not help.
    PermanentExit(ChildId),
    /// This significant child ended.
    AutoShutdown(ChildId),
    /// This child of the specification did not start.
    StartFailed(ChildId),
}

impl EndReason {
    /// Whether that is a failure of the supervisor, rather than its regular end.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Ordered | Self::AutoShutdown(_) => false,
            Self::TooManyRestarts(_) | Self::PermanentExit(_) | Self::StartFailed(_) => true,
        }
    }
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// The supervisor is ending or has ended.
    #[error("the supervisor is ending")]
    Ending,
    /// The child was never known, or is forgotten.
    #[error("the child is not known")]
    Unknown,
    /// The child runs, or is being stopped.
    #[error("the child runs")]
    Running,
    /// The child is being started or restarted.
    #[error("the child is being restarted")]
    Restarting,
    /// A permanent child has no end that could count.
    #[error("a permanent child cannot be significant")]
    PermanentSignificant,
    /// The supervisor never ends because of children.
    #[error("a child cannot be significant where the supervisor never shuts down by itself")]
    SignificantForNever,
}

#[cfg(test)]
mod tests;
