//! Attacks on filters: on their programs, and on what they let a real process do.

mod cell;
mod compiled;
mod program;
mod texts;
mod threads;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use nix::errno::Errno;
use nix::libc::{self, c_long};

use super::Policy;

/// Set in a process of its own: the policy it puts in force, and where it writes what it was answered.
const POLICY: &str = "SOLO_TEST_FILTER";
const ANSWERS: &str = "SOLO_TEST_ANSWERS";

/// What calls were answered with: an error, or 0.
type Answers = BTreeMap<String, i32>;

/// What `probe` is answered without and with the filter of `policy`. `None` in the processes that
/// the test starts of itself, because no other test must be filtered with it.
fn answers(test: &str, policy: Policy, probe: fn(&mut Answers)) -> Option<(Answers, Answers)> {
    if in_force() {
        let mut answers = Answers::new();
        probe(&mut answers);
        let path = std::env::var_os(ANSWERS).expect("a path");
        let answers = serde_json::to_vec(&answers).expect("serializable");
        std::fs::write(path, answers).expect("written");
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let run = |policy: Option<Policy>| {
        let path = directory.path().join(name(policy));
        let output = again(test, policy, &path);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text} {output:?}");
        let answers = std::fs::read(path).expect("answers");
        serde_json::from_slice::<Answers>(&answers).expect("answers")
    };
    Some((run(None), run(Some(policy))))
}

/// Whether this is a process for the test alone; it is filtered from here on if it shall be.
fn in_force() -> bool {
    let Some(wanted) = std::env::var_os(POLICY) else { return false };
    for policy in [Policy::Program, Policy::Cell, Policy::Role] {
        if wanted.to_str() == Some(&name(Some(policy))) {
            let filter = policy.filter().expect("compiles");
            filter.install_everywhere().expect("is put in force");
        }
    }
    true
}

fn again(test: &str, policy: Option<Policy>, answers: &std::path::Path) -> Output {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", &format!("filter::tests::{test}")])
        .env(POLICY, name(policy))
        .env(ANSWERS, answers)
        .output()
        .expect("the test runs")
}

fn name(policy: Option<Policy>) -> String {
    format!("{policy:?}")
}

/// Makes a system call that can do no harm: see the tests.
fn call(number: c_long, arguments: [u64; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    Errno::clear();
    #[expect(unsafe_code, reason = "only the raw call takes what no library would pass on")]
    // SAFETY: the callers pass numbers and pointers that are null or not mapped, so that the kernel
    // has no memory of this process to write to; no call here changes mappings.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    if answer < 0 { Errno::last_raw() } else { 0 }
}

/// Checks what was answered to each call: with the filter, and that without it the answer differs.
fn check(bare: &Answers, filtered: &Answers, expected: Errno) {
    assert_eq!(bare.len(), filtered.len());
    assert!(!bare.is_empty());
    for (call, answer) in filtered {
        assert_eq!(Errno::from_raw(*answer), expected, "{call}");
        // Some need privileges without the filter too, and are refused to users before anything else.
        let user = !nix::unistd::geteuid().is_root() && bare[call] == Errno::EPERM as i32;
        assert!(user || bare[call] != expected as i32, "{call}: no filter is needed for that");
    }
}

/// Ended by the kernel for a call that no process of this architecture makes.
#[cfg(target_arch = "x86_64")]
fn killed(output: &Output) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(libc::SIGSYS)
}
