//! Files once more, by Landlock: what the root holds, and what may be done with it. A mistake in a
//! mount flag, or a way out of the root, meets this; and what is shut in may change no mounts.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

use super::{Access, EnterError, Entry, Layer};

/// The version that covers all ways to change a file (truncation came last). Less is refused.
const REQUIRED: ABI = ABI::V3;

/// What is used where it is there: devices' own commands, signals and abstract sockets to outside.
const WANTED: ABI = ABI::V6;

/// Restricts this thread and what it starts to `entries`, whose places are those of the own root.
pub(super) fn restrict(entries: &[Entry]) -> Result<(), EnterError> {
    let failed = |verb| Layer::Landlock.failed(verb);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .and_then(|ruleset| {
            ruleset
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(WANTED))?
                .scope(Scope::from_all(WANTED))?
                .create()
        });
    let mut ruleset = ruleset.map_err(|error| failed("make rules")(other(error)))?;
    let mut rules = vec![("/".into(), AccessFs::ReadDir.into())];
    rules.extend(entries.iter().filter_map(|entry| Some((entry.at().to_owned(), access(entry)?))));
    for (at, access) in rules {
        let opened = PathFd::new(&at);
        let add = |fd| ruleset.add_rule(PathBeneath::new(fd, access));
        let about = at.display().to_string();
        let failed = Layer::Landlock.failed_on("add a rule for", about);
        ruleset = match opened {
            Ok(fd) => add(fd).map_err(|error| failed(other(error)))?,
            Err(error) => return Err(failed(other(error))),
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
