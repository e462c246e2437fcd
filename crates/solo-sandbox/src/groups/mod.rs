//! Control groups: what the processes of a cell may use together, what they do use, and one end for all.
//!
//! [`Groups`] are those of one Solo, below the group that it runs in; a [`Group`] is one cell's. Either
//! version of the system's interface serves that has the controllers for memory, processors and processes. A
//! process enters by itself, as the first step into its sandbox ([`crate::Sandbox::groups`]): to move
//! one that runs takes milliseconds.
//!
//! It refuses names that could be paths, moves no process but the one that calls, and makes, changes and
//! removes nothing but groups of Solo's own.

mod error;
mod files;
pub(crate) mod find;
mod group;
mod limits;
mod places;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use find::{CONTROLLERS, own_group};
use places::{Moved, Places, Version, open_version_2, pass_on};

pub use error::GroupError;
pub use group::Group;
pub use limits::{Limits, Settings, Usage};
pub use watch::Watch;

/// Longest name of a group.
const NAME_CHARS_MAX: usize = 32;

/// For what is left of a group of the same name: it ended, or is being killed.
const LEFT_WAIT: Duration = Duration::from_millis(500);

/// The control groups of one Solo.
#[derive(Debug)]
pub struct Groups {
    top: Places,
    moved: Option<Moved>,
}

impl Groups {
    /// Makes the group `solo-NAME` below the one that this process is in, or takes over the one that is there.
    ///
    /// Version 2 is taken if it has the controllers, else version 1. In version 2 a process that is not in the
    /// root, and is alone in its group, moves to a group below that for itself.
    ///
    /// # Errors
    /// [`GroupError::Unusable`] says why neither version can be used, [`GroupError::Name`] that the name is none.
    pub fn open(name: &str) -> Result<Self, GroupError> {
        let own = |file| files::read(std::path::Path::new(file));
        let (mounts, own) = (own("/proc/self/mountinfo")?, own("/proc/self/cgroup")?);
        Self::open_in(name, &mounts, &own)
    }

    fn open_in(name: &str, mounts: &str, own: &str) -> Result<Self, GroupError> {
        let name = format!("solo-{}", checked(name)?);
        let version_2 = || {
            let lacking = || GroupError::Lacking { controllers: CONTROLLERS.join(", ") };
            let own = own_group(mounts, own, None).ok_or_else(lacking)?;
            let (group, moved) = open_version_2(&own, &CONTROLLERS)?;
            Self { top: Places::version_2(&group).below(&name), moved }.prepared()
        };
        let version_1 = || {
            let top = Places::version_1(mounts, own)?.below(&name);
            Self { top, moved: None }.prepared()
        };
        version_2().or_else(|v2| {
            let unusable = |v1: GroupError| match v2 {
                // Whoever sees to this one can have groups; the other version is no help.
                GroupError::NotAlone { .. } => v2,
                v2 => GroupError::Unusable { v2: v2.in_full(), v1: v1.in_full() },
            };
            version_1().map_err(unusable)
        })
    }

    fn prepared(mut self) -> Result<Self, GroupError> {
        match self.prepare() {
            Ok(()) => Ok(self),
            Err(error) => {
                // The error to tell is the first one.
                let _ = Group { places: self.top.clone() }.remove(Duration::ZERO);
                self.moved.take().into_iter().for_each(|moved| moved.undo());
                Err(error)
            }
        }
    }

    /// Has the group of this Solo there, ready for those of cells.
    fn prepare(&self) -> Result<(), GroupError> {
        self.top.make()?;
        match self.top.version {
            Version::One => Ok(()),
            Version::Two => pass_on(&self.top.memory, &CONTROLLERS),
        }
    }

    /// Makes the group `id` with its limits. What is left of one with this id ends first.
    ///
    /// # Errors
    /// [`GroupError`]: there is no such group then.
    pub fn create(&self, id: &str, limits: &Limits) -> Result<Group, GroupError> {
        let group = Group { places: self.top.below(checked(id)?) };
        // Somebody may have tidied up: it was empty.
        self.prepare()?;
        group.end(LEFT_WAIT)?;
        group.places.make()?;
        match group.set(limits) {
            Ok(()) => Ok(group),
            Err(error) => {
                // It is empty; the error to tell is the first one.
                let _ = group.remove(LEFT_WAIT);
                Err(error)
            }
        }
    }

    /// Kills and removes all groups of cells, as a former process left them. Returns how many there were.
    ///
    /// # Errors
    /// [`GroupError`] of the first one that did not end within `wait` over all.
    pub fn sweep(&self, wait: Duration) -> Result<usize, GroupError> {
        let start = Instant::now();
        let left = || wait.saturating_sub(start.elapsed());
        let mut names = BTreeSet::new();
        for directory in self.top.directories() {
            let entries = fs::read_dir(directory).map_err(GroupError::file("read", directory));
            for entry in files::if_there(entries)?.into_iter().flatten().flatten() {
                let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
                names.extend(is_group.then(|| entry.file_name().into_string().ok()).flatten());
            }
        }
        let groups = names.iter().map(|name| Group { places: self.top.below(name) });
        let groups: Vec<Group> = groups.collect();
        let mut result = Ok(groups.len());
        for group in &groups {
            // One that does not end keeps none of the others alive.
            let ended = group.end(left());
            result = result.and_then(|count| ended.map(|()| count));
        }
        result
    }

    /// Ends everything below and leaves no directory behind.
    ///
    /// # Errors
    /// As [`Groups::sweep`].
    pub fn remove(mut self, wait: Duration) -> Result<(), GroupError> {
        let swept = self.sweep(wait);
        let removed = Group { places: self.top.clone() }.remove(wait);
        self.moved.take().into_iter().for_each(|moved| moved.undo());
        swept.and(removed)
    }
}

/// A name that is no path.
fn checked(name: &str) -> Result<&str, GroupError> {
    let is_legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_legal) {
        return Ok(name);
    }
    Err(GroupError::Name { name: name.to_owned() })
}
