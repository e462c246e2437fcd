//! What a group may use, in the words of either version; and what it does use.

use std::fs::{File, OpenOptions};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::files::{if_there, keyed, number};
use super::{GroupError, Places, Version};

/// In which a quota of processors counts. The system's own default.
const PERIOD_MICROS: u64 = 100_000;

/// What the processes of a group may use together. `None`: as much as the groups above allow.
///
/// Nothing of a group is swapped, as far as the kernel has a switch for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, with files in the cache. Of who takes more the system kills the process that it thinks fit.
    pub memory_bytes: Option<u64>,
    /// Memory from which on the group is slowed down and has to give some back. Version 1 has no such thing.
    pub memory_high_bytes: Option<u64>,
    /// Processes and threads. More cannot be started.
    pub processes: Option<u64>,
    /// Share of the processors if others want them too: 1 to 10,000, and 100 where nothing is said. What
    /// is outside counts as the nearest.
    pub cpu_weight: Option<u32>,
    /// Hundredths of one processor, in each tenth of a second; 250 are two and a half processors.
    pub cpu_percent: Option<NonZeroU32>,
}

/// What the processes of a group use, or have used since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, with files in the cache.
    pub memory_bytes: u64,
    /// The most that it was; None where the kernel does not count it.
    pub memory_peak_bytes: Option<u64>,
    /// Processor time.
    pub cpu_micros: u64,
    /// Time that it had to wait because of [`Limits::cpu_percent`].
    pub throttled_micros: u64,
    /// Processes and threads now, with those that ended and whose end nobody has looked at.
    pub processes: u64,
    /// Times that [`Limits::processes`] kept it from starting another.
    pub processes_refused: u64,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
}

/// The open files in which the limits of a group are.
#[derive(Debug)]
pub struct Settings {
    places: Places,
    /// As [`settings`] names them; none for those that the kernel may be without, and is.
    files: Vec<Option<File>>,
}

impl Settings {
    pub(super) fn open(places: Places) -> Result<Self, GroupError> {
        let open = |(path, _, optional): (PathBuf, String, bool)| {
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.map_err(GroupError::file("open", &path));
            if optional { if_there(file) } else { file.map(Some) }
        };
        let files: Result<_, _> =
            settings(&places, &Limits::default()).into_iter().map(open).collect();
        Ok(Self { files: files?, places })
    }

    /// Sets all limits, those to "none" too that are not given.
    ///
    /// # Errors
    /// As of [`super::Group::set`].
    pub fn set(&self, limits: &Limits) -> Result<(), GroupError> {
        for ((path, value, optional), file) in
            settings(&self.places, limits).iter().zip(&self.files)
        {
            let Some(file) = file else { continue };
            let written = file.write_all_at(value.as_bytes(), 0);
            let written = written.map_err(GroupError::file("write", path));
            if *optional { if_there(written).map(drop) } else { written }?;
        }
        Ok(())
    }
}

/// Files with what is to be in them, in order; and whether the kernel may be without them. They are the same
/// ones for all limits.
fn settings(places: &Places, limits: &Limits) -> Vec<(PathBuf, String, bool)> {
    let (memory, cpu, pids) = (&places.memory, &places.cpu, &places.pids);
    let line = |directory: &Path, file: &str, value: String| (directory.join(file), value, false);
    let maybe =
        |directory: &Path, file: &str, value: &str| (directory.join(file), value.to_owned(), true);
    let or = |value: Option<u64>, none: &str| value.map_or(none.to_owned(), |v| v.to_string());
    let weight = u64::from(limits.cpu_weight.unwrap_or(100).clamp(1, 10_000));
    let quota = limits.cpu_percent.map(|percent| u64::from(percent.get()) * PERIOD_MICROS / 100);
    let mut all = vec![line(pids, "pids.max", or(limits.processes, "max"))];
    match places.version {
        Version::Two => all.extend([
            line(memory, "memory.max", or(limits.memory_bytes, "max")),
            line(memory, "memory.high", or(limits.memory_high_bytes, "max")),
            maybe(memory, "memory.swap.max", "0"),
            line(cpu, "cpu.weight", weight.to_string()),
            line(cpu, "cpu.max", format!("{} {PERIOD_MICROS}", or(quota, "max"))),
        ]),
        Version::One => {
            let most = or(limits.memory_bytes, "-1");
            all.extend([
                // With swap it is never less than without, neither before nor after.
                maybe(memory, "memory.memsw.limit_in_bytes", "-1"),
                line(memory, "memory.limit_in_bytes", most.clone()),
                maybe(memory, "memory.memsw.limit_in_bytes", &most),
                maybe(memory, "memory.swappiness", "0"),
                // A default group has 1024 here and 100 in version 2.
                line(cpu, "cpu.shares", (weight * 1_024 / 100).max(2).to_string()),
                line(cpu, "cpu.cfs_quota_us", or(quota, "-1")),
            ]);
        }
    }
    all
}

/// Reads what a group uses.
pub(super) fn usage(places: &Places) -> Result<Usage, GroupError> {
    let Places { version, memory, cpu, accounts, pids } = places;
    let processes = number(&pids.join("pids.current"))?;
    let processes_refused = keyed(&pids.join("pids.events"), "max")?;
    Ok(match version {
        Version::Two => Usage {
            memory_bytes: number(&memory.join("memory.current"))?,
            memory_peak_bytes: if_there(number(&memory.join("memory.peak")))?,
            cpu_micros: keyed(&accounts.join("cpu.stat"), "usage_usec")?,
            throttled_micros: keyed(&cpu.join("cpu.stat"), "throttled_usec")?,
            processes,
            processes_refused,
            oom_kills: keyed(&memory.join("memory.events"), "oom_kill")?,
        },
        Version::One => Usage {
            memory_bytes: number(&memory.join("memory.usage_in_bytes"))?,
            memory_peak_bytes: Some(number(&memory.join("memory.max_usage_in_bytes"))?),
            cpu_micros: number(&accounts.join("cpuacct.usage"))? / 1_000,
            throttled_micros: keyed(&cpu.join("cpu.stat"), "throttled_time")? / 1_000,
            processes,
            processes_refused,
            oom_kills: keyed(&memory.join("memory.oom_control"), "oom_kill")?,
        },
    })
}
