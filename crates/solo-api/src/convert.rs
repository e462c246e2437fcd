//! Domain types to protobuf and back.

use prost_types::Timestamp;
use solo_types::{
    Exit, ExitReason, Export, Grant, InstanceState, LimitAction, Limits, Parameter, Problem,
    ProblemKind, Right, Rights, ServiceId, ServiceKind, ServiceSpec, ServiceState, Tier,
};

use crate::{cell::v1 as cell, v1};

/// A point in time from Unix milliseconds.
#[must_use]
pub fn timestamp(unix_ms: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_ms % 1_000 * 1_000_000).unwrap_or(0),
    }
}

/// The state of a service on the wire.
#[must_use]
pub fn service_state_message(state: ServiceState) -> v1::ServiceState {
    match state {
        ServiceState::Starting => v1::ServiceState::Starting,
        ServiceState::Running => v1::ServiceState::Running,
        ServiceState::Degraded => v1::ServiceState::Degraded,
        ServiceState::Restarting => v1::ServiceState::Restarting,
        ServiceState::Stopping => v1::ServiceState::Stopping,
        ServiceState::Completed => v1::ServiceState::Completed,
        ServiceState::Failed => v1::ServiceState::Failed,
        ServiceState::Killed => v1::ServiceState::Killed,
    }
}

/// The state of a service from the wire; `None` for an unspecified or unknown one.
#[must_use]
pub fn service_state_from_message(state: i32) -> Option<ServiceState> {
    match v1::ServiceState::try_from(state).ok()? {
        v1::ServiceState::Unspecified => None,
        v1::ServiceState::Starting => Some(ServiceState::Starting),
        v1::ServiceState::Running => Some(ServiceState::Running),
        v1::ServiceState::Degraded => Some(ServiceState::Degraded),
        v1::ServiceState::Restarting => Some(ServiceState::Restarting),
        v1::ServiceState::Stopping => Some(ServiceState::Stopping),
        v1::ServiceState::Completed => Some(ServiceState::Completed),
        v1::ServiceState::Failed => Some(ServiceState::Failed),
        v1::ServiceState::Killed => Some(ServiceState::Killed),
    }
}

/// The state of an instance on the wire.
#[must_use]
pub fn instance_state_message(state: InstanceState) -> v1::ServiceState {
    match state {
        InstanceState::Starting => v1::ServiceState::Starting,
        InstanceState::Running => v1::ServiceState::Running,
        InstanceState::Restarting => v1::ServiceState::Restarting,
        InstanceState::Stopping => v1::ServiceState::Stopping,
        InstanceState::Completed => v1::ServiceState::Completed,
        InstanceState::Failed => v1::ServiceState::Failed,
    }
}

/// The kind of a service on the wire.
#[must_use]
pub fn kind_message(kind: ServiceKind) -> v1::ServiceKind {
    match kind {
        ServiceKind::Handler => v1::ServiceKind::Handler,
        ServiceKind::Typed => v1::ServiceKind::Typed,
        ServiceKind::Command => v1::ServiceKind::Command,
        ServiceKind::Core => v1::ServiceKind::Core,
        ServiceKind::Process => v1::ServiceKind::Process,
        ServiceKind::Source => v1::ServiceKind::Source,
    }
}

/// The kind that a compiler cell found; `None` for one that this build does not know.
#[must_use]
pub fn kind_from_cell(kind: i32) -> Option<ServiceKind> {
    match cell::ServiceKind::try_from(kind).ok()? {
        cell::ServiceKind::Unspecified => None,
        cell::ServiceKind::Handler => Some(ServiceKind::Handler),
        cell::ServiceKind::Typed => Some(ServiceKind::Typed),
        cell::ServiceKind::Command => Some(ServiceKind::Command),
        cell::ServiceKind::Core => Some(ServiceKind::Core),
        cell::ServiceKind::Process => Some(ServiceKind::Process),
        cell::ServiceKind::Source => Some(ServiceKind::Source),
    }
}

/// The tier on the wire.
#[must_use]
pub fn tier_message(tier: Tier) -> v1::Tier {
    match tier {
        Tier::User => v1::Tier::User,
        Tier::System => v1::Tier::System,
    }
}

/// Limits on the wire, every field set but for a quota that there is not.
#[must_use]
pub fn limits_message(limits: &Limits) -> v1::Limits {
    v1::Limits {
        max_processes: Some(limits.max_processes),
        max_memory_bytes: Some(limits.max_memory_bytes),
        cpu_shares: Some(limits.cpu_shares),
        message_queue_limit: Some(limits.message_queue_limit),
        startup_timeout_ms: Some(limits.startup_timeout_ms),
        shutdown_timeout_ms: Some(limits.shutdown_timeout_ms),
        limit_exceeded_action: limit_action_message(limits.limit_exceeded_action).into(),
        cpu_quota_percent: limits.cpu_quota_percent,
        message_queue_max: Some(limits.message_queue_bound()),
    }
}

/// What happens when a limit is exceeded, on the wire.
#[must_use]
pub fn limit_action_message(action: LimitAction) -> v1::LimitAction {
    match action {
        LimitAction::Kill => v1::LimitAction::Kill,
        LimitAction::Throttle => v1::LimitAction::Throttle,
        LimitAction::Warn => v1::LimitAction::Warn,
    }
}

/// A limit that an instance exceeded, for a client.
#[must_use]
pub fn violation_message(violation: &cell::Violation) -> v1::LimitViolation {
    let action = LimitAction::from_name(&violation.action);
    v1::LimitViolation {
        limit: violation.limit.clone(),
        action: action.map_or(v1::LimitAction::Unspecified, limit_action_message).into(),
        count: violation.count,
        last_message: violation.message.clone(),
    }
}

/// An exported function on the wire.
#[must_use]
pub fn export_message(export: &Export) -> v1::Export {
    v1::Export {
        name: export.name.clone(),
        signature: export.signature.clone(),
        parameters: export
            .parameters
            .iter()
            .map(|p| v1::Parameter { name: p.name.clone(), r#type: p.type_.clone() })
            .collect(),
        result: export.result.clone(),
    }
}

/// An exported function as a compiler cell told it.
#[must_use]
pub fn export_from_cell(export: cell::Export) -> Export {
    Export {
        name: export.name,
        signature: export.signature,
        parameters: export
            .parameters
            .into_iter()
            .map(|p| Parameter { name: p.name, type_: p.r#type })
            .collect(),
        result: export.result,
    }
}

/// Why an instance ended, for a client.
#[must_use]
pub fn exit_message(instance: &str, exit: &Exit) -> v1::Exit {
    v1::Exit {
        reason: exit.reason.as_str().to_owned(),
        message: exit.message.clone(),
        backtrace: exit.backtrace.clone(),
        at: Some(timestamp(exit.at_unix_ms)),
        instance: instance.to_owned(),
        permanent: exit.permanent,
    }
}

/// Why an instance ended, as a cell told it. A reason that this build does not know counts as a trap.
#[must_use]
pub fn cell_exit(exit: cell::Exit) -> Exit {
    Exit {
        reason: ExitReason::from_name(&exit.reason).unwrap_or(ExitReason::Trap),
        message: exit.message,
        backtrace: exit.backtrace,
        at_unix_ms: exit.at_unix_ms,
        permanent: exit.permanent,
    }
}

/// Rights from the wire.
///
/// # Errors
/// Reason `INVALID_RIGHT` when there is none, or one that does not exist. `field` is blamed.
pub fn rights_from_messages(rights: &[i32], field: &str) -> Result<Rights, Problem> {
    let wrong = |rule: &str| {
        Problem::invalid("INVALID_RIGHT", field, rule)
            .remedy("use read, call, send, kill, execute and, in a token, grant")
    };
    if rights.is_empty() {
        return Err(wrong("at least one right is needed"));
    }
    rights
        .iter()
        .map(|right| match v1::Right::try_from(*right) {
            Ok(v1::Right::Read) => Ok(Right::Read),
            Ok(v1::Right::Call) => Ok(Right::Call),
            Ok(v1::Right::Send) => Ok(Right::Send),
            Ok(v1::Right::Kill) => Ok(Right::Kill),
            Ok(v1::Right::Execute) => Ok(Right::Execute),
            Ok(v1::Right::Grant) => Ok(Right::Grant),
            Ok(v1::Right::Unspecified) | Err(_) => Err(wrong("there is no such right")),
        })
        .collect()
}

/// Rights on the wire.
#[must_use]
pub fn rights_messages(rights: &Rights) -> Vec<i32> {
    let message = |right: &Right| match right {
        Right::Read => v1::Right::Read,
        Right::Call => v1::Right::Call,
        Right::Send => v1::Right::Send,
        Right::Kill => v1::Right::Kill,
        Right::Execute => v1::Right::Execute,
        // No request of this version of the API can ask for these, so that nothing holds them.
        Right::Write | Right::Deploy | Right::Update | Right::Connect => v1::Right::Unspecified,
        Right::Grant => v1::Right::Grant,
    };
    rights.iter().map(|right| message(right).into()).collect()
}

/// What a service may do to others, for its cell.
#[must_use]
pub fn cell_grants(grants: &[Grant]) -> Vec<cell::Grant> {
    let message = |grant: &Grant| cell::Grant {
        service: grant.service.to_string(),
        call: grant.rights.contains(&Right::Call),
        send: grant.rights.contains(&Right::Send),
        execute: grant.rights.contains(&Right::Execute),
    };
    grants.iter().map(message).collect()
}

/// What a cell must know of one revision of a service.
#[must_use]
pub fn cell_spec(
    service: ServiceId,
    revision: u64,
    spec: &ServiceSpec,
    artifact_path: String,
) -> cell::ServiceSpec {
    cell::ServiceSpec {
        service: service.to_string(),
        name: spec.name.to_string(),
        revision,
        kind: match spec.kind {
            ServiceKind::Handler => cell::ServiceKind::Handler,
            ServiceKind::Typed => cell::ServiceKind::Typed,
            ServiceKind::Command => cell::ServiceKind::Command,
            ServiceKind::Core => cell::ServiceKind::Core,
            ServiceKind::Process => cell::ServiceKind::Process,
            ServiceKind::Source => cell::ServiceKind::Source,
        }
        .into(),
        artifact_path,
        max_processes: spec.limits.max_processes,
        max_memory_bytes: spec.limits.max_memory_bytes,
        cpu_shares: spec.limits.cpu_shares,
        message_queue_limit: spec.limits.message_queue_limit,
        startup_timeout_ms: spec.limits.startup_timeout_ms,
        shutdown_timeout_ms: spec.limits.shutdown_timeout_ms,
        restart_mode: spec.restart.mode.as_str().to_owned(),
        max_restarts: spec.restart.max_restarts,
        window_ms: spec.restart.window_ms,
        backoff_initial_ms: spec.restart.backoff_initial_ms,
        backoff_max_ms: spec.restart.backoff_max_ms,
        config: spec.config.clone().into_iter().collect(),
        arguments: spec.arguments.clone(),
        environment: spec.environment.clone().into_iter().collect(),
        grants: cell_grants(&spec.grants),
        health_check: spec.health_check.as_ref().map(|check| cell::HealthCheck {
            function: check.function.clone(),
            interval_ms: check.interval_ms,
            timeout_ms: check.timeout_ms,
            failures_max: check.failures_max,
        }),
        core_module: spec.core_module,
        tier: spec.tier.as_str().to_owned(),
        limit_action: spec.limits.limit_exceeded_action.as_str().to_owned(),
        cpu_quota_percent: spec.limits.cpu_quota_percent.unwrap_or(0),
        message_queue_max: spec.limits.message_queue_bound(),
        // Only who starts it opens them.
        secrets: Vec::new(),
        program: spec.program.as_ref().map(crate::program::cell_program),
    }
}

/// What a cell's failure means to a client that asked for `service`.
#[must_use]
pub fn cell_failure_problem(service: &str, failure: cell::Failure) -> Problem {
    let (kind, remedy) = match failure.reason.as_str() {
        "NO_SUCH_SERVICE" => {
            (ProblemKind::NotFound, "`solo list` shows the services that are there")
        }
        "NO_SUCH_FUNCTION" => (ProblemKind::NotFound, "`solo status` shows the exported functions"),
        "BAD_ARGUMENTS" => {
            (ProblemKind::InvalidArgument, "send a JSON array that fits the expected signature")
        }
        "OVERLOADED" => (
            ProblemKind::ResourceExhausted,
            "send slower, add replicas, or raise message_queue_max",
        ),
        "TIMEOUT" => (ProblemKind::DeadlineExceeded, "allow more time, or look why it is slow"),
        "CRASHED" => (
            ProblemKind::Aborted,
            "`solo status` shows the exit; the service restarts by its policy",
        ),
        "REFUSED" => {
            (ProblemKind::FailedPrecondition, "the service's own answer says what it wants")
        }
        "EXCEPTION" => (
            ProblemKind::FailedPrecondition,
            "mend the code at the place that is named, and update the service; it goes on meanwhile",
        ),
        "LOAD_FAILED" => (ProblemKind::InvalidArgument, "mend the code at the place that is named"),
        "LANGUAGE_MISSING" => (
            ProblemKind::FailedPrecondition,
            "build the runtime with `make runtimes`, or send WebAssembly or a program instead",
        ),
        "REPLACED" => (ProblemKind::Unavailable, "try again in a moment"),
        "UNAVAILABLE" | "COMPLETED" => (
            ProblemKind::Unavailable,
            "`solo status` shows why; deploy or update it to start it again",
        ),
        "DENIED" => (ProblemKind::PermissionDenied, "deploy the service with this capability"),
        "DEADLOCK" => (ProblemKind::FailedPrecondition, "break the cycle, for example with a send"),
        "CELL_FULL" => (
            ProblemKind::ResourceExhausted,
            "end some services, use fewer replicas, or make room in the cells: `solo doctor` tells \
             how many instances vm.max_map_count allows, `solo up --raise-map-count` raises it",
        ),
        "UNKNOWN_IMPORT" => (
            ProblemKind::InvalidArgument,
            "build the component against the imports that Solo provides (docs/guests.md)",
        ),
        "NOT_EXECUTABLE" => (
            ProblemKind::InvalidArgument,
            "send a binary for this machine, or a script whose first line names an interpreter that \
             programs are shown (docs/programs.md)",
        ),
        "NOT_CALLABLE" => {
            (ProblemKind::FailedPrecondition, "a program without an interface takes no messages")
        }
        "INIT_FAILED" | "STARTUP_TIMEOUT" | "LIMIT_EXCEEDED" => (
            ProblemKind::FailedPrecondition,
            "mend the code, or raise the limit that it names (startup_timeout_ms, max_memory_bytes)",
        ),
        _ => {
            (ProblemKind::Internal, "`solo doctor` checks the machine; the kernel's log says more")
        }
    };
    let place = failure.place.unwrap_or_default();
    let number = |number: u32| if number == 0 { String::new() } else { number.to_string() };
    Problem::new(kind, &failure.reason, failure.message)
        .remedy(remedy)
        .detail("service", service)
        .detail("expected", failure.expected)
        .detail("file", place.file)
        .detail("line", number(place.line))
        .detail("column", number(place.column))
        .detail("excerpt", place.excerpt)
        .detail("backtrace", failure.backtrace.join("\n"))
}
