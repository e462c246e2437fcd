//! Values between JSON and WebAssembly, checked against the types of a function.
//!
//! Arguments are a JSON array with one value per parameter; a result is one JSON value. Anything
//! that does not fit exactly is refused with its place and the expected signature: nothing is
//! rounded, cut, filled in or ignored. Handles (resources, futures, streams) have no JSON form and
//! are refused before anything runs. This module calls nothing and holds nothing.
//!
//! | WIT type | JSON |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `u8` to `u64`, `s8` to `s64` | a number without fraction and exponent, within range; a 64-bit argument also as a string of its decimal digits |
//! | `f32`, `f64` | a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `char` | a string of one character |
//! | `string` | a string |
//! | `list<T>`, `list<T, N>` | an array; a `list<u8>` argument also as `{"base64": "..."}` |
//! | `record` | an object; an `option` field may be left out |
//! | `tuple` | an array |
//! | `variant` | `{"case": payload}`, or `"case"` if it has none |
//! | `enum` | a string |
//! | `option<T>` | `null` or the value; if `T` is an option itself `null` or `{"some": value}` |
//! | `result<T, E>` | `{"ok": value}` or `{"err": value}`, `null` where there is no payload |
//! | `flags` | an array of the names that are set |
//! | `map<string, V>`, `map<K, V>` | an object, an array of `[key, value]` |
//!
//! Results have the same form as arguments; a `list<u8>` is always an array of numbers there, so
//! that a client needs one rule for all lists, and an integer always a number. The strings are for
//! clients whose numbers are floating-point ones, which hold 53 bits. A key that comes twice in an
//! object is refused.

mod core;
mod mismatch;
mod number;
mod read;
mod strict;
mod wit;
mod write;

#[cfg(test)]
mod tests;

pub use self::core::{core_arguments_from_json, core_results_to_json};
pub use read::arguments_from_json;
pub use wit::{
    ResourceNames, core_function_text, core_parameters, core_result_text, function_text, type_text,
};
pub use write::results_to_json;

/// Levels of types within each other. Real interfaces stay below 10; JSON itself is cut at 128.
const DEPTH_MAX: usize = 64;

/// Single values in one list of arguments. 4 MiB of JSON holds up to 2 million one-digit numbers,
/// which would be 100 bytes each while they are converted; bytes in bulk go as base64.
const VALUES_MAX: usize = 1_000_000;

/// Parts of a type that are looked at to find handles. A type of 100 levels can have a million.
const TYPE_PARTS_MAX: usize = 20_000;

/// Longest message: a name in a component may have 100,000 bytes.
const MESSAGE_TEXT_BYTES_MAX: usize = 2 << 10;

/// Arguments that do not fit the function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadArguments {
    /// Place and reason: `argument 2 (b): .items[3].name: expected s32, got "x"`.
    pub message: String,
    /// The signature of the function, as WIT.
    pub expected: String,
}

/// A result that has no JSON form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResult {
    /// It is longer than a message may be.
    #[error("the result has more than {} MiB as JSON", limit >> 20)]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// It contains a handle or a value of a kind that JSON cannot carry.
    #[error("the result contains a {kind}, which has no JSON form")]
    NoJsonForm {
        /// What it is.
        kind: &'static str,
    },
}

/// Cuts `text` to at most `bytes_max` bytes, at a character, and says so.
fn shorten(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str("...");
    }
    text
}
