//! How the program ends: exit codes and the last words on standard error.

use std::io::Write as _;
use std::process::ExitCode;

use crate::run::Outcome;

/// Exit code after an interrupt, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// The exit code of a run: 0 measured, 1 something does not work or `--strict` was not met, 130
/// interrupted. Says why when it is not 0.
pub(crate) fn exit_code(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Measured) => ExitCode::SUCCESS,
        Ok(Outcome::Missed(names)) => {
            say(&format!("solo-bench: required numbers missed: {}", names.join(", ")));
            ExitCode::FAILURE
        }
        Ok(Outcome::Interrupted) => {
            say("solo-bench: interrupted; nothing is left behind");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            say(&format!("solo-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells a person how far it is. Not part of the report.
pub(crate) fn say(line: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
