//! What it costs to start a process of Solo's own binary.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// Starts `solo --version` and waits for its end.
///
/// # Errors
/// It does not run.
pub(crate) fn start_and_end() -> anyhow::Result<Duration> {
    let mut command = Command::new(crate::solo::binary()?);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().context("failed to start solo")?;
    ensure!(status.success(), "`solo --version` failed: {status}");
    Ok(began.elapsed())
}
