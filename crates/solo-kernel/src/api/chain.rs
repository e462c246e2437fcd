//! What a call carries beside its message: the chain that it belongs to, and how long its caller
//! waits. Reads metadata; decides nothing else.

use std::time::Duration;

use solo_types::{Problem, TraceId};
use tonic::metadata::MetadataMap;

/// What the metadata of one call says.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    /// As it was sent; none: it was not.
    traceparent: Option<String>,
    /// The deadline of the caller (`grpc-timeout`).
    pub(super) timeout: Option<Duration>,
}

impl Carried {
    pub(super) fn read(metadata: &MetadataMap) -> Self {
        let text = |key| metadata.get(key).map(|value| value.to_str().unwrap_or_default());
        Self {
            traceparent: text("traceparent").map(ToOwned::to_owned),
            // One that is malformed is none, as for the transport itself.
            timeout: text("grpc-timeout").and_then(timeout),
        }
    }

    /// The chain that the call belongs to: the one that its message names, or its metadata, or a
    /// new one.
    ///
    /// # Errors
    /// Reason `INVALID_TRACE` with the field; the machine has no random numbers.
    pub(super) fn trace(&self, field: &str) -> Result<TraceId, Problem> {
        let named = match (field, &self.traceparent) {
            ("", None) => return draw(),
            ("", Some(header)) => TraceId::from_traceparent(header).map_err(|e| ("traceparent", e)),
            (field, _) => TraceId::parse(field).map_err(|error| ("trace_id", error)),
        };
        named.map_err(|(field, error)| {
            Problem::invalid("INVALID_TRACE", field, error.rule)
                .remedy("send 32 hexadecimal digits or a W3C `traceparent`, or leave it out")
        })
    }
}

fn draw() -> Result<TraceId, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Problem::internal(format!("there are no random numbers: {error}")))?;
    // All zero would be no id; that does not happen within the life of a star.
    bytes[15] |= u8::from(bytes == [0; 16]);
    TraceId::from_bytes(bytes).ok_or_else(|| Problem::internal("a trace id was all zero"))
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
///
/// Source: gRPC over HTTP/2, "Request-Headers".
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn carried(pairs: &[(&'static str, &str)]) -> Carried {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.insert(*key, value.parse().expect("a value"));
        }
        Carried::read(&metadata)
    }

    fn check(carried: &Carried, field: &str, expected: Result<&str, &str>) {
        let found = carried.trace(field).map(|id| id.to_string());
        let found = found.map_err(|problem| problem.fields[0].field.clone());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{carried:?} {field}");
    }

    #[test]
    fn the_message_names_the_chain_before_its_metadata() {
        let none = carried(&[]);
        let header = format!("00-{}-00f067aa0ba902b7-01", "1".repeat(32));
        let one = carried(&[("traceparent", &header)]);
        let wrong = carried(&[("traceparent", "nonsense")]);
        check(&one, "", Ok(&"1".repeat(32)));
        check(&one, ID, Ok(ID));
        check(&wrong, ID, Ok(ID));
        check(&none, &format!("00-{ID}-00f067aa0ba902b7-01"), Ok(ID));
        check(&wrong, "", Err("traceparent"));
        check(&one, "nonsense", Err("trace_id"));
        assert_ne!(none.trace(""), none.trace(""), "each call without one gets its own");
    }

    #[test]
    fn the_callers_deadline_is_read_as_grpc_writes_it() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("7n", Some(Duration::from_nanos(7))),
            ("123456789m", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
        assert_eq!(carried(&[("grpc-timeout", "5S")]).timeout, Some(Duration::from_secs(5)));
        assert_eq!(carried(&[]).timeout, None);
    }
}
