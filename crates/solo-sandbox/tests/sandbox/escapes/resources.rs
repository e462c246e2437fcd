//! What there is a bounded amount of: processes, memory, files, disk.

use solo_sandbox::{Layer, Limits};

use super::Test;
use super::attempt::Outside;
use crate::groups::Node;
use crate::inside::Inside;

pub(super) const TESTS: &[Test] = &[
    ("a_file_system_in_memory_is_bounded", a_file_system_in_memory_is_bounded),
    ("files_without_contents_are_bounded", files_without_contents_are_bounded),
    ("a_file_of_a_volume_is_bounded", a_file_of_a_volume_is_bounded),
    ("processes_of_a_user_are_bounded", processes_of_a_user_are_bounded),
    ("processes_of_a_group_are_bounded", processes_of_a_group_are_bounded),
    ("memory_of_a_group_is_bounded", memory_of_a_group_is_bounded),
];

/// Fewer than `fork_bomb` starts.
const PROCESSES: u64 = 16;

/// Less than `take_memory` takes.
const MEMORY_BYTES: u64 = 32 << 20;

fn a_file_system_in_memory_is_bounded() {
    let outside = Outside::new();
    outside.attempt("fill_scratch", &[Layer::Root]).check();
}

fn files_without_contents_are_bounded() {
    let outside = Outside::new();
    for way in ["file", "directory", "link"] {
        outside.attempt("fill_inodes", &[Layer::Root]).word(way).word("/tmp").check();
    }
}

fn a_file_of_a_volume_is_bounded() {
    let outside = Outside::new();
    let volume = outside.open_directory("volume");
    let binds = vec![(volume.clone(), "/data".into(), true)];
    let inside = Inside { binds, file_bytes: Some(1 << 20), ..Inside::default() };
    let attempt = outside.attempt("long_file", &[Layer::ResourceLimits]).within(inside);
    attempt.word("/data/long").check();
    assert_eq!(std::fs::read_dir(volume).expect("read").count(), 0, "nothing is left");
}

fn processes_of_a_user_are_bounded() {
    let outside = Outside::new();
    let inside = Inside { processes: Some(PROCESSES), ..Inside::default() };
    outside.attempt("fork_bomb", &[Layer::ResourceLimits]).within(inside).check();
}

fn processes_of_a_group_are_bounded() {
    let Some(node) = Node::new() else { return };
    let limits = Limits { processes: Some(PROCESSES), ..Limits::default() };
    let group = node.create(&limits);
    let outside = Outside::new();
    let inside =
        Inside { groups: group.directories(), processes: Some(PROCESSES), ..Inside::default() };
    let layers = [Layer::ControlGroup, Layer::ResourceLimits];
    outside.attempt("fork_bomb", &layers).within(inside).check();
    assert!(group.usage().expect("read").processes_refused >= 1);
    node.end();
}

fn memory_of_a_group_is_bounded() {
    let Some(node) = Node::new() else { return };
    let limits = Limits { memory_bytes: Some(MEMORY_BYTES), ..Limits::default() };
    let group = node.create(&limits);
    let outside = Outside::new();
    for way in ["anonymous", "unnamed file", "segment"] {
        let inside = Inside { groups: group.directories(), ..Inside::default() };
        let attempt = outside.attempt("take_memory", &[Layer::ControlGroup]);
        attempt.within(inside).word(way).check();
    }
    assert!(group.usage().expect("read").oom_kills >= 3);
    node.end();
}
