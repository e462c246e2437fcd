//! Which namespaces this process can make.
//!
//! A thread of its own tries: a namespace that a thread enters ends with it. User namespaces cannot
//! be tried that way (the system wants a process with one thread), so for them the settings are
//! read, and the answer says so.

use std::fs;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::kernel::read_number;
use crate::{Item, State};

/// Number of the capability that makes namespaces without a user namespace.
const CAP_SYS_ADMIN: u32 = 21;

const KERNEL_REMEDY: &str = "use a kernel with CONFIG_NAMESPACES and this kind of them";

pub(crate) fn detect() -> Vec<Item> {
    let user = user_namespace(&Settings::read());
    let in_user = user.state == State::Available;
    let mut items = vec![user];
    for (name, file, setting, flag) in [
        ("pid_namespace", "pid", "pid", CloneFlags::CLONE_NEWPID),
        ("mount_namespace", "mnt", "mnt", CloneFlags::CLONE_NEWNS),
        ("ipc_namespace", "ipc", "ipc", CloneFlags::CLONE_NEWIPC),
        ("uts_namespace", "uts", "uts", CloneFlags::CLONE_NEWUTS),
        ("net_namespace", "net", "net", CloneFlags::CLONE_NEWNET),
        ("cgroup_namespace", "cgroup", "cgroup", CloneFlags::CLONE_NEWCGROUP),
    ] {
        items.push(if exists(file) {
            judge(name, setting, attempt(flag), in_user)
        } else {
            Item::missing(name, "the kernel has none", KERNEL_REMEDY)
        });
    }
    items
}

fn exists(file: &str) -> bool {
    // A link to a name that is no file, so the link itself is asked for.
    fs::symlink_metadata(Path::new("/proc/self/ns").join(file)).is_ok()
}

/// Makes a namespace in a thread that ends right after. `None`: no thread could be started.
fn attempt(flag: CloneFlags) -> Option<Result<(), Errno>> {
    let thread = thread::Builder::new().name("namespace-probe".into()).spawn(move || unshare(flag));
    thread.ok()?.join().ok()
}

fn judge(name: &str, setting: &str, result: Option<Result<(), Errno>>, in_user: bool) -> Item {
    match result {
        Some(Ok(())) => Item::available(name, "tried: can be made"),
        Some(Err(Errno::EPERM)) if in_user => Item::limited(
            name,
            "only inside a user namespace",
            "nothing to do: Solo makes a user namespace first; or run it as root",
        ),
        Some(Err(Errno::EPERM)) => Item::missing(
            name,
            "tried: not permitted",
            "run Solo as root, allow user namespaces, or let the container have SYS_ADMIN",
        ),
        Some(Err(Errno::ENOSPC)) => Item::missing(
            name,
            format!("tried: the limit of /proc/sys/user/max_{setting}_namespaces is reached"),
            "as root: raise that limit",
        ),
        Some(Err(errno)) => Item::unknown(name, format!("tried: {errno}"), "see the system's log"),
        None => Item::unknown(name, "no thread could be started to try", "free some memory"),
    }
}

/// What decides about user namespaces.
#[derive(Debug, Clone, Default)]
struct Settings {
    built: bool,
    limit: Option<u64>,
    /// Debian's old switch.
    unprivileged: Option<u64>,
    /// Ubuntu's switch.
    apparmor_restricts: Option<u64>,
    privileged: bool,
    /// A filter of system calls is on this process, as in most containers.
    filtered: bool,
}

impl Settings {
    fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            built: exists("user"),
            limit: read_number("/proc/sys/user/max_user_namespaces"),
            unprivileged: read_number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: read_number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ),
            privileged: has_capability(&status, CAP_SYS_ADMIN),
            filtered: field(&status, "Seccomp").is_some_and(|mode| mode == "2"),
        }
    }
}

/// A field of `/proc/self/status`.
pub(crate) fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

fn has_capability(status: &str, number: u32) -> bool {
    field(status, "CapEff")
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .is_some_and(|set| set >> number & 1 == 1)
}

fn user_namespace(settings: &Settings) -> Item {
    const NAME: &str = "user_namespace";
    if !settings.built {
        Item::missing(NAME, "the kernel has none", KERNEL_REMEDY)
    } else if settings.limit == Some(0) {
        let remedy = "as root: sysctl -w user.max_user_namespaces=65536";
        Item::missing(NAME, "user.max_user_namespaces is 0", remedy)
    } else if settings.unprivileged == Some(0) && !settings.privileged {
        let remedy = "as root: sysctl -w kernel.unprivileged_userns_clone=1";
        Item::missing(NAME, "kernel.unprivileged_userns_clone is 0", remedy)
    } else if settings.apparmor_restricts == Some(1) && !settings.privileged {
        let remedy = "install an AppArmor profile for Solo, or as root: sysctl -w \
                      kernel.apparmor_restrict_unprivileged_userns=0";
        Item::limited(NAME, "AppArmor takes all rights in them away", remedy)
    } else if settings.filtered {
        let remedy = "if programs fail to start, loosen the container's seccomp profile";
        Item::unknown(NAME, "the settings allow them, a seccomp filter may not", remedy)
    } else if settings.limit.is_none() {
        Item::unknown(NAME, "/proc/sys/user is not readable", "mount /proc")
    } else {
        Item::available(NAME, "allowed by the settings (not tried)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_decide_about_user_namespaces() {
        let good = Settings { built: true, limit: Some(9), ..Settings::default() };
        let state = |settings: Settings| user_namespace(&settings).state;
        assert_eq!(state(good.clone()), State::Available);
        assert_eq!(state(Settings { built: false, ..good.clone() }), State::Missing);
        assert_eq!(state(Settings { limit: Some(0), ..good.clone() }), State::Missing);
        assert_eq!(state(Settings { limit: None, ..good.clone() }), State::Unknown);
        assert_eq!(state(Settings { filtered: true, ..good.clone() }), State::Unknown);
        let debian = Settings { unprivileged: Some(0), ..good.clone() };
        assert_eq!(state(debian.clone()), State::Missing);
        assert_eq!(state(Settings { privileged: true, ..debian }), State::Available);
        assert_eq!(state(Settings { apparmor_restricts: Some(1), ..good }), State::Limited);
    }

    #[test]
    fn an_attempt_is_judged_by_its_error() {
        let state = |result, in_user| judge("x", "x", result, in_user).state;
        assert_eq!(state(Some(Ok(())), false), State::Available);
        assert_eq!(state(Some(Err(Errno::EPERM)), true), State::Limited);
        assert_eq!(state(Some(Err(Errno::EPERM)), false), State::Missing);
        assert_eq!(state(Some(Err(Errno::ENOSPC)), true), State::Missing);
        assert_eq!(state(Some(Err(Errno::EINVAL)), true), State::Unknown);
        assert_eq!(state(None, true), State::Unknown);
    }

    #[test]
    fn trying_leaves_this_process_where_it_was() {
        let here = || {
            ["mnt", "net", "uts", "ipc", "pid_for_children"]
                .map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).ok())
        };
        let before = here();
        detect();
        assert_eq!(here(), before);
    }

    #[test]
    fn capabilities_are_read_bit_by_bit() {
        assert!(has_capability("CapEff:\t0000000000200000\n", CAP_SYS_ADMIN));
        assert!(!has_capability("CapEff:\t00000000ffdfffff\n", CAP_SYS_ADMIN));
        assert!(!has_capability("", CAP_SYS_ADMIN));
    }
}
