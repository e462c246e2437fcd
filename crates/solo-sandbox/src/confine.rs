//! What a role takes from itself before it does anything else. It cannot be taken back.

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Every role: no privileges by programs that it starts, no core files (they would hold what
    /// services keep in memory), no files that others can read.
    Role,
    /// Roles that hold keys or tokens: also hidden from debuggers and from `/proc/PID/mem` of the
    /// same user. Costs the role its own `/proc/self/fd` when it does not run as root.
    Keys,
}

/// A step that the system refused. The role must end: it would run with more than it should.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub struct ConfineError {
    /// What was refused.
    pub action: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Confines the process; call it at its start, before any thread.
///
/// # Errors
/// [`ConfineError`]. Steps before the refused one hold.
pub fn confine_self(level: Level) -> Result<(), ConfineError> {
    let failed = |action| move |errno: Errno| ConfineError { action, source: errno.into() };
    prctl::set_no_new_privs().map_err(failed("set no_new_privs"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core files"))?;
    umask(Mode::from_bits_truncate(0o077));
    match level {
        Level::Role => Ok(()),
        Level::Keys => prctl::set_dumpable(false).map_err(failed("hide from debuggers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::getrlimit;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// Set in the process of its own that the test confines.
    const CONFINED: &str = "SOLO_TEST_CONFINED";

    #[test]
    fn a_confined_process_is_confined() {
        if std::env::var_os(CONFINED).is_some() {
            return confine_and_check();
        }
        // Other tests of this process must not be confined with it.
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "confine::tests::a_confined_process_is_confined"])
            .env(CONFINED, "1")
            .output()
            .expect("the test runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    fn confine_and_check() {
        let directory = tempfile::tempdir().expect("a directory");
        confine_self(Level::Keys).expect("possible everywhere");
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(prctl::get_dumpable(), Ok(false));
        // no_new_privs is a thread's; in a role this thread is the first and only one.
        assert_eq!(prctl::get_no_new_privs(), Ok(true));
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("written");
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
