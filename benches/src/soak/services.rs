//! The services that each driver has, and how they are deployed. Pure, but for storing their code.

use std::collections::BTreeMap;

use anyhow::Context as _;
use solo_api::{Client, v1};

use crate::guests;
use crate::requests::{self, deployment, deployment_by_digest};

/// Different components that [`Codes::fresh`] makes: more than a cell keeps mapped without need.
pub(crate) const FRESH_MAX: u64 = 20;

/// A busy machine must not fail a start.
const STARTUP_TIMEOUT_MS: u64 = 20_000;

/// Long enough for what a play lets wait, short enough to wait for when a guest does not end.
const SHUTDOWN_TIMEOUT_MS: u64 = 2_000;

/// Children of a parent, and theirs.
pub(crate) const PROCESSES_MAX: u64 = 12;

/// Messages that may wait for the small one.
const SMALL_QUEUE: u64 = 50;

/// Memory of those that take too much.
const SMALL_MEMORY_BYTES: u64 = 8 << 20;

/// The built guests that are deployed.
const GUESTS: [&str; 6] = ["worker", "order", "watcher", "parent", "chain", "pinger"];

/// One of a driver's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Does most of what is done, and crashes.
    Worker,
    /// Is called by the worker.
    Echo,
    /// Has a short queue, and refuses what does not fit.
    Small,
    /// Has a short queue, and is ended when it does not go on.
    Stuck,
    /// Has little memory, and is ended when it takes more.
    Fat,
    /// Has little memory and half a processor, and is refused more.
    Lean,
    /// Numbers messages.
    Sender,
    /// Checks their order.
    Receiver,
    /// Passes on to the two others and to itself.
    First,
    Second,
    Third,
    /// Watches the worker.
    Watcher,
    /// Has children.
    Parent,
    /// Has several replicas.
    Many,
    /// Gives up at the second crash.
    Frail,
}

impl Role {
    /// All of them, in the order in which they are deployed.
    pub(crate) const ALL: [Self; 15] = [
        Self::Worker,
        Self::Echo,
        Self::Small,
        Self::Stuck,
        Self::Fat,
        Self::Lean,
        Self::Sender,
        Self::Receiver,
        Self::First,
        Self::Second,
        Self::Third,
        Self::Watcher,
        Self::Parent,
        Self::Many,
        Self::Frail,
    ];

    /// Its name, without the driver's.
    fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Echo => "echo",
            Self::Small => "small",
            Self::Stuck => "stuck",
            Self::Fat => "fat",
            Self::Lean => "lean",
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Watcher => "watcher",
            Self::Parent => "parent",
            Self::Many => "many",
            Self::Frail => "frail",
        }
    }

    /// Its full name.
    pub(crate) fn name(self, driver: &str) -> String {
        format!("{driver}-{}", self.word())
    }

    /// How many instances it has at first.
    pub(crate) fn replicas(self) -> u32 {
        if self == Self::Many { 3 } else { 1 }
    }

    fn guest(self) -> &'static str {
        match self {
            Self::Sender | Self::Receiver => "order",
            Self::First | Self::Second | Self::Third => "chain",
            Self::Watcher => "watcher",
            Self::Parent => "parent",
            _ => "worker",
        }
    }

    fn grants(self) -> (&'static [Self], &'static [v1::Right]) {
        const MESSAGES: &[v1::Right] = &[v1::Right::Call, v1::Right::Send];
        match self {
            Self::Worker => (&[Self::Echo, Self::Small, Self::Stuck], MESSAGES),
            Self::Sender => (&[Self::Receiver], MESSAGES),
            Self::Receiver => (&[Self::Sender], MESSAGES),
            Self::First | Self::Second | Self::Third => {
                (&[Self::First, Self::Second, Self::Third], MESSAGES)
            }
            Self::Watcher => (&[Self::Worker], MESSAGES),
            Self::Parent => (&[Self::Worker], &[v1::Right::Execute]),
            _ => (&[], &[]),
        }
    }

    fn limits(self) -> v1::Limits {
        let mut limits = v1::Limits {
            startup_timeout_ms: Some(STARTUP_TIMEOUT_MS),
            shutdown_timeout_ms: Some(SHUTDOWN_TIMEOUT_MS),
            ..v1::Limits::default()
        };
        let throttle = v1::LimitAction::Throttle.into();
        match self {
            Self::Small => {
                limits.message_queue_limit = Some(SMALL_QUEUE);
                limits.limit_exceeded_action = throttle;
            }
            Self::Stuck => {
                limits.message_queue_limit = Some(SMALL_QUEUE / 2);
                limits.message_queue_max = Some(SMALL_QUEUE);
            }
            Self::Fat => limits.max_memory_bytes = Some(SMALL_MEMORY_BYTES),
            Self::Lean => {
                limits.max_memory_bytes = Some(SMALL_MEMORY_BYTES);
                limits.cpu_quota_percent = Some(50);
                limits.limit_exceeded_action = throttle;
            }
            Self::Parent => {
                limits.max_processes = Some(PROCESSES_MAX);
                limits.limit_exceeded_action = throttle;
            }
            _ => {}
        }
        limits
    }

    fn restart(self) -> v1::RestartPolicy {
        // With so short a window each crash is the first in it, and its restart immediate.
        let (max_restarts, window_ms) = if self == Self::Frail { (1, 60_000) } else { (1_000, 1) };
        v1::RestartPolicy {
            max_restarts: Some(max_restarts),
            window_ms: Some(window_ms),
            ..v1::RestartPolicy::default()
        }
    }

    /// Its deployment for one driver.
    pub(crate) fn deployment(self, driver: &str, codes: &Codes) -> v1::DeployRequest {
        let (objects, rights) = self.grants();
        let capability = |role: &Self| v1::CapabilityRequest {
            object: format!("service:{}", role.name(driver)),
            rights: rights.iter().map(|right| (*right).into()).collect(),
        };
        v1::DeployRequest {
            replicas: Some(self.replicas()),
            capabilities: objects.iter().map(capability).collect(),
            limits: Some(self.limits()),
            restart: Some(self.restart()),
            labels: [("driver".to_owned(), driver.to_owned())].into_iter().collect(),
            ..deployment_by_digest(&self.name(driver), codes.digest(self.guest()))
        }
    }
}

/// The code of all services, which Solo has stored and compiled.
#[derive(Debug)]
pub(crate) struct Codes {
    digests: BTreeMap<&'static str, String>,
    /// A component that knows nothing of Solo.
    typed: Vec<u8>,
}

impl Codes {
    /// Stores and compiles the guests.
    ///
    /// # Errors
    /// A guest was not built, or is refused.
    pub(crate) async fn store(client: &Client) -> anyhow::Result<Self> {
        let mut digests = BTreeMap::new();
        for guest in GUESTS {
            let request =
                v1::DeployRequest { dry_run: true, ..deployment(guest, &guests::read(guest)?) };
            let stored = requests::deploy(client, request).await;
            digests.insert(guest, stored.context("failed to compile a guest")?.digest);
        }
        Ok(Self { digests, typed: guests::read("calculator")? })
    }

    /// The digest of a guest; empty for one that is not among them.
    pub(crate) fn digest(&self, guest: &str) -> &str {
        self.digests.get(guest).map(String::as_str).unwrap_or_default()
    }

    /// The worker under another name, with these entries of its configuration.
    pub(crate) fn worker(&self, name: &str, config: &[(&str, &str)]) -> v1::DeployRequest {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        v1::DeployRequest {
            limits: Some(Role::Worker.limits()),
            config: config.iter().map(entry).collect(),
            ..deployment_by_digest(name, self.digest("worker"))
        }
    }

    /// One of a few components that differ, so that it may have to be loaded first. Its health is
    /// checked all the time.
    pub(crate) fn fresh(&self, name: &str, number: u64) -> v1::DeployRequest {
        v1::DeployRequest {
            health_check: Some(v1::HealthCheck {
                function: "about".to_owned(),
                interval_ms: Some(10),
                timeout_ms: Some(STARTUP_TIMEOUT_MS),
                failures_max: Some(3),
            }),
            limits: Some(Role::Worker.limits()),
            ..deployment(name, &marked(&self.typed, number % FRESH_MAX))
        }
    }
}

/// The same component with other bytes: one more custom section, which no engine looks at.
fn marked(component: &[u8], number: u64) -> Vec<u8> {
    let name = format!("soak-{number}");
    // Short enough for lengths of one byte.
    let length = u8::try_from(name.len()).unwrap_or_default();
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_components_differ() {
        assert_eq!(marked(b"wasm", 7), b"wasm\x00\x07\x06soak-7");
        assert_ne!(marked(b"wasm", 7), marked(b"wasm", 8));
    }

    #[test]
    fn every_service_has_its_own_name_and_a_guest() {
        let names: std::collections::BTreeSet<_> =
            Role::ALL.iter().map(|role| role.name("d0")).collect();
        assert_eq!(names.len(), Role::ALL.len());
        assert!(names.contains("d0-worker"));
        assert!(Role::ALL.iter().all(|role| GUESTS.contains(&role.guest())));
    }
}
