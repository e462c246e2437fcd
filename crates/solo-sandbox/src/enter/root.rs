//! A root directory made of what was granted, in place of the machine's.
//!
//! The root is a small file system in memory, read-only once it is complete. Whatever lies in it is an
//! entry: a part of the machine's files bound to a place, an empty file system, a text. Places are looked
//! up inside the new root without following a link, so that a link which a program left in a volume leads
//! nowhere. File systems that are mounted below a bound directory are not taken along.
//!
//! It has a mount namespace of its own from the beginning, in which nothing else is mounted. Until it is
//! entered, what goes into it is opened in the machine's namespace and attached in the own one: there is no
//! tree of the machine's mounts to be changed or taken down when somebody waits.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, fstatvfs, mkdirat,
    openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root, umask};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{EnterError, Layer};

/// Size of the root itself: it holds directories and short texts.
const ROOT_BYTES: &str = "4194304";

/// Directories, links and texts of the root; and files in an empty file system for each of its pages.
const ROOT_FILES: &str = "4096";

/// Bytes of a scratch file system for each file that it may have: a file takes about a KiB of the
/// machine's memory that its size does not show.
const SCRATCH_BYTES_PER_FILE: u64 = 4_096;

/// What may be done with files that are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Read,
    /// Read and run.
    Execute,
    /// Read, run and change.
    Write,
    /// Use the device.
    Device,
}

/// Something in the root. Places are absolute and without `..`; directories on the way are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file or directory of the machine.
    Bind {
        /// Where it lies on the machine; links are followed.
        from: PathBuf,
        /// Its place.
        at: PathBuf,
        /// What may be done with it.
        access: Access,
    },
    /// An empty file system in memory, to be written, gone with the process.
    Scratch {
        /// Its place.
        at: PathBuf,
        /// Its size; it is filled from the memory of the group.
        bytes: u64,
    },
    /// A file with this text, to be read.
    File {
        /// Its place.
        at: PathBuf,
        /// Its text.
        text: String,
    },
    /// A symbolic link.
    Link {
        /// Its place.
        at: PathBuf,
        /// Where it points to.
        to: PathBuf,
    },
    /// An empty directory.
    Directory {
        /// Its place.
        at: PathBuf,
    },
    /// `/proc`, with the own processes and nothing about the machine.
    Processes {
        /// Its place.
        at: PathBuf,
    },
}

impl Entry {
    /// Its place.
    #[must_use]
    pub fn at(&self) -> &Path {
        match self {
            Self::Bind { at, .. }
            | Self::Scratch { at, .. }
            | Self::File { at, .. }
            | Self::Link { at, .. }
            | Self::Directory { at }
            | Self::Processes { at } => at,
        }
    }
}

/// A root in the making. This process is not in it, but where it was.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    /// The mount namespace that it is all of.
    namespace: OwnedFd,
    machine: Machine,
}

impl Root {
    /// Makes an empty one.
    pub(super) fn begin() -> Result<Self, EnterError> {
        let failed = |verb| Layer::Root.failed::<Errno>(verb);
        let mut machine = Machine::open().map_err(failed("open the machine's files"))?;
        if machine.enter().is_err() {
            // Only its owner may come back to it; this process will own a copy of it. What is unmounted on
            // the machine is so there too.
            copy(MountPropagationFlags::DOWNSTREAM)?;
            machine = Machine::open().map_err(failed("open the machine's files"))?;
        }
        let directory = file_system(
            "tmpfs",
            &[("size", ROOT_BYTES), ("nr_inodes", ROOT_FILES), ("mode", "0755")],
            MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )
        .map_err(failed("make a root"))?;
        copy(MountPropagationFlags::PRIVATE)?;
        // Over the old root: it is in nobody's way there, and needs no directory.
        attach(&directory, CWD, "/").map_err(failed("attach the root"))?;
        fchdir(&directory).map_err(failed("enter the root"))?;
        // Both are the same directory: the old root ends up over the new one, and is taken off.
        pivot_root(".", ".").map_err(failed("change the root"))?;
        unmount(".", UnmountFlags::DETACH).map_err(failed("leave the old root"))?;
        let namespace = machine.own_namespace().map_err(failed("find its namespace"))?;
        machine.enter().map_err(failed("come back"))?;
        Ok(Self { directory, namespace, machine })
    }

    /// The directory that it is.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Adds `entries`. What is there now for each; `None` for a link and an empty directory.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<Vec<Option<OwnedFd>>, EnterError> {
        let made = self.make(entries)?;
        self.machine.enter().map_err(Layer::Root.failed("come back"))?;
        Ok(made)
    }

    /// Adds `entries`, and makes it the root of this process. What is there now, as of [`Self::add`].
    pub(super) fn enter(self, entries: &[Entry]) -> Result<Vec<Option<OwnedFd>>, EnterError> {
        let failed = |verb| Layer::Root.failed::<Errno>(verb);
        let made = self.make(entries)?;
        remount(&self.directory, MountFlags::RDONLY).map_err(failed("make the root read-only"))?;
        chdir("/").map_err(failed("enter the root"))?;
        Ok(made)
    }

    /// Adds `entries`, and leaves this process in the own namespace, with the machine's `/proc` as its
    /// working directory.
    fn make(&self, entries: &[Entry]) -> Result<Vec<Option<OwnedFd>>, EnterError> {
        let failed = |entry: &Entry| {
            Layer::Root.failed_on::<Errno>("make", entry.at().display().to_string())
        };
        let sources: Vec<_> = entries
            .iter()
            .map(|entry| source(entry).map_err(|error| failed(entry)(error)))
            .collect::<Result<_, _>>()?;
        let enter = enter_namespace(&self.namespace)
            .and_then(|()| fchdir(&self.machine.processes))
            .map_err(Layer::Root.failed("enter its namespace"));
        enter?;
        // What is made here is for whom this process becomes, however little it shows of other files.
        let before = umask(Mode::WGRP | Mode::WOTH);
        let put = |(entry, source)| {
            put(&self.directory, entry, source).map_err(|error| failed(entry)(error))
        };
        let made = entries.iter().zip(sources).map(put).collect();
        umask(before);
        made
    }
}

/// Takes this process to a copy of its mount namespace, of which nothing shows outside. `how` says what of
/// the machine's still shows in it.
fn copy(how: MountPropagationFlags) -> Result<(), EnterError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(Layer::Root.failed("make a namespace"))?;
    mount_change("/", how | MountPropagationFlags::REC)
        .map_err(Layer::Root.failed("part from the mounts of the machine"))
}

/// Where this process came from.
#[derive(Debug)]
struct Machine {
    namespace: OwnedFd,
    /// Its root is not always that of the namespace.
    root: OwnedFd,
    /// `/proc`, by which mounts are changed that have no path of their own.
    processes: OwnedFd,
}

impl Machine {
    fn open() -> Result<Self, Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path| rustix::fs::open(path, directory, Mode::empty());
        let processes = open("/proc")?;
        Ok(Self { namespace: namespace(&processes)?, root: open("/")?, processes })
    }

    /// The namespace that this process is in now.
    fn own_namespace(&self) -> Result<OwnedFd, Errno> {
        namespace(&self.processes)
    }

    fn enter(&self) -> Result<(), Errno> {
        enter_namespace(&self.namespace)?;
        fchdir(&self.root)?;
        chroot(".")?;
        chdir("/")
    }
}

fn namespace(processes: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(processes, "self/ns/mnt", flags, Mode::empty())
}

fn enter_namespace(namespace: &OwnedFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}

/// What an entry is made of, opened in the machine's namespace; attached nowhere yet. A new `/proc` is
/// given only to who sees the machine's.
fn source(entry: &Entry) -> Result<Option<OwnedFd>, Errno> {
    match entry {
        Entry::Bind { from, access, .. } => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = open_tree(CWD, from, flags)?;
            if is_device(&tree)? == (*access == Access::Device) {
                Ok(Some(tree))
            } else {
                Err(Errno::ACCESS)
            }
        }
        Entry::Scratch { bytes, .. } => {
            let files = (bytes / SCRATCH_BYTES_PER_FILE).max(64).to_string();
            let options = [("size", &*bytes.to_string()), ("nr_inodes", &*files), ("mode", "1777")];
            file_system("tmpfs", &options, MountAttrFlags::empty()).map(Some)
        }
        Entry::Processes { .. } => {
            let options = [("subset", "pid"), ("hidepid", "invisible")];
            file_system("proc", &options, MountAttrFlags::MOUNT_ATTR_NOEXEC).map(Some)
        }
        Entry::File { .. } | Entry::Link { .. } | Entry::Directory { .. } => Ok(None),
    }
}

fn is_device(file: &OwnedFd) -> Result<bool, Errno> {
    let found = FileType::from_raw_mode(fstat(file)?.st_mode);
    Ok(matches!(found, FileType::CharacterDevice | FileType::BlockDevice))
}

/// Puts an entry at its place, in the own namespace.
fn put(root: &OwnedFd, entry: &Entry, source: Option<OwnedFd>) -> Result<Option<OwnedFd>, Errno> {
    let at = relative(entry.at())?;
    let (parent, name) = match (at.parent(), at.file_name()) {
        (Some(parent), Some(name)) => (directory(root, parent)?, name),
        _ => return Err(Errno::INVAL),
    };
    match (entry, source) {
        (Entry::Bind { access, .. }, Some(tree)) => {
            bind(&parent, name, &tree, *access)?;
            Ok(Some(tree))
        }
        (Entry::Scratch { .. } | Entry::Processes { .. }, Some(mount)) => {
            attach(&mount, &directory(&parent, Path::new(name))?, "")?;
            Ok(Some(mount))
        }
        (Entry::File { text, .. }, _) => {
            let file = open(&parent, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o444)?;
            write_all(&file, text.as_bytes())?;
            Ok(Some(file))
        }
        (Entry::Link { to, .. }, _) => symlinkat(to, &parent, name).map(|()| None),
        (Entry::Directory { .. }, _) => directory(&parent, Path::new(name)).map(|_| None),
        // They have a source.
        (Entry::Bind { .. } | Entry::Scratch { .. } | Entry::Processes { .. }, None) => {
            Err(Errno::INVAL)
        }
    }
}

fn bind(parent: &OwnedFd, name: &OsStr, tree: &OwnedFd, access: Access) -> Result<(), Errno> {
    let target = if FileType::from_raw_mode(fstat(tree)?.st_mode) == FileType::Directory {
        directory(parent, Path::new(name))?
    } else {
        match open(parent, name, OFlags::PATH, 0) {
            Err(Errno::NOENT) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                open(parent, name, flags, 0o444)?
            }
            other => other?,
        }
    };
    attach(tree, &target, "")?;
    let access = match access {
        Access::Read => MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOEXEC,
        Access::Execute => MountFlags::RDONLY | MountFlags::NODEV,
        Access::Write => MountFlags::NODEV,
        Access::Device => MountFlags::RDONLY | MountFlags::NOEXEC,
    };
    remount(tree, access | MountFlags::NOSUID)
}

/// A file system of its own, attached nowhere yet.
fn file_system(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes =
        attributes | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(tree: &OwnedFd, directory: impl AsFd, path: &str) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(tree.as_fd(), "", directory.as_fd(), path, flags)
}

/// Adds flags to a mount of the own namespace, from `/proc` as the working directory. Those that it has
/// stay: in a user namespace they may not be taken away.
fn remount(mount: &OwnedFd, flags: MountFlags) -> Result<(), Errno> {
    let has = fstatvfs(mount)?.f_flag;
    let mut flags = flags | MountFlags::BIND;
    for (had, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(flag, flags.contains(flag) || has.contains(had));
    }
    mount_remount(format!("self/fd/{}", mount.as_raw_fd()), flags, "")
}

/// The path below the root. `..` is refused: there is nothing to go up to.
fn relative(at: &Path) -> Result<PathBuf, Errno> {
    let mut components = at.components();
    if components.next() != Some(Component::RootDir) {
        return Err(Errno::INVAL);
    }
    components
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(Errno::INVAL),
        })
        .collect()
}

/// Opens a directory, made if it is not there, with those on the way to it.
fn directory(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut at = openat2(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE)?;
    for name in path.components() {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        at = match open(&at, name.as_os_str(), flags, 0) {
            Err(Errno::NOENT) => {
                mkdirat(&at, name.as_os_str(), Mode::from_raw_mode(0o755))?;
                open(&at, name.as_os_str(), flags, 0)?
            }
            other => other?,
        };
    }
    Ok(at)
}

/// What a path may lead to: nothing above where it begins, and nothing by a link.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn open(at: &OwnedFd, name: &OsStr, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    openat2(at, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode), RESOLVE)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = bytes.get(written..).ok_or(Errno::IO)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_absolute_and_go_down_only() {
        assert_eq!(relative(Path::new("/a/b")), Ok("a/b".into()));
        for wrong in ["a", "/a/../b", "../a", ""] {
            assert_eq!(relative(Path::new(wrong)), Err(Errno::INVAL), "{wrong}");
        }
    }

    #[test]
    fn a_link_on_the_way_leads_nowhere() {
        let outside = tempfile::tempdir().expect("a directory");
        let inside = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).expect("linked");
        let root: OwnedFd = std::fs::File::open(inside.path()).expect("opened").into();
        assert_eq!(directory(&root, Path::new("link/x")).map(drop), Err(Errno::LOOP));
        assert_eq!(directory(&root, Path::new("link")).map(drop), Err(Errno::LOOP));
        directory(&root, Path::new("a/b")).expect("made");
        assert!(inside.path().join("a/b").is_dir());
        assert!(std::fs::read_dir(outside.path()).expect("read").next().is_none());
    }
}
