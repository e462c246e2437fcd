//! Text of guests for the eyes of people: what would steer a terminal or turn the order of what is
//! read is written out. Changes nothing else and cuts nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Writes control characters out (`\u{1b}`), except tab and line feed, and the characters that
/// change the direction of text: a log that people read must not steer their terminal, nor look like
/// another one.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            // Writing to a String does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn steers(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out() {
        assert_eq!(clean("a\tb\n\u{e4}"), "a\tb\n\u{e4}");
        assert_eq!(clean("\x1b[31m\0\r\u{9b}"), "\\u{1b}[31m\\u{0}\\u{d}\\u{9b}");
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert_eq!(clean(&c.to_string()), format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
}
