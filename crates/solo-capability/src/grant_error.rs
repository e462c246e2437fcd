//! Why a grant was not made. The one place that turns that into a [`Problem`].

use solo_types::{Problem, ProblemKind};

use crate::{ChainError, GrantId};

/// Why a grant was not made. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It would be wider than what the grantor holds.
    #[error("`{capability}` is more than grant {link} contains")]
    Wider {
        /// What was to be granted.
        capability: String,
        /// The link of the grantor's chain that it is not within.
        link: GrantId,
    },
    /// The grantor holds it without the right to pass it on.
    #[error("`{capability}` is held by grant {link} without the right `grant`")]
    NotPassedOn {
        /// What was to be granted.
        capability: String,
        /// The link of the grantor's chain that does not pass it on.
        link: GrantId,
    },
    /// It would have expired before it began.
    #[error("a capability of the grant has expired already")]
    Expired,
    /// A link of the grantor's chain was revoked, or is over.
    #[error("grant {link} is not in force any more")]
    Ended {
        /// Which one.
        link: GrantId,
    },
    /// The id names another grant, or did.
    #[error("the id of the grant was used before")]
    IdTaken,
    /// A record whose last link is an attenuation.
    #[error("the last link of the record was not issued")]
    NotIssued,
    /// There is no room for more.
    #[error("there are {grants_max} grants already")]
    Full {
        /// The bound: of the node, or of one principal.
        grants_max: usize,
    },
    /// Too many capabilities, or too many hands.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl GrantError {
    /// Makes the answer for the caller.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        use ProblemKind as Kind;
        let (kind, reason, remedy) = match &self {
            Self::Wider { .. } => (
                Kind::PermissionDenied,
                "GRANT_WIDER",
                "grant objects, rights, tier, expiry and uses within what is held",
            ),
            Self::NotPassedOn { .. } => (
                Kind::PermissionDenied,
                "GRANT_NOT_PASSED_ON",
                "ask whoever granted it for the right `grant`, or attenuate the token offline",
            ),
            Self::Expired => (Kind::InvalidArgument, "INVALID_TTL", "choose a later expiry"),
            Self::Ended { .. } => {
                (Kind::Unauthenticated, "TOKEN_REVOKED", "ask whoever granted it for a new grant")
            }
            Self::IdTaken => (Kind::AlreadyExists, "GRANT_EXISTS", "use a new id"),
            Self::NotIssued => (Kind::Internal, "INTERNAL", "see the log of the kernel"),
            Self::Full { .. } => {
                (Kind::ResourceExhausted, "TOO_MANY_GRANTS", "revoke grants that are not needed")
            }
            Self::Chain(ChainError::Capabilities) => {
                (Kind::InvalidArgument, "INVALID_CAPABILITY", "make more than one grant")
            }
            Self::Chain(ChainError::Links) => (
                Kind::FailedPrecondition,
                "CHAIN_TOO_LONG",
                "ask somebody who is nearer to the operator",
            ),
        };
        Problem::new(kind, reason, self.to_string()).remedy(remedy)
    }
}
