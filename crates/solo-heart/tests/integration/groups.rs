//! Control groups of cells. Where this machine has none for Solo, cells go without: that is checked then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use solo_sandbox::Groups;

use crate::node::{Node, groups_of};

/// Whether Solo can have groups here.
fn are_there() -> bool {
    match Groups::open(&format!("test-{}", std::process::id())) {
        Ok(groups) => {
            groups.remove(Duration::from_secs(1)).expect("removed");
            true
        }
        Err(error) => {
            assert!(!error.remedy().is_empty(), "{error}");
            false
        }
    }
}

/// The directories that a cell was told to enter.
fn told(pid: u32) -> Vec<PathBuf> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("lives");
    let words: Vec<&str> = line.split('\0').collect();
    let groups = words.windows(2).filter(|pair| pair[0] == "--group");
    groups.map(|pair| pair[1].into()).collect()
}

/// In how many hierarchies a process is in a group whose path ends so.
fn entered(pid: u32, group: &str) -> usize {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("lives");
    groups.lines().filter(|line| line.ends_with(group)).count()
}

fn limit(directories: &[PathBuf], file: &str) -> Option<String> {
    let found = directories.iter().map(|directory| directory.join(file)).find(|path| path.exists());
    found.map(|path| fs::read_to_string(path).expect("readable").trim().to_owned())
}

#[test]
fn every_cell_has_a_group_that_ends_with_it() {
    let mut node = Node::start_with(&["polite"]);
    node.order("spawn a wasm\nspawn b compiler\n");
    let (a, b) = (node.wait_for_pid("cells/a"), node.wait_for_pid("cells/b"));
    node.wait_until("the cells run", || {
        ["a", "b"].iter().all(|cell| node.exists(&format!("run/cells/{cell}.sock")))
    });
    let (of_a, of_b) = (told(a), told(b));
    if are_there() {
        for (pid, cell, directories) in [(a, "a", &of_a), (b, "b", &of_b)] {
            let path = format!("/solo-{}/{cell}", node.group_name());
            assert_eq!(entered(pid, &path), directories.len(), "{cell}");
        }
        assert_eq!(limit(&of_a, "pids.max").as_deref(), Some("1024"));
        assert_eq!(limit(&of_b, "pids.max").as_deref(), Some("256"));
        let memory = |directories| {
            limit(directories, "memory.max").or_else(|| limit(directories, "memory.limit_in_bytes"))
        };
        assert_eq!(memory(&of_b).as_deref(), Some("4294967296"));
        assert_ne!(memory(&of_a), memory(&of_b));
    }
    assert_eq!(!of_a.is_empty(), are_there());
    assert_eq!(node.groups().len(), of_a.len() + 2 * of_a.len());

    // One that left a process behind, in a group that it cannot leave.
    let mut left = Command::new("sleep").arg("60").spawn().expect("started");
    for directory in &of_a {
        fs::write(directory.join("cgroup.procs"), left.id().to_string()).expect("moved");
    }
    node.order("kill a\n");
    node.wait_for_log("exited a signal:9");
    assert!(!of_a.iter().any(|directory| directory.exists()));
    if of_a.is_empty() {
        left.kill().expect("killed");
    }
    assert!(!left.wait().expect("reaped").success());
    node.order("spawn a wasm\n");
    node.wait_until("another one", || node.log().matches("spawned a ").count() == 2);

    node.signal(node.heart(), Signal::SIGTERM);
    assert_eq!(node.wait_for_end(Duration::from_secs(2)), Some(0));
    assert_eq!(node.groups(), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_heart_left_in_groups_is_ended_by_the_next() {
    let mut node = Node::start();
    node.order("spawn a wasm\n");
    let groups = told(node.wait_for_pid("cells/a"));
    assert_eq!(!groups.is_empty(), are_there());
    let mut left = Command::new("sleep").arg("60").spawn().expect("started");
    for directory in &groups {
        fs::write(directory.join("cgroup.procs"), left.id().to_string()).expect("moved");
    }
    node.signal(node.heart(), Signal::SIGKILL);
    node.wait_for_end(Duration::from_secs(1));
    assert!(groups.iter().all(|directory| directory.exists()), "nobody removed them");
    assert!(left.try_wait().expect("looked").is_none(), "nobody ended it");
    node.restart("127.0.0.1:0");
    if groups.is_empty() {
        left.kill().expect("killed");
    }
    assert!(!left.wait().expect("reaped").success());
    assert!(!groups.iter().any(|directory| directory.exists()));
    let tops = groups.iter().filter_map(|directory| directory.parent()).map(Path::to_owned);
    let mut tops: Vec<PathBuf> = tops.collect();
    tops.sort();
    let mut now = node.groups();
    now.sort();
    assert_eq!(now, tops, "the new heart's, without cells");
}

#[test]
fn a_heart_that_cannot_start_leaves_no_group() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let home = tempfile::tempdir().expect("a directory");
    Node::try_up(home.path(), &address);
    assert_eq!(groups_of(home.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_operator_can_do_without_groups() {
    let node = Node::start_with(&["groupless"]);
    node.order("spawn a wasm\n");
    let a = node.wait_for_pid("cells/a");
    assert_eq!(told(a), Vec::<PathBuf>::new());
    assert_eq!(entered(a, "/a"), 0);
    assert_eq!(node.groups(), Vec::<PathBuf>::new());
}
