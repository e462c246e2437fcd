//! How often an instance exceeded which limit, and the reports of it.
//!
//! Each is counted; reports are at most one per second and limit, with what came in between in its
//! count, so that a guest cannot flood the kernel with its own violations.

use std::sync::Arc;

use parking_lot::Mutex;
use solo_types::LimitAction;

use super::clock;
use crate::reports::{Report, Reports};

/// Between two reports of one limit.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// The limits of SPEC section 5 that can be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Children.
    Processes,
    /// Memories, tables and queues.
    Memory,
    /// Hard quota of CPU time.
    Cpu,
    /// Messages that wait: the threshold.
    MessageQueue,
    /// The hard bound of the same.
    MessageQueueMax,
    /// From start to ready.
    Startup,
    /// From the wish to stop to the end.
    Shutdown,
}

/// What became of one limit.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// Which limit.
    pub(crate) limit: Limit,
    /// What was done the last time.
    pub(crate) action: LimitAction,
    /// How often.
    pub(crate) count: u64,
    /// The last time, in one sentence.
    pub(crate) message: String,
    reported_count: u64,
    reported_at_ms: Option<u64>,
}

/// Those of one instance.
#[derive(Debug, Default)]
pub(crate) struct Violations(Mutex<Vec<Violation>>);

impl Limit {
    /// The name of its field.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Processes => "max_processes",
            Self::Memory => "max_memory_bytes",
            Self::Cpu => "cpu_quota_percent",
            Self::MessageQueue => "message_queue_limit",
            Self::MessageQueueMax => "message_queue_max",
            Self::Startup => "startup_timeout_ms",
            Self::Shutdown => "shutdown_timeout_ms",
        }
    }
}

impl Violations {
    /// Counts one, and reports it if the last report is long enough ago.
    pub(crate) fn note(
        &self,
        (service, instance): (&Arc<str>, &Arc<str>),
        reports: &Reports,
        limit: Limit,
        action: LimitAction,
        message: impl FnOnce() -> String,
    ) {
        let now_ms = clock::monotonic_ms();
        let report = {
            let mut all = self.0.lock();
            let place = all.iter().position(|violation| violation.limit == limit);
            let place = place.unwrap_or_else(|| {
                all.push(Violation {
                    limit,
                    action,
                    count: 0,
                    message: String::new(),
                    reported_count: 0,
                    reported_at_ms: None,
                });
                all.len() - 1
            });
            let violation = &mut all[place];
            violation.count += 1;
            violation.action = action;
            let is_due =
                violation.reported_at_ms.is_none_or(|at| now_ms >= at + REPORT_INTERVAL_MS);
            if !is_due {
                return;
            }
            violation.message = message();
            let count = violation.count - violation.reported_count;
            violation.reported_count = violation.count;
            violation.reported_at_ms = Some(now_ms);
            let message = violation.message.clone();
            Report::Violation { limit: limit.as_str(), action, count, message }
        };
        reports.push(clock::unix_ms(), Arc::clone(service), Arc::clone(instance), report);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Violation> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_reported() {
        let (violations, reports) = (Violations::default(), Reports::new());
        let id: Arc<str> = Arc::from("s-1");
        for n in 0..100 {
            let message = || format!("number {n}");
            violations.note((&id, &id), &reports, Limit::Memory, LimitAction::Warn, message);
        }
        let message = || "other".to_owned();
        violations.note((&id, &id), &reports, Limit::Cpu, LimitAction::Kill, message);
        let all = violations.all();
        assert_eq!(
            all.iter().map(|v| (v.limit, v.count)).collect::<Vec<_>>(),
            [(Limit::Memory, 100), (Limit::Cpu, 1)]
        );
        assert!(reports.read(0, 1_000).len() < 10);
    }
}
