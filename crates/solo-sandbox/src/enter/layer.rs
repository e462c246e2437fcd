//! The layers of a sandbox by name, and the report of which of them hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mechanism of the operating system. In the order in which they are put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A control group: memory, processors, processes; the whole tree can be ended by it.
    ControlGroup,
    /// Process ids of its own: it sees and signals nobody outside.
    PidNamespace,
    /// A view of files of its own.
    MountNamespace,
    /// System V IPC and message queues of its own.
    IpcNamespace,
    /// A host name of its own.
    UtsNamespace,
    /// A network of its own, with a loopback and nothing else.
    NetworkNamespace,
    /// Groups that it is in are the root of what it sees of them.
    CgroupNamespace,
    /// A root made of what was granted, without a way to the machine's.
    Root,
    /// A user of its own, who owns nothing outside.
    User,
    /// Identities of its own: whatever it becomes inside is nobody outside.
    UserNamespace,
    /// Nothing that its parent had open is open in what it starts, but the standard streams.
    Descriptors,
    /// Bounds per process: files, core dumps.
    ResourceLimits,
    /// No capabilities, and no way to get some.
    Capabilities,
    /// No privileges by programs that it starts.
    NoNewPrivileges,
    /// Files once more, by path: a second lock behind the root.
    Landlock,
    /// System calls that it needs, and no others.
    Seccomp,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ControlGroup,
        Self::PidNamespace,
        Self::MountNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::NetworkNamespace,
        Self::CgroupNamespace,
        Self::Root,
        Self::User,
        Self::UserNamespace,
        Self::Descriptors,
        Self::ResourceLimits,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlGroup => "control_group",
            Self::PidNamespace => "pid_namespace",
            Self::MountNamespace => "mount_namespace",
            Self::IpcNamespace => "ipc_namespace",
            Self::UtsNamespace => "uts_namespace",
            Self::NetworkNamespace => "network_namespace",
            Self::CgroupNamespace => "cgroup_namespace",
            Self::Root => "root",
            Self::User => "user",
            Self::UserNamespace => "user_namespace",
            Self::Descriptors => "descriptors",
            Self::ResourceLimits => "resource_limits",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// The layer of a stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.as_str() == name)
    }

    /// What an operator can do if it cannot be had.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::ControlGroup => {
                "run Solo as root, or as a systemd service with Delegate=yes, on a kernel with the \
                 memory, cpu and pids controllers"
            }
            Self::PidNamespace
            | Self::MountNamespace
            | Self::IpcNamespace
            | Self::UtsNamespace
            | Self::NetworkNamespace
            | Self::CgroupNamespace
            | Self::UserNamespace => {
                "allow namespaces: run Solo as root, or set user.max_user_namespaces and \
                 kernel.unprivileged_userns_clone, or let the container have SYS_ADMIN; `solo doctor` \
                 tells which are there"
            }
            Self::Root => "check that the path is there, and use Linux 5.6 or newer",
            Self::User | Self::Capabilities => "run Solo as root or as an ordinary user",
            Self::Descriptors => "use Linux 5.11 or newer",
            Self::ResourceLimits => "raise the hard limits of the process that starts Solo",
            Self::NoNewPrivileges => "use Linux 3.5 or newer",
            Self::Landlock => "boot a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in lsm=",
            Self::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// It does.
    Holds,
    /// The operator switched it off.
    SwitchedOff,
    /// This kind of process has no use for it.
    NotUsed,
}

/// What holds for this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Each layer once, in the order of [`Layer::ALL`].
    pub layers: Vec<(Layer, Holding)>,
}

impl Holds {
    /// Whether this layer holds.
    #[must_use]
    pub fn of(&self, layer: Layer) -> Holding {
        self.layers
            .iter()
            .find_map(|(found, holding)| (*found == layer).then_some(*holding))
            .unwrap_or(Holding::NotUsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_found_again() {
        for layer in Layer::ALL {
            assert_eq!(Layer::from_name(layer.as_str()), Some(layer));
            let json = serde_json::to_value(layer).expect("serializable");
            assert_eq!(json, layer.as_str());
            assert!(!layer.remedy().is_empty());
        }
        assert!(Layer::ALL.is_sorted());
        assert_eq!(Layer::from_name("moat"), None);
    }
}
