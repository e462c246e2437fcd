//! What cannot be said in the words of the model: texts and numbers that are not legal.
//!
//! The one place that turns that into a [`Problem`]. Refusals of requests are elsewhere
//! ([`crate::Refusal`], [`crate::Denial`]): this is about what somebody wrote down wrongly.

use solo_types::{Problem, Right};

use crate::ObjectKind;

/// Why an object, a pattern or a capability is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Longer than any legal text of its sort.
    #[error("it has more than {chars_max} characters")]
    TooLong {
        /// The bound.
        chars_max: usize,
    },
    /// Not `KIND:...`, or a kind that does not exist.
    #[error("it does not begin with a kind of object")]
    NoKind,
    /// Too few parts, or parts that only go together.
    #[error("it is not written `{expected}`")]
    Parts {
        /// The form of this kind of object.
        expected: &'static str,
    },
    /// One part of an object is not legal.
    #[error("the {field} is not legal: {rule}")]
    Part {
        /// Which one: `tenant`, `host`, ...
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A capability without rights.
    #[error("it names no right")]
    NoRights,
    /// A word that is no right.
    #[error("it names a right that does not exist")]
    UnknownRight,
    /// A right that objects of this kind do not have.
    #[error("objects of the kind `{}` have no right `{}`", kind.as_str(), right.as_str())]
    RightOfOtherKind {
        /// The object's.
        kind: ObjectKind,
        /// The right.
        right: Right,
    },
    /// An expiry later than the year 9999.
    #[error("the expiry is no second before the year 10000")]
    Expiry,
    /// A number of uses that is none.
    #[error(
        "uses are written `N/PER`, N from 1 to {}, PER one of second, minute, hour, day and ever, \
         each once",
        crate::USES_MAX
    )]
    Uses,
    /// A word of a capability that is not known, comes twice or is missing.
    #[error("it is not written `RIGHTS OBJECT [tier=system] [until=UNIX_S] [uses=N/PER,...]`")]
    Words,
    /// An id of a grant or a name of a principal.
    #[error("it is not 1 to {chars_max} letters, digits and any of `-_.:`")]
    Name {
        /// The bound.
        chars_max: usize,
    },
}

impl ModelError {
    /// Makes the answer for the caller; `field` of the request is to blame.
    #[must_use]
    pub fn into_problem(self, field: &str) -> Problem {
        let remedy = match &self {
            Self::TooLong { .. } => "shorten it",
            Self::NoKind => {
                "begin with service:, tenant:, artifact:, volume:, network:, device:, secret: or \
                 kernel:"
            }
            Self::Parts { .. } | Self::Part { .. } => {
                "write it in this form; `*` stands for anything, `x*` for what begins with x"
            }
            Self::NoRights | Self::UnknownRight | Self::RightOfOtherKind { .. } => {
                "name rights that this kind of object has"
            }
            Self::Expiry => "choose a shorter life",
            Self::Uses => "write for example `uses=10/second,500/ever`",
            Self::Words => "write for example `call,send service:default/counter uses=5/minute`",
            Self::Name { .. } => "use the id or the name as Solo answered with it",
        };
        Problem::invalid("INVALID_CAPABILITY", field, &self.to_string()).remedy(remedy)
    }
}
