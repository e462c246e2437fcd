//! Restart policies (SPEC S3).

use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::limits::check_range;

/// When a child that ended is started again. The words are OTP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartMode {
    /// Always.
    Permanent,
    /// After an abnormal end only.
    Transient,
    /// Never.
    Temporary,
}

impl RestartMode {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }
    }

    /// Reads the stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Permanent, Self::Transient, Self::Temporary].into_iter().find(|m| m.as_str() == name)
    }
}

/// When, how often and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// When.
    pub mode: RestartMode,
    /// Restarts within the window that are tolerated.
    pub max_restarts: u32,
    /// Length of the window.
    pub window_ms: u64,
    /// Delay before the second restart of a window; the first is immediate.
    pub backoff_initial_ms: u64,
    /// The longest delay.
    pub backoff_max_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            mode: RestartMode::Permanent,
            max_restarts: 5,
            window_ms: 10_000,
            backoff_initial_ms: 50,
            backoff_max_ms: 30_000,
        }
    }
}

impl RestartPolicy {
    /// Checks the bounds that `solo.v1.RestartPolicy` documents.
    ///
    /// # Errors
    /// Reason `INVALID_RESTART_POLICY` with the field.
    pub fn validate(&self) -> Result<(), Problem> {
        let check = |field, value, min, max| {
            check_range("INVALID_RESTART_POLICY", &format!("restart.{field}"), value, min, max)
        };
        check("max_restarts", u64::from(self.max_restarts), 0, 1_000)?;
        check("window_ms", self.window_ms, 1, 86_400_000)?;
        check("backoff_initial_ms", self.backoff_initial_ms, 1, 600_000)?;
        check("backoff_max_ms", self.backoff_max_ms, self.backoff_initial_ms, 3_600_000)
    }
}
