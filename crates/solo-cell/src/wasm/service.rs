//! One revision of a service as this cell knows it.
//!
//! Checks what the kernel sent as far as the cell depends on it; the bounds of requests are the
//! kernel's business.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solo_actor::MailboxBounds;
use solo_actor::core::{Quota, QuotaMode, Tier};
use solo_api::cell::v1 as wire;
use solo_types::{
    Interface, LimitAction, Program, RestartMode, RestartPolicy, ServiceId, ServiceKind,
};

use super::grants::{Grants, rights_by_name};
use super::secrets::Secrets;
use super::slot::MEMORY_CEILING_BYTES;

/// Bytes that may wait in one mailbox: eight of the largest messages. The limit of messages alone
/// would let 10,000 of 4 MiB take 40 GiB.
const MAILBOX_BYTES_MAX: usize = 32 << 20;

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
#[derive(Debug, Clone)]
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
    /// Which services it goes ahead of.
    pub(crate) tier: Tier,
    /// Children of an instance, and theirs.
    pub(crate) max_processes: u64,
    /// All memories, tables and host-side queues of an instance.
    pub(crate) max_memory_bytes: u64,
    /// Relative share of processor time.
    pub(crate) cpu_shares: u64,
    /// Of one processor; 0: no quota.
    pub(crate) cpu_quota_percent: u8,
    /// Messages that may wait without an alert.
    pub(crate) message_queue_limit: u64,
    /// Messages that may wait.
    pub(crate) message_queue_max: u64,
    /// What happens when a limit is exceeded.
    pub(crate) limit_action: LimitAction,
    /// From start to ready.
    pub(crate) startup_timeout_ms: u64,
    /// From the wish to stop to force.
    pub(crate) shutdown_timeout_ms: u64,
    /// When an instance ended.
    pub(crate) restart: RestartPolicy,
    /// For `wasi:config/store`.
    pub(crate) config: Vec<(String, String)>,
    /// For `solo:service/secrets`. Children of its code share them.
    pub(crate) secrets: Arc<Secrets>,
    /// Of a program.
    pub(crate) arguments: Vec<String>,
    /// Of a program.
    pub(crate) environment: Vec<(String, String)>,
    /// What it may do to others.
    pub(crate) grants: Grants,
    /// Of an external program.
    pub(crate) program: Option<Program>,
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
        let tier = match spec.tier.as_str() {
            "" | "user" => Tier::User,
            "system" => Tier::System,
            other => return Err(wrong("tier", &other)),
        };
        let limit_action = match spec.limit_action.as_str() {
            "" => LimitAction::Kill,
            name => LimitAction::from_name(name).ok_or_else(|| wrong("limit_action", &name))?,
        };
        let cpu_quota_percent = u8::try_from(spec.cpu_quota_percent)
            .ok()
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| wrong("cpu_quota_percent", &spec.cpu_quota_percent))?;
        let message_queue_limit = spec.message_queue_limit.max(1);
        let message_queue_max = match spec.message_queue_max {
            0 => message_queue_limit.saturating_mul(2),
            max if max < message_queue_limit => return Err(wrong("message_queue_max", &max)),
            max => max,
        };
        let program = match spec.program {
            None => None,
            Some(program) => Some(
                solo_api::program_from_cell(program).ok_or_else(|| wrong("program", &"unknown"))?,
            ),
        };
        if (kind == ServiceKind::Process) != program.is_some() {
            return Err(wrong("program", &spec.kind));
        }
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
            tier,
            max_processes: spec.max_processes,
            max_memory_bytes: spec.max_memory_bytes,
            cpu_shares: spec.cpu_shares,
            cpu_quota_percent,
            message_queue_limit,
            message_queue_max,
            limit_action,
            startup_timeout_ms: spec.startup_timeout_ms.max(1),
            shutdown_timeout_ms: spec.shutdown_timeout_ms,
            restart,
            config: spec.config.into_iter().collect(),
            secrets: Arc::new(Secrets::new(spec.secrets)),
            arguments: spec.arguments,
            environment: spec.environment.into_iter().collect(),
            grants: Grants::new(rights_by_name(spec.grants)),
            program,
            health_check: spec.health_check.map(|check| HealthCheck {
                function: check.function,
                interval: Duration::from_millis(check.interval_ms.max(1)),
                timeout: Duration::from_millis(check.timeout_ms.max(1)),
                failures_max: check.failures_max.max(1),
            }),
        })
    }

    /// Whether its instances take messages.
    pub(crate) fn takes_messages(&self) -> bool {
        let interface = self.program.as_ref().map(|program| program.interface);
        self.kind != ServiceKind::Command && interface != Some(Interface::None)
    }

    /// Bounds of the mailbox of an instance. Where limits throttle, the threshold is the bound.
    pub(crate) fn mailbox_bounds(&self) -> MailboxBounds {
        let messages_max = match self.limit_action {
            LimitAction::Throttle => self.message_queue_limit,
            LimitAction::Kill | LimitAction::Warn => self.message_queue_max,
        };
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        MailboxBounds {
            alert: number(self.message_queue_limit),
            messages_max: number(messages_max),
            bytes_max: MAILBOX_BYTES_MAX,
        }
    }

    /// Memory that an instance can have at most.
    pub(crate) fn memory_ceiling_bytes(&self) -> u64 {
        match self.limit_action {
            LimitAction::Warn => MEMORY_CEILING_BYTES,
            LimitAction::Kill | LimitAction::Throttle => self.max_memory_bytes,
        }
    }

    /// The hard quota of processor time.
    pub(crate) fn quota(&self) -> Option<Quota> {
        let mode = match self.limit_action {
            LimitAction::Throttle => QuotaMode::Throttle,
            LimitAction::Kill | LimitAction::Warn => QuotaMode::Watch,
        };
        (self.cpu_quota_percent > 0).then_some(Quota { percent: self.cpu_quota_percent, mode })
    }
}
