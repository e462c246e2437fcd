//! `solo:service/log`.

use super::ComponentState;
use super::bindings::solo::service::log::{Host, Level};

impl Host for ComponentState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.slot.logger.line(level, &message);
        Ok(())
    }
}
