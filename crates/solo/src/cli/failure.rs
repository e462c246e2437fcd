//! Why a command did not do what it was asked for, and its exit code.
//!
//! The one place that knows exit codes: [`Failure::exit_code`] and [`EXIT_CODES_HELP`]. Texts of
//! problems are made elsewhere, by the kernel or by the command.

use std::io;

use solo_types::{Problem, ProblemKind};
use tonic::{Code, Status};

/// What to do when nobody takes a connection.
pub(crate) const UNREACHABLE_REMEDY: &str =
    "start it with `solo up --detach`; if it runs, name its --home or its --api address";

/// The documentation of exit codes, as part of the help.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0  done
  1  refused or failed; standard error says why
  2  the command line is wrong
  3  Solo cannot be reached; is it up?
  4  no answer in time";

/// Reasons of a connection that broke after it had been made: on this side, or in between.
const CONNECTION_LOST: &str = "CONNECTION_LOST";
const TRANSPORT: &str = "TRANSPORT";

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Solo refused the operation, or it failed.
    Refused(Problem),
    /// The command line is wrong.
    Usage(Problem),
    /// Solo cannot be reached: no connection could be made.
    Unreachable(Problem),
    /// No answer in time.
    Timeout(Problem),
    /// Whoever read the output has enough: not an error.
    OutputClosed,
}

impl Failure {
    /// A wrong command line.
    pub(crate) fn usage(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage(Problem::new(ProblemKind::InvalidArgument, "USAGE", cause).remedy(remedy))
    }

    /// Something on this side of the connection failed.
    pub(crate) fn local(reason: &str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        let problem = Problem::new(ProblemKind::FailedPrecondition, reason, cause);
        Self::Refused(problem.remedy(remedy))
    }

    /// The answer did not come within `limit`.
    pub(crate) fn timeout(limit: std::time::Duration) -> Self {
        let cause = format!("no answer within {} ms", limit.as_millis());
        let problem = Problem::new(ProblemKind::DeadlineExceeded, "DEADLINE_EXCEEDED", cause);
        Self::Timeout(
            problem.remedy(
                "whether it took effect is not known: look with `solo status` or `solo list`",
            ),
        )
    }

    /// Reads what the API answered instead of a result.
    pub(crate) fn from_status(status: &Status) -> Self {
        // A status with a source was made on this side, by the connection.
        let local = std::error::Error::source(status).is_some();
        let mut problem = solo_api::problem_from_status(status);
        let silent = problem.cause.is_empty();
        match status.code() {
            Code::DeadlineExceeded => Self::Timeout(problem),
            // tonic's own word for a deadline that passed, on either side.
            Code::Cancelled if status.message() == "Timeout expired" => {
                "DEADLINE_EXCEEDED".clone_into(&mut problem.reason);
                "no answer in time".clone_into(&mut problem.cause);
                Self::Timeout(problem.remedy(
                    "whether it took effect is not known: look with `solo status` or `solo list`",
                ))
            }
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled if local => {
                problem.kind = ProblemKind::Unavailable;
                if is_refused_connection(status) {
                    "SOLO_UNREACHABLE".clone_into(&mut problem.reason);
                    problem.cause = format!("Solo cannot be reached: {}", chain(status));
                    return Self::Unreachable(problem.remedy(UNREACHABLE_REMEDY));
                }
                CONNECTION_LOST.clone_into(&mut problem.reason);
                problem.cause = format!("the connection to Solo broke: {}", chain(status));
                Self::Refused(problem.remedy(
                    "whether the request took effect is not known: look with `solo status`, \
                     then try again",
                ))
            }
            code => {
                if silent {
                    problem.cause = format!("{code}");
                }
                if problem.reason == TRANSPORT && problem.remedy.is_empty() {
                    "try again".clone_into(&mut problem.remedy);
                }
                Self::Refused(problem)
            }
        }
    }

    /// Whether the connection broke after it had been made, so that what was asked for may be done.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Refused(problem) | Self::Unreachable(problem)
            if [CONNECTION_LOST, TRANSPORT].contains(&problem.reason.as_str()))
    }

    /// What to tell; none where there is nobody to tell it to.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem)
            | Self::Usage(problem)
            | Self::Unreachable(problem)
            | Self::Timeout(problem) => Some(problem),
            Self::OutputClosed => None,
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // The operation was done; its reader did not want to hear all of it.
            Self::OutputClosed => 0,
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Timeout(_) => 4,
        }
    }
}

/// Whether nobody took a new connection, which the client makes by itself when the old one ended.
fn is_refused_connection(status: &Status) -> bool {
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            );
        }
        next = error.source();
    }
    false
}

/// An error and all that caused it, on one line, without repetition.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn local(code: Code, message: &str) -> Status {
        with_source(code, message, io::Error::other("broken pipe"))
    }

    fn with_source(code: Code, message: &str, source: io::Error) -> Status {
        let mut status = Status::new(code, message);
        status.set_source(Arc::new(source));
        status
    }

    #[test]
    fn every_failure_has_its_exit_code() {
        let refusal = |kind| solo_api::status_from_problem(&Problem::new(kind, "X", "x"));
        for (status, expected) in [
            (refusal(ProblemKind::InvalidArgument), 1),
            (refusal(ProblemKind::NotFound), 1),
            (refusal(ProblemKind::Unavailable), 1),
            (refusal(ProblemKind::Internal), 1),
            (refusal(ProblemKind::DeadlineExceeded), 4),
            (Status::cancelled("Timeout expired"), 4),
            (local(Code::Cancelled, "Timeout expired"), 4),
            (refused_connection(), 3),
            (local(Code::Unavailable, "transport error"), 1),
            (local(Code::Unknown, "transport error"), 1),
            (Status::unavailable(""), 1),
        ] {
            assert_eq!(Failure::from_status(&status).exit_code(), expected, "{status:?}");
        }
        assert_eq!(Failure::usage("x", "y").exit_code(), 2);
        assert_eq!(Failure::OutputClosed.exit_code(), 0);
    }

    fn refused_connection() -> Status {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        with_source(Code::Unavailable, "tcp connect error", source)
    }

    #[test]
    fn only_who_had_a_connection_may_have_lost_it() {
        for (status, expected) in [
            (local(Code::Unavailable, "transport error"), true),
            (Status::unavailable("a proxy's word"), true),
            (refused_connection(), false),
            (Status::not_found(""), false),
        ] {
            let failure = Failure::from_status(&status);
            assert_eq!(failure.is_broken_connection(), expected, "{status:?}");
            let remedy = failure.problem().map(|problem| problem.remedy.clone());
            let again = remedy.is_some_and(|remedy| remedy.ends_with("try again"));
            assert_eq!(again, expected, "{status:?}");
        }
    }

    #[test]
    fn a_broken_connection_says_why_once() {
        let failure = Failure::from_status(&local(Code::Unavailable, "transport error"));
        assert_eq!(
            failure.problem().map(|problem| problem.cause.as_str()),
            Some("the connection to Solo broke: transport error: broken pipe")
        );
    }
}
