//! States of services and instances, and why instances end.

use serde::{Deserialize, Serialize};

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Between request and readiness.
    Starting,
    /// Ready.
    Running,
    /// Ended, waits for its next start.
    Restarting,
    /// Ends gracefully.
    Stopping,
    /// Ended normally, for good.
    Completed,
    /// Gave up.
    Failed,
}

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Between request and readiness.
    Starting,
    /// All replicas are ready.
    Running,
    /// Some are.
    Degraded,
    /// None is, but they come back.
    Restarting,
    /// Ends gracefully.
    Stopping,
    /// All ended normally.
    Completed,
    /// None is, and none comes back.
    Failed,
    /// Ended by Kill.
    Killed,
}

macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $type {
            /// The stable name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Reads the stable name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names!(InstanceState {
    Starting => "starting", Running => "running", Restarting => "restarting",
    Stopping => "stopping", Completed => "completed", Failed => "failed",
});
names!(ServiceState {
    Starting => "starting", Running => "running", Degraded => "degraded",
    Restarting => "restarting", Stopping => "stopping", Completed => "completed",
    Failed => "failed", Killed => "killed",
});
names!(ExitReason {
    Normal => "normal", Trap => "trap", Limit => "limit", InitFailed => "init_failed",
    StartupTimeout => "startup_timeout", ExitCode => "exit_code", Killed => "killed",
    Unhealthy => "unhealthy", Stopped => "stopped", CellLost => "cell_lost",
    ChildrenFailed => "children_failed",
});

impl ServiceState {
    /// The state of a service whose instances stand like this.
    #[must_use]
    pub fn of(instances: impl IntoIterator<Item = InstanceState>) -> Self {
        use InstanceState as I;
        let (mut total, mut running, mut back, mut stopping, mut completed) = (0, 0, 0, 0, 0);
        let mut starting = 0;
        for state in instances {
            total += 1;
            match state {
                I::Running => running += 1,
                I::Starting => starting += 1,
                I::Restarting => back += 1,
                I::Stopping => stopping += 1,
                I::Completed => completed += 1,
                I::Failed => {}
            }
        }
        if total == 0 {
            Self::Starting
        } else if running == total {
            Self::Running
        } else if completed == total {
            Self::Completed
        } else if running > 0 {
            Self::Degraded
        } else if back > 0 {
            Self::Restarting
        } else if starting > 0 {
            Self::Starting
        } else if stopping > 0 {
            Self::Stopping
        } else {
            Self::Failed
        }
    }
}

/// Class of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It returned.
    Normal,
    /// WebAssembly trap.
    Trap,
    /// A limit of SPEC section 5 was exceeded.
    Limit,
    /// `init` answered with an error.
    InitFailed,
    /// `init` did not end in time.
    StartupTimeout,
    /// A program ended with a code other than 0.
    ExitCode,
    /// By Kill.
    Killed,
    /// By its health check.
    Unhealthy,
    /// By an update or a shutdown.
    Stopped,
    /// Its cell died.
    CellLost,
    /// A group of its children restarted too often.
    ChildrenFailed,
}

impl ExitReason {
    /// Whether a transient child is restarted after it.
    #[must_use]
    pub fn is_abnormal(self) -> bool {
        !matches!(self, Self::Normal | Self::Killed | Self::Stopped)
    }
}

/// Why an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its class.
    pub reason: ExitReason,
    /// One sentence.
    pub message: String,
    /// Innermost frame first.
    pub backtrace: Vec<String>,
    /// Unix time.
    pub at_unix_ms: u64,
    /// By its own word a restart does not help.
    pub permanent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_service_follows_its_instances() {
        use InstanceState as I;
        for (instances, expected) in [
            (vec![], ServiceState::Starting),
            (vec![I::Running, I::Running], ServiceState::Running),
            (vec![I::Running, I::Failed], ServiceState::Degraded),
            (vec![I::Restarting, I::Failed], ServiceState::Restarting),
            (vec![I::Failed, I::Failed], ServiceState::Failed),
            (vec![I::Completed], ServiceState::Completed),
            (vec![I::Completed, I::Failed], ServiceState::Failed),
        ] {
            assert_eq!(ServiceState::of(instances.clone()), expected, "{instances:?}");
        }
    }
}
