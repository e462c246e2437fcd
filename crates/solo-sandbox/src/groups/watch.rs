//! What a group uses, and how often it ran into its limits: read from descriptors that stay open when the
//! process that has them sees no control groups any more.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::Usage;

/// More than any of these files has.
const FILE_BYTES_MAX: usize = 8 << 10;

/// Open files of a group.
#[derive(Debug)]
pub struct Watch {
    memory: Option<File>,
    peak: Option<File>,
    cpu: Option<File>,
    cpu_stat: Option<File>,
    processes: Option<File>,
    oom: Option<File>,
    pids_events: Option<File>,
}

impl Watch {
    /// Opens what there is.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let first = |names: &[&str]| {
            let mut files =
                names.iter().flat_map(|name| paths.iter().map(move |path| path.join(name)));
            files.find_map(|file| File::open(file).ok())
        };
        Self {
            memory: first(&["memory.current", "memory.usage_in_bytes"]),
            peak: first(&["memory.peak", "memory.max_usage_in_bytes"]),
            // Of version 1 it may be in no directory of ours.
            cpu: first(&["cpuacct.usage"]),
            cpu_stat: first(&["cpu.stat"]),
            processes: first(&["pids.current"]),
            oom: first(&["memory.events", "memory.oom_control"]),
            pids_events: first(&["pids.events"]),
        }
    }

    /// Reads all of it. What cannot be told is 0.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let number = |file: &Option<File>| read(file).trim().parse::<u64>().ok();
        let cpu_stat = read(&self.cpu_stat);
        let cpu_micros = match &self.cpu {
            Some(_) => number(&self.cpu).map(|nanos| nanos / 1_000),
            None => field(&cpu_stat, "usage_usec"),
        };
        let throttled_micros = field(&cpu_stat, "throttled_usec")
            .or_else(|| field(&cpu_stat, "throttled_time").map(|nanos| nanos / 1_000));
        Usage {
            memory_bytes: number(&self.memory).unwrap_or_default(),
            memory_peak_bytes: number(&self.peak),
            cpu_micros: cpu_micros.unwrap_or_default(),
            throttled_micros: throttled_micros.unwrap_or_default(),
            processes: number(&self.processes).unwrap_or_default(),
            processes_refused: field(&read(&self.pids_events), "max").unwrap_or_default(),
            oom_kills: field(&read(&self.oom), "oom_kill").unwrap_or_default(),
        }
    }
}

/// The whole file, as it is now.
fn read(file: &Option<File>) -> String {
    let Some(file) = file else { return String::new() };
    let mut bytes = vec![0; FILE_BYTES_MAX];
    let count = file.read_at(&mut bytes, 0).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::{Group, GroupError};
    use super::*;

    #[test]
    fn both_versions_are_read_and_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let write = |files: &[(&str, &str)]| {
            for (file, text) in files {
                let path = at(file);
                std::fs::create_dir_all(path.parent().expect("below")).expect("made");
                std::fs::write(path, text).expect("written");
            }
        };
        let first = ["cpu", "cpuacct", "memory", "pids"].map(at);
        assert!(matches!(Group::at(&first), Err(GroupError::Lacking { .. })));
        write(&[
            ("cpu/cpu.shares", "1024\n"),
            ("cpu/cpu.stat", "throttled_time 3000\n"),
            ("cpuacct/cpuacct.usage", "12000\n"),
            ("memory/memory.limit_in_bytes", "9\n"),
            ("memory/memory.usage_in_bytes", "4096\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\noom_kill 1\n"),
            ("pids/pids.max", "max\n"),
            ("pids/pids.current", "2\n"),
            ("pids/pids.events", "max 7\n"),
            ("v2/memory.max", "max\n"),
            ("v2/memory.current", "4096\n"),
            ("v2/memory.events", "max 5\noom 1\noom_kill 1\n"),
            ("v2/cpu.stat", "usage_usec 12\nthrottled_usec 3\n"),
            ("v2/pids.current", "2\n"),
            ("v2/pids.events", "max 7\n"),
        ]);
        for directories in [&first[..], &[at("v2")]] {
            let found = Group::at(directories).expect("it is one");
            assert_eq!(found.directories().len(), directories.len());
            let usage = Watch::open(directories).usage();
            assert_eq!((usage.memory_bytes, usage.processes), (4_096, 2));
            assert_eq!((usage.oom_kills, usage.processes_refused), (1, 7));
            assert_eq!((usage.cpu_micros, usage.throttled_micros), (12, 3));
        }
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom 3\noom_kill 2\noom_kill_disable 0\n";
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "kill"), None);
    }
}
