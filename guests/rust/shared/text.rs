//! Commands and answers are text: taking words off, reading numbers, writing JSON strings and errors.
//!
//! Each guest that wants it includes this file (`#[path]`), so that a guest stays one crate.

#![allow(dead_code, reason = "no guest needs all of it")]

use crate::solo::service::messaging::MessageError;
use std::fmt::Write as _;
use std::str::FromStr;

/// The first word and what follows the space after it, which may be empty and may hold spaces.
pub fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Reads a number; `what` names it in the error.
pub fn number<T: FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{what}: not a number that fits: {text}"))
}

/// The receiver of a call, as commands name it: `NAME`, or `NAME@MS` to wait for MS milliseconds
/// instead of the default.
pub fn receiver(text: &str) -> Result<(&str, Option<u32>), String> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((name, ms)) => Ok((name, Some(number("milliseconds", ms)?))),
    }
}

/// The name of the variant, and its text where it has one.
pub fn describe(error: MessageError) -> String {
    match error {
        MessageError::Denied => "denied".to_owned(),
        MessageError::Overloaded => "overloaded".to_owned(),
        MessageError::Timeout => "timeout".to_owned(),
        MessageError::Crashed(why) => format!("crashed: {why}"),
        MessageError::Unavailable(why) => format!("unavailable: {why}"),
        MessageError::Deadlock => "deadlock".to_owned(),
        MessageError::Failed(why) => format!("failed: {why}"),
    }
}

/// The text as a JSON string.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Writing into a string does not fail.
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
