//! Files of the machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use solo_sandbox::Layer;

use super::Test;
use super::attempt::{Outside, PRIVILEGES};
use crate::inside::{Inside, text};

pub(super) const TESTS: &[Test] = &[
    ("files_of_the_machine_cannot_be_read", files_of_the_machine_cannot_be_read),
    ("files_of_the_machine_cannot_be_made", files_of_the_machine_cannot_be_made),
    ("no_path_leads_above_the_root", no_path_leads_above_the_root),
    ("a_link_in_a_volume_leads_nowhere_outside", a_link_in_a_volume_leads_nowhere_outside),
    ("files_cannot_be_opened_by_handle", files_cannot_be_opened_by_handle),
    ("what_somebody_forgot_to_close_is_closed", what_somebody_forgot_to_close_is_closed),
    (
        "a_directory_that_somebody_forgot_leads_nowhere",
        a_directory_that_somebody_forgot_leads_nowhere,
    ),
    ("no_device_is_made_and_opened", no_device_is_made_and_opened),
    ("settings_of_the_machine_cannot_be_changed", settings_of_the_machine_cannot_be_changed),
];

fn files_of_the_machine_cannot_be_read() {
    let outside = Outside::new();
    let layers = [Layer::Root, Layer::Landlock];
    outside.attempt("read_outside", &layers).path(&outside.canary()).check();
}

fn files_of_the_machine_cannot_be_made() {
    let outside = Outside::new();
    let open = outside.open_directory("open");
    let layers = [Layer::Root, Layer::Landlock];
    outside.attempt("write_outside", &layers).path(&open).trace(open.join("escaped")).check();
}

fn no_path_leads_above_the_root() {
    let outside = Outside::new();
    let canary = outside.canary();
    for way in ["dots", "self", "descriptor", "chroot"] {
        let layers = [Layer::Root, Layer::Landlock];
        outside.attempt("climb", &layers).word(way).path(&canary).check();
    }
}

fn a_link_in_a_volume_leads_nowhere_outside() {
    let outside = Outside::new();
    let volume = outside.open_directory("volume");
    let open = outside.open_directory("open");
    for (name, to) in [("absolute", open.as_path()), ("relative", Path::new("../open"))] {
        std::os::unix::fs::symlink(to, volume.join(name)).expect("linked");
        let inside =
            Inside { binds: vec![(volume.clone(), volume.clone(), true)], ..Inside::default() };
        // The volume has the same place inside as it has outside, so the link is right without a root.
        outside
            .attempt("write_outside", &[Layer::Root, Layer::Landlock])
            .within(inside)
            .path(&volume.join(name))
            .trace(open.join("escaped"))
            .check();
    }
}

fn files_cannot_be_opened_by_handle() {
    let outside = Outside::new();
    let canary = outside.canary();
    let program = outside.build("open_by_handle");
    let made = Command::new(program).arg("tell").arg(&canary).output().expect("started");
    let handle = text(&made.stdout).trim().to_owned();
    let mut layers = PRIVILEGES.to_vec();
    layers.push(Layer::Seccomp);
    // Landlock is no help on new kernels: they take a file that was reached by no path for one below the
    // mount that it was reached through. Older ones refuse it.
    let inside = Inside { without: vec![Layer::Landlock], ..Inside::default() };
    // Any directory of the same file system will do; that of the attempt is one.
    let attempt = outside.attempt("open_by_handle", &layers).within(inside);
    attempt.word("open").word(handle).path(&outside.path("inside")).shown_to_root().check();
}

fn what_somebody_forgot_to_close_is_closed() {
    let outside = Outside::new();
    let _forgotten = forget(Path::new("/dev/null"));
    outside.attempt("inherited_descriptor", &[Layer::Descriptors]).check();
}

fn a_directory_that_somebody_forgot_leads_nowhere() {
    let outside = Outside::new();
    outside.canary();
    let _forgotten = forget(outside.path("inside").parent().expect("a directory"));
    let layers = [Layer::Descriptors, Layer::Landlock];
    outside.attempt("inherited_directory", &layers).word("canary").check();
}

/// Opens something so that programs that are started have it too.
fn forget(path: &Path) -> File {
    let forgotten = File::open(path).expect("opened");
    fcntl(&forgotten, FcntlArg::F_SETFD(FdFlag::empty())).expect("left open");
    forgotten
}

fn no_device_is_made_and_opened() {
    let outside = Outside::new();
    let open = outside.open_directory("open");
    let mut layers = PRIVILEGES.to_vec();
    layers.extend([Layer::Root, Layer::Landlock, Layer::Seccomp]);
    let inside = Inside { binds: vec![(open.clone(), open.clone(), true)], ..Inside::default() };
    let attempt = outside.attempt("device", &layers).within(inside);
    attempt.path(&open.join("device")).shown_to_root().check();
    assert_eq!(fs::read_dir(&open).expect("read").count(), 0, "nothing is left");
}

fn settings_of_the_machine_cannot_be_changed() {
    let outside = Outside::new();
    // Opened to be written, and left as they are. To Landlock `/proc` is one place, whatever is in it.
    for file in
        ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger"]
    {
        let attempt = outside.attempt("open_to_write", &[Layer::Root, Layer::User]);
        attempt.word(file).shown_to_root().check();
    }
}
