//! What the command line prints: the one way to standard output and standard error.
//!
//! Text for people, one JSON object a line for programs; results on standard output, everything
//! else on standard error. Uses colour only where a person looks. A reader that went away ends the
//! command quietly.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::Failure;

mod problem;
mod record;
mod service;
mod spinner;
mod text;
mod tree;

pub(crate) use record::record_line;
pub(crate) use service::{deploy_text, list_text, status_text, update_text};
pub(crate) use spinner::Spinner;
pub(crate) use text::{Style, duration_us, json, one_line, size, table};
pub(crate) use tree::tree_text;

/// How results and errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object, on one line.
    Json,
}

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// How standard output takes emphasis.
    pub(crate) fn style(self) -> Style {
        Style::new(self.format == Format::Text && io::stdout().is_terminal())
    }

    /// Prints a result: as JSON, or as the text that `text` makes of it.
    pub(crate) fn show<T: Serialize>(
        self,
        result: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.bytes(text(result).as_bytes()),
            Format::Json => self.bytes(&json_line(result)?),
        }
    }

    /// Writes bytes as they are to standard output.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| closed(&error))
    }

    /// Writes bytes as they are, and a line break where a person looks.
    pub(crate) fn payload(self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes(bytes)?;
        if io::stdout().is_terminal() && bytes.last() != Some(&b'\n') {
            self.bytes(b"\n")?;
        }
        Ok(())
    }

    /// Tells a person something beside the result. Programs are not bothered.
    pub(crate) fn note(self, text: &str) {
        if self.format == Format::Text {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr().lock(), "{}", one_line(text));
        }
    }

    /// Prints why a command failed to standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        let Some(problem) = failure.problem() else { return };
        let mut stderr = io::stderr().lock();
        // Without standard error the exit code has to do.
        let _ = match self.format {
            Format::Text => {
                let style = Style::new(io::stderr().is_terminal());
                stderr.write_all(problem::problem_text(problem, style).as_bytes())
            }
            Format::Json => match json_line(&solo_gateway::json::error(problem)) {
                Ok(line) => stderr.write_all(&line),
                Err(_) => Ok(()),
            },
        };
    }
}

fn json_line<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    let mut line = serde_json::to_vec(value).map_err(|error| {
        Failure::local("OUTPUT_FAILED", format!("the result is no JSON: {error}"), "")
    })?;
    line.push(b'\n');
    Ok(line)
}

fn closed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::local(
        "OUTPUT_FAILED",
        format!("failed to write to standard output: {error}"),
        "the operation itself was done: look with `solo status`",
    )
}
