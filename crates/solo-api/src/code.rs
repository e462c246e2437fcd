//! Code in requests: where it is, and of what form it is said to be.
//!
//! Looks at the first bytes to tell programs from WebAssembly, and at nothing else of the code.

use std::fmt;

use solo_types::{Digest, Problem, bounds};

use crate::source::{SOURCE_FORMAT, SOURCE_MAGIC, pack, pack_one};
use crate::v1;

/// Where the code is. Its debug form tells how long inline code is, and nothing that is in it.
#[derive(Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// In the request.
    Inline {
        /// The code.
        bytes: Vec<u8>,
        /// `wasm`, `wat`, [`PROGRAM_FORMAT`], or empty for by the first bytes.
        format: &'static str,
    },
    /// In the store.
    Stored {
        /// Its digest.
        digest: Digest,
        /// As above.
        format: &'static str,
    },
    /// A program of the machine.
    Host {
        /// Its absolute path.
        path: String,
    },
}

impl fmt::Debug for CodeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline { bytes, format } => f
                .debug_struct("Inline")
                .field("length", &bytes.len())
                .field("format", format)
                .finish(),
            Self::Stored { digest, format } => {
                f.debug_struct("Stored").field("digest", digest).field("format", format).finish()
            }
            Self::Host { path } => f.debug_struct("Host").field("path", path).finish(),
        }
    }
}

/// The format of an external program.
pub const PROGRAM_FORMAT: &str = "program";

/// Checks the code of a request; `None` when there is none.
///
/// # Errors
/// Reasons `MISSING_CODE`, `CODE_TOO_LARGE`, `INVALID_DIGEST`, `INVALID_FORMAT`.
pub fn code_source(code: Option<v1::Code>) -> Result<Option<CodeSource>, Problem> {
    let Some(code) = code else { return Ok(None) };
    let file = match v1::CodeFormat::try_from(code.format) {
        Ok(v1::CodeFormat::Javascript) => Some("main.js"),
        Ok(v1::CodeFormat::Typescript) => Some("main.ts"),
        Ok(v1::CodeFormat::Python) => Some("main.py"),
        _ => None,
    };
    let format = match v1::CodeFormat::try_from(code.format) {
        Ok(v1::CodeFormat::Unspecified) => "",
        Ok(v1::CodeFormat::Wasm) => "wasm",
        Ok(v1::CodeFormat::Wat) => "wat",
        Ok(v1::CodeFormat::Program) => PROGRAM_FORMAT,
        Ok(v1::CodeFormat::Javascript | v1::CodeFormat::Typescript | v1::CodeFormat::Python) => {
            SOURCE_FORMAT
        }
        Err(_) => {
            return Err(Problem::invalid(
                "INVALID_FORMAT",
                "code.format",
                "there is no such format",
            ));
        }
    };
    match code.source {
        None => Err(missing_code()),
        Some(v1::code::Source::Inline(bytes)) if bytes.is_empty() => {
            Err(Problem::invalid("MISSING_CODE", "code.inline", "the code is empty")
                .remedy("send a WebAssembly component or core module"))
        }
        Some(v1::code::Source::Inline(bytes)) if bytes.len() > bounds::INLINE_CODE_BYTES_MAX => {
            let rule = format!("inline code has {} bytes, the limit is 16 MiB", bytes.len());
            Err(Problem::invalid("CODE_TOO_LARGE", "code.inline", &rule)
                .remedy("store it with UploadArtifact, and deploy its digest"))
        }
        Some(v1::code::Source::Inline(bytes)) if bytes.starts_with(SOURCE_MAGIC) => {
            let rule = "these are files as Solo stores them; send them as `files`";
            Err(Problem::invalid("INVALID_FORMAT", "code.inline", rule))
        }
        Some(v1::code::Source::Inline(bytes)) if let Some(file) = file => {
            let bytes = pack_one(file, bytes)?;
            Ok(Some(CodeSource::Inline { bytes, format: SOURCE_FORMAT }))
        }
        Some(v1::code::Source::Files(_)) if !format.is_empty() => {
            let rule = "files are source text, whose language the ending of `entry` tells";
            Err(Problem::invalid("INVALID_FORMAT", "code.format", rule))
        }
        Some(v1::code::Source::Files(files)) => {
            Ok(Some(CodeSource::Inline { bytes: pack(&files)?, format: SOURCE_FORMAT }))
        }
        Some(v1::code::Source::Inline(bytes)) => {
            let is_program = format.is_empty() && is_program(&bytes);
            let format = if is_program { PROGRAM_FORMAT } else { format };
            Ok(Some(CodeSource::Inline { bytes, format }))
        }
        Some(v1::code::Source::HostPath(path)) if matches!(format, "" | PROGRAM_FORMAT) => {
            Ok(Some(CodeSource::Host { path }))
        }
        Some(v1::code::Source::HostPath(_)) => {
            let rule = "code that is named by a path of the machine is a program";
            Err(Problem::invalid("INVALID_FORMAT", "code.format", rule))
        }
        Some(v1::code::Source::Digest(digest)) => {
            Ok(Some(CodeSource::Stored { digest: digest.parse()?, format }))
        }
    }
}

pub(crate) fn missing_code() -> Problem {
    Problem::invalid("MISSING_CODE", "code", "there is no code")
        .remedy("send the code inline, or upload it and send its digest")
}

/// Whether code that begins like this is a program: a binary, or a script that names its interpreter.
#[must_use]
pub fn is_program(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(b"\x7fELF") || first_bytes.starts_with(b"#!")
}
