//! Bytes that a handler answered with, as JSON can carry them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// Bytes as text where they are text, as base64 where they are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PayloadJson {
    /// The text, or the base64 form.
    pub payload: String,
    /// `utf-8` or `base64` (RFC 4648, with padding).
    pub encoding: &'static str,
}

/// Wraps `bytes`.
#[must_use]
pub fn payload(bytes: &[u8]) -> PayloadJson {
    match std::str::from_utf8(bytes) {
        Ok(text) => PayloadJson { payload: text.to_owned(), encoding: "utf-8" },
        Err(_) => PayloadJson { payload: STANDARD.encode(bytes), encoding: "base64" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(payload("grüß".as_bytes()).payload, "grüß");
        let binary = payload(&[0xff, 0xfe]);
        assert_eq!((binary.payload.as_str(), binary.encoding), ("//4=", "base64"));
    }
}
