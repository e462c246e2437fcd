//! `solo up --raise-map-count`: more memory maps per process, which is more instances per cell.
//!
//! The one place of Solo that changes a setting of the machine, and only for who asks for it. It
//! never lowers the setting, and it is gone with the next start of the machine.

use std::fs;
use std::path::Path;

use solo_types::{Problem, ProblemKind};

use super::{Failure, Output};

/// Where Linux has the setting.
const SETTING: &str = "/proc/sys/vm/max_map_count";

/// What it is raised to: what distributions choose that raise it by themselves (an instance takes
/// about 6.5 maps).
const WANTED: u64 = 1_048_576;

/// Raises the setting if it is lower.
///
/// # Errors
/// Reason `MAP_COUNT_NOT_RAISED`: Solo does not start, for it was asked to start with more.
pub(super) fn raise(output: Output) -> Result<(), Failure> {
    match raise_at(Path::new(SETTING), WANTED).map_err(Failure::Refused)? {
        Some(before) => {
            output.note(&format!("vm.max_map_count was raised from {before} to {WANTED}"));
        }
        None => output.note(&format!("vm.max_map_count is {WANTED} or more already")),
    }
    Ok(())
}

/// What it was before; none if it is high enough.
fn raise_at(setting: &Path, wanted: u64) -> Result<Option<u64>, Problem> {
    let failed = |what: &str| {
        let cause = format!("vm.max_map_count was not raised: {what}");
        Problem::new(ProblemKind::FailedPrecondition, "MAP_COUNT_NOT_RAISED", cause).remedy(
            format!(
                "run it as root of the machine (not of a container), run \
             `sysctl -w vm.max_map_count={wanted}` there, or leave --raise-map-count out"
            ),
        )
    };
    let io = |error: std::io::Error| failed(&format!("{}: {error}", setting.display()));
    let read = || -> Result<u64, Problem> {
        let text = fs::read_to_string(setting).map_err(io)?;
        text.trim().parse().map_err(|_| failed(&format!("{text:?} is no number")))
    };
    let before = read()?;
    if before >= wanted {
        return Ok(None);
    }
    fs::write(setting, format!("{wanted}\n")).map_err(io)?;
    // Some containers take the write and ignore it.
    let after = read()?;
    if after < wanted {
        return Err(failed(&format!("it was set and still is {after}")));
    }
    Ok(Some(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_and_never_lowered() {
        let directory = tempfile::tempdir().expect("tempdir");
        let setting = directory.path().join("max_map_count");
        fs::write(&setting, "65530\n").expect("write");
        assert_eq!(raise_at(&setting, 1_000_000), Ok(Some(65_530)));
        assert_eq!(raise_at(&setting, 1_000), Ok(None));
        assert_eq!(fs::read_to_string(&setting).expect("read"), "1000000\n");
    }

    #[test]
    fn a_machine_that_does_not_let_it_is_told() {
        let problem = raise_at(Path::new("/dev/null"), 7).expect_err("no number");
        assert_eq!(problem.reason, "MAP_COUNT_NOT_RAISED");
        assert!(problem.remedy.contains("sysctl -w vm.max_map_count=7"), "{problem:?}");
        assert!(raise_at(Path::new("/nonexistent/setting"), 7).is_err());
    }
}
