//! Prometheus metrics (SPEC O1). The names are the specification's; units are in the names.

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use solo_api::cell::v1 as wire;

use crate::audit::SinkMetrics;

/// Milliseconds from a known artifact's warm start to a cold compilation.
const STARTUP_BUCKETS_MS: [f64; 12] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0, 1_000.0, 5_000.0, 30_000.0];

/// Milliseconds from a call in memory to a deployment.
const REQUEST_BUCKETS_MS: [f64; 13] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 5_000.0, 60_000.0];

/// All metrics that do not belong to one service.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) deployments: IntCounterVec,
    pub(crate) active_services: IntGauge,
    pub(crate) record_bytes: IntGauge,
    pub(crate) startup_ms: HistogramVec,
    pub(crate) request_ms: HistogramVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) memory_available: IntGauge,
    pub(crate) load: Gauge,
    pub(crate) gateway_up: IntGauge,
    pub(crate) sinks: SinkMetrics,
    pub(crate) tls_failed: IntCounter,
}

/// Figures of one service at the time of a scrape.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ServiceFigures {
    pub(crate) memory_bytes: u64,
    pub(crate) restarts: u64,
    pub(crate) handled: u64,
    pub(crate) errors: u64,
    pub(crate) mailbox_depth: u64,
    pub(crate) mailbox_bytes: u64,
    pub(crate) cpu_us: u64,
    pub(crate) throttled_us: u64,
    pub(crate) children: u64,
}

impl ServiceFigures {
    /// Adds an instance, or a child that one of the service's instances started.
    ///
    /// What a child takes counts for the service that started it. What a child counts does not:
    /// children come and go, and a counter never falls.
    pub(crate) fn add(&mut self, instance: &wire::Instance) {
        self.memory_bytes += instance.memory_bytes;
        self.mailbox_depth += instance.mailbox_depth;
        self.mailbox_bytes += instance.mailbox_bytes;
        if !instance.parent.is_empty() {
            self.children += 1;
            return;
        }
        self.restarts += instance.restarts;
        self.handled += instance.handled;
        self.errors += instance.errors;
        self.cpu_us += instance.cpu_us;
        self.throttled_us += instance.throttled_us;
    }
}

impl Metrics {
    /// Makes and registers all metrics.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            sinks: SinkMetrics::new(&registry)?,
            registry,
            deployments: IntCounterVec::new(
                Opts::new("solo_deployment_count", "Deployments by result (ready, failed, dry_run)."),
                &["result"],
            )?,
            active_services: IntGauge::new("solo_active_services", "Services that should be running.")?,
            record_bytes: IntGauge::new(
                "solo_record_bytes",
                "Memory that the kept logs and events take, in bytes.",
            )?,
            startup_ms: HistogramVec::new(
                HistogramOpts::new(
                    "solo_service_startup_ms",
                    "Milliseconds from the request to a cell until all instances of a service are ready.",
                )
                .buckets(STARTUP_BUCKETS_MS.to_vec()),
                &["kind"],
            )?,
            request_ms: HistogramVec::new(
                HistogramOpts::new(
                    "solo_grpc_request_duration_ms",
                    "Milliseconds that the API took to answer, by method.",
                )
                .buckets(REQUEST_BUCKETS_MS.to_vec()),
                &["method"],
            )?,
            refused: IntCounterVec::new(
                Opts::new("solo_grpc_requests_refused_total", "Requests answered with an error, by reason."),
                &["reason"],
            )?,
            memory_available: IntGauge::new(
                "solo_node_memory_available_bytes",
                "Memory of the machine that is available, in bytes.",
            )?,
            load: Gauge::new("solo_node_load1", "Load average of the machine over one minute.")?,
            gateway_up: IntGauge::new("solo_gateway_up", "1 while the gateway accepts connections.")?,
            tls_failed: IntCounter::new(
                "solo_tls_handshakes_failed_total",
                "TLS handshakes of the API and of the metrics that failed or took too long.",
            )?,
        };
        metrics.registry.register(Box::new(metrics.deployments.clone()))?;
        metrics.registry.register(Box::new(metrics.active_services.clone()))?;
        metrics.registry.register(Box::new(metrics.record_bytes.clone()))?;
        metrics.registry.register(Box::new(metrics.startup_ms.clone()))?;
        metrics.registry.register(Box::new(metrics.request_ms.clone()))?;
        metrics.registry.register(Box::new(metrics.refused.clone()))?;
        metrics.registry.register(Box::new(metrics.memory_available.clone()))?;
        metrics.registry.register(Box::new(metrics.load.clone()))?;
        metrics.registry.register(Box::new(metrics.gateway_up.clone()))?;
        metrics.registry.register(Box::new(metrics.tls_failed.clone()))?;
        // Label values that are there from the first scrape on, so that a rate has a beginning.
        for result in ["ready", "failed", "dry_run"] {
            metrics.deployments.with_label_values(&[result]);
        }
        for kind in ["handler", "typed", "command", "core"] {
            metrics.startup_ms.with_label_values(&[kind]);
        }
        metrics.request_ms.with_label_values(&["Status"]);
        Ok(metrics)
    }

    /// Notes one request.
    pub(crate) fn request(&self, method: &str, took: Duration) {
        self.request_ms.with_label_values(&[method]).observe(took.as_secs_f64() * 1_000.0);
    }

    /// The exposition text, with the figures of each service.
    ///
    /// Those are counted in the cells; here they are only shown, in a registry of their own, so that
    /// a service that is gone is gone from the text too. `violations`: service, limit, action, count.
    pub(crate) fn text(
        &self,
        services: &[(String, ServiceFigures)],
        violations: &[(String, &'static str, &'static str, u64)],
    ) -> Result<String, prometheus::Error> {
        let own = Registry::new();
        show_gauges(&own, services)?;
        show_counters(&own, services)?;
        let exceeded = IntCounterVec::new(
            Opts::new(
                "solo_limit_violations_total",
                "Times that a limit was exceeded, by limit and action, since the kernel started.",
            ),
            &["service", "limit", "action"],
        )?;
        own.register(Box::new(exceeded.clone()))?;
        for (service, limit, action, count) in violations {
            exceeded.with_label_values(&[service.as_str(), limit, action]).inc_by(*count);
        }
        let mut families = self.registry.gather();
        families.extend(own.gather());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Name, help and figure of a metric.
type Shown = (&'static str, &'static str, fn(&ServiceFigures) -> u64);

/// What a service takes right now.
fn show_gauges(
    own: &Registry,
    services: &[(String, ServiceFigures)],
) -> Result<(), prometheus::Error> {
    let shown: [Shown; 4] = [
        (
            "solo_service_memory_bytes",
            "Memory of all instances and their children, in bytes.",
            |figures| figures.memory_bytes,
        ),
        (
            "solo_service_mailbox_depth",
            "Messages that wait, over all instances and their children.",
            |figures| figures.mailbox_depth,
        ),
        (
            "solo_service_mailbox_bytes",
            "Memory of messages that wait, over all instances and their children, in bytes.",
            |figures| figures.mailbox_bytes,
        ),
        ("solo_service_children", "Children that the instances started.", |figures| {
            figures.children
        }),
    ];
    for (name, help, figure) in shown {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &["service"])?;
        own.register(Box::new(gauge.clone()))?;
        for (service, figures) in services {
            let value = i64::try_from(figure(figures)).unwrap_or(i64::MAX);
            gauge.with_label_values(&[service.as_str()]).set(value);
        }
    }
    Ok(())
}

/// What a service did so far.
fn show_counters(
    own: &Registry,
    services: &[(String, ServiceFigures)],
) -> Result<(), prometheus::Error> {
    let counted: [Shown; 3] = [
        ("solo_service_restarts_total", "Restarts, over all instances.", |f| f.restarts),
        ("solo_service_calls_total", "Calls and sends handled, over all instances.", |f| f.handled),
        ("solo_service_errors_total", "Calls and sends that failed, over all instances.", |f| {
            f.errors
        }),
    ];
    for (name, help, figure) in counted {
        let counter = IntCounterVec::new(Opts::new(name, help), &["service"])?;
        own.register(Box::new(counter.clone()))?;
        for (service, figures) in services {
            counter.with_label_values(&[service.as_str()]).inc_by(figure(figures));
        }
    }
    let timed: [Shown; 2] = [
        (
            "solo_service_cpu_seconds_total",
            "Seconds spent executing, over all instances.",
            |figures| figures.cpu_us,
        ),
        (
            "solo_service_throttled_seconds_total",
            "Seconds that cpu_quota_percent kept instances from running.",
            |figures| figures.throttled_us,
        ),
    ];
    for (name, help, figure_us) in timed {
        let counter = CounterVec::new(Opts::new(name, help), &["service"])?;
        own.register(Box::new(counter.clone()))?;
        for (service, figures) in services {
            let seconds = Duration::from_micros(figure_us(figures)).as_secs_f64();
            counter.with_label_values(&[service.as_str()]).inc_by(seconds);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_takes_room_but_counts_nothing() {
        let instance = wire::Instance {
            id: "0000beef-1-1".into(),
            memory_bytes: 100,
            mailbox_depth: 1,
            mailbox_bytes: 10,
            handled: 5,
            restarts: 2,
            throttled_us: 7,
            ..wire::Instance::default()
        };
        let child = wire::Instance {
            id: "0000beef-1-1.1".into(),
            parent: "0000beef-1-1".into(),
            ..instance.clone()
        };
        let mut figures = ServiceFigures::default();
        figures.add(&instance);
        figures.add(&child);
        assert_eq!((figures.memory_bytes, figures.mailbox_bytes, figures.children), (200, 20, 1));
        assert_eq!((figures.handled, figures.restarts, figures.throttled_us), (5, 2, 7));
    }

    #[test]
    fn violations_are_counted_by_service_limit_and_action() {
        let metrics = Metrics::new().expect("metrics");
        let violations = [("hog".to_owned(), "max_memory_bytes", "throttle", 3)];
        let text = metrics.text(&[], &violations).expect("text");
        let line = "solo_limit_violations_total{action=\"throttle\",limit=\"max_memory_bytes\",\
                    service=\"hog\"} 3";
        assert!(text.contains(line), "{text}");
    }
}
