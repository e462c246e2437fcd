//! Shuts this process in: [`Sandbox`] says into what, [`Sandbox::enter`] does it.
//!
//! A process enters by itself, at its start, while it has one thread and nothing of a guest in it; what
//! it starts afterwards is inside too. The one thing that it cannot do for itself is to become the first
//! of a pid namespace: who starts it does that ([`crate::spawn_in_pid_namespace`]).
//!
//! Every layer that is not switched off by the operator is required: one that cannot be had is an
//! error, never a weaker sandbox. It never forks, and changes nothing outside of this process but the
//! control group that it was given.

mod capabilities;
mod descriptors;
mod error;
mod group;
mod landlock;
mod layer;
mod limits;
mod loopback;
mod root;
mod user;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{getpid, sethostname};

use crate::{Filter, Policy};
pub(crate) use capabilities::{can_administer, pass_on};

pub use error::{Action, EnterError};
pub use landlock::Files;
use landlock::Rules;
pub use layer::{Holding, Holds, Layer};
pub use limits::ProcessLimits;
use root::Root;
pub use root::{Access, Entry};
pub use user::Identity;
pub(crate) use user::Process;

/// What a process inside reads as the machine's name.
const HOST_NAME: &str = "solo";

/// A process that has its namespaces, and still the machine's view of files and its privileges.
#[derive(Debug)]
pub struct Prepared {
    process: Process,
    privileged: bool,
    root: Option<Root>,
    /// Of the files that are there already. None: [`Layer::Landlock`] is switched off.
    rules: Option<Rules>,
    /// How many entries are there already.
    made: usize,
}

impl Prepared {
    /// Makes more entries, that are known by now. They come behind those that it was prepared with.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn add(&mut self, entries: &[Entry]) -> Result<(), EnterError> {
        let made = self.root.as_ref().map(|root| root.add(entries)).transpose()?;
        self.add_rules(entries, made)
    }

    /// Has Landlock allow `entries`, which are there; without a root they are the machine's.
    fn add_rules(
        &mut self,
        entries: &[Entry],
        made: Option<Vec<Option<OwnedFd>>>,
    ) -> Result<(), EnterError> {
        self.made += entries.len();
        let made = made.into_iter().flatten().chain(std::iter::repeat_with(|| None));
        let add = |rules: Rules| {
            entries
                .iter()
                .zip(made)
                .try_fold(rules, |rules, (entry, file)| rules.add_entry(entry, file))
        };
        self.rules = self.rules.take().map(add).transpose()?;
        Ok(())
    }
}

/// A process with all layers on but [`Layer::Landlock`] and [`Layer::Seccomp`], which have functions of
/// their own: a process may need more itself than what it starts.
#[derive(Debug)]
pub struct Entered {
    /// What holds, with those two.
    pub holds: Holds,
    rules: Option<Rules>,
}

impl Entered {
    /// Restricts this thread, and what it starts, to the entries once more.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn restrict_files(&mut self) -> Result<(), EnterError> {
        self.rules.take().map_or(Ok(()), Rules::restrict)
    }
}

/// A sandbox to be.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// All that its root has. The root itself is read-only; later entries may lie in earlier ones.
    pub entries: Vec<Entry>,
    /// Who it is.
    pub identity: Identity,
    /// Bounds per process.
    pub limits: ProcessLimits,
    /// A network of its own (a loopback) rather than the machine's.
    pub own_network: bool,
    /// The control group that it enters, as [`crate::Group::directories`] names it. Empty: none.
    pub groups: Vec<PathBuf>,
    /// Layers that the operator switched off.
    pub without: BTreeSet<Layer>,
}

impl Sandbox {
    /// Puts all layers on but the two of [`Entered`]. The working directory is `/` afterwards.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn enter(&self) -> Result<Entered, EnterError> {
        self.prepare().and_then(|prepared| self.seal(prepared))
    }

    /// The first half of [`Self::enter`], which may be done before it is known for whom: the control
    /// group, all namespaces but the user's, which only who has no privileges gets now (as
    /// [`Self::identity`] says), and a root with the entries that are known by then. The limits and the
    /// outside user are not looked at.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn prepare(&self) -> Result<Prepared, EnterError> {
        let wanted = |layer: Layer| !self.without.contains(&layer);
        if wanted(Layer::PidNamespace) && getpid().as_raw() != 1 {
            let source = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(Layer::PidNamespace.failed("be the first process of a pid namespace")(
                source,
            ));
        }
        // While it sees them and may write there, and so that all that follows is counted.
        if wanted(Layer::ControlGroup) {
            group::enter(&self.groups)?;
        }
        let privileged = can_administer();
        let process = Process::open()?;
        if !privileged && wanted(Layer::UserNamespace) {
            process.enter_namespace(self.identity)?;
        }
        if wanted(Layer::MountNamespace) && !wanted(Layer::Root) {
            // A root brings its own.
            unshare(CloneFlags::CLONE_NEWNS)
                .map_err(Layer::MountNamespace.failed("make a namespace"))?;
        }
        for (layer, flag) in [
            (Layer::IpcNamespace, CloneFlags::CLONE_NEWIPC),
            (Layer::UtsNamespace, CloneFlags::CLONE_NEWUTS),
            (Layer::CgroupNamespace, CloneFlags::CLONE_NEWCGROUP),
        ] {
            if wanted(layer) {
                unshare(flag).map_err(layer.failed("make a namespace"))?;
            }
        }
        if wanted(Layer::NetworkNamespace) && self.own_network {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(Layer::NetworkNamespace.failed("make a namespace"))?;
            loopback::up()?;
        }
        if wanted(Layer::UtsNamespace) {
            sethostname(HOST_NAME).map_err(Layer::UtsNamespace.failed("set the host name"))?;
        }
        let root = if wanted(Layer::Root) { Some(Root::begin()?) } else { None };
        let rules = if wanted(Layer::Landlock) {
            Some(Rules::begin(root.as_ref().map(Root::directory))?)
        } else {
            None
        };
        let mut prepared = Prepared { process, privileged, root, rules, made: 0 };
        prepared.add(&self.entries)?;
        Ok(prepared)
    }

    /// The second half of [`Self::enter`]: root, descriptors, limits, user, privileges. The entries begin
    /// with those that `prepared` was prepared with.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn seal(&self, mut prepared: Prepared) -> Result<Entered, EnterError> {
        let wanted = |layer: Layer| !self.without.contains(&layer);
        if !wanted(Layer::Landlock) {
            prepared.rules = None;
        }
        if !wanted(Layer::Root) && prepared.root.take().is_some() {
            if wanted(Layer::MountNamespace) {
                unshare(CloneFlags::CLONE_NEWNS)
                    .map_err(Layer::MountNamespace.failed("make a namespace"))?;
            }
            // Those rules are about a root that nobody enters.
            prepared.made = 0;
            prepared.rules = prepared.rules.map(|_| Rules::begin(None)).transpose()?;
        }
        let late = self.entries.get(prepared.made..).unwrap_or_default();
        let made = prepared.root.take().map(|root| root.enter(late)).transpose()?;
        prepared.add_rules(late, made)?;
        let Prepared { process, privileged, rules, .. } = prepared;
        if wanted(Layer::Descriptors) {
            descriptors::close_on_exec()?;
        }
        if wanted(Layer::ResourceLimits) {
            self.limits.apply()?;
        }
        if privileged && wanted(Layer::User) {
            user::become_user(self.identity)?;
        }
        if privileged && wanted(Layer::UserNamespace) {
            process.enter_namespace(self.identity)?;
        }
        if wanted(Layer::ResourceLimits) {
            self.limits.apply_inside()?;
        }
        if wanted(Layer::Capabilities) {
            capabilities::drop_all()?;
        }
        if wanted(Layer::NoNewPrivileges) {
            prctl::set_no_new_privs()
                .map_err(Layer::NoNewPrivileges.failed("forbid new privileges"))?;
        }
        Ok(Entered { holds: self.holds(), rules })
    }

    /// Restricts this thread, and what it starts, to the system calls of `policy`. The last layer: the
    /// others need calls that no policy allows.
    ///
    /// # Errors
    /// [`EnterError`]; the process must end then.
    pub fn restrict_calls(&self, policy: Policy) -> Result<(), EnterError> {
        if self.without.contains(&Layer::Seccomp) {
            return Ok(());
        }
        let install = policy.filter().and_then(Filter::install);
        install
            .map_err(|error| Layer::Seccomp.failed("filter system calls")(io::Error::other(error)))
    }

    fn holds(&self) -> Holds {
        let holding = |layer| match layer {
            layer if self.without.contains(&layer) => Holding::SwitchedOff,
            Layer::NetworkNamespace if !self.own_network => Holding::NotUsed,
            Layer::ControlGroup if self.groups.is_empty() => Holding::NotUsed,
            _ => Holding::Holds,
        };
        Holds { layers: Layer::ALL.into_iter().map(|layer| (layer, holding(layer))).collect() }
    }
}

/// The parts that nearly every program expects: `/proc` of the own processes, a small `/dev`, `/tmp`
/// and `/dev/shm` of `scratch_bytes` each, a user database with the one user.
#[must_use]
pub fn common_entries(identity: Identity, scratch_bytes: u64) -> Vec<Entry> {
    let link = |at: &str, to: &str| Entry::Link { at: at.into(), to: to.into() };
    let mut entries = vec![Entry::Processes { at: "/proc".into() }];
    entries.extend(["null", "zero", "full", "random", "urandom"].map(|name| {
        let path = PathBuf::from("/dev").join(name);
        Entry::Bind { from: path.clone(), at: path, access: Access::Device }
    }));
    entries.extend([
        link("/dev/fd", "/proc/self/fd"),
        link("/dev/stdin", "/proc/self/fd/0"),
        link("/dev/stdout", "/proc/self/fd/1"),
        link("/dev/stderr", "/proc/self/fd/2"),
        Entry::Scratch { at: "/dev/shm".into(), bytes: scratch_bytes },
        Entry::Scratch { at: "/tmp".into(), bytes: scratch_bytes },
    ]);
    let (user, group) = (identity.user_inside, identity.group_inside);
    let file = |at: &str, text: String| Entry::File { at: at.into(), text };
    entries.extend([
        file("/etc/passwd", format!("solo:x:{user}:{group}:solo:/tmp:/bin/sh\n")),
        file("/etc/group", format!("solo:x:{group}:\n")),
        file("/etc/hosts", "127.0.0.1 localhost solo\n::1 localhost solo\n".into()),
        file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".into()),
    ]);
    entries
}
