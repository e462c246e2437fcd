//! Flags that deployments and updates share: limits, restart policy, health check.
//!
//! A flag that is not given is not sent: the kernel's default holds, or what was before.

use clap::{Args, ValueEnum};
use solo_api::v1;

use super::values::{milliseconds, number, size};

/// Limits of each instance.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of each instance")]
pub(crate) struct LimitFlags {
    /// Memories, tables and waiting messages together, bytes or 64MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true,
        value_parser = size("limits.max_memory_bytes"))]
    max_memory: Option<u64>,
    /// Relative weight for CPU time [default: 1024]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u64>("limits.cpu_shares"))]
    cpu_shares: Option<u64>,
    /// CPU time at most, percent of one processor, 1 to 100; 0 for no quota [default: 0]
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true,
        value_parser = number::<u64>("limits.cpu_quota_percent"))]
    cpu_quota: Option<u64>,
    /// Messages that wait before it is alerted [default: 10000]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u64>("limits.message_queue_limit"))]
    queue: Option<u64>,
    /// Messages that may wait [default: twice --queue]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u64>("limits.message_queue_max"))]
    queue_max: Option<u64>,
    /// Time from start to ready, ms or 5s [default: 100ms]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = milliseconds("limits.startup_timeout_ms"))]
    startup_timeout: Option<u64>,
    /// Time to end gracefully, ms or 5s [default: 30s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = milliseconds("limits.shutdown_timeout_ms"))]
    shutdown_timeout: Option<u64>,
    /// Child processes, threads and started children [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u64>("limits.max_processes"))]
    max_processes: Option<u64>,
    /// What happens when an instance exceeds a limit [default: kill]
    #[arg(long, value_name = "ACTION")]
    on_limit: Option<LimitActionName>,
}

/// What happens when an instance exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LimitActionName {
    /// End it; the restart policy decides the rest
    Kill,
    /// Refuse or slow down what would exceed it
    Throttle,
    /// Report it and no more
    Warn,
}

impl LimitFlags {
    /// The message; none if no flag was given.
    pub(crate) fn message(&self) -> Option<v1::Limits> {
        let action = match self.on_limit {
            None => v1::LimitAction::Unspecified,
            Some(LimitActionName::Kill) => v1::LimitAction::Kill,
            Some(LimitActionName::Throttle) => v1::LimitAction::Throttle,
            Some(LimitActionName::Warn) => v1::LimitAction::Warn,
        };
        let limits = v1::Limits {
            max_processes: self.max_processes,
            max_memory_bytes: self.max_memory,
            cpu_shares: self.cpu_shares,
            message_queue_limit: self.queue,
            startup_timeout_ms: self.startup_timeout,
            shutdown_timeout_ms: self.shutdown_timeout,
            limit_exceeded_action: action as i32,
            cpu_quota_percent: self.cpu_quota,
            message_queue_max: self.queue_max,
        };
        (limits != v1::Limits::default()).then_some(limits)
    }
}

/// When an instance that ended is started again.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Restart policy")]
pub(crate) struct RestartFlags {
    /// When to restart an instance that ended [default: permanent; transient for a program]
    #[arg(long, value_name = "MODE")]
    restart: Option<RestartName>,
    /// Restarts within the window that are tolerated [default: 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u32>("restart.max_restarts"))]
    max_restarts: Option<u32>,
    /// Length of the window, ms or 10s [default: 10s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = milliseconds("restart.window_ms"))]
    restart_window: Option<u64>,
    /// Delay before the second restart of a window [default: 50ms]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = milliseconds("restart.backoff_initial_ms"))]
    backoff_initial: Option<u64>,
    /// The longest delay [default: 30s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = milliseconds("restart.backoff_max_ms"))]
    backoff_max: Option<u64>,
}

/// When to restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RestartName {
    /// Always
    Permanent,
    /// After an abnormal end only
    Transient,
    /// Never
    Temporary,
}

impl RestartFlags {
    /// The message; none if no flag was given.
    pub(crate) fn message(&self) -> Option<v1::RestartPolicy> {
        let mode = match self.restart {
            None => v1::RestartMode::Unspecified,
            Some(RestartName::Permanent) => v1::RestartMode::Permanent,
            Some(RestartName::Transient) => v1::RestartMode::Transient,
            Some(RestartName::Temporary) => v1::RestartMode::Temporary,
        };
        let policy = v1::RestartPolicy {
            mode: mode as i32,
            max_restarts: self.max_restarts,
            window_ms: self.restart_window,
            backoff_initial_ms: self.backoff_initial,
            backoff_max_ms: self.backoff_max,
        };
        (policy != v1::RestartPolicy::default()).then_some(policy)
    }
}

/// A question that is put to every instance at intervals.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health check")]
pub(crate) struct HealthFlags {
    /// Exported function to call at intervals; empty: `handle-call` with an empty payload
    #[arg(long, value_name = "FUNCTION")]
    health: Option<String>,
    /// Time between two checks [default: 10s]
    #[arg(long, value_name = "TIME", requires = "health", allow_hyphen_values = true,
        value_parser = milliseconds("health_check.interval_ms"))]
    health_interval: Option<u64>,
    /// Time that an answer may take [default: 1s]
    #[arg(long, value_name = "TIME", requires = "health", allow_hyphen_values = true,
        value_parser = milliseconds("health_check.timeout_ms"))]
    health_timeout: Option<u64>,
    /// Failures in a row that end the instance [default: 3]
    #[arg(long, value_name = "N", requires = "health", allow_negative_numbers = true,
        value_parser = number::<u32>("health_check.failures_max"))]
    health_failures: Option<u32>,
}

impl HealthFlags {
    /// The message; none if no check was asked for.
    pub(crate) fn message(&self) -> Option<v1::HealthCheck> {
        Some(v1::HealthCheck {
            function: self.health.clone()?,
            interval_ms: self.health_interval,
            timeout_ms: self.health_timeout,
            failures_max: self.health_failures,
        })
    }
}
