//! The text format to binary, with errors that name line and column.

use super::check::BYTE_ORDER_MARK;
use super::rejection::{Position, Reason, Rejection};
use crate::clean::clean;

/// Longest text. The parser holds many times its size in memory.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Longest line in an error.
const EXCERPT_BYTES_MAX: usize = 200;

/// Converts the text format to a component or module.
pub(super) fn to_binary(text: &[u8]) -> Result<Vec<u8>, Rejection> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "the text has {} bytes, at most {TEXT_BYTES_MAX}; send it in binary form",
            text.len()
        );
        return Err(Rejection::new(Reason::TooLarge, message));
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let message = format!("the text is not UTF-8 at offset {}", error.valid_up_to());
        Rejection::new(Reason::NotWasm, message)
    })?;
    wat::parse_str(text).map_err(|error| rejection(&error.to_string(), text))
}

/// Takes the rendering of the parser apart, the only form in which it tells the place:
/// `MESSAGE\n     --> <anon>:LINE:COLUMN\n...`, or `MESSAGE at <anon>:LINE:COLUMN`.
fn rejection(rendered: &str, text: &str) -> Rejection {
    let parts =
        rendered.split_once("\n     --> <anon>:").or_else(|| rendered.rsplit_once(" at <anon>:"));
    let Some((message, place)) = parts else {
        return Rejection::new(Reason::InvalidText, rendered);
    };
    let place = place.lines().next().unwrap_or_default();
    let numbers = place.split_once(':').map(|(line, column)| (line.parse(), column.parse()));
    let mut rejection = Rejection::new(Reason::InvalidText, message);
    if let Some((Ok(line), Ok(column))) = numbers {
        rejection.position =
            Some(Position { file: String::new(), line, column, excerpt: excerpt(text, line) });
    }
    rejection
}

fn excerpt(text: &str, line: u32) -> String {
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    let line = text.lines().nth(index).unwrap_or_default();
    clean(&line[..line.floor_char_boundary(EXCERPT_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_place() {
        let rejection = to_binary(b"(module\n  (func\n\t(i32.cons 1)))").unwrap_err();
        assert_eq!(rejection.reason, Reason::InvalidText);
        let position = rejection.position.unwrap();
        assert_eq!((position.line, position.column), (3, 3));
        assert_eq!(position.excerpt, "\t(i32.cons 1)))");
        assert!(!rejection.message.contains("anon"), "{}", rejection.message);
    }

    #[test]
    fn a_byte_order_mark_is_no_error() {
        assert!(to_binary("\u{feff}(module)".as_bytes()).is_ok());
        let position = to_binary("\u{feff}(oops)".as_bytes()).unwrap_err().position.unwrap();
        assert_eq!((position.line, position.column), (1, 2));
    }

    #[test]
    fn far_columns_have_a_place_too() {
        let text = format!("(module {} oops)", " ".repeat(600));
        let position = to_binary(text.as_bytes()).unwrap_err().position.unwrap();
        assert_eq!((position.line, position.column), (1, 610));
        assert_eq!(position.excerpt.len(), EXCERPT_BYTES_MAX);
    }

    #[test]
    fn the_end_is_a_place() {
        let position = to_binary(b"(module\n(func").unwrap_err().position.unwrap();
        assert_eq!(position.line, 2);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(to_binary(b"(module \xff)").unwrap_err().reason, Reason::NotWasm);
        assert_eq!(to_binary(&vec![b' '; 17 << 20]).unwrap_err().reason, Reason::TooLarge);
        let deep = "(".repeat(1_000_000);
        assert_eq!(to_binary(deep.as_bytes()).unwrap_err().reason, Reason::InvalidText);
    }
}
