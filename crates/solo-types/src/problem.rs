//! What went wrong, as an agent can act on it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Class of a problem. Each stands for the gRPC code of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request itself is wrong; sending it again cannot help.
    InvalidArgument,
    /// What the request names does not exist.
    NotFound,
    /// What the request would make exists.
    AlreadyExists,
    /// The token does not allow it.
    PermissionDenied,
    /// The token is no token.
    Unauthenticated,
    /// A limit or a quota is used up.
    ResourceExhausted,
    /// The request is right, the state of the service is not.
    FailedPrecondition,
    /// Another operation got in the way; try again.
    Aborted,
    /// No answer in time.
    DeadlineExceeded,
    /// Not built yet.
    Unimplemented,
    /// Right now not possible; try again.
    Unavailable,
    /// A defect of Solo, or a machine that fails (disk, memory).
    Internal,
}

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldViolation {
    /// Path in the request: `limits.max_memory_bytes`.
    pub field: String,
    /// The rule that it breaks.
    pub rule: String,
}

/// An error for agents and people: stable reason, cause, remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its class.
    pub kind: ProblemKind,
    /// Stable, upper snake case.
    pub reason: String,
    /// What happened, a fragment in lower case.
    pub cause: String,
    /// What the caller can do about it; empty where nothing can be done.
    pub remedy: String,
    /// The fields that are wrong, for [`ProblemKind::InvalidArgument`].
    pub fields: Vec<FieldViolation>,
    /// More, by stable keys: `expected`, `line`, `column`, `excerpt`, `backtrace`.
    pub details: Vec<(String, String)>,
}

impl Problem {
    /// Makes a problem without remedy.
    #[must_use]
    pub fn new(kind: ProblemKind, reason: &str, cause: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.to_owned(),
            cause: cause.into(),
            remedy: String::new(),
            fields: Vec::new(),
            details: Vec::new(),
        }
    }

    /// Makes a problem of one wrong field. `rule` serves as cause too.
    #[must_use]
    pub fn invalid(reason: &str, field: &str, rule: &str) -> Self {
        let mut problem = Self::new(ProblemKind::InvalidArgument, reason, rule)
            .remedy("correct this field and send the request again");
        problem.fields.push(FieldViolation { field: field.to_owned(), rule: rule.to_owned() });
        problem
    }

    /// Makes the answer to what is not built yet.
    #[must_use]
    pub fn unimplemented(what: &str) -> Self {
        Self::new(ProblemKind::Unimplemented, "NOT_BUILT_YET", format!("{what} is not built yet"))
            .remedy("see the list of missing features in the README")
    }

    /// Makes the answer to a defect of Solo or of the machine.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(ProblemKind::Internal, "INTERNAL", cause)
            .remedy("see the log of the kernel; `solo doctor` checks the machine")
    }

    /// Says what the caller can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Adds a detail; nothing for an empty value.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.details.push((key.to_owned(), value));
        }
        self
    }

    /// Names the field that is to blame.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        let rule = self.cause.clone();
        self.fields.push(FieldViolation { field: field.to_owned(), rule });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.cause)
    }
}

impl std::error::Error for Problem {}
