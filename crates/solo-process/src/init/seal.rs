//! Puts on all layers that a prepared process lacks, and makes the program socket on the way.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use solo_sandbox::{
    Entry, Group, GroupError, Holding, Identity, Layer, Limits, Policy, Prepared, ProcessLimits,
    Sandbox, Settings, Watch,
};

use super::{OWN_DIRECTORY, Options, ProcessError};
use crate::init::door::Door;
use crate::wire::messages::{self, GroupLimits, LayerHolding, Seal};
use crate::wire::read_entry;

/// Entries of a root; a service has some dozens.
const ENTRIES_MAX: usize = 1_024;

/// Size of the file system that the init's own sockets lie in.
const OWN_BYTES: u64 = 1 << 20;

/// Descriptors that the init itself may need: its limit is that of its program.
const OPEN_FILES_MIN: u64 = 64;

/// A sealed process.
pub(super) struct Shut {
    pub(super) door: Door,
    pub(super) holds: Vec<LayerHolding>,
    /// None: it is in no control group.
    pub(super) watch: Option<Watch>,
}

/// What is in a root before it is known whose it is: what is the same for all, and the init's own.
pub(super) fn first(common: &[Entry]) -> Vec<Entry> {
    let own = Entry::Scratch { at: OWN_DIRECTORY.into(), bytes: OWN_BYTES };
    common.iter().cloned().chain([own]).collect()
}

/// Entries as a request names them, of a root that has `made` of them.
pub(super) fn places(
    entries: Vec<messages::Entry>,
    made: usize,
) -> Result<Vec<Entry>, ProcessError> {
    let wrong = ProcessError::Request;
    if entries.len().saturating_add(made) > ENTRIES_MAX {
        return Err(wrong("too many entries"));
    }
    let entries = entries.into_iter().map(read_entry).collect::<Option<Vec<_>>>();
    let entries = entries.ok_or(wrong("an unknown kind of entry"))?;
    if !entries.iter().all(|entry| is_place(entry.at())) {
        return Err(wrong("an entry at a place that is none"));
    }
    Ok(entries)
}

/// The sandbox that is asked for.
/// `made`: what is in its root already.
pub(super) fn read(seal: Seal, made: &[Entry], options: &Options) -> Result<Sandbox, ProcessError> {
    let wrong = ProcessError::Request;
    if seal.instance.is_empty() {
        return Err(wrong("an instance without a name"));
    }
    let asked = places(seal.entries, made.len())?;
    let entries = made.iter().cloned().chain(asked).collect();
    let mut all_without = options.without.clone();
    for name in &seal.without {
        all_without.insert(Layer::from_name(name).ok_or(wrong("an unknown layer"))?);
    }
    let outside = geteuid().is_root().then_some(seal.user);
    if outside == Some(0) && !all_without.contains(&Layer::User) {
        return Err(wrong("no program runs as the user 0"));
    }
    if !is_place(Path::new(&seal.program_socket)) {
        return Err(wrong("a program socket at a place that is none"));
    }
    let mut limits = ProcessLimits::default();
    if let Some(asked) = seal.limits {
        limits.open_files = asked.open_files.unwrap_or(limits.open_files);
        limits.file_bytes = asked.file_bytes.or(limits.file_bytes);
        limits.processes = asked.processes.or(limits.processes);
    }
    if limits.open_files < OPEN_FILES_MIN {
        return Err(wrong("fewer descriptors than the init of a program needs"));
    }
    Ok(Sandbox {
        entries,
        identity: Identity { outside, ..Identity::default() },
        limits,
        own_network: true,
        groups: options.groups.clone(),
        without: all_without,
    })
}

/// The control group of this process, found and opened before anybody waits: there are many names to try.
#[derive(Debug)]
pub(super) struct OwnGroup {
    settings: Settings,
    watch: Watch,
}

impl OwnGroup {
    /// None: it is in none.
    pub(super) fn find(directories: &[PathBuf]) -> Result<Option<Box<Self>>, ProcessError> {
        if directories.is_empty() {
            return Ok(None);
        }
        let settings = Group::at(directories).and_then(|group| group.settings());
        let settings = settings.map_err(refused("find the control group"))?;
        Ok(Some(Box::new(Self { settings, watch: Watch::open(directories) })))
    }

    fn limit(&self, limits: &GroupLimits) -> Result<(), ProcessError> {
        let limits = Limits {
            memory_bytes: limits.memory_bytes,
            memory_high_bytes: limits.memory_high_bytes,
            processes: limits.processes,
            cpu_weight: limits.cpu_weight,
            cpu_percent: limits.cpu_percent.and_then(NonZeroU32::new),
        };
        self.settings.set(&limits).map_err(refused("limit the control group"))
    }
}

fn refused(action: &'static str) -> impl FnOnce(GroupError) -> ProcessError {
    move |error| ProcessError::System { action, source: error.into_io() }
}

/// Shuts this process in.
pub(super) fn shut(
    sandbox: &Sandbox,
    prepared: Prepared,
    group: Option<Box<OwnGroup>>,
    program_socket: &Path,
    limits: &GroupLimits,
) -> Result<Shut, ProcessError> {
    group.as_ref().map_or(Ok(()), |group| group.limit(limits))?;
    let door = Door::bind(program_socket, 0o666)
        .map_err(ProcessError::file("listen on", program_socket))?;
    let mut entered = sandbox.seal(prepared)?;
    // What runs inside is of the same user: it must not look into this process.
    prctl::set_dumpable(false).map_err(ProcessError::system("hide from programs"))?;
    entered.restrict_files()?;
    // What this process may do, and what the program may: nothing that it starts could have more.
    sandbox.restrict_calls(Policy::Program)?;
    // The one that programs expect.
    umask(Mode::from_bits_truncate(0o022));
    let holds = entered.holds.layers.into_iter().map(|(layer, holding)| LayerHolding {
        layer: layer.as_str().to_owned(),
        holding: match holding {
            Holding::Holds => "holds",
            Holding::SwitchedOff => "switched_off",
            Holding::NotUsed => "not_used",
        }
        .to_owned(),
    });
    Ok(Shut { door, holds: holds.collect(), watch: group.map(|group| group.watch) })
}

/// Whether a path is absolute, below the root, and has no `..`.
fn is_place(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && path.file_name().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal {
            instance: "a-1".into(),
            user: 1_900_000_001,
            program_socket: "/run/a.sock".into(),
            ..Seal::default()
        }
    }

    fn options() -> Options {
        Options {
            cell: "a".into(),
            socket: "/run/c.sock".into(),
            entries: Vec::new(),
            groups: Vec::new(),
            without: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_changes() {
        let entry = |at: &str| {
            let what = Some(messages::entry::What::Directory(messages::Directory {}));
            messages::Entry { at: at.into(), what }
        };
        let options = options();
        assert!(read(seal(), &[], &options).is_ok());
        for wrong in [
            Seal { instance: String::new(), ..seal() },
            Seal { program_socket: "a.sock".into(), ..seal() },
            Seal { program_socket: "/".into(), ..seal() },
            Seal { entries: vec![entry("/a/../b")], ..seal() },
            Seal { entries: vec![entry("a")], ..seal() },
            Seal { entries: vec![messages::Entry::default()], ..seal() },
            Seal { entries: vec![entry("/a"); ENTRIES_MAX + 1], ..seal() },
            Seal { without: vec!["moat".into()], ..seal() },
            Seal {
                limits: Some(messages::Limits { open_files: Some(3), ..Default::default() }),
                ..seal()
            },
        ] {
            assert!(matches!(read(wrong, &[], &options), Err(ProcessError::Request(_))));
        }
        if geteuid().is_root() {
            assert!(read(Seal { user: 0, ..seal() }, &[], &options).is_err());
        }
    }

    #[test]
    fn limits_that_are_not_named_are_the_usual() {
        let limits = Some(messages::Limits { processes: Some(7), ..messages::Limits::default() });
        let sandbox = read(Seal { limits, ..seal() }, &[], &options()).expect("read");
        assert_eq!(
            sandbox.limits,
            ProcessLimits { processes: Some(7), ..ProcessLimits::default() }
        );
    }
}
