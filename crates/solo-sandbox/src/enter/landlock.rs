//! Files once more, by Landlock: what the root holds, and what may be done with it. A mistake in a
//! mount flag, or a way out of the root, meets this; and what is shut in may change no mounts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};

use super::{Access, EnterError, Entry, Layer};

/// The version that covers all ways to change a file (truncation came last). Less is refused.
const REQUIRED: ABI = ABI::V3;

/// What is used where it is there: devices' own commands, signals and abstract sockets to outside.
const WANTED: ABI = ABI::V6;

/// Rules in the making. They are about files as they are now, whatever their names lead to later.
#[derive(Debug)]
pub(super) struct Rules(RulesetCreated);

impl Rules {
    /// Nothing may be done but to see what is in `root`. None: the machine's.
    pub(super) fn begin(root: Option<BorrowedFd<'_>>) -> Result<Self, EnterError> {
        let (rules, at, access) =
            (Self::new(Scope::from_all(WANTED))?, Path::new("/"), AccessFs::ReadDir.into());
        match root {
            Some(root) => rules.add(root, at, access),
            None => rules.add_of_machine(at, access),
        }
    }

    /// Adds that of an entry, if it needs one. `file` is the file itself, rather than a name that
    /// might lead elsewhere: somebody who has the same volume may have moved what is mounted in it, and
    /// put a link to `/` there, which would open the root. None: it is the machine's, at its place.
    pub(super) fn add_entry(
        self,
        entry: &Entry,
        file: Option<OwnedFd>,
    ) -> Result<Self, EnterError> {
        match (access(entry), file) {
            (None, _) => Ok(self),
            (Some(access), Some(file)) => self.add(file, entry.at(), access),
            (Some(access), None) => self.add_of_machine(entry.at(), access),
        }
    }

    /// Restricts this thread and what it starts.
    pub(super) fn restrict(self) -> Result<(), EnterError> {
        let failed = Layer::Landlock.failed("apply rules");
        match self.0.restrict_self().map(|status| status.ruleset) {
            Ok(RulesetStatus::NotEnforced) => Err(failed(io::ErrorKind::Unsupported.into())),
            Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
            Err(error) => Err(failed(io::Error::other(error))),
        }
    }

    fn new(scope: BitFlags<Scope>) -> Result<Self, EnterError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(REQUIRED))
            .and_then(|ruleset| {
                ruleset
                    .set_compatibility(CompatLevel::BestEffort)
                    .handle_access(AccessFs::from_all(WANTED))
                    // To ask for nothing is an error of the library.
                    .and_then(|set| if scope.is_empty() { Ok(set) } else { set.scope(scope) })?
                    .create()
            });
        let failed = Layer::Landlock.failed("make rules");
        ruleset.map(Self).map_err(|error| failed(io::Error::other(error)))
    }

    /// Of what lies at a place of the machine, where `/bin` may well be a link.
    fn add_of_machine(self, at: &Path, access: BitFlags<AccessFs>) -> Result<Self, EnterError> {
        let file = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        self.add(file.map_err(|error| failed(at)(error.into()))?, at, access)
    }

    fn add(
        self,
        file: impl AsFd,
        at: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<Self, EnterError> {
        let added = self.0.add_rule(PathBeneath::new(file, access));
        added.map(Self).map_err(|error| failed(at)(io::Error::other(error)))
    }
}

fn failed(at: &Path) -> impl FnOnce(io::Error) -> EnterError {
    Layer::Landlock.failed_on("add a rule for", at.display().to_string())
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
        let mut files = of(&self.read, read);
        files.extend(of(&self.write, write));
        files.extend(of(&DEVICES.map(PathBuf::from), device));
        let rules = Rules::new(BitFlags::EMPTY)?;
        let add = |rules: Rules, (at, access): (PathBuf, _)| rules.add_of_machine(&at, access);
        files.into_iter().try_fold(rules, add)?.restrict()
    }
}

/// What every process may use.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

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
