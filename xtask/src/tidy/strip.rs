//! Rust source without its comments, strings and characters, so that words in them are not taken
//! for code. Each byte of them becomes a space; line breaks stay, so lines keep their numbers.

/// Blanks out everything that is not code.
pub(super) fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + skipped_len(&bytes[at..], out.last().copied()).unwrap_or(0);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    // Only whole comments, strings and characters were replaced, and only by ASCII.
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of the comment, string or character that `rest` starts with.
fn skipped_len(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let after_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => Some(rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(block_comment_len(rest)),
        [b'"', ..] => Some(string_len(rest)),
        [b'b' | b'c', b'"', ..] if !after_word => Some(1 + string_len(&rest[1..])),
        [b'r', b'"' | b'#', ..] if !after_word => raw_string_len(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => raw_string_len(rest, 2),
        [b'\'', ..] => character_len(rest),
        _ => None,
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `None` for a raw identifier such as `r#type`.
fn raw_string_len(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let body = prefix + hashes;
    if rest.get(body) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let end = rest[body + 1..].windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| body + 1 + end + close.len()))
}

/// `None` for a lifetime.
fn character_len(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'\\' => Some(rest.iter().skip(3).position(|b| *b == b'\'')? + 4),
        first => {
            // A character has up to four bytes; of a lifetime the second is not a quote.
            let len = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */\n*/ d", "a             \n   d"),
            (r#"f("x\"{", 'y')"#, "f(      ,    )"),
            ("r#\"a\"b\"# + r#type", "         + r#type"),
            ("b\"x\" br\"y\" for\"z\"", "           for   "),
            (
                "fn f<'a>(x: &'a str) { '{'; '\\''; '\\u{1}' }",
                "fn f<'a>(x: &'a str) {    ;     ;         }",
            ),
            ("'ä' \"日本\" x", "              x"),
        ] {
            assert_eq!(strip(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_ends_with_the_file() {
        for text in ["\"abc", "/* abc", "r#\"abc\"", "'", "'\\"] {
            assert_eq!(strip(text).len(), text.len(), "{text}");
        }
    }
}
