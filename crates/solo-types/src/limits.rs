//! Limits of an instance (SPEC section 5) and the bounds of everything that a request states.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// Bounds of requests, each with its reason.
pub mod bounds {
    /// Instances of one service: what one cell can hold with room for others.
    pub const REPLICAS_MAX: u32 = 1_000;
    /// Code inside a Deploy or Update: one gRPC message that the kernel holds in memory.
    pub const INLINE_CODE_BYTES_MAX: usize = 16 << 20;
    /// An artifact: the largest components of known toolchains are about 40 MiB.
    pub const ARTIFACT_BYTES_MAX: u64 = 128 << 20;
    /// Chunk of an upload.
    pub const CHUNK_BYTES_MAX: usize = 4 << 20;
    /// Labels of a service.
    pub const LABELS_MAX: usize = 64;
    /// Key of a label: a DNS label.
    pub const LABEL_KEY_BYTES_MAX: usize = 63;
    /// Value of a label.
    pub const LABEL_VALUE_BYTES_MAX: usize = 255;
    /// Entries of a configuration.
    pub const CONFIG_ENTRIES_MAX: usize = 256;
    /// Key of a configuration entry.
    pub const CONFIG_KEY_BYTES_MAX: usize = 128;
    /// Value of a configuration entry.
    pub const CONFIG_VALUE_BYTES_MAX: usize = 64 << 10;
    /// Arguments, or environment entries, of a program.
    pub const ARGUMENTS_MAX: usize = 256;
    /// All arguments, or all environment entries, together.
    pub const ARGUMENTS_BYTES_MAX: usize = 64 << 10;
    /// Capabilities of a service.
    pub const CAPABILITIES_MAX: usize = 64;
    /// The value of a secret: room for a bundle of certificates.
    pub const SECRET_BYTES_MAX: usize = 64 << 10;
    /// Secrets of one tenant: some for each of its services, and a list of all is one message.
    pub const SECRETS_PER_TENANT_MAX: usize = 1_000;
    /// Tenants of one node: each has a process that hosts its services, of some ten MiB.
    pub const TENANTS_MAX: usize = 200;
    /// Secrets that one service is given: 2 MiB that travel with each start of it.
    pub const SECRETS_PER_SERVICE_MAX: usize = 32;
    /// Volumes and devices of one program: each is a mount of its sandbox.
    pub const MOUNTS_MAX: usize = 16;
    /// An idempotency key.
    pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
    /// Payload or JSON arguments of one message, and its answer.
    pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
    /// Timeout of a call.
    pub const CALL_TIMEOUT_MS_MAX: u64 = 3_600_000;
    /// Timeout of a call that states none.
    pub const CALL_TIMEOUT_MS_DEFAULT: u64 = 30_000;
    /// Shutdown of the whole node.
    pub const SHUTDOWN_TIMEOUT_MS_MAX: u64 = 600_000;
    /// A page of a list.
    pub const PAGE_SIZE_MAX: u32 = 1_000;
    /// Life of a token: a year.
    pub const TOKEN_TTL_SECONDS_MAX: u64 = 31_536_000;
}

/// What happens when an instance exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitAction {
    /// The instance ends.
    Kill,
    /// What would exceed it is refused or slowed down; the instance goes on.
    Throttle,
    /// It is reported; only a ceiling that protects the others still holds.
    Warn,
}

impl LimitAction {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Throttle => "throttle",
            Self::Warn => "warn",
        }
    }

    /// Reads the stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "kill" => Some(Self::Kill),
            "throttle" => Some(Self::Throttle),
            "warn" => Some(Self::Warn),
            _ => None,
        }
    }
}

/// Limits of each instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Child processes, threads, spawned instances.
    pub max_processes: u64,
    /// All memories, tables and waiting messages together.
    pub max_memory_bytes: u64,
    /// Relative weight for CPU time.
    pub cpu_shares: u64,
    /// Messages that wait before it is alerted.
    pub message_queue_limit: u64,
    /// From start to ready.
    pub startup_timeout_ms: u64,
    /// From the wish to stop to force.
    pub shutdown_timeout_ms: u64,
    /// What happens then.
    pub limit_exceeded_action: LimitAction,
    /// CPU time at most, in percent of one processor; `None`: no quota. Older specifications have none.
    #[serde(default)]
    pub cpu_quota_percent: Option<u64>,
    /// Hard bound of messages that wait; `None`: twice `message_queue_limit`, see
    /// [`Limits::message_queue_bound`].
    #[serde(default)]
    pub message_queue_max: Option<u64>,
}

/// The names of the limits that an instance can exceed, as cells report them.
pub const LIMIT_NAMES: [&str; 8] = [
    "max_processes",
    "max_memory_bytes",
    "cpu_quota_percent",
    "message_queue_limit",
    "message_queue_max",
    "startup_timeout_ms",
    "shutdown_timeout_ms",
    "volume_bytes",
];

/// Largest [`Limits::message_queue_limit`].
const MESSAGE_QUEUE_LIMIT_MAX: u64 = 1_000_000;

/// The hard bound of a mailbox is so many times the alert threshold, unless it is stated.
const MESSAGE_QUEUE_BOUND_FACTOR: u64 = 2;

/// Largest [`Limits::message_queue_max`]: what the default is for the largest threshold.
const MESSAGE_QUEUE_BOUND_MAX: u64 = MESSAGE_QUEUE_BOUND_FACTOR * MESSAGE_QUEUE_LIMIT_MAX;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_processes: 100,
            max_memory_bytes: 256 << 20,
            cpu_shares: 1_024,
            message_queue_limit: 10_000,
            startup_timeout_ms: 100,
            shutdown_timeout_ms: 30_000,
            limit_exceeded_action: LimitAction::Kill,
            cpu_quota_percent: None,
            message_queue_max: None,
        }
    }
}

impl Limits {
    /// Checks the bounds that `solo.v1.Limits` documents.
    ///
    /// # Errors
    /// Reason `INVALID_LIMIT` with the field and its bounds.
    pub fn validate(&self) -> Result<(), Problem> {
        let check = |field, value, min, max| {
            check_range("INVALID_LIMIT", &format!("limits.{field}"), value, min, max)
        };
        check("max_processes", self.max_processes, 1, 10_000)?;
        check("max_memory_bytes", self.max_memory_bytes, 64 << 10, 4 << 30)?;
        check("cpu_shares", self.cpu_shares, 2, 262_144)?;
        check("message_queue_limit", self.message_queue_limit, 1, MESSAGE_QUEUE_LIMIT_MAX)?;
        check("startup_timeout_ms", self.startup_timeout_ms, 1, 600_000)?;
        check("shutdown_timeout_ms", self.shutdown_timeout_ms, 0, 600_000)?;
        if let Some(percent) = self.cpu_quota_percent {
            check("cpu_quota_percent", percent, 1, 100)?;
        }
        let (least, most) = (self.message_queue_limit, MESSAGE_QUEUE_BOUND_MAX);
        check("message_queue_max", self.message_queue_bound(), least, most)
    }

    /// Messages that may wait in a mailbox; one more is refused.
    #[must_use]
    pub fn message_queue_bound(&self) -> u64 {
        let default = self.message_queue_limit.saturating_mul(MESSAGE_QUEUE_BOUND_FACTOR);
        self.message_queue_max.unwrap_or(default)
    }
}

/// Checks `min <= value <= max`.
pub(crate) fn check_range(
    reason: &str,
    field: &str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<(), Problem> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Problem::invalid(reason, field, &format!("{field} is {value}, not within {min} to {max}"))
        .remedy(format!("choose a value from {min} to {max}, or leave it out for the default")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal() {
        assert_eq!(Limits::default().validate(), Ok(()));
    }

    #[test]
    fn absurd_limits_name_their_field() {
        // A negative number of a client arrives as a huge one.
        let negative = 5_u64.wrapping_neg();
        let limits = Limits { max_memory_bytes: negative, ..Limits::default() };
        let problem = limits.validate().expect_err("must be refused");
        assert_eq!(problem.reason, "INVALID_LIMIT");
        assert_eq!(problem.fields[0].field, "limits.max_memory_bytes");
        assert!(Limits { startup_timeout_ms: 0, ..Limits::default() }.validate().is_err());
        assert!(Limits { cpu_shares: 1, ..Limits::default() }.validate().is_err());
    }

    fn refused_field(limits: &Limits) -> Option<String> {
        limits.validate().err().map(|problem| problem.fields[0].field.clone())
    }

    /// SPEC section 5: `message_queue_limit` alerts, the hard bound is configurable.
    #[test]
    fn the_bound_of_a_mailbox_is_at_or_above_its_alert() {
        let limits = |limit, max| Limits {
            message_queue_limit: limit,
            message_queue_max: max,
            ..Limits::default()
        };
        assert_eq!(limits(10, None).message_queue_bound(), 20);
        assert_eq!(limits(10, Some(10)).message_queue_bound(), 10);
        for legal in [limits(10, Some(10)), limits(1_000_000, None), limits(1, Some(2_000_000))] {
            assert_eq!(legal.validate(), Ok(()), "{legal:?}");
        }
        for wrong in [limits(10, Some(9)), limits(10, Some(0)), limits(10, Some(2_000_001))] {
            assert_eq!(refused_field(&wrong).as_deref(), Some("limits.message_queue_max"));
        }
        // The alert itself is to blame, not the bound that follows from it.
        let huge = refused_field(&limits(u64::MAX, None));
        assert_eq!(huge.as_deref(), Some("limits.message_queue_limit"));
    }

    #[test]
    fn a_quota_is_a_part_of_one_processor() {
        let quota = |percent| Limits { cpu_quota_percent: Some(percent), ..Limits::default() };
        assert_eq!((refused_field(&quota(1)), refused_field(&quota(100))), (None, None));
        for percent in [0, 101] {
            let field = refused_field(&quota(percent));
            assert_eq!(field.as_deref(), Some("limits.cpu_quota_percent"));
        }
    }

    /// R1: what an older Solo wrote down is understood.
    #[test]
    fn limits_of_older_versions_are_read() {
        let old = r#"{"max_processes":100,"max_memory_bytes":268435456,"cpu_shares":1024,
            "message_queue_limit":77,"startup_timeout_ms":100,"shutdown_timeout_ms":30000,
            "limit_exceeded_action":"kill"}"#;
        let read: Limits = serde_json::from_str(old).expect("readable");
        assert_eq!(read, Limits { message_queue_limit: 77, ..Limits::default() });
    }
}
