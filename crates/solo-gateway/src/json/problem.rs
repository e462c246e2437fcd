//! Problems: the one shape of errors, on standard error of the command line and over HTTP.

use std::collections::BTreeMap;

use serde::Serialize;
use solo_types::{Problem, ProblemKind};

/// `{"error": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorJson {
    /// What went wrong.
    pub error: ProblemJson,
}

/// What went wrong, as an agent can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemJson {
    /// Stable, upper snake case.
    pub reason: String,
    /// Its class: `invalid_argument`, `not_found`, ...
    pub code: ProblemKind,
    /// What happened.
    pub cause: String,
    /// What to do about it; empty where nothing can be done.
    pub remedy: String,
    /// The fields that are wrong.
    pub fields: Vec<FieldJson>,
    /// More, by stable keys.
    pub details: BTreeMap<String, String>,
}

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldJson {
    /// Path in the request.
    pub field: String,
    /// The rule that it breaks.
    pub rule: String,
}

/// Wraps `problem`.
#[must_use]
pub fn error(problem: &Problem) -> ErrorJson {
    let field = |violation: &solo_types::FieldViolation| FieldJson {
        field: violation.field.clone(),
        rule: violation.rule.clone(),
    };
    ErrorJson {
        error: ProblemJson {
            reason: problem.reason.clone(),
            code: problem.kind,
            cause: problem.cause.clone(),
            remedy: problem.remedy.clone(),
            fields: problem.fields.iter().map(field).collect(),
            details: problem.details.iter().cloned().collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_a_contract() {
        let problem = Problem::invalid("INVALID_NAME", "name", "it is empty")
            .remedy("choose one")
            .detail("expected", "a name");
        let json = serde_json::to_value(error(&problem)).expect("serializes");
        let expected = serde_json::json!({"error": {
            "reason": "INVALID_NAME",
            "code": "invalid_argument",
            "cause": "it is empty",
            "remedy": "choose one",
            "fields": [{"field": "name", "rule": "it is empty"}],
            "details": {"expected": "a name"},
        }});
        assert_eq!(json, expected);
    }
}
