//! Why a token was not enough. The one place that turns that into a [`Problem`].

use solo_types::{Problem, ProblemKind};

/// Why a token is not taken for one of this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It is no token.
    #[error("the token cannot be read: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Its signature is not of this node, or something in it was changed.
    #[error("the token was not signed by this node, or it was changed")]
    Forged,
    /// It went through too many hands, or one of them is a third party.
    #[error("the token is too complex: {what}")]
    TooComplex {
        /// What is too much.
        what: &'static str,
    },
    /// It says something else than capabilities, or in a form that tokens must not have.
    #[error("the token is not made of capabilities: {what}")]
    NotCapabilities {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Denial {
    /// Stable reason, upper snake case.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "TOKEN_MALFORMED",
            Self::Forged => "TOKEN_FORGED",
            Self::TooComplex { .. } => "TOKEN_TOO_COMPLEX",
            Self::NotCapabilities { .. } => "TOKEN_NOT_CAPABILITIES",
        }
    }

    /// Makes the answer for the caller. It never contains the token.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let remedy = match &self {
            Self::Malformed { .. } => "send the token exactly as GrantCapability answered with it",
            Self::Forged => "use a token that this node issued; restore it from where it was kept",
            Self::TooComplex { .. } => {
                "attenuate with Solo alone, or ask for a grant of its own instead of another hand"
            }
            Self::NotCapabilities { .. } => {
                "append facts `capability(\"RIGHTS OBJECT until=UNIX_S\")` to a token of Solo, and \
                 nothing else"
            }
        };
        Problem::new(ProblemKind::Unauthenticated, self.reason(), self.to_string()).remedy(remedy)
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        denial.into_problem()
    }
}
