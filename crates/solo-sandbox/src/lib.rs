//! Isolation by the operating system: what this machine offers, and what a process is shut into.
//!
//! [`detect`] tells what is there, with a remedy for what is not; where it cannot know it says
//! `unknown` rather than guess. [`confine_self`] is the part of the sandbox that every role of Solo
//! needs, [`Sandbox`] what hosts of guest code enter, a [`Policy`] what a process may ask of the kernel,
//! [`Groups`] what they may use together.
//! Of the machine this crate changes nothing but control groups of Solo's own.

mod cgroups;
mod confine;
mod enter;
mod filter;
mod groups;
mod kernel;
mod namespaces;
mod report;
mod security;
mod spawn;
mod tools;

pub use confine::{ConfineError, Level, confine_self};
pub use enter::{
    Access, Action, EnterError, Entered, Entry, Files, Holding, Holds, Identity, Layer, Prepared,
    ProcessLimits, Sandbox, common_entries,
};
pub use filter::{Filter, FilterError, Policy, RuleError};
pub use groups::{Group, GroupError, Groups, Limits, Settings, Usage, Watch};
pub use report::{Item, Report, State};
pub use spawn::{own_namespaces, spawn_in_pid_namespace};

/// Looks at this machine.
///
/// Takes up to some seconds, because it starts the language tools that it finds to ask for their
/// versions; meant for `solo doctor`, not for a request. Uses short-lived threads of its own that
/// enter namespaces or restrict themselves; the rest of the process is not changed.
#[must_use]
pub fn detect() -> Report {
    let mut items = kernel::detect();
    items.extend(namespaces::detect());
    items.extend(security::detect());
    items.extend(cgroups::detect());
    items.extend(tools::detect());
    Report { items }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_complete_honest_and_serializable() {
        let report = detect();
        for name in [
            "kernel",
            "user_namespace",
            "pid_namespace",
            "mount_namespace",
            "ipc_namespace",
            "uts_namespace",
            "net_namespace",
            "cgroup_namespace",
            "seccomp",
            "landlock",
            "no_new_privs",
            "cgroup_v2",
            "cgroup_v1",
            "max_map_count",
            "cores",
            "memory",
            "pid_max",
            "erlang",
            "elixir",
            "python",
            "node",
            "clang",
        ] {
            let item = report.get(name).unwrap_or_else(|| panic!("no {name}"));
            assert!(!item.detail.is_empty(), "{item:?}");
            let good = item.state == State::Available;
            assert_eq!(item.remedy.is_none(), good, "a remedy is for what is not good: {item:?}");
        }
        let json = serde_json::to_value(&report).expect("serializable");
        assert_eq!(json["items"][0]["name"], "kernel");
        assert_eq!(serde_json::from_value::<Report>(json).expect("readable"), report);
    }
}
