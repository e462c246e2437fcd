//! Sinks: where the audit log is sent as it grows (SPEC C6).
//!
//! Each sink has a task of its own, which reads the log from where the sink is, sends batches, and
//! keeps on disk what has arrived. The log itself is the queue: a sink can be down for as long as
//! retention keeps the records, loses nothing, and delays nobody. Records arrive in order, at least
//! once. Nothing of this runs without a sink.
//!
//! `driver` is the task, `report` what is shown, and the rest one module for each kind of target.

mod command;
mod driver;
mod file;
mod metrics;
mod report;
mod state;
mod syslog;
mod transport;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use driver::run as drive;
pub(crate) use metrics::SinkMetrics;
pub(crate) use report::keep as keep_report;
pub use report::{SinkReport, SinksReport};
pub(crate) use state::Sink;

use super::settings::SinkSettings;

/// Where the sinks keep what they need.
#[derive(Debug, Clone)]
pub(crate) struct SinkPaths {
    /// Directory with one file per sink: what it was given.
    pub(crate) cursors: PathBuf,
    /// How the sinks are.
    pub(crate) report: PathBuf,
}

/// All sinks. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sinks(Arc<[Arc<Sink>]>);

impl Sinks {
    /// Reads where each of them is.
    pub(crate) fn open(paths: &SinkPaths, settings: Vec<SinkSettings>) -> std::io::Result<Self> {
        if settings.is_empty() {
            // Of an earlier start, which had some.
            return match std::fs::remove_file(&paths.report) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(Self::default()),
            };
        }
        std::fs::create_dir_all(&paths.cursors)?;
        let open = |settings: SinkSettings| {
            let cursor = paths.cursors.join(format!("{}.json", settings.name));
            Arc::new(Sink::open(settings, cursor))
        };
        Ok(Self(settings.into_iter().map(open).collect()))
    }

    pub(crate) fn all(&self) -> &[Arc<Sink>] {
        &self.0
    }

    /// The last record that every sink has, durably; [`u64::MAX`] without sinks.
    pub(crate) fn delivered_by_all(&self) -> u64 {
        self.0.iter().map(|sink| sink.delivered_seq()).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    //! What the tests of the ways share.

    use std::collections::BTreeMap;
    use std::path::Path;

    use solo_audit::{CheckpointKey, Record, Records, Trail, TrailOptions};

    use super::*;

    /// The first records of a log below `directory`.
    pub(super) fn log(directory: &Path, count: usize) -> Vec<Arc<Record>> {
        let directory = directory.join("log");
        std::fs::create_dir(&directory).expect("directory");
        let options = TrailOptions::new(CheckpointKey::from_bytes(&[7; 32]));
        let mut trail = Trail::open(&directory, options, 1).expect("a trail");
        for number in 0..count {
            let entry = solo_audit::Entry {
                at_unix_ms: 1,
                principal: "owner".into(),
                operation: "deploy".into(),
                object: format!("service-{number}"),
                outcome: "allowed".into(),
                request_id: String::new(),
                details: BTreeMap::new(),
            };
            trail.append_batch(&[entry]).expect("append");
        }
        let records = Records::open(&directory, 0, u64::MAX).expect("opens");
        records.take(count).map(|record| Arc::new(record.expect("a record"))).collect()
    }

    /// As they are in the log.
    pub(super) fn lines_of(records: &[Arc<Record>]) -> Vec<String> {
        let line = |record: &Arc<Record>| String::from_utf8(record.to_line().expect("a line"));
        records.iter().map(|record| line(record).expect("UTF-8")).collect()
    }
}
