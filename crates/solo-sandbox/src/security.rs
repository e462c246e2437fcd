//! seccomp, Landlock and no_new_privs.

use std::fs;
use std::thread;

use landlock::{AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetError};
use nix::sys::prctl;

use crate::Item;
use crate::namespaces::field;

/// First Landlock version that also restricts truncation, i.e. all ways to change a file.
const LANDLOCK_ABI_WANTED: i32 = 3;

pub(crate) fn detect() -> Vec<Item> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").ok();
    vec![seccomp(&status, actions.as_deref()), landlock(), no_new_privs()]
}

fn seccomp(status: &str, actions: Option<&str>) -> Item {
    const NAME: &str = "seccomp";
    let under = match field(status, "Seccomp") {
        None => {
            let remedy = "use a kernel with CONFIG_SECCOMP_FILTER";
            return Item::missing(NAME, "the kernel has none", remedy);
        }
        Some("2") => "; this process is under a filter already",
        Some(_) => "",
    };
    match actions {
        Some(actions) if actions.split_whitespace().any(|action| action == "kill_process") => {
            Item::available(NAME, format!("actions: {}{under}", actions.trim()))
        }
        Some(actions) => Item::limited(
            NAME,
            format!("actions: {}{under}", actions.trim()),
            "use Linux 4.14 or newer, which can end the whole process",
        ),
        None => Item::unknown(NAME, format!("no list of actions{under}"), "mount /proc/sys"),
    }
}

fn landlock() -> Item {
    const NAME: &str = "landlock";
    const REMEDY: &str = "boot a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in lsm=";
    match landlock_status() {
        None => Item::unknown(NAME, "it could not be tried", "see the system's log"),
        Some(LandlockStatus::NotImplemented) => Item::missing(NAME, "the kernel has none", REMEDY),
        Some(LandlockStatus::NotEnabled) => {
            Item::missing(NAME, "the kernel has it, but not enabled at boot", REMEDY)
        }
        Some(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            let abi = kernel_abi.unwrap_or(effective_abi as i32);
            let detail = format!("ABI {abi}");
            if abi < LANDLOCK_ABI_WANTED {
                Item::limited(NAME, detail, "use Linux 6.2 or newer")
            } else {
                Item::available(NAME, detail)
            }
        }
    }
}

/// Lets a thread of its own restrict itself: what holds is known only after trying.
fn landlock_status() -> Option<LandlockStatus> {
    let restrict = || -> Result<LandlockStatus, RulesetError> {
        let ruleset = Ruleset::default().handle_access(AccessFs::MakeBlock)?.create()?;
        Ok(ruleset.restrict_self()?.landlock)
    };
    let thread = thread::Builder::new().name("landlock-probe".into()).spawn(restrict).ok()?;
    thread.join().ok()?.ok()
}

fn no_new_privs() -> Item {
    const NAME: &str = "no_new_privs";
    match prctl::get_no_new_privs() {
        Ok(true) => Item::available(NAME, "set for this process already"),
        Ok(false) => Item::available(NAME, "not set for this process; each role sets it"),
        Err(errno) => Item::unknown(NAME, errno.to_string(), "use Linux 3.5 or newer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    #[test]
    fn seccomp_needs_a_way_to_end_a_process() {
        let state = |status, actions| seccomp(status, actions).state;
        assert_eq!(state("", None), State::Missing);
        assert_eq!(state("Seccomp:\t0\n", Some("kill_process errno allow\n")), State::Available);
        assert_eq!(state("Seccomp:\t0\n", Some("kill errno allow\n")), State::Limited);
        assert_eq!(state("Seccomp:\t2\n", None), State::Unknown);
    }

    #[test]
    fn trying_landlock_restricts_nobody_else() {
        let before = prctl::get_no_new_privs();
        landlock();
        assert_eq!(prctl::get_no_new_privs(), before, "only the probing thread has it");
    }
}
