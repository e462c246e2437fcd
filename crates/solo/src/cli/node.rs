//! What the file system tells of a node: its addresses, and whether its processes live.
//!
//! Reads `run/addresses.json` and `/proc`; asks nobody and changes nothing.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest `addresses.json`: the real one has a few hundred bytes.
const ADDRESSES_BYTES_MAX: u64 = 64 << 10;

/// Where a node listens, as its heart wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) api: String,
    pub(crate) api_socket: String,
    pub(crate) gateway: String,
    pub(crate) metrics: String,
    pub(crate) heart_pid: u32,
    #[serde(default)]
    pub(crate) version: String,
}

impl Addresses {
    /// Reads the addresses of the node at `home`; none if there is no node, or had been none.
    pub(crate) fn read(home: &Path) -> Option<Self> {
        let path = home.join("run").join("addresses.json");
        if fs::metadata(&path).ok()?.len() > ADDRESSES_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// A process, told from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    start_ticks: u64,
}

impl Process {
    /// Finds a process; none if it has ended, also if nobody has taken notice yet.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.ended).then_some(Self { pid, start_ticks: stat.start_ticks })
    }

    /// Whether it is still the same one.
    pub(crate) fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

/// One process of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NodeProcess {
    pub(crate) pid: u32,
    /// `heart`, `kernel`, `gateway`, `cell wasm` or `cell compiler`.
    pub(crate) role: String,
    /// Resident memory; none where it cannot be read.
    pub(crate) memory_bytes: Option<u64>,
}

/// The heart and its children, by id.
pub(crate) fn processes(heart: u32) -> Vec<NodeProcess> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut processes: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .filter(|(pid, stat)| !stat.ended && (*pid == heart || stat.parent == heart))
        .map(|(pid, _)| NodeProcess {
            pid,
            role: if pid == heart { "heart".to_owned() } else { role(pid) },
            memory_bytes: memory_bytes(pid),
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// The role, from the command line that the heart wrote.
fn role(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("cell"), Some(kind)) => format!("cell {kind}"),
        (Some(role), _) if !role.is_empty() => role.to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ended: bool,
    parent: u32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See proc_pid_stat(5). The second field is the name, which may hold anything; so the fields
    /// are counted from the last parenthesis, behind which the third one follows.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            ended: matches!(field(3)?, "Z" | "X"),
            parent: field(4)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_a_state() {
        let text = "7 (x) Z 1 (y)) S 42 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        let expected = Stat { ended: false, parent: 42, start_ticks: 123_456 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (x) S 1"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let process = Process::find(std::process::id()).expect("alive");
        assert!(process.is_alive());
        let other = Process { start_ticks: process.start_ticks + 1, ..process };
        assert!(!other.is_alive());
        assert!(processes(std::process::id()).iter().any(|process| process.role == "heart"));
    }

    #[test]
    fn a_process_that_nobody_has_reaped_has_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while Process::find(child.id()).is_some() {
            assert!(std::time::Instant::now() < deadline, "it ends");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().expect("reaped");
    }
}
