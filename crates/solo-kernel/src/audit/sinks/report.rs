//! How the sinks are: a small file in the home for `solo audit sinks`, and metrics.
//!
//! A file, because whoever may read the log may read it, also without a kernel that answers. Nothing is
//! decided by it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::Kernel;

/// Between two reports.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Bytes of a report: 16 sinks with all their text.
const REPORT_BYTES_MAX: u64 = 256 << 10;

/// How all sinks of a node are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinksReport {
    /// The kernel that wrote it: if it does not live any more, this is how it was.
    pub kernel_pid: u32,
    /// Number of the last record of the log.
    pub log_seq: u64,
    /// By name.
    pub sinks: Vec<SinkReport>,
}

/// How one sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Its name in the settings.
    pub name: String,
    /// Where it sends to.
    pub to: String,
    /// `ok`; `behind`: there is something that has not arrived; `failing`: since something arrived it
    /// has failed.
    pub state: String,
    /// Number of the last record that has arrived; 0 for none.
    pub delivered_seq: u64,
    /// Records of the log that have not arrived.
    pub lag_records: u64,
    /// Age of the oldest of them.
    pub lag_ms: u64,
    /// Failures since something arrived.
    pub failures: u32,
    /// Failures since the kernel started.
    pub failures_total: u64,
    /// Records that retention removed before they were sent, since the kernel started.
    pub lost_records: u64,
    /// The newest error; empty for none since the kernel started.
    pub last_error: String,
    /// When that was; 0 for none.
    pub last_error_unix_ms: u64,
}

impl SinksReport {
    /// Reads the report in `home`; none if there is none: no sink was set up when the kernel started.
    ///
    /// # Errors
    /// It cannot be read, or is no report.
    pub fn read(home: &Path) -> std::io::Result<Option<Self>> {
        let path = crate::home::audit_sinks_report(home);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= REPORT_BYTES_MAX => {}
            Ok(_) => return Err(std::io::Error::other("the report is too long")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(serde_json::from_slice(&std::fs::read(path)?)?))
    }
}

/// The actor: tells how the sinks are, again and again.
pub(crate) async fn keep(kernel: Arc<Kernel>) -> Result<(), String> {
    let path = kernel.home.audit_sinks().report;
    let written = kernel.audit.written();
    let mut told = None;
    loop {
        let newest = *written.borrow();
        let sinks = kernel.audit.sinks().all().iter().map(|sink| sink.report(newest));
        let report = SinksReport {
            kernel_pid: std::process::id(),
            log_seq: newest.seq,
            sinks: sinks.collect(),
        };
        for sink in &report.sinks {
            let lag_s = i64::try_from(sink.lag_ms / 1_000).unwrap_or(i64::MAX);
            let lag_records = i64::try_from(sink.lag_records).unwrap_or(i64::MAX);
            kernel.metrics.sinks.tell(&sink.name, lag_records, lag_s);
        }
        if told.as_ref() != Some(&report) {
            // A report that cannot be written is no reason to stop sending.
            if let Err(error) = write(&path, &report).await {
                tracing::warn!(%error, "Failed to write how the audit sinks are");
            }
            told = Some(report);
        }
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// A reader sees the old or the new one. Not synced: it is worth nothing after a power loss.
async fn write(path: &Path, report: &SinksReport) -> std::io::Result<()> {
    let text = serde_json::to_vec(report)?;
    let new = path.with_extension("new");
    tokio::fs::write(&new, text).await?;
    tokio::fs::rename(&new, path).await
}
