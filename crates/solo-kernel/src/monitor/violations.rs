//! Limits that were exceeded: totals for the metrics, and what the audit log must still be told
//! (SPEC section 5, C6).
//!
//! A guest decides how often it exceeds a limit, not how fast the audit log grows: at most one record
//! per service, limit and second; what comes within that second is counted in the next record. Keeps
//! and decides; the writing is its caller's. A kernel that dies loses what was counted within the
//! last second, no more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use solo_api::cell::v1 as wire;
use solo_types::{LIMIT_NAMES, LimitAction};
use tokio::sync::Notify;

use crate::audit::{Audit, Entry};
use crate::clock;

/// Between two records of the same service and limit.
const RECORD_INTERVAL_MS: u64 = 1_000;

/// Records that are written in one go: they share a sync, and operations that wait for the same log
/// come soon after them.
const RECORDS_MAX: usize = 256;

/// Between two goes: bounds what all services together can have written.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// How long a message of a guest may be in a record, in characters.
const MESSAGE_CHARS_MAX: usize = 256;

/// What a cell calls a limit or an action that this build does not know.
const OTHER: &str = "other";

/// Service, limit and action.
type Total = (String, &'static str, &'static str);

/// Service and limit.
type Key = (String, &'static str);

/// What the audit log was not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Untold {
    action: &'static str,
    count: u64,
    instance: String,
    message: String,
}

#[derive(Debug, Default)]
struct Inner {
    totals: BTreeMap<Total, u64>,
    untold: BTreeMap<Key, Untold>,
    /// When the last record was written; only within its interval.
    written: HashMap<Key, u64>,
}

/// The keeper.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    inner: Mutex<Inner>,
    news: Notify,
}

impl Violations {
    /// Takes one report of a cell about `service`.
    pub(crate) fn note(&self, service: &str, instance: &str, violation: &wire::Violation) {
        let limit = known_limit(&violation.limit);
        let action = LimitAction::from_name(&violation.action).map_or(OTHER, LimitAction::as_str);
        let count = violation.count.max(1);
        let mut inner = self.inner.lock();
        let total = inner.totals.entry((service.to_owned(), limit, action)).or_default();
        *total = total.saturating_add(count);
        let untold = Untold {
            action,
            count,
            instance: instance.to_owned(),
            message: violation.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        };
        inner.add((service.to_owned(), limit), untold);
        drop(inner);
        self.news.notify_one();
    }

    /// How often each limit was exceeded since the kernel started: service, limit, action, count.
    pub(crate) fn totals(&self) -> Vec<(String, &'static str, &'static str, u64)> {
        let inner = self.inner.lock();
        let flat = |((service, limit, action), count): (&Total, &u64)| {
            (service.clone(), *limit, *action, *count)
        };
        inner.totals.iter().map(flat).collect()
    }

    /// Forgets the totals of services that are gone. The audit log is told what it was not told yet.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.inner.lock().totals.retain(|(service, ..), _| is_there(service));
    }

    /// Writes records as they fall due, without end.
    pub(crate) async fn tell(&self, audit: &Audit) -> Result<(), String> {
        loop {
            if self.inner.lock().untold.is_empty() {
                self.news.notified().await;
            }
            let due = self.inner.lock().take_due(clock::unix_ms());
            let writing = due.iter().map(|(key, untold)| audit.append(entry(key, untold)));
            let written = futures_util::future::join_all(writing).await;
            for ((key, untold), outcome) in due.into_iter().zip(written) {
                if let Err(problem) = outcome {
                    // Tried again with what comes: the log itself says loudly what is wrong with it.
                    tracing::debug!(%problem, "Failed to audit a limit violation");
                    self.inner.lock().add(key, untold);
                }
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }
}

impl Inner {
    fn add(&mut self, key: Key, new: Untold) {
        match self.untold.get_mut(&key) {
            Some(known) => {
                let count = known.count.saturating_add(new.count);
                *known = Untold { count, ..new };
            }
            None => {
                self.untold.insert(key, new);
            }
        }
    }

    /// Takes what may be written now, and marks it as written.
    fn take_due(&mut self, now_ms: u64) -> Vec<(Key, Untold)> {
        // A clock that was set back must not hold records up for longer than their interval.
        self.written.retain(|_, at| *at <= now_ms && now_ms - *at < RECORD_INTERVAL_MS);
        let due: Vec<Key> = self
            .untold
            .keys()
            .filter(|key| !self.written.contains_key(*key))
            .take(RECORDS_MAX)
            .cloned()
            .collect();
        let mut taken = Vec::with_capacity(due.len());
        for key in due {
            if let Some(untold) = self.untold.remove(&key) {
                self.written.insert(key.clone(), now_ms);
                taken.push((key, untold));
            }
        }
        taken
    }
}

fn known_limit(name: &str) -> &'static str {
    LIMIT_NAMES.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

fn entry((service, limit): &Key, untold: &Untold) -> Entry {
    Entry::new("kernel", "limit_exceeded", service)
        .outcome(untold.action)
        .detail("limit", limit)
        .detail("count", untold.count)
        .detail("instance", &untold.instance)
        .detail("message", &untold.message)
}

#[cfg(test)]
mod tests {
    use solo_audit::Records;

    use super::*;
    use crate::audit::AuditPaths;

    fn violation(limit: &str, action: &str, count: u64) -> wire::Violation {
        let message = format!("number {count}");
        wire::Violation { limit: limit.into(), action: action.into(), count, message }
    }

    fn due(violations: &Violations, now_ms: u64) -> Vec<(&'static str, u64)> {
        let taken = violations.inner.lock().take_due(now_ms);
        taken.into_iter().map(|((_, limit), untold)| (limit, untold.count)).collect()
    }

    /// C6: every violation is in the log, and no guest decides how long the log gets.
    #[test]
    fn one_record_a_second_counts_them_all() {
        let violations = Violations::default();
        violations.note("hog", "i", &violation("max_memory_bytes", "throttle", 1));
        assert_eq!(due(&violations, 10_000), [("max_memory_bytes", 1)]);
        for _ in 0..5_000 {
            violations.note("hog", "i", &violation("max_memory_bytes", "throttle", 2));
        }
        violations.note("hog", "i", &violation("max_processes", "throttle", 1));
        assert_eq!(due(&violations, 10_999), [("max_processes", 1)]);
        assert_eq!(due(&violations, 11_000), [("max_memory_bytes", 10_000)]);
        assert_eq!(due(&violations, 99_000), []);
        assert!(violations.inner.lock().written.is_empty(), "what is over takes no room");
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let violations = Violations::default();
        violations.note("hog", "i", &violation("max_processes", "kill", 1));
        assert_eq!(due(&violations, 50_000).len(), 1);
        violations.note("hog", "i", &violation("max_processes", "kill", 1));
        assert_eq!(due(&violations, 1_000).len(), 1);
    }

    /// What a cell says is not trusted with the names of metrics.
    #[test]
    fn totals_are_by_known_names_and_end_with_the_service() {
        let violations = Violations::default();
        for n in 0..100 {
            violations.note("hog", "i", &violation(&format!("made-up-{n}"), "explode", 1));
        }
        violations.note("hog", "i", &violation("max_processes", "warn", 7));
        violations.note("gone", "i", &violation("max_processes", "warn", 1));
        violations.retain(|name| name == "hog");
        assert_eq!(
            violations.totals(),
            [("hog".into(), "max_processes", "warn", 7), ("hog".into(), "other", "other", 100)]
        );
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_told_later() {
        let directory = tempfile::tempdir().expect("tempdir");
        let audit = Audit::new(AuditPaths {
            log: directory.path().to_owned(),
            key: directory.path().join("key"),
            public_key: directory.path().join("pub"),
            checkpoint: directory.path().join("checkpoint"),
        });
        let violations = Violations::default();
        violations.note("hog", "0000beef-1-1", &violation("max_processes", "kill", 4));
        let found = async {
            loop {
                let records = Records::open(directory.path(), 0, u64::MAX).into_iter().flatten();
                let mut found = records.flatten().filter(|r| r.operation == "limit_exceeded");
                if let Some(record) = found.next() {
                    return format!("{record:?}");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let text = tokio::select! {
            text = found => text,
            end = violations.tell(&audit) => panic!("{end:?}"),
            end = audit.run() => panic!("{end:?}"),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing was written"),
        };
        for expected in ["\"hog\"", "\"kill\"", "max_processes", "0000beef-1-1", "\"4\""] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
