//! Why a job did not end in an artifact.

use std::path::PathBuf;

use crate::clean::clean;
use crate::describe::Refusal;

/// Longest message: errors of the validator may quote names of 100,000 bytes.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// The code is at fault: an answer for who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// For text.
    pub(super) position: Option<Position>,
    /// What would help; may be empty.
    pub(super) hint: String,
}

/// Stable reasons of `CompileFailure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is something else.
    NotWasm,
    /// It is WebAssembly with an error in it, or a part of one.
    InvalidWasm,
    /// It is the text format with an error in it.
    InvalidText,
    /// Solo does not have what it imports.
    UnknownImport,
    /// Nothing in it can be called.
    NotAService,
    /// It needs something that Solo does not do.
    Unsupported,
    /// It is beyond a limit.
    TooLarge,
    /// Of source text, as its own compiler names it.
    Source(&'static str),
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Empty: there is one.
    pub(super) file: String,
    /// From 1.
    pub(super) line: u32,
    /// From 1.
    pub(super) column: u32,
    /// The line itself, or the lines around it, cut if they are long.
    pub(super) excerpt: String,
}

/// The job did not end.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// Because of the code.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The artifact could not be read.
    #[error("failed to read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// The result could not be written.
    #[error("failed to write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    /// The compiled code has no bytes.
    #[error("failed to serialize the compiled code: {0}")]
    Serialize(String),
}

impl Rejection {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = clean(&message.into()).into_owned();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push_str("...");
        }
        Self { reason, message, position: None, hint: String::new() }
    }

    /// Says what would help.
    pub(super) fn hint(mut self, hint: String) -> Self {
        self.hint = clean(&hint).into_owned();
        self
    }
}

impl Reason {
    /// The name on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotWasm => "NOT_WASM",
            Self::InvalidWasm => "INVALID_WASM",
            Self::InvalidText => "INVALID_TEXT",
            Self::UnknownImport => "UNKNOWN_IMPORT",
            Self::NotAService => "NOT_A_SERVICE",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooLarge => "TOO_LARGE",
            Self::Source(reason) => reason,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let reason = match &refusal {
            Refusal::UnknownImport(_) => Reason::UnknownImport,
            Refusal::NotAService => Reason::NotAService,
            Refusal::Unsupported(_) => Reason::Unsupported,
            Refusal::TooLarge(_) => Reason::TooLarge,
        };
        Self::new(reason, refusal.to_string())
    }
}
