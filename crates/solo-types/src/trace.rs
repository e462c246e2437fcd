//! The name of a chain of calls, as W3C Trace Context writes it.
//!
//! Reads and writes; draws none, as this crate has no randomness.
//!
//! Source: <https://www.w3.org/TR/trace-context/>, sections 3.2 and 3.3.

use std::fmt;
use std::str::FromStr;

/// Names a chain of calls: 16 bytes, not all zero, written as 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A text that names no chain of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct TraceError {
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Characters of a `traceparent` of version 00; later versions may go on behind them.
const TRACEPARENT_CHARS: usize = 55;

const NOT_HEX: TraceError = TraceError { rule: "a trace id is 32 hexadecimal digits" };
const ZERO: TraceError = TraceError { rule: "a trace id is not all zero" };
const NO_TRACEPARENT: TraceError =
    TraceError { rule: "it is no `traceparent` (00-TRACE-PARENT-FLAGS in lower-case digits)" };

impl TraceId {
    /// Takes 16 bytes; `None` when all are zero, which is no name.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hexadecimal digits of either case, or takes the trace id of a `traceparent`.
    ///
    /// # Errors
    /// [`TraceError`] with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        if text.contains('-') { Self::from_traceparent(text) } else { text.parse() }
    }

    /// Takes the trace id of a `traceparent`. Later versions are read as far as they are known.
    ///
    /// # Errors
    /// [`TraceError`] with the rule that it breaks.
    pub fn from_traceparent(text: &str) -> Result<Self, TraceError> {
        let lower = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.splitn(5, '-');
        let mut part = |chars: usize| {
            parts.next().filter(|part| part.len() == chars && lower(part)).ok_or(NO_TRACEPARENT)
        };
        let (version, trace, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let goes_on = text.len() > TRACEPARENT_CHARS;
        if version == "ff" || (version == "00" && goes_on) || parent.bytes().all(|b| b == b'0') {
            return Err(NO_TRACEPARENT);
        }
        trace.parse()
    }

    /// Writes a `traceparent` for an answer whose request had none: the last half of the trace id
    /// stands for the parent, and nothing was sampled.
    #[must_use]
    pub fn to_traceparent(self) -> String {
        let mut parent = [0; 8];
        parent.copy_from_slice(&self.0[8..]);
        // All zero would be no parent.
        let parent = u64::from_be_bytes(parent).max(1);
        format!("00-{self}-{parent:016x}-00")
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TraceId {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NOT_HEX);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| NOT_HEX)?;
        Self::from_bytes(number.to_be_bytes()).ok_or(ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_id_survives_its_text_form() {
        let id: TraceId = ID.parse().expect("legal");
        assert_eq!(id.to_string(), ID);
        assert_eq!(ID.to_uppercase().parse(), Ok(id));
        assert_eq!(TraceId::from_bytes(*id.as_bytes()), Some(id));
        assert_eq!(TraceId::parse(&id.to_traceparent()), Ok(id));
        let low =
            TraceId::from_bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).expect("id");
        assert_eq!(TraceId::parse(&low.to_traceparent()), Ok(low));
    }

    /// The examples of the standard, and what it forbids.
    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let id = ID.parse();
        for text in [
            format!("00-{ID}-00f067aa0ba902b7-01"),
            format!("00-{ID}-00f067aa0ba902b7-00"),
            format!("cc-{ID}-00f067aa0ba902b7-01"),
            format!("cc-{ID}-00f067aa0ba902b7-01-what-will-come"),
        ] {
            assert_eq!(TraceId::parse(&text), id, "{text}");
        }
        for text in [
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            format!("00-{ID}-00f067aa0ba902b7-01-more"),
            format!("00-{ID}-00f067aa0ba902b7"),
            format!("00-{ID}"),
            format!("-{ID}"),
            "-".to_owned(),
        ] {
            assert!(TraceId::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "x",
            &ID[1..],
            &format!("{ID}0"),
            &"0".repeat(32),
            "+bf92f3577b34da6a3ce929d0e0e4736",
            "ü".repeat(16).as_str(),
        ] {
            assert!(TraceId::parse(text).is_err(), "{text}");
        }
    }
}
