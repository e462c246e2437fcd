//! Where the group of this process lies: the table of mounts and `/proc/self/cgroup`, read together.
//!
//! Pure but for one look whether a directory is there.

use std::path::{Component, Path, PathBuf};

/// Controllers that limits need.
pub(crate) const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The directory of the group that a process is in, of version 1 in the hierarchy of `controller`, of
/// version 2 without one. None: such groups are not mounted.
///
/// `mounts` is a `mountinfo`, `own` the `cgroup` of a process in `/proc`. Where the group lies outside of
/// what is mounted, as it can in a container, the mount itself is taken for it.
pub(crate) fn own_group(mounts: &str, own: &str, controller: Option<&str>) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let mut controllers = controllers.split(',');
        controllers.any(|found| found == controller.unwrap_or_default()).then_some(group)
    });
    let mount = mounts.lines().filter_map(Mount::read).find(|mount| match controller {
        None => mount.kind == "cgroup2",
        Some(name) => mount.kind == "cgroup" && mount.options.split(',').any(|one| one == name),
    })?;
    Some(mount.directory(Path::new(group.unwrap_or("/"))))
}

/// A line of the table of mounts.
struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        let mut back = back.split(' ');
        Some(Self { root, point, kind: back.next()?, options: back.nth(1)? })
    }

    fn directory(self, group: &Path) -> PathBuf {
        let below = group.strip_prefix(&self.root).unwrap_or(Path::new(""));
        // A group above the root of a namespace is shown as `/..`.
        let goes_down = below.components().all(|part| matches!(part, Component::Normal(_)));
        let directory = self.point.join(below);
        if goes_down && directory.is_dir() { directory } else { self.point }
    }
}

/// Spaces, tabs, line ends and backslashes are three octal digits in the table.
fn unescape(word: &str) -> PathBuf {
    let mut parts = word.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => text.extend([char::from(code)].into_iter().chain(part[3..].chars())),
            None => text.extend(["\\", part]),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_own_group_is_found_by_controller_and_mount() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().join("a b");
        let group = |path: &str| {
            fs::create_dir_all(at.join(path)).expect("made");
            at.join(path)
        };
        let point = at.to_str().expect("text").replace(' ', "\\040");
        let mounts = [
            "25 30 0:23 / /sys rw - sysfs sysfs rw".to_owned(),
            format!("31 23 0:28 / {point}/cpu rw shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct"),
            format!("32 23 0:29 /box {point}/memory rw - cgroup cgroup rw,memory"),
            format!("33 23 0:30 / {point}/v2 rw - cgroup2 cgroup2 rw,nsdelegate"),
        ]
        .join("\n");
        let own = "9:name=systemd:/x\n4:memory:/box/in\n3:cpu,cpuacct:/a:b\n0::/c\n";
        let find = |own: &str, controller| own_group(&mounts, own, controller);
        assert_eq!(find(own, Some("cpuacct")), Some(at.join("cpu")), "it is not there");
        let shared = group("cpu/a:b");
        assert_eq!(find(own, Some("cpu")), Some(shared.clone()));
        assert_eq!(find(own, Some("cpuacct")), Some(shared));
        let inside = group("memory/in");
        assert_eq!(find(own, Some("memory")), Some(inside), "below the root of its mount");
        let elsewhere = find("4:memory:/other\n", Some("memory"));
        assert_eq!(elsewhere, Some(at.join("memory")), "outside of what is mounted");
        let above = find("0::/../cpu\n", None);
        assert_eq!(above, Some(at.join("v2")), "no way up");
        assert_eq!(find(own, None), Some(at.join("v2")));
        assert_eq!(find("", None), Some(at.join("v2")));
        assert_eq!(find(own, Some("pids")), None);
    }
}
