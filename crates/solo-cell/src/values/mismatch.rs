//! What does not fit, said so that a caller finds the place.

use serde_json::Value;

use super::shorten;

/// Longest text of a wrong value in a message.
const SHOWN_BYTES_MAX: usize = 60;

/// Longest list of what there is: some hundred names.
const KNOWN_BYTES_MAX: usize = 1_000;

/// `argument 2 (b): .items[3].name: expected s32, got "x"`.
pub(super) fn place(index: usize, name: &str, mismatch: &Mismatch) -> String {
    let mut text = format!("argument {} ({name}): ", index + 1);
    // The innermost step was noted first.
    text.extend(mismatch.path.iter().rev().map(String::as_str));
    if !mismatch.path.is_empty() {
        text.push_str(": ");
    }
    text + &mismatch.message
}

/// A value that does not fit, and the way to it.
#[derive(Debug)]
pub(super) struct Mismatch {
    path: Vec<String>,
    message: String,
}

impl Mismatch {
    pub(super) fn new(message: String) -> Self {
        Self { path: Vec::new(), message }
    }

    /// Notes a step of the way, from the inside outwards.
    pub(super) fn within(mut self, step: impl FnOnce() -> String) -> Self {
        self.path.push(step());
        self
    }
}

/// Says that `value` is not an `expected`.
pub(super) fn mismatch(expected: &str, value: &Value) -> Mismatch {
    Mismatch::new(format!("expected {expected}, got {}", shown(value)))
}

/// Says that `name` is none of those that a type has.
pub(super) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Mismatch {
    let name = shorten(name.to_owned(), SHOWN_BYTES_MAX);
    let known = shorten(known.collect::<Vec<_>>().join(", "), KNOWN_BYTES_MAX);
    Mismatch::new(format!("unknown {what} {name:?}; known: {known}"))
}

/// Shows a value shortly.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => shorten(other.to_string(), SHOWN_BYTES_MAX),
    }
}
