//! Services and their parts.

use std::collections::BTreeMap;

use serde::Serialize;
use solo_api::v1;

use super::{MountJson, words};

/// One service as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusJson {
    /// Its name.
    pub name: String,
    /// `NODE-SERVICE`.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// `running`, `degraded`, ...
    pub state: String,
    /// Counts up with each update.
    pub revision: u64,
    /// `handler`, `typed`, `command` or `core`.
    pub kind: String,
    /// Digest of its code.
    pub digest: String,
    /// Instances that should serve.
    pub replicas: u32,
    /// `user` or `system`.
    pub tier: String,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Over all instances.
    pub restarts: u64,
    /// As they are now.
    pub instances: Vec<InstanceJson>,
    /// What it offers.
    pub exports: Vec<ExportJson>,
    /// The latest one over all instances.
    pub last_exit: Option<ExitJson>,
    /// With defaults filled in.
    pub limits: Option<LimitsJson>,
    /// With defaults filled in.
    pub restart: Option<RestartJson>,
    /// First deployment.
    pub created_at: Option<String>,
    /// Latest deployment or update.
    pub updated_at: Option<String>,
    /// What it was granted.
    pub capabilities: Vec<CapabilityJson>,
    /// Of a failed service: its last exits, oldest first.
    pub exits: Vec<ExitJson>,
    /// Of a failed service: its last log lines, oldest first.
    pub log_tail: Vec<String>,
    /// Secrets that it is given, by reference.
    pub secrets: Vec<SecretReferenceJson>,
    /// Volumes and devices that it is given.
    pub mounts: Vec<MountJson>,
}

/// A secret that a service is given. There is no value in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretReferenceJson {
    /// What the service asks for.
    pub key: String,
    /// Name of the secret.
    pub secret: String,
}

/// One instance as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceJson {
    /// `NODE-SERVICE-NUMBER`.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The revision that it runs.
    pub revision: u64,
    /// Memories and tables.
    pub memory_bytes: u64,
    /// Executing, over all restarts.
    pub cpu_us: u64,
    /// Messages that wait.
    pub mailbox_depth: u64,
    /// Starts after the first one.
    pub restarts: u64,
    /// Since the last start; 0 when it does not run.
    pub uptime_ms: u64,
    /// Calls and sends that it finished.
    pub handled: u64,
    /// Of these, how many failed.
    pub errors: u64,
    /// Cell that hosts it.
    pub cell: String,
    /// Why it ended last.
    pub last_exit: Option<ExitJson>,
    /// Limits that it exceeded.
    pub violations: Vec<ViolationJson>,
    /// Memory of messages that wait.
    pub mailbox_bytes: u64,
    /// Time that its quota of CPU time kept it from running.
    pub throttled_us: u64,
}

/// One limit that an instance exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViolationJson {
    /// Its name.
    pub limit: String,
    /// `kill`, `throttle` or `warn`.
    pub action: String,
    /// How often.
    pub count: u64,
    /// The last time, in one sentence.
    pub last_message: String,
}

/// Why an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitJson {
    /// `trap`, `limit`, ...
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// Innermost frame first.
    pub backtrace: Vec<String>,
    /// When.
    pub at: Option<String>,
    /// Which instance.
    pub instance: String,
    /// By the service's own word a restart does not help.
    pub permanent: bool,
}

/// One exported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportJson {
    /// Full name.
    pub name: String,
    /// In WIT syntax.
    pub signature: String,
    /// In order.
    pub parameters: Vec<ParameterJson>,
    /// WIT type; empty: none.
    pub result: String,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterJson {
    /// Its name.
    pub name: String,
    /// WIT type.
    #[serde(rename = "type")]
    pub type_: String,
}

/// Limits of each instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsJson {
    /// Child processes, threads and spawned instances.
    pub max_processes: Option<u64>,
    /// All memories, tables and waiting messages together.
    pub max_memory_bytes: Option<u64>,
    /// Relative weight for CPU time.
    pub cpu_shares: Option<u64>,
    /// Messages that wait before it is alerted.
    pub message_queue_limit: Option<u64>,
    /// From start to ready.
    pub startup_timeout_ms: Option<u64>,
    /// From the wish to stop to force.
    pub shutdown_timeout_ms: Option<u64>,
    /// `kill`, `throttle` or `warn`.
    pub limit_exceeded_action: String,
    /// CPU time at most, of one processor; none: no quota.
    pub cpu_quota_percent: Option<u64>,
    /// Messages that may wait.
    pub message_queue_max: Option<u64>,
}

/// When, how often and how soon an instance is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestartJson {
    /// `permanent`, `transient` or `temporary`.
    pub mode: String,
    /// Restarts within the window that are tolerated.
    pub max_restarts: Option<u32>,
    /// Length of the window.
    pub window_ms: Option<u64>,
    /// Delay before the second restart of a window.
    pub backoff_initial_ms: Option<u64>,
    /// The longest delay.
    pub backoff_max_ms: Option<u64>,
}

/// What a service was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilityJson {
    /// `service:NAME`.
    pub object: String,
    /// `call`, `send`, `execute`.
    pub rights: Vec<String>,
}

/// A page of services, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListJson {
    /// By name, ascending.
    pub services: Vec<SummaryJson>,
}

/// One service in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryJson {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Its revision.
    pub revision: u64,
    /// What its code is.
    pub kind: String,
    /// Instances that should serve.
    pub replicas: u32,
    /// Instances that do.
    pub ready: u32,
    /// Over all instances.
    pub restarts: u64,
    /// Over all instances.
    pub memory_bytes: u64,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Whose it is.
    pub tenant: String,
    /// `user` or `system`.
    pub tier: String,
    /// First deployment.
    pub created_at: Option<String>,
}

impl From<v1::StatusResponse> for StatusJson {
    fn from(status: v1::StatusResponse) -> Self {
        Self {
            name: status.name,
            id: status.id,
            tenant: status.tenant,
            state: words::state(status.state),
            revision: status.revision,
            kind: words::kind(status.kind),
            digest: status.digest,
            replicas: status.replicas,
            tier: words::tier(status.tier),
            labels: status.labels.into_iter().collect(),
            restarts: status.restarts,
            instances: status.instances.into_iter().map(Into::into).collect(),
            exports: status.exports.into_iter().map(Into::into).collect(),
            last_exit: status.last_exit.map(Into::into),
            limits: status.limits.map(Into::into),
            restart: status.restart.map(Into::into),
            created_at: words::time(status.created_at.as_ref()),
            updated_at: words::time(status.updated_at.as_ref()),
            capabilities: status.capabilities.into_iter().map(Into::into).collect(),
            exits: status.exits.into_iter().map(Into::into).collect(),
            log_tail: status.log_tail,
            secrets: status.secrets.into_iter().map(Into::into).collect(),
            mounts: status.mounts.into_iter().filter_map(MountJson::read).collect(),
        }
    }
}

impl From<v1::SecretReference> for SecretReferenceJson {
    fn from(reference: v1::SecretReference) -> Self {
        Self { key: reference.key, secret: reference.secret }
    }
}

impl From<v1::InstanceStatus> for InstanceJson {
    fn from(instance: v1::InstanceStatus) -> Self {
        Self {
            id: instance.id,
            state: words::state(instance.state),
            revision: instance.revision,
            memory_bytes: instance.memory_bytes,
            cpu_us: instance.cpu_us,
            mailbox_depth: instance.mailbox_depth,
            restarts: instance.restarts,
            uptime_ms: instance.uptime_ms,
            handled: instance.handled,
            errors: instance.errors,
            cell: instance.cell,
            last_exit: instance.last_exit.map(Into::into),
            violations: instance.violations.into_iter().map(Into::into).collect(),
            mailbox_bytes: instance.mailbox_bytes,
            throttled_us: instance.throttled_us,
        }
    }
}

impl From<v1::LimitViolation> for ViolationJson {
    fn from(violation: v1::LimitViolation) -> Self {
        Self {
            limit: violation.limit,
            action: words::limit_action(violation.action),
            count: violation.count,
            last_message: violation.last_message,
        }
    }
}

impl From<v1::Exit> for ExitJson {
    fn from(exit: v1::Exit) -> Self {
        Self {
            reason: exit.reason,
            message: exit.message,
            backtrace: exit.backtrace,
            at: words::time(exit.at.as_ref()),
            instance: exit.instance,
            permanent: exit.permanent,
        }
    }
}

impl From<v1::Export> for ExportJson {
    fn from(export: v1::Export) -> Self {
        let parameter = |parameter: v1::Parameter| ParameterJson {
            name: parameter.name,
            type_: parameter.r#type,
        };
        Self {
            name: export.name,
            signature: export.signature,
            parameters: export.parameters.into_iter().map(parameter).collect(),
            result: export.result,
        }
    }
}

impl From<v1::Limits> for LimitsJson {
    fn from(limits: v1::Limits) -> Self {
        Self {
            max_processes: limits.max_processes,
            max_memory_bytes: limits.max_memory_bytes,
            cpu_shares: limits.cpu_shares,
            message_queue_limit: limits.message_queue_limit,
            startup_timeout_ms: limits.startup_timeout_ms,
            shutdown_timeout_ms: limits.shutdown_timeout_ms,
            limit_exceeded_action: words::limit_action(limits.limit_exceeded_action),
            cpu_quota_percent: limits.cpu_quota_percent,
            message_queue_max: limits.message_queue_max,
        }
    }
}

impl From<v1::RestartPolicy> for RestartJson {
    fn from(policy: v1::RestartPolicy) -> Self {
        Self {
            mode: words::restart_mode(policy.mode),
            max_restarts: policy.max_restarts,
            window_ms: policy.window_ms,
            backoff_initial_ms: policy.backoff_initial_ms,
            backoff_max_ms: policy.backoff_max_ms,
        }
    }
}

impl From<v1::CapabilityRequest> for CapabilityJson {
    fn from(capability: v1::CapabilityRequest) -> Self {
        Self {
            object: capability.object,
            rights: capability.rights.into_iter().map(words::right).collect(),
        }
    }
}

impl From<v1::ServiceSummary> for SummaryJson {
    fn from(summary: v1::ServiceSummary) -> Self {
        Self {
            name: summary.name,
            state: words::state(summary.state),
            revision: summary.revision,
            kind: words::kind(summary.kind),
            replicas: summary.replicas,
            ready: summary.ready,
            restarts: summary.restarts,
            memory_bytes: summary.memory_bytes,
            labels: summary.labels.into_iter().collect(),
            tenant: summary.tenant,
            tier: words::tier(summary.tier),
            created_at: words::time(summary.created_at.as_ref()),
        }
    }
}
