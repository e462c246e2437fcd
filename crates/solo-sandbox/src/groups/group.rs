//! One group: its limits, what it uses, its end.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::files::{if_there, read, remove, write};
use super::{GroupError, Limits, Places, Settings, Usage, Version, limits};

/// Between two looks whether processes have ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What was killed is out of its group so soon; what is in it after that has entered later.
const SETTLE: Duration = Duration::from_millis(50);

/// Processes that are held at one time, each by a descriptor.
const HELD_MAX: usize = 64;

/// A control group of one cell. Dropping it changes nothing: it ends by [`Group::end`].
#[derive(Debug)]
pub struct Group {
    pub(super) places: Places,
}

impl Group {
    /// Its directories: one in each hierarchy of version 1, a single one in version 2. By them a process
    /// enters ([`crate::Sandbox::groups`]).
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        self.places.directories().into_iter().map(Path::to_owned).collect()
    }

    /// The group with these directories.
    ///
    /// # Errors
    /// [`GroupError::Lacking`]: they are not all that there is to one.
    pub fn at(directories: &[PathBuf]) -> Result<Self, GroupError> {
        let with = |file: &str| directories.iter().find(|at| at.join(file).exists()).cloned();
        if let Some(all) = with("memory.max") {
            return Ok(Self { places: Places::version_2(&all) });
        }
        let find = |file: &str, controller: &str| {
            with(file).ok_or_else(|| GroupError::Lacking { controllers: controller.to_owned() })
        };
        Ok(Self {
            places: Places {
                version: Version::One,
                memory: find("memory.limit_in_bytes", "memory")?,
                cpu: find("cpu.shares", "cpu")?,
                accounts: find("cpuacct.usage", "cpuacct")?,
                pids: find("pids.max", "pids")?,
            },
        })
    }

    /// Sets all limits anew.
    ///
    /// # Errors
    /// [`GroupError::File`], as the system says: in version 1 `EBUSY` for less memory than is in use, and
    /// `EINVAL` for more of the processors than the group above has. Those before the refused one are set.
    pub fn set(&self, limits: &Limits) -> Result<(), GroupError> {
        self.settings()?.set(limits)
    }

    /// Opens what [`Self::set`] writes, for when somebody waits for it.
    ///
    /// # Errors
    /// [`GroupError::File`]: the group is gone.
    pub fn settings(&self) -> Result<Settings, GroupError> {
        Settings::open(self.places.clone())
    }

    /// What its processes use.
    ///
    /// # Errors
    /// [`GroupError::File`]: the group is gone.
    pub fn usage(&self) -> Result<Usage, GroupError> {
        limits::usage(&self.places)
    }

    /// Kills all processes in it, whatever they start meanwhile. None can be started in it afterwards.
    /// Does nothing where none are left.
    ///
    /// # Errors
    /// [`GroupError::Alive`] after `wait`; [`GroupError::File`].
    pub fn kill(&self, wait: Duration) -> Result<(), GroupError> {
        let start = Instant::now();
        if self.processes()?.is_empty() {
            return Ok(());
        }
        if_there(write(&self.places.pids.join("pids.max"), "0"))?;
        loop {
            self.signal_all()?;
            if self.processes()?.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= wait {
                return Err(GroupError::Alive { path: self.places.pids.clone() });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Removes its directories, which must be empty of processes. Does nothing where they are gone.
    ///
    /// # Errors
    /// [`GroupError::File`], with `EBUSY` if after `wait` something is left in it.
    pub fn remove(&self, wait: Duration) -> Result<(), GroupError> {
        let start = Instant::now();
        for directory in self.places.directories() {
            loop {
                match remove(directory) {
                    // The last ones may be on their way out.
                    Err(GroupError::File { source, .. })
                        if source.kind() == ErrorKind::ResourceBusy && start.elapsed() < wait =>
                    {
                        thread::sleep(LOOK_EVERY);
                    }
                    other => break other,
                }
            }?;
        }
        Ok(())
    }

    /// Kills what is in it and removes it, also what enters it meanwhile: a process enters one hierarchy of
    /// version 1 after the other, and may be on its way.
    ///
    /// # Errors
    /// As of [`Self::kill`] and [`Self::remove`], after `wait`.
    pub fn end(&self, wait: Duration) -> Result<(), GroupError> {
        let start = Instant::now();
        loop {
            let left = wait.saturating_sub(start.elapsed());
            self.kill(left)?;
            match self.remove(left.min(SETTLE)) {
                Err(GroupError::File { source, .. })
                    if source.kind() == ErrorKind::ResourceBusy && start.elapsed() < wait => {}
                other => return other,
            }
        }
    }

    fn signal_all(&self) -> Result<(), GroupError> {
        if self.places.version == Version::Two {
            let killed = write(&self.places.pids.join("cgroup.kill"), "1");
            if if_there(killed)?.is_some() {
                return Ok(());
            }
        }
        let processes: Vec<i32> = self.processes()?.into_iter().collect();
        for some in processes.chunks(HELD_MAX) {
            let hold = |pid: &i32| {
                let held = pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?;
                Some((*pid, held))
            };
            let held: Vec<_> = some.iter().filter_map(hold).collect();
            // An id that is still here now was so when its process was held: it is no stranger's.
            let still = self.processes()?;
            for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
                // It may have ended; the next look shows.
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
        Ok(())
    }

    /// Process ids in any of its directories: who is entering is not in all of them yet.
    pub(super) fn processes(&self) -> Result<BTreeSet<i32>, GroupError> {
        let mut found = BTreeSet::new();
        for directory in self.places.directories() {
            let path = directory.join("cgroup.procs");
            let unclear = |_| GroupError::file("read", &path)(ErrorKind::InvalidData.into());
            for line in if_there(read(&path))?.unwrap_or_default().lines() {
                found.insert(line.parse().map_err(unclear)?);
            }
        }
        Ok(found)
    }
}
