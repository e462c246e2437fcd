//! Metrics of the sinks (SPEC O1). Without sinks they are not in the text.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// All of them, by sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkMetrics {
    lag_records: IntGaugeVec,
    lag_seconds: IntGaugeVec,
    failures: IntCounterVec,
    lost: IntCounterVec,
}

impl SinkMetrics {
    /// Makes and registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = &["sink"];
        let metrics = Self {
            lag_records: IntGaugeVec::new(
                Opts::new("solo_audit_sink_lag_records", "Audit records that have not arrived."),
                labels,
            )?,
            lag_seconds: IntGaugeVec::new(
                Opts::new(
                    "solo_audit_sink_lag_seconds",
                    "Age of the oldest audit record that has not arrived, in seconds.",
                ),
                labels,
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "solo_audit_sink_failures_total",
                    "Times that a sink did not take audit records, since the kernel started.",
                ),
                labels,
            )?,
            lost: IntCounterVec::new(
                Opts::new(
                    "solo_audit_sink_lost_records_total",
                    "Audit records that retention removed before they arrived, since the kernel started.",
                ),
                labels,
            )?,
        };
        registry.register(Box::new(metrics.lag_records.clone()))?;
        registry.register(Box::new(metrics.lag_seconds.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.lost.clone()))?;
        Ok(metrics)
    }

    /// How far a sink is behind.
    pub(super) fn tell(&self, sink: &str, lag_records: i64, lag_s: i64) {
        self.lag_records.with_label_values(&[sink]).set(lag_records);
        self.lag_seconds.with_label_values(&[sink]).set(lag_s);
        // There from the first scrape on, so that a rate has a beginning.
        self.failures.with_label_values(&[sink]).inc_by(0);
        self.lost.with_label_values(&[sink]).inc_by(0);
    }

    pub(super) fn failed(&self, sink: &str) {
        self.failures.with_label_values(&[sink]).inc();
    }

    pub(super) fn lost(&self, sink: &str, records: u64) {
        self.lost.with_label_values(&[sink]).inc_by(records);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn sinks_are_shown_once_there_are_some() {
        let registry = Registry::new();
        let metrics = SinkMetrics::new(&registry).expect("metrics");
        assert_eq!(text(&registry), "");
        metrics.tell("hook", 7, 3);
        metrics.failed("hook");
        metrics.lost("hook", 5);
        let text = text(&registry);
        for line in [
            "solo_audit_sink_lag_records{sink=\"hook\"} 7",
            "solo_audit_sink_lag_seconds{sink=\"hook\"} 3",
            "solo_audit_sink_failures_total{sink=\"hook\"} 1",
            "solo_audit_sink_lost_records_total{sink=\"hook\"} 5",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
