//! The way into a control group: a process goes it by itself.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use super::{EnterError, Layer};

/// Enters the group that has these directories. The process has one thread: others would stay outside.
pub(super) fn enter(directories: &[PathBuf]) -> Result<(), EnterError> {
    directories.iter().try_for_each(|directory| {
        let failed = Layer::ControlGroup.failed_on("enter", directory.display().to_string());
        // Version 1 has it for single threads. It waits for nobody; `cgroup.procs` takes milliseconds.
        let tasks = directory.join("tasks");
        let file = if tasks.exists() { tasks } else { directory.join("cgroup.procs") };
        // 0 is who writes it.
        let opened = OpenOptions::new().write(true).open(file);
        opened.and_then(|mut file| file.write_all(b"0")).map_err(failed)
    })
}
