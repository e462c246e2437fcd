//! Places at which a test ends the process of changing files, as `kill -9` would.
//!
//! Outside of tests it does nothing.

use crate::AuditError;

/// How many steps may still be made.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    #[cfg(test)]
    pub(crate) left: Option<usize>,
}

impl Steps {
    /// Marks that a step was made.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests count and stop here")]
    pub(crate) fn done(&mut self) -> Result<(), AuditError> {
        Ok(())
    }

    /// Marks that a step was made, and ends if it was the last one.
    #[cfg(test)]
    pub(crate) fn done(&mut self) -> Result<(), AuditError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(AuditError::Poisoned),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}
