//! Who a process inside is: a user that owns nothing outside, in a user namespace of its own.

use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::set_keep_capabilities;

use super::{EnterError, Layer};

/// A user and a group, outside and inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Who it is to the machine. `None`: who it is already, as only root can become somebody else.
    pub outside: Option<u32>,
    /// The user that it sees itself as.
    pub user_inside: u32,
    /// The group that it sees itself in.
    pub group_inside: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Self { outside: None, user_inside: 1_000, group_inside: 1_000 }
    }
}

/// Becomes the outside user, keeping the capabilities that the steps behind need.
pub(super) fn become_user(identity: Identity) -> Result<(), EnterError> {
    let Some(number) = identity.outside else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
    let failed = Layer::User.failed_on("become user", number.to_string());
    let keep = |keep| set_keep_capabilities(keep).map_err(Layer::User.failed("keep capabilities"));
    keep(true)?;
    setgroups(&[]).map_err(&failed)?;
    setresgid(gid, gid, gid).map_err(&failed)?;
    setresuid(uid, uid, uid).map_err(&failed)?;
    // The effective set is emptied by becoming another user; the permitted one was kept.
    super::capabilities::raise().map_err(Layer::User.failed("keep capabilities"))?;
    keep(false)
}

/// The own process in `/proc`, opened while that is there.
#[derive(Debug)]
pub(crate) struct Process(OwnedFd);

impl Process {
    pub(crate) fn open() -> Result<Self, EnterError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open("/proc/self", flags, Mode::empty());
        opened.map(Self).map_err(Layer::UserNamespace.failed_on("open", "/proc/self"))
    }

    /// Makes a user namespace in which the user that this process is outside is the one inside, and no
    /// other user exists.
    pub(crate) fn enter_namespace(&self, identity: Identity) -> Result<(), EnterError> {
        let (user, group) = (geteuid(), getegid());
        let layer = Layer::UserNamespace;
        unshare(CloneFlags::CLONE_NEWUSER).map_err(layer.failed("make a namespace"))?;
        // Who became another user does not own its own files in `/proc` until it says so.
        let show = |show| prctl::set_dumpable(show).map_err(layer.failed("show itself"));
        let shown = prctl::get_dumpable().map_err(layer.failed("show itself"))?;
        show(true)?;
        for (file, line) in [
            // Without it a group could be dropped that files deny something to.
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{} {user} 1", identity.user_inside)),
            ("gid_map", format!("{} {group} 1", identity.group_inside)),
        ] {
            self.write(file, &line).map_err(layer.failed_on("write", file))?;
        }
        show(shown)
    }

    fn write(&self, file: &str, line: &str) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, file, flags, Mode::empty())?;
        // The system takes such a file in one piece or not at all.
        rustix::io::write(&file, line.as_bytes()).map(drop)
    }
}
