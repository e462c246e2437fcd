//! What there is of a Solo on the machine: processes, mounts, control groups, files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::Pid;

use crate::solo::{Solo, eventually};
use crate::stats::{Samples, float};

/// The pool is full and nobody ends any more, if nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(500);

/// How many of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Census(BTreeMap<&'static str, usize>);

impl Census {
    /// Counts.
    pub(super) fn take(solo: &Solo) -> anyhow::Result<Self> {
        let home = solo.home();
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("failed to read mounts")?;
        Ok(Self(BTreeMap::from([
            ("processes", solo.descendants().len()),
            ("mounts", mounts.lines().count()),
            (
                "control groups",
                directories(Path::new("/sys/fs/cgroup"), &solo_heart::control_group_name(home)),
            ),
            ("sockets and other files of cells", files(&home.join("run"))),
        ])))
    }

    /// The same, once nothing changes any more.
    pub(super) async fn settled(solo: &Solo) -> anyhow::Result<Self> {
        eventually("quiet", async || {
            let first = Self::take(solo)?;
            tokio::time::sleep(QUIET).await;
            Ok((Self::take(solo)? == first).then_some(first))
        })
        .await
    }

    /// What there is more of than in `before`.
    pub(super) fn beyond(&self, before: &Self) -> Vec<String> {
        let more = self.0.iter().filter_map(|(what, count)| {
            let more = count.saturating_sub(before.0.get(what).copied().unwrap_or_default());
            (more > 0).then(|| format!("{more} {what}"))
        });
        more.collect()
    }
}

/// What each init of a program's sandbox has for itself. Its program has its own.
pub(super) fn memory_of_inits(home: &Path) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    let home = home.display().to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if !line.contains("\0cell\0process\0") || !line.contains(&home) {
            continue;
        }
        let Ok(rollup) = fs::read_to_string(entry.path().join("smaps_rollup")) else { continue };
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        let kib = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
        samples.push(float(kib.sum::<usize>() * 1_024));
    }
    Ok(samples)
}

/// Descendants of a process.
pub(crate) fn descendants(of: Pid) -> Vec<i32> {
    let mut parents = BTreeMap::<i32, Vec<i32>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        if let Some(parent) = parent {
            parents.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![of.as_raw()]);
    while let Some(pid) = next.pop() {
        let children = parents.remove(&pid).unwrap_or_default();
        found.extend(&children);
        next.extend(children);
    }
    found
}

/// Directories below `path` in whose path is `name`.
fn directories(path: &Path, name: &str) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let found = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let counted = found.map(|entry| {
        let is_one = entry.path().to_string_lossy().contains(name);
        usize::from(is_one) + directories(&entry.path(), name)
    });
    counted.sum()
}

fn files(below: &Path) -> usize {
    let entries = fs::read_dir(below).into_iter().flatten().flatten();
    let counted = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => 1 + files(&entry.path()),
        _ => 1,
    });
    counted.sum()
}
