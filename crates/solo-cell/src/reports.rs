//! What a cell has to tell the kernel: a bounded ring of log lines and state changes.
//!
//! A cell goes on while no kernel reads, so the oldest reports are thrown away when the ring is
//! full. A reader that missed some is told how many: nothing vanishes silently. The ring never
//! waits for a reader, and it decides nothing about what it holds.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use solo_types::{Exit, InstanceState, LimitAction};
use tokio::sync::watch;

use crate::wasm::message::Trace;

/// Reports that the ring holds: the lines of a busy cell during a restart of the kernel.
const REPORTS_MAX: usize = 16_384;

/// Bytes that the ring holds: with 8 KiB lines the count alone would allow 128 MiB.
const REPORTS_BYTES_MAX: usize = 16 << 20;

/// Memory of a report beside its text: the entry itself and its share of the ring.
const REPORT_BYTES_BASE: usize = 128;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    /// A line of a service.
    Log {
        /// `trace` to `error`.
        level: &'static str,
        /// At most 8 KiB.
        message: String,
        /// `stdout`, `stderr` or `log`.
        source: &'static str,
        /// The chain of calls in which it was written.
        trace: Trace,
    },
    /// An instance stands differently now.
    State {
        /// How.
        state: InstanceState,
        /// Starts after the first one.
        restarts: u64,
        /// Why it ended, if it did.
        exit: Option<Exit>,
    },
    /// An instance exceeded a limit.
    Violation {
        /// Name of its field.
        limit: &'static str,
        /// What was done.
        action: LimitAction,
        /// How often since the last report of it.
        count: u64,
        /// One sentence.
        message: String,
    },
    /// So many reports were thrown away before they were read.
    Missed(u64),
}

/// A report with its place in the order.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Grows by one per report.
    pub(crate) sequence: u64,
    /// Unix time.
    pub(crate) at_unix_ms: u64,
    /// `NODE-SERVICE`; empty for the cell itself.
    pub(crate) service: Arc<str>,
    /// `NODE-SERVICE-NUMBER`; empty for the cell itself.
    pub(crate) instance: Arc<str>,
    /// What happened.
    pub(crate) report: Report,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Reports {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Of the newest report; 0 before the first.
    sequence: u64,
}

impl Report {
    fn bytes(&self) -> usize {
        REPORT_BYTES_BASE
            + match self {
                Self::Log { message, .. } | Self::Violation { message, .. } => message.len(),
                Self::State { exit: Some(exit), .. } => {
                    exit.message.len() + exit.backtrace.iter().map(String::len).sum::<usize>()
                }
                Self::State { exit: None, .. } | Self::Missed(_) => 0,
            }
    }
}

impl Reports {
    /// An empty ring.
    pub(crate) fn new() -> Self {
        Self {
            ring: Mutex::new(Ring { entries: VecDeque::new(), bytes: 0, sequence: 0 }),
            newest: watch::Sender::new(0),
        }
    }

    /// Adds a report; the oldest ones go when there is no room.
    pub(crate) fn push(
        &self,
        at_unix_ms: u64,
        service: Arc<str>,
        instance: Arc<str>,
        report: Report,
    ) {
        let sequence = {
            let mut ring = self.ring.lock();
            ring.sequence += 1;
            ring.bytes += report.bytes();
            let sequence = ring.sequence;
            ring.entries.push_back(Entry { sequence, at_unix_ms, service, instance, report });
            while ring.entries.len() > REPORTS_MAX || ring.bytes > REPORTS_BYTES_MAX {
                let Some(oldest) = ring.entries.pop_front() else { break };
                ring.bytes -= oldest.report.bytes();
            }
            sequence
        };
        // Two writers may get here in the other order; the mark must not go back.
        self.newest.send_if_modified(|newest| {
            let grown = sequence > *newest;
            *newest = sequence.max(*newest);
            grown
        });
    }

    /// Up to `max` reports behind `after`, oldest first. What was thrown away in between comes
    /// first, as [`Report::Missed`]. A number that was never handed out starts at the oldest report.
    pub(crate) fn read(&self, after: u64, max: usize) -> Vec<Entry> {
        let ring = self.ring.lock();
        let after = if after > ring.sequence { 0 } else { after };
        let Some(oldest) = ring.entries.front().map(|entry| entry.sequence) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        if after + 1 < oldest {
            entries.push(Entry {
                sequence: oldest - 1,
                at_unix_ms: ring.entries.front().map_or(0, |entry| entry.at_unix_ms),
                service: Arc::from(""),
                instance: Arc::from(""),
                report: Report::Missed(oldest - 1 - after),
            });
        }
        // Sequence numbers are without gaps, so the place follows from the number.
        let skip = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        entries.extend(ring.entries.iter().skip(skip).take(max).cloned());
        entries
    }

    /// Tells when there is something behind a sequence number.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(reports: &Reports, message: &str) {
        let report = Report::Log {
            level: "info",
            message: message.to_owned(),
            source: "log",
            trace: Trace::default(),
        };
        reports.push(1, Arc::from("s"), Arc::from("s-1"), report);
    }

    #[test]
    fn a_reader_resumes_where_it_was() {
        let reports = Reports::new();
        assert!(reports.read(0, 10).is_empty());
        (0..5).for_each(|n| push(&reports, &n.to_string()));
        let first: Vec<u64> = reports.read(0, 2).iter().map(|e| e.sequence).collect();
        assert_eq!(first, [1, 2]);
        let rest: Vec<u64> = reports.read(2, 10).iter().map(|e| e.sequence).collect();
        assert_eq!(rest, [3, 4, 5]);
        assert!(reports.read(5, 10).is_empty());
        assert_eq!(*reports.watch().borrow(), 5);
    }

    #[test]
    fn a_number_of_another_incarnation_starts_at_the_oldest() {
        let reports = Reports::new();
        push(&reports, "a");
        assert_eq!(reports.read(99, 10).len(), 1);
    }

    #[test]
    fn what_was_thrown_away_is_counted() {
        let reports = Reports::new();
        let extra = 10;
        (0..REPORTS_MAX + extra).for_each(|_| push(&reports, "x"));
        let entries = reports.read(3, 1);
        assert!(matches!(entries[0].report, Report::Missed(7)), "{:?}", entries[0]);
        assert_eq!(entries[0].sequence, 10);
        assert_eq!(entries[1].sequence, 11);
        // Resuming behind the news of the loss loses nothing more.
        assert_eq!(reports.read(10, 1)[0].sequence, 11);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let reports = Reports::new();
        let line = "x".repeat(8_192);
        (0..4_000).for_each(|_| push(&reports, &line));
        let ring = reports.ring.lock();
        assert!(ring.bytes <= REPORTS_BYTES_MAX);
        assert_eq!(ring.bytes, ring.entries.iter().map(|e| e.report.bytes()).sum::<usize>());
    }
}
