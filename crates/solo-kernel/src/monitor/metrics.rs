//! Prometheus metrics (SPEC O1). The names are the specification's; units are in the names.

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use solo_api::cell::v1 as wire;

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
    pub(crate) startup_ms: HistogramVec,
    pub(crate) request_ms: HistogramVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) memory_available: IntGauge,
    pub(crate) load: Gauge,
    pub(crate) gateway_up: IntGauge,
}

/// Figures of one service at the time of a scrape.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ServiceFigures {
    pub(crate) memory_bytes: u64,
    pub(crate) restarts: u64,
    pub(crate) handled: u64,
    pub(crate) errors: u64,
    pub(crate) mailbox_depth: u64,
    pub(crate) cpu_us: u64,
}

impl ServiceFigures {
    /// Adds an instance.
    pub(crate) fn add(&mut self, instance: &wire::Instance) {
        self.memory_bytes += instance.memory_bytes;
        self.restarts += instance.restarts;
        self.handled += instance.handled;
        self.errors += instance.errors;
        self.mailbox_depth += instance.mailbox_depth;
        self.cpu_us += instance.cpu_us;
    }
}

impl Metrics {
    /// Makes and registers all metrics.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            deployments: IntCounterVec::new(
                Opts::new("solo_deployment_count", "Deployments by result (ready, failed, dry_run)."),
                &["result"],
            )?,
            active_services: IntGauge::new("solo_active_services", "Services that should be running.")?,
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
        };
        metrics.registry.register(Box::new(metrics.deployments.clone()))?;
        metrics.registry.register(Box::new(metrics.active_services.clone()))?;
        metrics.registry.register(Box::new(metrics.startup_ms.clone()))?;
        metrics.registry.register(Box::new(metrics.request_ms.clone()))?;
        metrics.registry.register(Box::new(metrics.refused.clone()))?;
        metrics.registry.register(Box::new(metrics.memory_available.clone()))?;
        metrics.registry.register(Box::new(metrics.load.clone()))?;
        metrics.registry.register(Box::new(metrics.gateway_up.clone()))?;
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
    /// a service that is gone is gone from the text too.
    pub(crate) fn text(
        &self,
        services: &[(String, ServiceFigures)],
    ) -> Result<String, prometheus::Error> {
        let own = Registry::new();
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["service"]);
        let counter =
            |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["service"]);
        let memory =
            gauge("solo_service_memory_bytes", "Memories and tables of all instances, in bytes.")?;
        let depth = gauge("solo_service_mailbox_depth", "Messages that wait, over all instances.")?;
        let restarts = counter("solo_service_restarts_total", "Restarts, over all instances.")?;
        let calls =
            counter("solo_service_calls_total", "Calls and sends handled, over all instances.")?;
        let errors = counter(
            "solo_service_errors_total",
            "Calls and sends that failed, over all instances.",
        )?;
        let cpu = CounterVec::new(
            Opts::new(
                "solo_service_cpu_seconds_total",
                "Seconds spent executing, over all instances.",
            ),
            &["service"],
        )?;
        own.register(Box::new(memory.clone()))?;
        own.register(Box::new(depth.clone()))?;
        own.register(Box::new(restarts.clone()))?;
        own.register(Box::new(calls.clone()))?;
        own.register(Box::new(errors.clone()))?;
        own.register(Box::new(cpu.clone()))?;
        for (service, figures) in services {
            let label = &[service.as_str()];
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            memory.with_label_values(label).set(signed(figures.memory_bytes));
            depth.with_label_values(label).set(signed(figures.mailbox_depth));
            restarts.with_label_values(label).inc_by(figures.restarts);
            calls.with_label_values(label).inc_by(figures.handled);
            errors.with_label_values(label).inc_by(figures.errors);
            cpu.with_label_values(label)
                .inc_by(Duration::from_micros(figures.cpu_us).as_secs_f64());
        }
        let mut families = self.registry.gather();
        families.extend(own.gather());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
