//! What is known of one sink: where it is, and whether it fails. Sends nothing.

use std::path::PathBuf;

use parking_lot::Mutex;
use solo_audit::AuditError;
use solo_audit::sink::{Cursor, Lag};

use super::super::settings::SinkSettings;
use super::report::SinkReport;
use crate::audit::Written;
use crate::clock;

/// Characters of an error that are shown: where it comes from may be another machine.
const ERROR_CHARS_MAX: usize = 300;

/// One sink.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) settings: SinkSettings,
    cursor_path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What has arrived, durably; none for a sink that was given nothing yet.
    kept: Option<Cursor>,
    /// What the sink has is of another log.
    anew: bool,
    /// Since when there has been something that has not arrived.
    behind_since_unix_ms: Option<u64>,
    /// Failures since something arrived, and since the kernel started.
    failures: u32,
    failures_total: u64,
    lost_records: u64,
    last_error: String,
    last_error_unix_ms: u64,
}

/// What came of telling a sink something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// As before.
    None,
    /// It worked, and does not any more.
    Failing,
    /// It failed, and works again.
    Recovered,
}

impl Sink {
    /// Reads where it is. A file that cannot be read counts as none: everything is sent again then.
    pub(super) fn open(settings: SinkSettings, cursor_path: PathBuf) -> Self {
        let kept = Cursor::read(&cursor_path).unwrap_or_else(|error| {
            tracing::warn!(%error, sink = settings.name, "A sink begins anew: where it was cannot be read");
            None
        });
        Self { settings, cursor_path, state: Mutex::new(State { kept, ..State::default() }) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// What has arrived.
    pub(super) fn kept(&self) -> Option<Cursor> {
        self.state.lock().kept
    }

    /// The last record that has arrived; 0 for none.
    pub(super) fn delivered_seq(&self) -> u64 {
        self.kept().map_or(0, |cursor| cursor.seq)
    }

    /// Keeps what has arrived, on disk. Blocks.
    pub(super) fn keep(&self, cursor: Cursor) -> Result<(), AuditError> {
        cursor.write(&self.cursor_path)?;
        let mut state = self.state.lock();
        state.kept = Some(cursor);
        state.anew = false;
        Ok(())
    }

    /// Forgets what has arrived: the log is not the one that it was of.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.kept = None;
        state.anew = true;
    }

    /// Whether the sink is to be given the whole log, whatever it has.
    pub(super) fn is_anew(&self) -> bool {
        self.state.lock().anew
    }

    /// Retention removed what the sink was not given.
    pub(super) fn lost(&self, records: u64) {
        let mut state = self.state.lock();
        state.lost_records = state.lost_records.saturating_add(records);
    }

    /// Looks since when there has been something that has not arrived. `lag`: of what was read for it.
    pub(super) fn look(&self, written: Written, lag: Lag) {
        let mut state = self.state.lock();
        let delivered_seq = state.kept.map_or(0, |cursor| cursor.seq);
        if written.seq <= delivered_seq {
            state.behind_since_unix_ms = None;
        } else if state.behind_since_unix_ms.is_none() {
            let read = (lag.records > 0).then(|| clock::unix_ms().saturating_sub(lag.age_ms));
            state.behind_since_unix_ms = Some(read.unwrap_or(written.at_unix_ms));
        }
    }

    /// It failed. Answers how often it has, since something arrived.
    pub(super) fn failed(&self, why: &str) -> (Change, u32) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.failures_total = state.failures_total.saturating_add(1);
        state.last_error = why.chars().take(ERROR_CHARS_MAX).collect();
        state.last_error_unix_ms = clock::unix_ms();
        let change = if state.failures == 1 { Change::Failing } else { Change::None };
        (change, state.failures)
    }

    /// Everything up to here has arrived, and is kept.
    pub(super) fn arrived(&self, through: Cursor) -> Change {
        let mut state = self.state.lock();
        // What has not is younger.
        let since = state.behind_since_unix_ms.map(|since| since.max(through.at_unix_ms));
        state.behind_since_unix_ms = since;
        if std::mem::take(&mut state.failures) > 0 { Change::Recovered } else { Change::None }
    }

    /// How it is, where the log is as far as `written`.
    pub(super) fn report(&self, written: Written) -> SinkReport {
        let state = self.state.lock();
        let delivered_seq = state.kept.map_or(0, |cursor| cursor.seq);
        let lag_records = written.seq.saturating_sub(delivered_seq);
        let since = match (lag_records, state.behind_since_unix_ms) {
            (0, _) => None,
            (_, Some(since)) => Some(since),
            // It was not looked at yet.
            (_, None) => Some(written.at_unix_ms),
        };
        let lag_ms = since.map_or(0, |since| clock::unix_ms().saturating_sub(since));
        let name = match (state.failures, lag_records) {
            (1.., _) => "failing",
            (_, 1..) => "behind",
            _ => "ok",
        };
        SinkReport {
            name: self.settings.name.clone(),
            to: self.settings.target.shown(),
            state: name.to_owned(),
            delivered_seq,
            lag_records,
            lag_ms,
            failures: state.failures,
            failures_total: state.failures_total,
            lost_records: state.lost_records,
            last_error: state.last_error.clone(),
            last_error_unix_ms: state.last_error_unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::target::Target;

    fn opened(directory: &std::path::Path) -> Sink {
        let settings = SinkSettings {
            name: "copy".to_owned(),
            target: Target::File("/x".into()),
            retry_max: Duration::from_secs(1),
        };
        Sink::open(settings, directory.join("copy.json"))
    }

    fn written(seq: u64) -> Written {
        Written { seq, at_unix_ms: clock::unix_ms() }
    }

    #[test]
    fn a_sink_is_behind_failing_and_well_again() {
        let directory = tempfile::tempdir().expect("tempdir");
        let sink = opened(directory.path());
        let lag = Lag { records: 3, age_ms: 60_000, failures: 0 };
        sink.look(written(3), lag);
        let report = sink.report(written(3));
        assert_eq!((report.state.as_str(), report.lag_records), ("behind", 3));
        assert!(report.lag_ms >= 60_000, "{report:?}");
        assert_eq!(sink.failed(&"x".repeat(9_999)), (Change::Failing, 1));
        assert_eq!(sink.failed("no\nroute"), (Change::None, 2));
        let report = sink.report(written(3));
        assert_eq!((report.state.as_str(), report.failures_total), ("failing", 2));
        let cursor = Cursor { seq: 3, at_unix_ms: clock::unix_ms(), ..Cursor::start() };
        sink.keep(cursor).expect("kept");
        assert_eq!(sink.arrived(cursor), Change::Recovered);
        assert_eq!(sink.arrived(cursor), Change::None);
        let report = sink.report(written(3));
        assert_eq!((report.state.as_str(), report.lag_ms, report.failures), ("ok", 0, 0));
        assert_eq!((report.last_error.as_str(), report.failures_total), ("no\nroute", 2));
        // After a silence the age is that of what is new.
        sink.look(written(3), lag);
        sink.look(written(4), Lag { records: 1, age_ms: 10, failures: 0 });
        assert!(sink.report(written(4)).lag_ms < 60_000);
    }

    #[test]
    fn where_a_sink_is_outlives_the_kernel() {
        let directory = tempfile::tempdir().expect("tempdir");
        let cursor = Cursor { seq: 9, ..Cursor::start() };
        opened(directory.path()).keep(cursor).expect("kept");
        assert_eq!(opened(directory.path()).kept(), Some(cursor));
        // What cannot be read costs repetition, never a record.
        std::fs::write(directory.path().join("copy.json"), "nonsense").expect("write");
        assert_eq!(opened(directory.path()).delivered_seq(), 0);
    }
}
