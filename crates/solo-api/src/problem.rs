//! The one place where problems become gRPC statuses, and statuses problems.

use std::collections::HashMap;

use solo_types::{FieldViolation, Problem, ProblemKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of all reasons.
const DOMAIN: &str = "solo";

/// Longest text of one detail, in bytes: all of them travel in HTTP/2 headers, which common clients
/// accept up to 8 or 16 KiB in total.
const DETAIL_BYTES_MAX: usize = 1_536;

/// All details together.
const DETAILS_BYTES_MAX: usize = 3_072;

fn code(kind: ProblemKind) -> Code {
    match kind {
        ProblemKind::InvalidArgument => Code::InvalidArgument,
        ProblemKind::NotFound => Code::NotFound,
        ProblemKind::AlreadyExists => Code::AlreadyExists,
        ProblemKind::PermissionDenied => Code::PermissionDenied,
        ProblemKind::Unauthenticated => Code::Unauthenticated,
        ProblemKind::ResourceExhausted => Code::ResourceExhausted,
        ProblemKind::FailedPrecondition => Code::FailedPrecondition,
        ProblemKind::Aborted => Code::Aborted,
        ProblemKind::DeadlineExceeded => Code::DeadlineExceeded,
        ProblemKind::Unimplemented => Code::Unimplemented,
        ProblemKind::Unavailable => Code::Unavailable,
        ProblemKind::Internal => Code::Internal,
    }
}

fn kind(code: Code) -> ProblemKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ProblemKind::InvalidArgument,
        Code::NotFound => ProblemKind::NotFound,
        Code::AlreadyExists => ProblemKind::AlreadyExists,
        Code::PermissionDenied => ProblemKind::PermissionDenied,
        Code::Unauthenticated => ProblemKind::Unauthenticated,
        Code::ResourceExhausted => ProblemKind::ResourceExhausted,
        Code::FailedPrecondition => ProblemKind::FailedPrecondition,
        Code::Aborted => ProblemKind::Aborted,
        Code::DeadlineExceeded | Code::Cancelled => ProblemKind::DeadlineExceeded,
        Code::Unimplemented => ProblemKind::Unimplemented,
        Code::Unavailable => ProblemKind::Unavailable,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ProblemKind::Internal,
    }
}

/// Makes the gRPC status of a problem, with `google.rpc` details.
///
/// Texts are cut so that the status fits the headers of common clients.
#[must_use]
pub fn status_from_problem(problem: &Problem) -> Status {
    let mut metadata = HashMap::from([
        ("cause".to_owned(), cut(&problem.cause, DETAIL_BYTES_MAX)),
        ("remedy".to_owned(), cut(&problem.remedy, DETAIL_BYTES_MAX)),
    ]);
    let mut room = DETAILS_BYTES_MAX;
    for (key, value) in &problem.details {
        let value = cut(value, DETAIL_BYTES_MAX.min(room));
        room -= value.len();
        if !value.is_empty() {
            metadata.insert(key.clone(), value);
        }
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(&problem.reason, DOMAIN, metadata);
    for violation in &problem.fields {
        details.add_bad_request_violation(&violation.field, cut(&violation.rule, 512));
    }
    let message = cut(&problem.cause, DETAIL_BYTES_MAX);
    Status::with_error_details(code(problem.kind), message, details)
}

/// Reads a status back. One without details (a proxy's, a broken connection's) has the reason
/// `TRANSPORT` or the name of its code.
#[must_use]
pub fn problem_from_status(status: &Status) -> Problem {
    let details = status.get_error_details();
    let mut problem = Problem::new(kind(status.code()), "TRANSPORT", status.message());
    if let Some(info) = details.error_info() {
        problem.reason.clone_from(&info.reason);
        for (key, value) in &info.metadata {
            match key.as_str() {
                "cause" => problem.cause.clone_from(value),
                "remedy" => problem.remedy.clone_from(value),
                _ => problem.details.push((key.clone(), value.clone())),
            }
        }
        problem.details.sort();
    } else if status.code() != Code::Unavailable {
        problem.reason = format!("{:?}", status.code());
    }
    if let Some(bad_request) = details.bad_request() {
        problem.fields = bad_request
            .field_violations
            .iter()
            .map(|v| FieldViolation { field: v.field.clone(), rule: v.description.clone() })
            .collect();
    }
    problem
}

/// The first `max` bytes of `text`, cut at a character, with `…` where something was cut.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 {
        return String::new();
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let problem = Problem::invalid("INVALID_NAME", "name", "the name is empty")
            .remedy("choose a name")
            .detail("expected", "a name");
        assert_eq!(problem_from_status(&status_from_problem(&problem)), problem);
    }

    #[test]
    fn huge_texts_are_cut_to_fit_headers() {
        let huge = "ä".repeat(1 << 20);
        let problem = Problem::internal(huge.clone()).detail("a", huge.clone()).detail("b", huge);
        let status = status_from_problem(&problem);
        assert!(status.details().len() + status.message().len() < 8 << 10);
        assert!(status.message().ends_with('…'));
    }
}
