//! Other processes, and what they share.

use std::process::Command;

use solo_sandbox::Layer;

use super::Test;
use super::attempt::{Outside, PRIVILEGES, Target, Victim};
use crate::inside::text;

pub(super) const TESTS: &[Test] = &[
    ("other_processes_cannot_be_ended", other_processes_cannot_be_ended),
    ("other_processes_cannot_be_debugged", other_processes_cannot_be_debugged),
    ("other_processes_cannot_be_looked_into", other_processes_cannot_be_looked_into),
    ("namespaces_of_others_cannot_be_entered", namespaces_of_others_cannot_be_entered),
    ("shared_memory_of_the_machine_cannot_be_found", shared_memory_of_the_machine_cannot_be_found),
];

fn other_processes_cannot_be_ended() {
    let outside = Outside::new();
    let layers = [Layer::PidNamespace, Layer::Landlock];
    outside.attempt("kill_outside", &layers).shown_to_root().check_on(Victim::new);
}

fn other_processes_cannot_be_debugged() {
    let outside = Outside::new();
    let layers = [Layer::PidNamespace, Layer::UserNamespace, Layer::Landlock, Layer::Seccomp];
    for way in ["seize", "read", "descriptor"] {
        outside
            .attempt("read_memory_outside", &layers)
            .word(way)
            .shown_to_root()
            .check_on(Victim::new);
    }
}

fn other_processes_cannot_be_looked_into() {
    let outside = Outside::new();
    let layers = [Layer::PidNamespace, Layer::UserNamespace, Layer::Landlock];
    for file in ["environ", "mem", "root", "maps", "fd/0"] {
        outside.attempt("proc_outside", &layers).word(file).shown_to_root().check_on(Victim::new);
    }
    // That it is there at all: the view of processes hides what cannot be looked into.
    for file in ["status", "cmdline"] {
        outside.attempt("proc_outside", &layers).word(file).shown_to_root().check_on(Victim::new);
    }
}

fn namespaces_of_others_cannot_be_entered() {
    let outside = Outside::new();
    let mut layers = PRIVILEGES.to_vec();
    layers.extend([Layer::PidNamespace, Layer::Landlock, Layer::Seccomp]);
    outside.attempt("enter_namespace", &layers).shown_to_root().check_on(Victim::new);
}

fn shared_memory_of_the_machine_cannot_be_found() {
    let outside = Outside::new();
    outside.attempt("shared_memory", &[Layer::IpcNamespace]).check_on(SharedMemory::new);
}

/// A segment of System V shared memory, by its key.
struct SharedMemory(u32);

impl SharedMemory {
    fn new() -> Option<Self> {
        let key = 0x5010_0000 | std::process::id();
        Self::python(&format!("assert shmget({key}, 4096, 0o1666) >= 0"));
        Some(Self(key))
    }

    fn python(line: &str) {
        let prelude = "import ctypes; c = ctypes.CDLL(None); shmget = c.shmget; ";
        let done = Command::new("python3").args(["-c", &format!("{prelude}{line}")]).output();
        let done = done.expect("python3");
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
}

impl Target for SharedMemory {
    fn word(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        Self::python(&format!("c.shmctl(shmget({}, 0, 0), 0, None)", self.0));
    }
}
