//! The program of the host that enters a sandbox, reached through `/proc/self/exe`.
//!
//! Who can have a script run by that name is run by the host's own file, which lies outside of the root.
//! It only has to go away for its file to be open to be written (CVE-2019-5736).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::fs::{CWD, Mode, OFlags, openat};
use solo_sandbox::Layer;

use super::Test;
use super::attempt::Outside;
use crate::inside::Inside;

pub(super) const TESTS: &[Test] =
    &[("the_program_that_enters_cannot_be_changed", the_program_that_enters_cannot_be_changed)];

/// What a script asks of its interpreter, which is this program.
const KEEP: &str = "--keep-open-and-run";

fn the_program_that_enters_cannot_be_changed() {
    let outside = Outside::new();
    // A copy, so that nothing else runs it: what runs cannot be written by anybody.
    let host = outside.path("host");
    fs::copy(std::env::current_exe().expect("a path"), &host).expect("copied");
    fs::set_permissions(&host, Permissions::from_mode(0o755)).expect("opened");
    let overwrite = outside.build("overwrite");
    let script = outside.path("inside").join("script");
    fs::write(&script, format!("#!/proc/self/exe {KEEP}={}\n", overwrite.display()))
        .expect("written");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("opened");
    let inside = Inside { host: Some(host), ..Inside::default() };
    let layers = [Layer::User, Layer::Landlock];
    outside.attempt("script", &layers).within(inside).script(script).check();
}

/// As the interpreter of a script: keeps its own file open, and becomes a program that writes it.
pub(crate) fn become_interpreter() -> Option<ExitCode> {
    let asked = std::env::args().nth(1)?;
    let program = asked.strip_prefix(KEEP)?.strip_prefix('=')?;
    // A path only: nothing may be open to be written while it runs.
    let own = openat(CWD, "/proc/self/exe", OFlags::PATH, Mode::empty()).ok()?;
    let _ = Command::new(program).arg(std::os::fd::AsRawFd::as_raw_fd(&own).to_string()).exec();
    Some(ExitCode::FAILURE)
}
