//! The one mapping of problems to HTTP answers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use solo_types::{Problem, ProblemKind};

use crate::json;

/// A problem as an HTTP answer: status, and the JSON shape of the command line's errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status(&self.0);
        let mut response = (status, axum::Json(json::error(&self.0))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The HTTP status of a problem: by its class, but for what only HTTP knows.
pub(crate) fn status(problem: &Problem) -> StatusCode {
    match problem.reason.as_str() {
        "BODY_TOO_LARGE" => return StatusCode::PAYLOAD_TOO_LARGE,
        "UNSUPPORTED_MEDIA_TYPE" => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "METHOD_NOT_ALLOWED" => return StatusCode::METHOD_NOT_ALLOWED,
        _ => {}
    }
    match problem.kind {
        ProblemKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::AlreadyExists | ProblemKind::FailedPrecondition | ProblemKind::Aborted => {
            StatusCode::CONFLICT
        }
        ProblemKind::PermissionDenied => StatusCode::FORBIDDEN,
        ProblemKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ProblemKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ProblemKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ProblemKind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_status() {
        for (kind, expected) in [
            (ProblemKind::InvalidArgument, 400),
            (ProblemKind::Unauthenticated, 401),
            (ProblemKind::PermissionDenied, 403),
            (ProblemKind::NotFound, 404),
            (ProblemKind::AlreadyExists, 409),
            (ProblemKind::FailedPrecondition, 409),
            (ProblemKind::Aborted, 409),
            (ProblemKind::ResourceExhausted, 429),
            (ProblemKind::Internal, 500),
            (ProblemKind::Unimplemented, 501),
            (ProblemKind::Unavailable, 503),
            (ProblemKind::DeadlineExceeded, 504),
        ] {
            assert_eq!(status(&Problem::new(kind, "X", "x")).as_u16(), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_only_http_knows_goes_before_the_class() {
        let problem = Problem::new(ProblemKind::ResourceExhausted, "BODY_TOO_LARGE", "x");
        assert_eq!(status(&problem), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
