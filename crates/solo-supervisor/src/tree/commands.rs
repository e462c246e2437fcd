//! What others ask of a supervisor: children that come, end, start again and go. Each command says at
//! once whether it is carried out; [`super`] documents how its outcome shows.

use super::children::{Attempt, State};
use super::{Action, ChildError, ChildId, ChildOptions, SupervisorCore};
use crate::ExitKind;

impl SupervisorCore {
    /// Adds a child of the specification behind the others; [`Self::advance`] starts it. If that
    /// first start fails, the supervisor ends.
    ///
    /// # Errors
    /// [`ChildError::Ending`], and what [`ChildOptions::check`] refuses.
    pub fn specify(&mut self, child: impl Into<ChildOptions>) -> Result<ChildId, ChildError> {
        self.push(child.into(), Attempt::Specified)
    }

    /// Adds a child behind the others; [`Self::advance`] or the next event starts it. If that first
    /// start fails, the child is forgotten.
    ///
    /// # Errors
    /// As [`Self::specify`].
    pub fn add(&mut self, child: impl Into<ChildOptions>) -> Result<ChildId, ChildError> {
        self.push(child.into(), Attempt::Added)
    }

    fn push(&mut self, child: ChildOptions, attempt: Attempt) -> Result<ChildId, ChildError> {
        if self.is_ending() {
            return Err(ChildError::Ending);
        }
        child.check(self.auto_shutdown)?;
        Ok(self.children.push(child, attempt))
    }

    /// Ends a child, which stays known and down until it is restarted, by [`Self::restart`] or with
    /// its group. A temporary child is forgotten. Calls off a restart that is under way.
    ///
    /// # Errors
    /// [`ChildError::Unknown`].
    pub fn terminate(&mut self, id: ChildId) -> Result<Vec<Action>, ChildError> {
        let cleared = self.is_cleared(id);
        let child = self.children.get_mut(id).ok_or(ChildError::Unknown)?;
        child.held = cleared;
        let mut actions = Vec::new();
        match child.state() {
            State::Wanted => self.gone(id, ExitKind::Normal),
            State::Starting | State::Up => {
                self.children.set(id, State::Stopping);
                actions.push(Action::Stop(id));
            }
            State::Stopping | State::Completed | State::Failed => {}
        }
        actions.extend(self.advance());
        Ok(actions)
    }

    /// Starts a child that has ended and was not restarted.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::Ending`]; [`ChildError::Running`] also while it is
    /// being stopped; [`ChildError::Restarting`].
    pub fn restart(&mut self, id: ChildId) -> Result<Vec<Action>, ChildError> {
        if self.is_ending() {
            return Err(ChildError::Ending);
        }
        self.check_ended(id)?;
        if let Some(child) = self.children.get_mut(id) {
            child.attempt = Attempt::Asked;
            child.delay_ms = 0;
        }
        self.children.set(id, State::Wanted);
        Ok(self.advance())
    }

    /// Forgets a child that has ended.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::Running`], [`ChildError::Restarting`].
    pub fn delete(&mut self, id: ChildId) -> Result<(), ChildError> {
        self.check_ended(id)?;
        self.children.forget(id);
        Ok(())
    }

    fn check_ended(&self, id: ChildId) -> Result<(), ChildError> {
        let child = self.children.get(id).ok_or(ChildError::Unknown)?;
        match child.state() {
            State::Up | State::Stopping => Err(ChildError::Running),
            State::Wanted | State::Starting => Err(ChildError::Restarting),
            State::Completed | State::Failed if self.is_cleared(id) && !child.held => {
                Err(ChildError::Restarting)
            }
            State::Completed | State::Failed => Ok(()),
        }
    }

    /// Ends a child and forgets it once it has ended. Nothing for an unknown child.
    pub fn remove(&mut self, id: ChildId) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(child) = self.children.get_mut(id) {
            match child.state() {
                State::Wanted | State::Completed | State::Failed => self.children.forget(id),
                State::Stopping => child.removing = true,
                State::Starting | State::Up => {
                    child.removing = true;
                    self.children.set(id, State::Stopping);
                    actions.push(Action::Stop(id));
                }
            }
        }
        actions.extend(self.advance());
        actions
    }
}
