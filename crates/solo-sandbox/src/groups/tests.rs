//! On directories that look like control groups; and in version 2 of this machine, which needs no
//! controllers for all but limits. What limits do is tried in `tests/sandbox/groups.rs`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;

const NONE: Duration = Duration::ZERO;

/// Limits with a value each.
fn limits() -> Limits {
    Limits {
        memory_bytes: Some(1 << 20),
        memory_high_bytes: Some(1 << 19),
        processes: Some(9),
        cpu_weight: Some(200),
        cpu_percent: std::num::NonZeroU32::new(250),
    }
}

/// Directories that look like hierarchies, with the table that says where they are mounted.
struct Fake {
    directory: TempDir,
    mounts: String,
}

impl Fake {
    fn new(hierarchies: &[(&str, &str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let line = |(at, kind, options): &(&str, &str, &str)| {
            let at = directory.path().join(at);
            fs::create_dir_all(&at).expect("made");
            format!("1 2 0:3 / {} rw - {kind} none rw,{options}\n", at.display())
        };
        let mounts = hierarchies.iter().map(line).collect();
        Self { directory, mounts }
    }

    fn version_1() -> Self {
        let kind = |at, options| (at, "cgroup", options);
        Self::new(&[kind("cpu", "cpu,cpuacct"), kind("memory", "memory"), kind("pids", "pids")])
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Writes files of a directory, which is made.
    fn put(&self, at: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(self.path(at)).expect("made");
        for (name, text) in files {
            fs::write(self.path(at).join(name), text).expect("written");
        }
    }

    /// What was written last. The files of real groups have nothing behind that.
    fn check(&self, files: &[(&str, &str)]) {
        for (path, value) in files {
            let text = fs::read_to_string(self.path(path)).expect(path);
            assert!(text.starts_with(value), "{path}: {text:?}");
        }
    }
}

#[test]
fn limits_and_usage_in_the_words_of_version_1() {
    let fake = Fake::version_1();
    let places = Places::version_1(&fake.mounts, "").expect("mounted").below("x");
    assert_eq!(places.directories().len(), 3, "two controllers may share a hierarchy");
    let group = Group { places };
    fake.put(
        "pids/x",
        &[("pids.max", "-----"), ("pids.current", "3\n"), ("pids.events", "max 7\n")],
    );
    let used = [("memory.usage_in_bytes", "4096\n"), ("memory.max_usage_in_bytes", "8192\n")];
    fake.put("memory/x", &used);
    fake.put("memory/x", &[("memory.oom_control", "under_oom 0\noom_kill 2\n")]);
    let set = [("memory.limit_in_bytes", "------"), ("memory.memsw.limit_in_bytes", "-------")];
    fake.put("memory/x", &set);
    let set = [("cpu.shares", "------"), ("cpu.cfs_quota_us", "------")];
    fake.put("cpu/x", &set);
    fake.put("cpu/x", &[("cpu.stat", "nr_periods 1\nthrottled_time 3000\n")]);
    fake.put("cpu/x", &[("cpuacct.usage", "12000\n")]);
    group.set(&limits()).expect("set");
    fake.check(&[
        ("pids/x/pids.max", "9"),
        ("memory/x/memory.limit_in_bytes", "1048576"),
        ("memory/x/memory.memsw.limit_in_bytes", "1048576"),
        ("cpu/x/cpu.shares", "2048"),
        ("cpu/x/cpu.cfs_quota_us", "250000"),
    ]);
    assert!(!fake.path("memory/x/memory.swappiness").exists(), "no file is made");
    let usage = Usage {
        memory_bytes: 4_096,
        memory_peak_bytes: Some(8_192),
        cpu_micros: 12,
        throttled_micros: 3,
        processes: 3,
        processes_refused: 7,
        oom_kills: 2,
    };
    assert_eq!(group.usage().expect("read"), usage);
    group.set(&Limits::default()).expect("set");
    fake.check(&[
        ("pids/x/pids.max", "max"),
        ("memory/x/memory.limit_in_bytes", "-1"),
        ("cpu/x/cpu.shares", "1024"),
        ("cpu/x/cpu.cfs_quota_us", "-1"),
    ]);
    fs::remove_file(fake.path("pids/x/pids.max")).expect("removed");
    let error = group.set(&limits()).expect_err("a limit that nobody keeps is none");
    assert!(error.in_full().contains("pids/x/pids.max: No such file"), "{error}");
}

#[test]
fn limits_and_usage_in_the_words_of_version_2() {
    let fake = Fake::new(&[("x", "cgroup2", "")]);
    let group = Group { places: Places::version_2(&fake.path("x")) };
    assert_eq!(group.directories(), [fake.path("x")]);
    let open = ["memory.max", "memory.high", "pids.max", "cpu.weight", "cpu.max"];
    fake.put("x", &open.map(|name| (name, "")));
    fake.put("x", &[("memory.swap.max", "")]);
    fake.put("x", &[("memory.current", "4096\n"), ("memory.events", "oom 3\noom_kill 2\n")]);
    fake.put("x", &[("pids.current", "3\n"), ("pids.events", "max 7\n")]);
    fake.put("x", &[("cpu.stat", "usage_usec 12\nuser_usec 5\nthrottled_usec 3\n")]);
    group.set(&limits()).expect("set");
    fake.check(&[
        ("x/memory.max", "1048576"),
        ("x/memory.high", "524288"),
        ("x/memory.swap.max", "0"),
        ("x/pids.max", "9"),
        ("x/cpu.weight", "200"),
        ("x/cpu.max", "250000 100000"),
    ]);
    let usage = group.usage().expect("read");
    assert_eq!((usage.memory_bytes, usage.memory_peak_bytes), (4_096, None), "older than 5.19");
    assert_eq!((usage.cpu_micros, usage.throttled_micros, usage.oom_kills), (12, 3, 2));
    fake.put("x", &[("memory.current", "much")]);
    let error = group.usage().expect_err("no number").in_full();
    assert!(error.contains("memory.current: invalid data"), "{error}");
}

#[test]
fn a_name_is_no_path() {
    let fake = Fake::version_1();
    for name in ["", ".", "..", "a/b", "a.b", "A", "a b", "a\n", "ä", &"x".repeat(33)] {
        let refused = Groups::open_in(name, &fake.mounts, "").expect_err(name);
        assert!(matches!(refused, GroupError::Name { .. }), "{refused}");
    }
    let top = Places::version_1(&fake.mounts, "").expect("mounted").below("solo-x");
    let groups = Groups { top, moved: None };
    let refused = groups.create("../../x", &Limits::default()).expect_err("a path");
    assert!(matches!(refused, GroupError::Name { .. }), "{refused}");
    assert_eq!(fs::read_dir(fake.path("pids")).expect("there").count(), 0, "nothing was made");
}

#[test]
fn the_best_version_is_taken_and_a_refusal_says_why() {
    let refused = |mounts: &str| {
        let error = Groups::open_in("x", mounts, "").expect_err("nothing usable");
        assert!(!error.remedy().is_empty());
        error.to_string()
    };
    let nothing = refused("");
    assert!(nothing.contains("version 1: without the controllers "), "{nothing}");

    let both = [("v2", "cgroup2", "x"), ("all", "cgroup", "cpu,cpuacct,memory,pids")];
    let fake = Fake::new(&both);
    fake.put("v2", &[("cgroup.controllers", "hugetlb memory\n")]);
    let groups = Groups::open_in("x", &fake.mounts, "").expect("version 1 is there");
    assert_eq!(groups.top.memory, fake.path("all/solo-x"));
    groups.remove(NONE).expect("removed");
    assert!(!fake.path("all/solo-x").exists());
    let lacking = refused(fake.mounts.lines().next().expect("a line"));
    assert!(lacking.contains("version 2: without the controllers cpu, pids;"), "{lacking}");

    // The root of version 2 may have processes.
    let control =
        [("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "cpu\n")];
    fake.put("v2", &control);
    fake.put("v2/solo-x", &[("cgroup.subtree_control", "")]);
    let groups = Groups::open_in("x", &fake.mounts, "").expect("version 2 is there");
    assert_eq!(groups.top.memory, fake.path("v2/solo-x"));
    fake.check(&[("v2/cgroup.subtree_control", "+memory +pids")]);
    fake.check(&[("v2/solo-x/cgroup.subtree_control", "+cpu +memory +pids")]);

    // Any other must be left by all processes.
    let own = "0::/unit\n";
    fake.put("v2/unit", &control);
    fake.put("v2/unit", &[("cgroup.type", "domain\n"), ("cgroup.procs", "1\n")]);
    let v2 = fake.mounts.lines().next().expect("a line");
    let alone = Groups::open_in("x", v2, own).expect_err("others are there");
    assert!(matches!(alone, GroupError::NotAlone { .. }), "{alone}");
    assert!(alone.remedy().contains("Delegate=yes") && !fake.path("v2/unit/solo.heart").exists());

    // Who was moved already finds the group above.
    fake.put("v2/unit/solo.heart", &[]);
    fake.put("v2/unit/solo-x", &[("cgroup.subtree_control", "")]);
    let groups = Groups::open_in("x", v2, "0::/unit/solo.heart\n").expect("there");
    assert_eq!(groups.top.memory, fake.path("v2/unit/solo-x"));
}

/// Where a process of the test below is told its group.
const GROUP: &str = "SOLO_TEST_VERSION_2";

/// As an ordinary delegated group is: not the root, with one process.
#[test]
fn version_2_makes_way_kills_and_leaves_nothing() {
    if let Some(group) = std::env::var_os(GROUP) {
        return in_version_2(Path::new(&group));
    }
    let read = |file| fs::read_to_string(file).expect("there");
    let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    let made = own_group(&mounts, &own, None).map(|own| {
        let group = own.join(format!("solo-test-{}", std::process::id()));
        (fs::create_dir(&group), group)
    });
    let Some((Ok(()), group)) = made else {
        // Not mounted, or not this user's: then Solo has no groups of version 2 either.
        if let Ok(groups) = Groups::open(&format!("test-{}", std::process::id())) {
            assert_eq!(groups.top.version, Version::One);
            groups.remove(NONE).expect("removed");
        }
        return;
    };
    let group = Directory(group);
    let output = Command::new("sh")
        .args(["-c", "echo 0 > \"$1/cgroup.procs\" && exec \"$2\" --exact \"$3\""])
        .arg("sh")
        .arg(&group.0)
        .arg(std::env::current_exe().expect("a path"))
        .arg("groups::tests::version_2_makes_way_kills_and_leaves_nothing")
        .env(GROUP, &group.0)
        .output()
        .expect("the test runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let left = fs::read_dir(&group.0).expect("there").flatten();
    assert_eq!(left.filter(|entry| entry.path().is_dir()).count(), 0);
}

fn in_version_2(own: &Path) {
    // Without controllers there are no limits, but all the rest.
    let there = fs::read_to_string(own.join("cgroup.controllers")).expect("there");
    let controllers: Vec<&str> = there.split_whitespace().collect();
    let other = Sleeper::new("exec sleep 60", &[]);
    let alone = open_version_2(own, &controllers).expect_err("not alone");
    assert!(matches!(alone, GroupError::NotAlone { .. }), "{alone}");
    drop(other);
    let (group, moved) = open_version_2(own, &controllers).expect("alone");
    assert_eq!(group, own);
    let now = fs::read_to_string("/proc/self/cgroup").expect("there");
    assert!(now.contains("/solo.heart\n"), "{now}");
    let places = Places::version_2(own).below("solo-x");
    places.make().expect("made");
    pass_on(&places.memory, &controllers).expect("passed on");
    let passed = fs::read_to_string(places.memory.join("cgroup.subtree_control")).expect("there");
    assert_eq!(passed, there);

    let group = Group { places: places.below("cell") };
    group.places.make().expect("made");
    // One of them leaves its parents and their session.
    let script = "echo 0 > \"$1/cgroup.procs\"; setsid sleep 60 & sleep 60 & wait";
    let mut left = Sleeper::new(script, &group.directories());
    let start = Instant::now();
    while group.processes().expect("read").len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(10), "it starts others");
    }
    assert!(group.remove(NONE).is_err(), "there are processes in it");
    let groups = Groups { top: places, moved };
    assert_eq!(groups.sweep(Duration::from_secs(5)).expect("swept"), 1);
    assert!(left.0.try_wait().expect("looked").is_some_and(|status| !status.success()));
    groups.remove(Duration::from_secs(5)).expect("removed");
    let now = fs::read_to_string("/proc/self/cgroup").expect("there");
    assert!(!now.contains("solo.heart") && !own.join("solo.heart").exists(), "{now}");
}

/// A process that is ended with the test, also if it fails.
struct Sleeper(Child);

impl Sleeper {
    fn new(script: &str, directories: &[PathBuf]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(directories);
        // Nothing that it starts keeps a pipe open on which somebody waits.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("started"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A control group that is killed and removed with the test, also if it fails.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let groups = Groups { top: Places::version_2(&self.0), moved: None };
        let _ = Group { places: groups.top.below("solo-x").below("cell") }.kill(LEFT_WAIT);
        let _ = Group { places: groups.top.below("solo-x").below("cell") }.remove(LEFT_WAIT);
        let _ = groups.sweep(Duration::from_secs(1));
        let _ = Group { places: groups.top.clone() }.kill(LEFT_WAIT);
        let _ = groups.remove(Duration::from_secs(1));
    }
}
