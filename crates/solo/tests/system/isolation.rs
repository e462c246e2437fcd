//! Cells are shut in (SPEC C3, P3): what each is, what it sees, and that it sees nothing of others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use solo_heart::control_group_name;
use solo_sandbox::Groups;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};
use crate::tenants::token_of;

/// What `/proc/PID/status` says of a process.
fn status(pid: i32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key}")).trim().to_owned()
}

/// The files that a process can name, without those that are not the machine's.
fn files(pid: i32) -> BTreeSet<PathBuf> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mut found = BTreeSet::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("readable to root").flatten() {
            let path = entry.path();
            let at = Path::new("/").join(path.strip_prefix(&root).expect("below"));
            if at == Path::new("/proc") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else {
                found.insert(at);
            }
        }
    }
    found
}

/// C3: each layer holds for each kind of cell, seen from outside.
#[tokio::test]
async fn every_cell_is_shut_in() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("echo", guest_bytes("worker"))).await.expect("deployed");
    let mut users = BTreeSet::new();
    for cell in ["wasm-default", "compiler-0"] {
        let pid = solo.pid(&format!("cells/{cell}")).await;
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, capabilities), "0000000000000000", "{cell}: {capabilities}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{cell}");
        assert_eq!(status(pid, "Seccomp"), "2", "{cell}");
        assert_eq!(status(pid, "NSpid").split_whitespace().last(), Some("1"), "{cell}");
        assert_eq!(status(pid, "Groups"), "", "{cell}");
        let ids: BTreeSet<String> =
            status(pid, "Uid").split_whitespace().map(str::to_owned).collect();
        let user: u32 = ids.first().expect("a user").parse().expect("a number");
        assert!(ids.len() == 1 && user >= 1_900_000_000, "{cell}: {ids:?}");
        users.insert(user);
        check_group(&solo, pid, cell);
        for kind in ["user", "pid", "mnt", "ipc", "uts", "net", "cgroup"] {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect(kind);
            assert_ne!(of(&pid.to_string()), of("self"), "{cell}: {kind}");
        }
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
        let core =
            limits.lines().find(|line| line.starts_with("Max core file size")).expect("core");
        assert!(core.contains("0                    0"), "{cell}: {core}");
    }
    assert_eq!(users.len(), 2, "each cell is a user of its own");

    // What they can name: the compiled code of the tenant; the compiler nothing of anybody's, between jobs.
    let wasm = files(solo.pid("cells/wasm-default").await);
    let compiled = solo.home().join("tenants/default/compiled");
    let (own, other): (Vec<_>, Vec<_>) = wasm.iter().partition(|path| path.starts_with(&compiled));
    assert_eq!(own.len(), 1, "{wasm:?}");
    assert!(other.iter().all(|path| is_everybodys(path)), "{wasm:?}");
    let compiler = files(solo.pid("cells/compiler-0").await);
    assert!(compiler.iter().all(|path| is_everybodys(path)), "{compiler:?}");
    let home = solo.home().to_owned();
    solo.down().await;
    assert_eq!(groups(&home), Vec::<PathBuf>::new(), "the heart removes them");
}

/// What every such cell can name: runtimes of languages, which came with Solo.
fn is_everybodys(path: &Path) -> bool {
    let runtimes = Path::new(env!("CARGO_BIN_EXE_solo")).parent().and_then(Path::parent);
    let runtimes = runtimes.expect("target directory").join("runtimes");
    path == Path::new("/dev/null") || path.starts_with(runtimes)
}

/// Where this machine has control groups for Solo, a cell is in its own, in each hierarchy; else in none.
fn check_group(solo: &Solo, pid: i32, cell: &str) {
    let path = format!("/solo-{}/{cell}", control_group_name(solo.home()));
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let entered = own.lines().filter(|line| line.ends_with(&path)).count();
    let there = groups(solo.home()).iter().filter(|group| group.ends_with(&path[1..])).count();
    assert_eq!(entered, there, "{cell}: {own}");
    match Groups::open(&format!("test-{}", std::process::id())) {
        Ok(groups) => {
            groups.remove(Duration::from_secs(1)).expect("removed");
            assert!(entered > 0, "{cell}: {own}");
        }
        Err(error) => assert!(!error.remedy().is_empty(), "{error}"),
    }
}

/// Directories of control groups on this machine that are a home's, or below those.
pub(crate) fn groups(home: &Path) -> Vec<PathBuf> {
    let path = format!("*/solo-{}*", control_group_name(home));
    let find = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-path", &path]).output();
    let found = String::from_utf8(find.expect("find runs").stdout).expect("text");
    found.lines().map(PathBuf::from).collect()
}

/// P3: tenants' cells show their own tenant's code only, and no compiler goes from one tenant to the next.
#[tokio::test]
async fn what_is_one_tenants_no_other_cell_sees() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("echo", guest_bytes("worker"))).await.expect("deployed");
    let first = solo.pid("cells/compiler-0").await;
    let mut second = BTreeSet::new();
    for tenant in ["red", "blue"] {
        let token = token_of(&solo, tenant, &[]);
        let client = crate::matrix::bearing(&solo, &token).await;
        client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deployed");
        let seen = files(solo.pid(&format!("cells/wasm-{tenant}")).await);
        let own = solo.home().join("tenants").join(tenant).join("compiled");
        let mut other = seen.iter().filter(|path| !path.starts_with(&own));
        assert!(other.all(|path| is_everybodys(path)), "{tenant}: {seen:?}");
        second.insert(solo.pid("cells/compiler-1").await);
    }
    // The second compiler worked for red, and ended before another one worked for blue.
    assert_eq!(second.len(), 2);
    assert_eq!(solo.pid("cells/compiler-0").await, first, "the owner's is as it was");
    solo.down().await;
}

/// C3: each cell is in a control group of its own, of which nothing is left; also after a kill of the heart.
#[tokio::test]
async fn every_cell_is_in_a_control_group() {
    let mut solo = Solo::start().await;
    solo.answering().await;
    let groups = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
        let of = |line: &str| Some(line.rsplit_once(":/")?.1.to_owned());
        let all: BTreeSet<String> = text.lines().filter_map(of).collect();
        all.into_iter().find(|group| group.contains("solo-"))
    };
    let mut seen = BTreeSet::new();
    for cell in ["wasm-default", "compiler-0", "process-1"] {
        let pid = solo.pid(&format!("cells/{cell}")).await;
        let group = eventually("it is in its group", || async { groups(pid) }).await;
        assert!(group.ends_with(&format!("/{cell}")), "{group}");
        seen.insert(group);
    }
    assert_eq!(seen.len(), 3);
    let place =
        seen.first().and_then(|group| group.rsplit_once('/')).expect("a place").0.to_owned();
    let left = || {
        let mounts = std::fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten();
        let places = mounts.map(|mount| mount.path().join(&place)).filter(|path| path.exists());
        places.collect::<Vec<_>>()
    };
    assert!(!left().is_empty(), "{place}");
    solo.kill_heart().await;
    solo.up().await;
    solo.answering().await;
    solo.down().await;
    assert_eq!(left(), Vec::<PathBuf>::new());
}

/// C3, R3: an ordinary user's cells are shut in like root's, but for users of their own.
#[tokio::test]
async fn without_root_cells_are_shut_in_too() {
    let mut solo = Solo::new_without_root();
    solo.up().await;
    let client = solo.answering().await;
    client.deploy(deploy("echo", guest_bytes("worker"))).await.expect("deployed");
    let heart = status(solo.heart_pid(), "Uid");
    assert!(!heart.starts_with("0\t"), "{heart}");
    for cell in ["wasm-default", "compiler-0"] {
        let pid = solo.pid(&format!("cells/{cell}")).await;
        assert_eq!(status(pid, "Uid"), heart, "{cell}");
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, capabilities), "0000000000000000", "{cell}: {capabilities}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{cell}");
        assert_eq!(status(pid, "Seccomp"), "2", "{cell}");
        assert_eq!(status(pid, "NSpid").split_whitespace().last(), Some("1"), "{cell}");
        for kind in ["user", "pid", "mnt", "ipc", "uts", "net", "cgroup"] {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect(kind);
            assert_ne!(of(&pid.to_string()), of("self"), "{cell}: {kind}");
        }
    }
    let seen = files(solo.pid("cells/compiler-0").await);
    assert_eq!(seen, BTreeSet::from([PathBuf::from("/dev/null")]));
    solo.down().await;
}
