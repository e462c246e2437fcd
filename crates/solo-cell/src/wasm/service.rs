//! One revision of a service as this cell knows it.
//!
//! Checks what the kernel sent as far as the cell depends on it; the bounds of requests are the
//! kernel's business.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_types::{RestartMode, RestartPolicy, ServiceId, ServiceKind};

/// What a service may do to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Call it.
    pub(crate) call: bool,
    /// Send to it.
    pub(crate) send: bool,
}

/// How an instance is asked for its health.
#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    /// Exported function without parameters; empty: the handler's `handle-call`.
    pub(crate) function: String,
    /// Between two checks.
    pub(crate) interval: Duration,
    /// Until an answer counts as missing.
    pub(crate) timeout: Duration,
    /// In a row, that end the instance.
    pub(crate) failures_max: u32,
}

/// One revision of a service. Its instances share it.
#[derive(Debug)]
pub(crate) struct Service {
    /// `NODE-SERVICE`.
    pub(crate) id: Arc<str>,
    /// Its name.
    pub(crate) name: String,
    /// Counts up with each update.
    pub(crate) revision: u64,
    /// How it is run.
    pub(crate) kind: ServiceKind,
    /// Where the precompiled code is.
    pub(crate) artifact_path: PathBuf,
    /// Core module rather than component.
    pub(crate) core_module: bool,
    /// All memories and tables of an instance.
    pub(crate) max_memory_bytes: u64,
    /// Messages that may wait.
    pub(crate) message_queue_limit: u64,
    /// From start to ready.
    pub(crate) startup_timeout_ms: u64,
    /// From the wish to stop to force.
    pub(crate) shutdown_timeout_ms: u64,
    /// When an instance ended.
    pub(crate) restart: RestartPolicy,
    /// For `wasi:config/store`.
    pub(crate) config: Vec<(String, String)>,
    /// Of a program.
    pub(crate) arguments: Vec<String>,
    /// Of a program.
    pub(crate) environment: Vec<(String, String)>,
    /// By name of the other service.
    pub(crate) grants: HashMap<String, Rights>,
    /// `None`: no checks.
    pub(crate) health_check: Option<HealthCheck>,
}

/// What the kernel sent makes no sense to this cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not usable: {value:?}")]
pub(crate) struct SpecError {
    /// Of `solo.cell.v1.ServiceSpec`.
    pub(crate) field: &'static str,
    /// What was there.
    pub(crate) value: String,
}

impl Service {
    /// Reads a specification.
    ///
    /// # Errors
    /// [`SpecError`] with the first field that is not usable.
    pub(crate) fn from_wire(spec: wire::ServiceSpec) -> Result<Self, SpecError> {
        let wrong = |field, value: &dyn ToString| SpecError { field, value: value.to_string() };
        let id: ServiceId = spec.service.parse().map_err(|_| wrong("service", &spec.service))?;
        let kind = solo_api::kind_from_cell(spec.kind).ok_or_else(|| wrong("kind", &spec.kind))?;
        let mode = RestartMode::from_name(&spec.restart_mode)
            .ok_or_else(|| wrong("restart_mode", &spec.restart_mode))?;
        let restart = RestartPolicy {
            mode,
            max_restarts: spec.max_restarts,
            window_ms: spec.window_ms,
            backoff_initial_ms: spec.backoff_initial_ms,
            backoff_max_ms: spec.backoff_max_ms,
        };
        restart.validate().map_err(|problem| wrong("restart", &problem.cause))?;
        if spec.artifact_path.is_empty() {
            return Err(wrong("artifact_path", &""));
        }
        Ok(Self {
            id: Arc::from(id.to_string()),
            name: spec.name,
            revision: spec.revision,
            kind,
            artifact_path: PathBuf::from(spec.artifact_path),
            core_module: spec.core_module,
            max_memory_bytes: spec.max_memory_bytes,
            message_queue_limit: spec.message_queue_limit.max(1),
            startup_timeout_ms: spec.startup_timeout_ms.max(1),
            shutdown_timeout_ms: spec.shutdown_timeout_ms,
            restart,
            config: spec.config.into_iter().collect(),
            arguments: spec.arguments,
            environment: spec.environment.into_iter().collect(),
            grants: spec
                .grants
                .into_iter()
                .map(|grant| (grant.service, Rights { call: grant.call, send: grant.send }))
                .collect(),
            health_check: spec.health_check.map(|check| HealthCheck {
                function: check.function,
                interval: Duration::from_millis(check.interval_ms.max(1)),
                timeout: Duration::from_millis(check.timeout_ms.max(1)),
                failures_max: check.failures_max.max(1),
            }),
        })
    }
}
