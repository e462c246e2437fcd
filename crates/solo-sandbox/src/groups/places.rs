//! The directories of a group: one for each hierarchy of version 1, a single one in version 2.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::GroupError;
use super::files::{if_there, make, read, remove, write};
use super::find::{CONTROLLERS, own_group};

/// What counts processor time in version 1; in version 2 `cpu` does.
const ACCOUNTS: &str = "cpuacct";

/// The group below Solo's own to which the heart moves in version 2. No group of cells has a dot.
const HEART: &str = "solo.heart";

/// Of the system's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A group, by what is controlled where. In version 2 all four are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) version: Version,
    pub(super) memory: PathBuf,
    pub(super) cpu: PathBuf,
    pub(super) accounts: PathBuf,
    pub(super) pids: PathBuf,
}

impl Places {
    /// The own group in all hierarchies of version 1, from `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(super) fn version_1(mounts: &str, own: &str) -> Result<Self, GroupError> {
        let find = |controller| {
            let lacking = || GroupError::Lacking { controllers: String::from(controller) };
            own_group(mounts, own, Some(controller)).ok_or_else(lacking)
        };
        let [cpu, memory, pids] = CONTROLLERS.map(find);
        let version = Version::One;
        Ok(Self { version, memory: memory?, cpu: cpu?, accounts: find(ACCOUNTS)?, pids: pids? })
    }

    /// One directory for everything.
    pub(super) fn version_2(at: &Path) -> Self {
        let at = || at.to_owned();
        Self { version: Version::Two, memory: at(), cpu: at(), accounts: at(), pids: at() }
    }

    /// The group `name` below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            version: self.version,
            memory: self.memory.join(name),
            cpu: self.cpu.join(name),
            accounts: self.accounts.join(name),
            pids: self.pids.join(name),
        }
    }

    /// Each directory once.
    pub(super) fn directories(&self) -> BTreeSet<&Path> {
        [&self.memory, &self.cpu, &self.accounts, &self.pids].map(PathBuf::as_path).into()
    }

    /// Makes all directories, or none.
    pub(super) fn make(&self) -> Result<(), GroupError> {
        let mut made = Vec::new();
        for path in self.directories() {
            match make(path) {
                Ok(true) => made.push(path),
                Ok(false) => {}
                Err(error) => {
                    // What was made a moment ago is empty; the error to tell is the first one.
                    made.into_iter().for_each(|path| drop(remove(path)));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The group of version 2 that this process was in and its like may not be in: it moved to a leaf of it.
#[derive(Debug)]
pub(super) struct Moved {
    group: PathBuf,
}

impl Moved {
    /// Goes back, as far as that is possible: others may have come.
    pub(super) fn undo(self) {
        // Whatever fails leaves a directory with a living process in it, and no more.
        let file = self.group.join("cgroup.subtree_control");
        let passed = read(&file).unwrap_or_default();
        let off: Vec<String> = passed.split_whitespace().map(|name| format!("-{name}")).collect();
        let _ = write(&file, &off.join(" "));
        let _ = write(&self.group.join("cgroup.procs"), "0");
        let _ = remove(&self.group.join(HEART));
    }
}

/// Has the group of version 2 that this process is in pass `controllers` on to groups below it, for which
/// this process must leave it, unless it is the root. Returns the group.
pub(super) fn open_version_2(
    own: &Path,
    controllers: &[&str],
) -> Result<(PathBuf, Option<Moved>), GroupError> {
    // An earlier one moved here, or systemd's DelegateSubgroup= had it start here.
    if let (Some(parent), true) = (own.parent(), own.ends_with(HEART)) {
        return pass_on(parent, controllers).map(|()| (parent.to_owned(), None));
    }
    lacking(own, controllers)?;
    // The root alone has no type, and may have both processes and groups.
    if !own.join("cgroup.type").exists() {
        return pass_on(own, controllers).map(|()| (own.to_owned(), None));
    }
    let this = std::process::id().to_string();
    if read(&own.join("cgroup.procs"))?.lines().any(|pid| pid != this) {
        return Err(GroupError::NotAlone { path: own.to_owned() });
    }
    let leaf = own.join(HEART);
    make(&leaf)?;
    let moved = Moved { group: own.to_owned() };
    let done = write(&leaf.join("cgroup.procs"), "0").and_then(|()| pass_on(own, controllers));
    match done {
        Ok(()) => Ok((own.to_owned(), Some(moved))),
        Err(error) => {
            moved.undo();
            Err(error)
        }
    }
}

/// Has a group of version 2 pass controllers on to those below it.
pub(super) fn pass_on(group: &Path, controllers: &[&str]) -> Result<(), GroupError> {
    let file = group.join("cgroup.subtree_control");
    let passed = read(&file)?;
    let missing = without(controllers, &passed);
    if missing.is_empty() {
        return Ok(());
    }
    let on: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
    write(&file, &on.join(" "))
}

fn lacking(group: &Path, controllers: &[&str]) -> Result<(), GroupError> {
    let there = if_there(read(&group.join("cgroup.controllers")))?.unwrap_or_default();
    let missing = without(controllers, &there);
    if missing.is_empty() {
        return Ok(());
    }
    Err(GroupError::Lacking { controllers: missing.join(", ") })
}

fn without<'a>(wanted: &[&'a str], there: &str) -> Vec<&'a str> {
    wanted
        .iter()
        .copied()
        .filter(|name| !there.split_whitespace().any(|one| one == *name))
        .collect()
}
