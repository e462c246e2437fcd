//! Control groups, version 2 and 1: where they are mounted, with which controllers, and whether
//! this process may make groups below its own.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::Item;
use crate::groups::find::{CONTROLLERS, own_group};

const DELEGATE: &str = "run Solo as root, or as a systemd service with Delegate=yes";

pub(crate) fn detect() -> Vec<Item> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    vec![v2(&mounts, &own), v1(&mounts, &own)]
}

fn v2(mounts: &str, own: &str) -> Item {
    const NAME: &str = "cgroup_v2";
    let Some(directory) = own_group(mounts, own, None) else {
        return Item::missing(NAME, "not mounted", "boot with systemd.unified_cgroup_hierarchy=1");
    };
    let controllers = match fs::read_to_string(directory.join("cgroup.controllers")) {
        Ok(text) => text,
        Err(error) => {
            let detail = format!("{}: {error}", directory.display());
            return Item::unknown(NAME, detail, "mount the control groups of this container");
        }
    };
    let lacking = lacking(&controllers.split_whitespace().collect::<Vec<_>>());
    let at = directory.display();
    if !lacking.is_empty() {
        let detail = format!("{at}: without {}", lacking.join(", "));
        Item::limited(NAME, detail, "move these controllers from version 1, or delegate them")
    } else if writable(&directory) {
        Item::available(NAME, format!("{at}, writable: {}", controllers.trim()))
    } else {
        Item::limited(NAME, format!("{at}: not writable"), DELEGATE)
    }
}

fn v1(mounts: &str, own: &str) -> Item {
    const NAME: &str = "cgroup_v1";
    const REMEDY: &str = "nothing to do where version 2 is available";
    let found: Vec<(&str, PathBuf)> = CONTROLLERS
        .into_iter()
        .filter_map(|controller| Some((controller, own_group(mounts, own, Some(controller))?)))
        .collect();
    if found.is_empty() {
        return Item::missing(NAME, "not mounted", REMEDY);
    }
    let lacking = lacking(&found.iter().map(|(controller, _)| *controller).collect::<Vec<_>>());
    let closed: Vec<&str> = found
        .iter()
        .filter(|(_, directory)| !writable(directory))
        .map(|(controller, _)| *controller)
        .collect();
    if !lacking.is_empty() {
        Item::limited(NAME, format!("without {}", lacking.join(", ")), REMEDY)
    } else if !closed.is_empty() {
        Item::limited(NAME, format!("not writable: {}", closed.join(", ")), DELEGATE)
    } else {
        Item::available(NAME, format!("writable: {}", CONTROLLERS.join(", ")))
    }
}

fn lacking(controllers: &[&str]) -> Vec<&'static str> {
    CONTROLLERS.into_iter().filter(|wanted| !controllers.contains(wanted)).collect()
}

fn writable(directory: &Path) -> bool {
    access(directory, AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    #[test]
    fn version_2_is_judged_by_controllers_and_rights() {
        let root = tempfile::tempdir().expect("a directory");
        let group = root.path().join("user.slice/solo");
        fs::create_dir_all(&group).expect("made");
        let mounts = format!("33 23 0:30 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let check = |controllers: &str| {
            fs::write(group.join("cgroup.controllers"), controllers).expect("written");
            v2(&mounts, "0::/user.slice/solo\n")
        };
        let full = check("cpuset cpu io memory pids\n");
        assert_eq!(full.state, State::Available, "{full:?}");
        assert!(full.detail.contains("user.slice/solo"), "{full:?}");
        assert_eq!(check("memory pids\n").detail.split(": ").last(), Some("without cpu"));
        assert_eq!(v2("", "").state, State::Missing);
        assert_eq!(v2("1 2 0:3 / /nowhere rw - cgroup2 c rw\n", "0::/\n").state, State::Unknown);
    }

    #[test]
    fn version_1_is_judged_by_each_hierarchy() {
        let root = tempfile::tempdir().expect("a directory");
        let at = root.path().display();
        let line = |options: &str| format!("1 2 0:3 / {at} rw - cgroup cgroup rw,{options}\n");
        let all = [line("cpu,cpuacct"), line("memory"), line("pids")].concat();
        assert_eq!(v1(&all, "3:pids:/\n2:memory:/gone\n").state, State::Available);
        let some = v1(&line("memory"), "");
        assert_eq!(some.detail, "without cpu, pids");
        assert_eq!(v1("", "").state, State::Missing);
    }
}
