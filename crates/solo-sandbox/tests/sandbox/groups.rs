//! Control groups of this machine: what they bound, count and end. Where it has none that Solo may use, each
//! of these tests checks that this is said instead.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use solo_sandbox::{Group, GroupError, Groups, Layer, Limits, State};

use crate::inside::{Inside, text};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_process_in_a_group_is_counted", a_process_in_a_group_is_counted),
    ("processes_beyond_the_limit_are_not_started", processes_beyond_the_limit_are_not_started),
    ("who_takes_too_much_memory_is_killed", who_takes_too_much_memory_is_killed),
    ("a_quota_of_processors_throttles", a_quota_of_processors_throttles),
    ("a_tree_is_killed_whatever_it_forked", a_tree_is_killed_whatever_it_forked),
    ("what_a_former_one_left_is_swept", what_a_former_one_left_is_swept),
    (
        "what_is_inside_neither_sees_nor_leaves_its_group",
        what_is_inside_neither_sees_nor_leaves_its_group,
    ),
];

/// Generous, because test machines are busy.
const PATIENCE: Duration = Duration::from_secs(10);

const MIB: u64 = 1 << 20;

/// Groups of a test, gone with it.
pub(crate) struct Node {
    groups: Option<Groups>,
    name: String,
}

impl Node {
    /// None where there are no groups to be had, which is checked to be said.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{count}", std::process::id());
        match Groups::open(&name) {
            Ok(groups) => Some(Self { groups: Some(groups), name }),
            Err(error) => {
                let there = |name| {
                    let report = solo_sandbox::detect();
                    report.get(name).is_some_and(|item| item.state == State::Available)
                };
                let root = nix::unistd::geteuid().is_root();
                let alone = !matches!(error, GroupError::NotAlone { .. });
                assert!(!(root && alone && (there("cgroup_v1") || there("cgroup_v2"))), "{error}");
                assert!(!error.to_string().is_empty() && error.remedy().contains("Delegate=yes"));
                None
            }
        }
    }

    fn groups(&self) -> &Groups {
        self.groups.as_ref().expect("until the end")
    }

    pub(crate) fn create(&self, limits: &Limits) -> Group {
        self.groups().create("cell", limits).expect("made")
    }

    /// Ends in order, and checks that nothing is left anywhere.
    pub(crate) fn end(mut self) {
        self.groups.take().expect("until the end").remove(PATIENCE).expect("removed");
        let find = Command::new("find")
            .args(["/sys/fs/cgroup", "-name"])
            .arg(format!("solo-{}", self.name))
            .output();
        assert_eq!(text(&find.expect("find runs").stdout), "");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is to be said about a test that failed already.
        let _ = self.groups.take().map(|groups| groups.remove(PATIENCE));
    }
}

/// Starts a shell that enters a group and runs `script`.
fn start(group: &Group, script: &str) -> Child {
    let enter = "for d in \"$@\"; do if [ -e \"$d/tasks\" ]; then f=tasks; else f=cgroup.procs; fi; \
                 echo 0 > \"$d/$f\" || exit 99; done; ";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{enter}{script}"), "sh"]).args(group.directories());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("started")
}

/// What a script writes in a group.
fn run(group: &Group, script: &str) -> (Option<i32>, String) {
    let output = start(group, script).wait_with_output().expect("waited");
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn alive(pid: i32) -> bool {
    // Those that nobody reaped yet have no command line.
    kill(Pid::from_raw(pid), None).is_ok()
        && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn a_process_in_a_group_is_counted() {
    let Some(node) = Node::new() else { return };
    let group = node.create(&Limits::default());
    assert_eq!(group.usage().expect("read").processes, 0);
    let mut child = start(&group, "head -c 20000000 /dev/zero | tail -c 20000000 | sleep 60");
    let usage = || group.usage().expect("read");
    wait_until("processes and memory", || {
        usage().processes >= 3 && usage().memory_peak_bytes.is_none_or(|peak| peak > 4 * MIB)
    });
    assert!(usage().memory_bytes > 0 && usage().cpu_micros > 0, "{:?}", usage());
    assert_eq!((usage().oom_kills, usage().processes_refused), (0, 0));
    group.kill(PATIENCE).expect("killed");
    assert!(!child.wait().expect("reaped").success());
    wait_until("all are reaped", || usage().processes == 0);
    group.remove(PATIENCE).expect("removed");
    assert!(group.directories().iter().all(|directory| !directory.exists()));
    group.kill(PATIENCE).expect("nothing to do");
    group.remove(PATIENCE).expect("nothing to do");
    assert!(group.usage().is_err());
    node.end();
}

fn processes_beyond_the_limit_are_not_started() {
    let Some(node) = Node::new() else { return };
    let group = node.create(&Limits { processes: Some(3), ..Limits::default() });
    let (_, told) = run(&group, "s() { sleep 60 >/dev/null 2>&1 & }; s; s; s; s; echo all");
    assert!(told.to_lowercase().contains("fork") && !told.contains("all"), "{told}");
    assert!(group.usage().expect("read").processes_refused >= 1);
    group.kill(PATIENCE).expect("killed");
    group.set(&Limits::default()).expect("widened");
    let (code, told) = run(&group, "sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait; echo all");
    assert_eq!((code, &*told), (Some(0), "all\n"));
    node.end();
}

fn who_takes_too_much_memory_is_killed() {
    let Some(node) = Node::new() else { return };
    let group = node.create(&Limits { memory_bytes: Some(32 * MIB), ..Limits::default() });
    let mut child = start(&group, "exec dd if=/dev/zero of=/dev/null bs=256M count=1");
    assert_eq!(child.wait().expect("reaped").code(), None, "killed by a signal");
    let usage = group.usage().expect("read");
    assert!(usage.oom_kills >= 1, "{usage:?}");
    assert!(usage.memory_peak_bytes.is_none_or(|peak| peak <= 33 * MIB), "{usage:?}");
    group.set(&Limits { memory_bytes: Some(512 * MIB), ..Limits::default() }).expect("widened");
    let (code, told) = run(&group, "exec dd if=/dev/zero of=/dev/null bs=256M count=1 2>&1");
    assert_eq!(code, Some(0), "{told}");
    node.end();
}

fn a_quota_of_processors_throttles() {
    let Some(node) = Node::new() else { return };
    let limits =
        Limits { cpu_percent: NonZeroU32::new(10), cpu_weight: Some(1), ..Limits::default() };
    let group = node.create(&limits);
    let mut child = start(&group, "while :; do :; done");
    let begin = Instant::now();
    wait_until("throttled", || group.usage().is_ok_and(|usage| usage.throttled_micros > 300_000));
    let (used, time) = (group.usage().expect("read").cpu_micros, begin.elapsed());
    // A tenth; the first period may begin before the quota is looked at.
    assert!(Duration::from_micros(used) < time / 2, "{used} us in {time:?}");
    group.kill(PATIENCE).expect("killed");
    child.wait().expect("reaped");
    node.end();
}

fn a_tree_is_killed_whatever_it_forked() {
    let Some(node) = Node::new() else { return };
    let group = node.create(&Limits { processes: Some(64), ..Limits::default() });
    // One that has left its parents and its session, and one that forks as fast as it can.
    let script = "(setsid sh -c 'echo $$; exec >/dev/null 2>&1; sleep 60 & while :; do sh -c : & done' &) ; exit 0";
    let output = start(&group, script).wait_with_output().expect("waited");
    let orphan: i32 = text(&output.stdout).trim().parse().expect("its process id");
    assert!(alive(orphan));
    let refused = group.remove(Duration::ZERO).expect_err("there is somebody");
    assert!(matches!(refused, GroupError::File { action: "remove", .. }), "{refused}");
    group.kill(PATIENCE).expect("killed");
    assert!(!alive(orphan));
    wait_until("all are reaped", || group.usage().is_ok_and(|usage| usage.processes == 0));
    let (code, _) = run(&group, "(:)");
    assert_ne!(code, Some(0), "nothing starts in it any more");
    group.remove(PATIENCE).expect("removed");
    node.end();
}

fn what_a_former_one_left_is_swept() {
    let Some(mut node) = Node::new() else { return };
    let group = node.create(&Limits::default());
    let mut child = start(&group, "exec sleep 60");
    let other = node.groups().create("other", &Limits::default()).expect("made");
    // As if it had been killed: dropped, and opened anew by another.
    drop(node.groups.take());
    let groups = Groups::open(&node.name).expect("taken over");
    assert_eq!(groups.sweep(PATIENCE).expect("swept"), 2);
    assert!(!child.wait().expect("reaped").success());
    for directory in group.directories().iter().chain(&other.directories()) {
        assert!(!directory.exists(), "{}", directory.display());
    }
    // One that is made again is new: nothing that was counted before is counted.
    let mut again = groups.create("cell", &Limits::default()).expect("made");
    let mut left = start(&again, "exec sleep 60");
    wait_until("it entered", || again.usage().is_ok_and(|usage| usage.processes == 1));
    again = groups.create("cell", &Limits::default()).expect("made anew");
    assert!(!left.wait().expect("reaped").success(), "what was left has ended");
    assert_eq!(again.usage().expect("read").processes, 0);
    node.groups = Some(groups);
    node.end();
}

fn what_is_inside_neither_sees_nor_leaves_its_group() {
    let Some(node) = Node::new() else { return };
    let group = node.create(&Limits { processes: Some(5), ..Limits::default() });
    let inside = Inside { groups: group.directories(), ..Inside::default() };
    let told = inside.sh("cat /proc/self/cgroup; ls /sys 2>&1; for k in cgroup cgroup2; do \
         mount -t $k none /tmp 2>/dev/null && echo mounted; done; :");
    let own = format!("/solo-{}/cell", node.name);
    assert!(!told.contains(&own) && told.contains(":/\n"), "its group is the root to it: {told}");
    assert!(told.contains("cannot access '/sys'") && !told.contains("mounted"), "{told}");
    let mut child = inside.start(&["/bin/sleep", "60"]);
    wait_until("it is counted", || group.usage().is_ok_and(|usage| usage.processes == 1));
    let pid = child.id();
    let seen = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    assert_eq!(seen.lines().filter(|line| line.ends_with(&own)).count(), group.directories().len());
    group.kill(PATIENCE).expect("killed");
    assert!(!child.wait().expect("reaped").success());

    // Who cannot enter does not run.
    let nowhere = Inside { groups: vec![PathBuf::from("/nowhere")], ..Inside::default() };
    let output = nowhere.run(&["/bin/true"]);
    assert_eq!(output.status.code(), Some(125));
    let told = text(&output.stderr);
    assert!(told.contains("failed to enter /nowhere (control_group)"), "{told}");
    let without = Inside { without: vec![Layer::ControlGroup], ..nowhere };
    assert!(without.run(&["/bin/true"]).status.success(), "unless the operator does without");
    node.end();
}
