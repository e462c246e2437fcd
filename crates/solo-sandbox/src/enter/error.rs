//! What keeps a process from being shut in, with what an operator can do about it.

use std::fmt;
use std::io;

use crate::Layer;

/// A layer that was required and does not hold. The process must end: what was done so far cannot be
/// taken back, and what is missing would let it do too much.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} ({layer})")]
pub struct EnterError {
    /// Which layer.
    pub layer: Layer,
    /// What was refused.
    pub action: Action,
    /// What an operator can do.
    pub remedy: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A step, with what it is about: `mount /usr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    verb: &'static str,
    object: String,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)?;
        if self.object.is_empty() { Ok(()) } else { write!(f, " {}", self.object) }
    }
}

impl Layer {
    /// An error of this layer.
    pub(crate) fn failed<E: Into<io::Error>>(self, verb: &'static str) -> impl Fn(E) -> EnterError {
        self.failed_on(verb, "")
    }

    /// An error of this layer about something.
    pub(crate) fn failed_on<E: Into<io::Error>>(
        self,
        verb: &'static str,
        object: impl Into<String>,
    ) -> impl Fn(E) -> EnterError {
        let object = object.into();
        move |source| EnterError {
            layer: self,
            action: Action { verb, object: object.clone() },
            remedy: self.remedy(),
            source: source.into(),
        }
    }
}
