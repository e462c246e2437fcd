//! Files once more, by Landlock: what the root holds, and what may be done with it. A mistake in a
//! mount flag, or a way out of the root, meets this; and what is shut in may change no mounts.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::{Access, EnterError, Entry, Layer};

/// The version that covers all ways to change a file (truncation came last). Less is refused.
const REQUIRED: ABI = ABI::V3;

/// What is used where it is there: devices' own commands, signals and abstract sockets to outside.
const WANTED: ABI = ABI::V6;

/// Which root the places of entries are looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// The own one, which was made without following a link.
    Own,
    /// The machine's, where `/bin` may well be a link.
    OfTheMachine,
}

/// Restricts this thread and what it starts to `entries`.
pub(super) fn restrict(entries: &[Entry], places: Places) -> Result<(), EnterError> {
    let mut rules = vec![(PathBuf::from("/"), AccessFs::ReadDir.into())];
    rules.extend(entries.iter().filter_map(|entry| Some((entry.at().to_owned(), access(entry)?))));
    apply(rules, places, Scope::from_all(WANTED))
}

/// What a role may do with files that is in no root of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Files and directories that it may read, and execute.
    pub read: Vec<PathBuf>,
    /// Those that it may change, too.
    pub write: Vec<PathBuf>,
}

impl Files {
    /// Restricts this thread, and what it starts, to these and the usual devices. What is not there is left
    /// out.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn restrict(&self) -> Result<(), EnterError> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
        let write = AccessFs::from_all(WANTED) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
        let device = AccessFs::ReadFile | AccessFs::WriteFile;
        let of = |paths: &[PathBuf], access: BitFlags<AccessFs>| {
            let there = paths.iter().filter(|path| path.exists());
            there.map(|path| (path.clone(), access)).collect::<Vec<_>>()
        };
        let mut rules = of(&self.read, read);
        rules.extend(of(&self.write, write));
        rules.extend(of(&DEVICES.map(PathBuf::from), device));
        apply(rules, Places::OfTheMachine, BitFlags::EMPTY)
    }
}

/// What every process may use.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

fn apply(
    rules: Vec<(PathBuf, BitFlags<AccessFs>)>,
    places: Places,
    scope: BitFlags<Scope>,
) -> Result<(), EnterError> {
    let failed = |verb| Layer::Landlock.failed(verb);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .and_then(|ruleset| {
            ruleset
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(WANTED))
                // To ask for nothing is an error of the library.
                .and_then(|rules| if scope.is_empty() { Ok(rules) } else { rules.scope(scope) })?
                .create()
        });
    let mut ruleset = ruleset.map_err(|error| failed("make rules")(other(error)))?;
    for (at, access) in rules {
        let opened = open(&at, places);
        let add = |fd| ruleset.add_rule(PathBeneath::new(fd, access));
        let about = at.display().to_string();
        let failed = Layer::Landlock.failed_on("add a rule for", about);
        ruleset = match opened {
            Ok(fd) => add(fd).map_err(|error| failed(other(error)))?,
            Err(error) => return Err(failed(error.into())),
        };
    }
    let status = ruleset.restrict_self().map_err(|error| failed("apply rules")(other(error)))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => {
            Err(failed("apply rules")(std::io::ErrorKind::Unsupported.into()))
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Opens a place. Not by a link in the own root: somebody who has the same volume elsewhere may have moved
/// what is mounted in it, and put a link to `/` there, which would open the root itself.
fn open(at: &Path, places: Places) -> Result<OwnedFd, Errno> {
    let how = match places {
        Places::Own => ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        Places::OfTheMachine => ResolveFlags::empty(),
    };
    openat2(CWD, at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how)
}

/// What may be done below an entry; `None` for what is nothing to open.
fn access(entry: &Entry) -> Option<BitFlags<AccessFs>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match entry {
        Entry::Bind { access, .. } => Some(match access {
            Access::Read => read,
            Access::Execute => read | AccessFs::Execute,
            Access::Write => {
                AccessFs::from_all(WANTED) & !(AccessFs::MakeChar | AccessFs::MakeBlock)
            }
            Access::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        }),
        Entry::Scratch { .. } => {
            Some(AccessFs::from_all(WANTED) & !(AccessFs::MakeChar | AccessFs::MakeBlock))
        }
        Entry::File { .. } => Some(AccessFs::ReadFile.into()),
        // Its own name and how likely it is to be ended for memory.
        Entry::Processes { .. } => Some(read | AccessFs::WriteFile),
        Entry::Link { .. } | Entry::Directory { .. } => None,
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    std::io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process of its own that the test restricts: a directory.
    const DIRECTORY: &str = "SOLO_TEST_RESTRICTED";

    /// C2: a role that was taken over reads and writes what it was given, and nothing else.
    #[test]
    fn a_role_has_the_files_that_it_was_given() {
        if let Some(directory) = std::env::var_os(DIRECTORY) {
            return restrict_and_check(directory.into());
        }
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["write", "read", "other"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
            std::fs::write(directory.path().join(name).join("file"), "x").expect("written");
        }
        // Other tests of this process must not be restricted with it.
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "enter::landlock::tests::a_role_has_the_files_that_it_was_given"])
            .env(DIRECTORY, directory.path())
            .output()
            .expect("the test runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    fn restrict_and_check(directory: PathBuf) {
        let at = |name: &str| directory.join(name).join("file");
        let files = Files {
            read: vec![directory.join("read"), "/not/there".into()],
            write: vec![directory.join("write")],
        };
        files.restrict().expect("possible here");
        let denied = |error: std::io::Error| assert_eq!(error.raw_os_error(), Some(libc_eacces()));
        std::fs::write(at("write"), "y").expect("its own");
        std::fs::rename(at("write"), directory.join("write/moved")).expect("its own");
        assert_eq!(std::fs::read(at("read")).expect("shown"), b"x");
        denied(std::fs::write(at("read"), "y").expect_err("not to be written"));
        denied(std::fs::read(at("other")).expect_err("not shown"));
        denied(std::fs::write(at("other"), "y").expect_err("not to be written"));
        denied(std::fs::remove_file(at("other")).expect_err("not to be removed"));
        std::fs::write("/dev/null", "y").expect("what every process may use");
    }

    fn libc_eacces() -> i32 {
        rustix::io::Errno::ACCESS.raw_os_error()
    }
}
