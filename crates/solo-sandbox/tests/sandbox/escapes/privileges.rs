//! Privileges, and what root does with them: mounts, roots, namespaces, modules, control groups.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use nix::unistd::geteuid;
use solo_sandbox::Layer;

use super::Test;
use super::attempt::{Outside, PRIVILEGES};
use crate::inside::Inside;

pub(super) const TESTS: &[Test] = &[
    ("a_program_of_roots_does_not_run_as_root", a_program_of_roots_does_not_run_as_root),
    ("no_namespace_is_made_to_be_root_of", no_namespace_is_made_to_be_root_of),
    ("nothing_is_mounted_where_one_is_root", nothing_is_mounted_where_one_is_root),
    ("no_mount_is_changed_in_any_way_there_is", no_mount_is_changed_in_any_way_there_is),
    ("no_other_root_is_had", no_other_root_is_had),
    ("the_machine_itself_cannot_be_changed", the_machine_itself_cannot_be_changed),
    ("no_release_agent_is_set_by_a_mount", no_release_agent_is_set_by_a_mount),
    ("no_release_agent_is_found", no_release_agent_is_found),
];

fn a_program_of_roots_does_not_run_as_root() {
    let outside = Outside::new();
    let program = outside.build("setuid_program");
    let marked = outside.path("marked");
    fs::copy(program, &marked).expect("copied");
    if !geteuid().is_root() {
        // Nobody else can make such a program, so there is nothing to try.
        chown(&marked, Some(0), None).expect_err("files are not given away");
        return;
    }
    fs::set_permissions(&marked, Permissions::from_mode(0o4755)).expect("marked");
    // Neither Landlock nor a filter takes a process that could get new privileges.
    let layers = [
        Layer::Root,
        Layer::NoNewPrivileges,
        Layer::UserNamespace,
        Layer::Landlock,
        Layer::Seccomp,
    ];
    outside.attempt("setuid_program", &layers).path(&marked).check();
}

fn no_namespace_is_made_to_be_root_of() {
    let outside = Outside::new();
    for way in ["unshare", "clone", "clone3"] {
        outside.attempt("new_user_namespace", &[Layer::Seccomp]).word(way).check();
    }
}

fn nothing_is_mounted_where_one_is_root() {
    let outside = Outside::new();
    outside.attempt("mount_in_namespace", &[Layer::Landlock, Layer::Seccomp]).check();
}

/// What stops who would change mounts. In the own mount namespace: without it, it would be the machine's.
fn mounting() -> Vec<Layer> {
    let mut layers = PRIVILEGES.to_vec();
    layers.extend([Layer::Landlock, Layer::Seccomp]);
    layers
}

fn no_mount_is_changed_in_any_way_there_is() {
    let outside = Outside::new();
    for way in ["mount", "bind", "remount", "umount", "pivot_root", "move_mount", "open_tree"] {
        outside.attempt("mount_as_root", &mounting()).word(way).shown_to_root().check();
    }
}

fn no_other_root_is_had() {
    let outside = Outside::new();
    let mut layers = PRIVILEGES.to_vec();
    layers.push(Layer::Seccomp);
    outside.attempt("change_root", &layers).shown_to_root().check();
}

fn the_machine_itself_cannot_be_changed() {
    let outside = Outside::new();
    let mut layers = PRIVILEGES.to_vec();
    layers.push(Layer::Seccomp);
    for way in ["init_module", "finit_module", "delete_module", "reboot", "sethostname"] {
        outside.attempt("privileged_call", &layers).word(way).shown_to_root().check();
    }
}

fn no_release_agent_is_set_by_a_mount() {
    let outside = Outside::new();
    // In a namespace of its own it may be too far below the top to see the file.
    let inside = Inside { without: vec![Layer::CgroupNamespace], ..Inside::default() };
    let attempt = outside.attempt("release_agent", &mounting()).within(inside);
    attempt.word("mount").shown_to_root().check();
}

fn no_release_agent_is_found() {
    let outside = Outside::new();
    let mut layers = PRIVILEGES.to_vec();
    layers.extend([Layer::Root, Layer::Landlock]);
    outside.attempt("release_agent", &layers).word("find").shown_to_root().check();
}
