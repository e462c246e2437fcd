//! Writes each message to the service's log, at the level that its first word names.
//!
//! Calls and casts: `LEVEL TEXT`, with the levels `trace`, `debug`, `info`, `warn` and `error`.
//! A message that begins with no level is logged whole, as `info`. A call answers with the level.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct Logger;

impl Guest for Logger {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "logger started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(write(&payload).as_bytes().to_vec())
    }

    fn handle_cast(payload: Vec<u8>) {
        write(&payload);
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("logger ends: {reason}"));
    }
}

/// Logs one message and returns the name of the level it was logged at.
fn write(payload: &[u8]) -> &'static str {
    let message = String::from_utf8_lossy(payload);
    let (word, text) = message.split_once(' ').unwrap_or((&message, ""));
    let (level, name, text) = match word {
        "trace" => (Level::Trace, "trace", text),
        "debug" => (Level::Debug, "debug", text),
        "info" => (Level::Info, "info", text),
        "warn" => (Level::Warn, "warn", text),
        "error" => (Level::Error, "error", text),
        _ => (Level::Info, "info", &*message),
    };
    log(level, text);
    name
}

export!(Logger);
