//! What is found out about code before the compiler sees it: its form, whether it is whole, and
//! whether it is a bomb that a count can tell.
//!
//! Validation itself is the compiler's; what only time and memory can tell is left to their limits.

use wasmparser::{BinaryReaderError, Parser, Payload};

use super::rejection::{Reason, Rejection};

const MAGIC: &[u8] = b"\0asm";

/// What some editors put in front of UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Functions of all modules in one artifact. The Python component has 12,000, large applications
/// 100,000. The smallest takes 90 us to compile and 5 bytes to write down, so that without this
/// bound 128 MiB could be an hour of work.
const FUNCTIONS_MAX: u64 = 250_000;

/// Modules and components within each other and beside each other. Adapted Python has 60.
const PARTS_MAX: u64 = 2_000;

/// What form code has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A component or module.
    Binary,
    /// The text format.
    Text,
}

/// Tells the form of `code`. `declared`: what its sender says, if anything.
pub(super) fn form(code: &[u8], declared: Option<Form>) -> Result<Form, Rejection> {
    let found = if code.starts_with(MAGIC) {
        Some(Form::Binary)
    } else if looks_like_text(code) {
        Some(Form::Text)
    } else {
        None
    };
    let not_wasm = |message: &str| Err(Rejection::new(Reason::NotWasm, message));
    match (declared, found) {
        (Some(Form::Binary), Some(Form::Text)) => {
            not_wasm("it is declared as wasm, but the bytes are text: declare wat, or nothing")
        }
        (Some(Form::Text), Some(Form::Binary)) => {
            not_wasm("it is declared as wat, but the bytes are binary: declare wasm, or nothing")
        }
        (None | Some(Form::Binary), Some(Form::Binary)) => Ok(Form::Binary),
        // Text that does not look like it gets its error with line and column.
        (None, Some(Form::Text)) | (Some(Form::Text), _) => Ok(Form::Text),
        (None | Some(Form::Binary), None) => Err(foreign(code)),
    }
}

/// `(` after a byte order mark, white space and line comments.
fn looks_like_text(code: &[u8]) -> bool {
    let mut code = code.strip_prefix(BYTE_ORDER_MARK).unwrap_or(code);
    loop {
        code = code.trim_ascii_start();
        if !code.starts_with(b";;") {
            return code.starts_with(b"(");
        }
        let line = code.iter().position(|b| *b == b'\n').unwrap_or(code.len());
        code = &code[line..];
    }
}

/// Says what something that is no WebAssembly might be.
fn foreign(code: &[u8]) -> Rejection {
    if !code.is_empty() && MAGIC.starts_with(code) {
        let message = format!("it ends after {} bytes, within the first header", code.len());
        return Rejection::new(Reason::InvalidWasm, message);
    }
    let what = match code {
        [] => "it is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "it is a compiled program (ELF); send the WebAssembly that it was made from"
        }
        [b'P', b'K', ..] | [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is compressed; send what is inside"
        }
        [b'#', b'!', ..] => "it is a script",
        [b'F', b'O', b'R', b'1', ..] => "it is a BEAM module",
        _ => {
            "WebAssembly begins with `\\0asm`, its text format with `(`; for source text say its language"
        }
    };
    Rejection::new(Reason::NotWasm, format!("it is not WebAssembly: {what}"))
}

/// Walks over the sections of binary `code`.
///
/// Returns whether it is a component.
pub(super) fn whole(code: &[u8]) -> Result<bool, Rejection> {
    let (mut functions, mut parts) = (0_u64, 0_u64);
    for payload in Parser::new(0).parse_all(code) {
        match payload.map_err(|error| broken(&error, code.len()))? {
            Payload::Version { .. } => parts += 1,
            Payload::FunctionSection(section) => functions += u64::from(section.count()),
            _ => {}
        }
        if functions > FUNCTIONS_MAX {
            let message = format!("it has more than {FUNCTIONS_MAX} functions");
            return Err(Rejection::new(Reason::TooLarge, message));
        }
        if parts > PARTS_MAX {
            let message = format!("it has more than {PARTS_MAX} modules and components in it");
            return Err(Rejection::new(Reason::TooLarge, message));
        }
    }
    Ok(Parser::is_component(code))
}

fn broken(error: &BinaryReaderError, length: usize) -> Rejection {
    let (offset, what) = (error.offset(), error.message());
    let message = if what.contains("unexpected end") {
        format!(
            "it is incomplete: at offset {offset} more bytes are announced than its {length} bytes hold; \
             the file was probably cut off"
        )
    } else {
        format!("it is not valid WebAssembly: {what} (at offset {offset})")
    };
    Rejection::new(Reason::InvalidWasm, message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_form() {
        assert_eq!(form(b"\0asm\x01\0\0\0", None), Ok(Form::Binary));
        for text in [
            "(module)",
            " \n\t(component)",
            ";; hi\n ;; there\n(module)",
            "(; x ;)(module)",
            "\u{feff} (module)",
        ] {
            assert_eq!(form(text.as_bytes(), None), Ok(Form::Text), "{text}");
        }
        assert_eq!(form(b"module", Some(Form::Text)), Ok(Form::Text));
        for other in [&b""[..], b"\x7fELF", b"#!/bin/sh", b"PK\x03\x04", b"{}", b";;", b"\xff\xfe"]
        {
            assert_eq!(form(other, None).unwrap_err().reason, Reason::NotWasm, "{other:?}");
        }
        assert_eq!(form(b"(module)", Some(Form::Binary)).unwrap_err().reason, Reason::NotWasm);
        assert_eq!(form(b"\0asm", Some(Form::Text)).unwrap_err().reason, Reason::NotWasm);
        assert_eq!(form(b"\0as", None).unwrap_err().reason, Reason::InvalidWasm);
    }

    #[test]
    fn each_cut_is_noticed_or_left_to_the_validator() {
        let code = wat::parse_str(
            r#"(component (core module $m (memory 1) (data (i32.const 0) "abc") (func (export "f")))
                 (core instance $m (instantiate $m))
                 (func (export "f") (canon lift (core func $m "f"))))"#,
        )
        .unwrap();
        assert_eq!(whole(&code), Ok(true));
        let mut noticed = 0;
        for length in 4..code.len() {
            if let Err(rejection) = whole(&code[..length]) {
                assert_eq!(rejection.reason, Reason::InvalidWasm);
                assert!(rejection.message.contains("offset"), "{}", rejection.message);
                noticed += 1;
            }
        }
        // A cut between two sections of a component leaves a shorter component.
        assert!(noticed > code.len() / 2, "{noticed} of {}", code.len());
    }

    #[test]
    fn counts_have_bounds() {
        let parts = "(core module)".repeat(2_001);
        let code = wat::parse_str(format!("(component {parts})")).unwrap();
        assert_eq!(whole(&code).unwrap_err().reason, Reason::TooLarge);
    }
}
