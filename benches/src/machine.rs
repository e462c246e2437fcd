//! What the run ran on, and how busy that was.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use nix::sys::statfs::{self, FsType};
use serde::Serialize;

/// Tasks that want a processor, per processor, from which on figures are not to be trusted.
const BUSY_LOAD: f64 = 0.5;

/// Bytes of one kB in `/proc`.
const KB: f64 = 1_024.0;

/// The machine. What cannot be read is empty: a report without it is still one.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    version: &'static str,
    unix_seconds: u64,
    kernel: String,
    processors: usize,
    /// Of the directory with the temporary homes.
    file_system: String,
    /// Average of the last minute, before and after the run.
    load_before: f64,
    load_after: f64,
    /// Part of the processors' time that the machine's host gave to others during the run; 0 to 1. From
    /// some percent on, times of wake-ups and every p99 say more about the host than about anything here.
    stolen: f64,
    #[serde(skip)]
    began: ProcessorTime,
}

/// Time of all processors so far, in ticks.
#[derive(Debug, Clone, Copy, Default)]
struct ProcessorTime {
    all: f64,
    stolen: f64,
}

impl ProcessorTime {
    fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn of(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<f64> = ticks.filter_map(|word| word.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or_default() }
    }

    /// The part that was stolen between the two.
    fn stolen_until(self, end: Self) -> f64 {
        let all = end.all - self.all;
        if all > 0.0 { (end.stolen - self.stolen) / all } else { 0.0 }
    }
}

impl Machine {
    /// Looks at the machine before the run, whose homes will be in `directory`.
    pub(crate) fn look(directory: &Path) -> Self {
        let load = load();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            unix_seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            file_system: file_system(directory),
            load_before: load,
            load_after: load,
            stolen: 0.0,
            began: ProcessorTime::now(),
        }
    }

    /// Notes how busy it was when the run ended. The run itself is part of that.
    pub(crate) fn note_end(&mut self) {
        self.load_after = load();
        self.stolen = self.began.stolen_until(ProcessorTime::now());
    }

    /// What should make a reader doubt the figures.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let busy = BUSY_LOAD * crate::stats::float(self.processors);
        if self.load_before > busy {
            let load = self.load_before;
            doubts
                .push(format!("the machine is busy (load {load:.2}): only ratios mean something"));
        }
        if self.file_system == "tmpfs" {
            doubts.push("homes are on tmpfs: a durable write costs nothing; see --dir".to_owned());
        }
        doubts
    }

    /// One line.
    pub(crate) fn text(&self) -> String {
        format!(
            "solo {} on Linux {}, {} processors, homes on {}; load {:.2} before, {:.2} after; \
             {:.1} % of the time went to others on its host",
            self.version,
            self.kernel,
            self.processors,
            self.file_system,
            self.load_before,
            self.load_after,
            100.0 * self.stolen,
        )
    }
}

/// The memory of a process, in bytes: its own pages, and its share of those that it shares.
///
/// # Errors
/// It is gone.
pub(crate) fn pss(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes: f64 = line
        .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .with_context(|| format!("{path} has no Pss"))?;
    Ok(kilobytes * KB)
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn file_system(directory: &Path) -> String {
    let Ok(found) = statfs::statfs(directory) else { return String::new() };
    let known: [(FsType, &str); 5] = [
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlayfs"),
    ];
    let kind = found.filesystem_type();
    known
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or_else(|| format!("file system {:#x}", kind.0), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_part_of_all() {
        let before = ProcessorTime::of("cpu  100 0 50 800 10 0 0 40 7 7\ncpu0 1 2\n");
        let after = ProcessorTime::of("cpu  150 0 50 830 10 0 0 60 9 9\n");
        assert!((before.stolen_until(after) - 0.2).abs() < 1e-9);
        assert!(after.stolen_until(after).abs() < 1e-9);
        assert!(ProcessorTime::of("").stolen.abs() < 1e-9);
    }
}
