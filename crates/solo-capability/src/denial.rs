//! Why a token was not enough. The one place that turns that into a [`Problem`].

use solo_types::{Problem, ProblemKind, Right, ServiceId};

/// Why an operation was not allowed.
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
    /// Its checks are beyond what a request may cost, or of a kind that tokens must not contain.
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
    /// Its time is over.
    #[error("the token expired {seconds} seconds ago")]
    Expired {
        /// Since then.
        seconds: u64,
    },
    /// It, or the token that it was made from, was revoked.
    #[error("the token was revoked")]
    Revoked {
        /// Revocation id, hexadecimal.
        id: String,
    },
    /// It is for another service.
    #[error("the token is not for this service")]
    WrongService {
        /// The one it is for.
        granted: ServiceId,
    },
    /// It is for this service, but not for that.
    #[error("the token does not contain the right `{}`", right.as_str())]
    RightMissing {
        /// What was needed.
        right: Right,
    },
    /// A holder narrowed it.
    #[error("the token was narrowed by one of its holders and does not allow this")]
    Narrowed,
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
            Self::Expired { .. } => "TOKEN_EXPIRED",
            Self::Revoked { .. } => "TOKEN_REVOKED",
            Self::WrongService { .. } => "TOKEN_WRONG_SERVICE",
            Self::RightMissing { .. } => "RIGHT_MISSING",
            Self::Narrowed => "TOKEN_NARROWED",
        }
    }

    /// Makes the answer for the caller. It never contains the token.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let kind = match self {
            Self::Malformed { .. }
            | Self::Forged
            | Self::TooComplex { .. }
            | Self::NotCapabilities { .. }
            | Self::Expired { .. }
            | Self::Revoked { .. } => ProblemKind::Unauthenticated,
            Self::WrongService { .. } | Self::RightMissing { .. } | Self::Narrowed => {
                ProblemKind::PermissionDenied
            }
        };
        let remedy = match &self {
            Self::Malformed { .. } => "send the token exactly as GrantCapability answered with it",
            Self::Forged => "use a token that this node issued; restore it from where it was kept",
            Self::TooComplex { .. } => {
                "append checks only, compare with `==`, `<`, `contains` or `starts_with`, and keep \
                 them few"
            }
            Self::NotCapabilities { .. } => {
                "append facts `capability(\"RIGHTS OBJECT until=UNIX_S\")` to a token of Solo, and \
                 nothing else"
            }
            Self::Expired { .. } | Self::Revoked { .. } => {
                "ask the owner of the service for a new token (GrantCapability)"
            }
            Self::WrongService { .. } => "use the token of the service that the request names",
            Self::RightMissing { .. } => {
                "ask the owner of the service for a token with that right (GrantCapability)"
            }
            Self::Narrowed => {
                "use the token as it was before it was narrowed, or ask whoever handed it on"
            }
        };
        let problem = Problem::new(kind, self.reason(), self.to_string()).remedy(remedy);
        match self {
            Self::RightMissing { right } => problem.detail("expected", right.as_str()),
            _ => problem,
        }
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        denial.into_problem()
    }
}
