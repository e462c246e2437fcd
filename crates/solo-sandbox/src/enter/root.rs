//! A root directory made of what was granted, in place of the machine's.
//!
//! The root is a small file system in memory, read-only once it is complete. Whatever lies in it is an
//! entry: a part of the machine's files bound to a place, an empty file system, a text. Places are looked
//! up inside the new root without following a link, so that a link which a program left in a volume leads
//! nowhere. File systems that are mounted below a bound directory are not taken along.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

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
use rustix::process::{chdir, fchdir, pivot_root, umask};

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

/// A root in the making, in a mount namespace of its own. It lies over the old one, which this process
/// still uses.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    /// Makes an empty one.
    pub(super) fn begin() -> Result<Self, EnterError> {
        let failed = |verb| Layer::Root.failed::<Errno>(verb);
        // Nothing that is mounted from here on shows outside; what is mounted there still shows here.
        propagate(MountPropagationFlags::DOWNSTREAM)?;
        let root = file_system(
            "tmpfs",
            &[("size", ROOT_BYTES), ("nr_inodes", ROOT_FILES), ("mode", "0755")],
            MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )
        .map_err(failed("make a root"))?;
        // Over the old root: it is in nobody's way there, and needs no directory.
        attach(&root, CWD, "/").map_err(failed("attach the root"))?;
        Ok(Self(root))
    }

    /// Adds an entry. What is there now; `None` for a link and an empty directory.
    pub(super) fn put(&self, entry: &Entry) -> Result<Option<OwnedFd>, EnterError> {
        // What is made here is for whom this process becomes, however little it shows of other files.
        let before = umask(Mode::WGRP | Mode::WOTH);
        let done = put(&self.0, entry);
        umask(before);
        done.map_err(|error| Layer::Root.failed_on("make", entry.at().display().to_string())(error))
    }

    /// The directory that it is.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Nothing that is mounted on the machine from here on shows here.
    pub(super) fn part() -> Result<(), EnterError> {
        propagate(MountPropagationFlags::PRIVATE)
    }

    /// Makes it the root of this process.
    pub(super) fn enter(self) -> Result<(), EnterError> {
        let failed = |verb| Layer::Root.failed::<Errno>(verb);
        remount(&self.0, MountFlags::RDONLY).map_err(failed("make the root read-only"))?;
        fchdir(&self.0).map_err(failed("enter the root"))?;
        // Both are the same directory: the old root ends up over the new one, and is taken off.
        pivot_root(".", ".").map_err(failed("change the root"))?;
        unmount(".", UnmountFlags::DETACH).map_err(failed("leave the old root"))?;
        chdir("/").map_err(failed("enter the root"))
    }
}

/// How all mounts that this process sees, also those that it made, have to do with the machine's.
fn propagate(how: MountPropagationFlags) -> Result<(), EnterError> {
    mount_change("/", how | MountPropagationFlags::REC)
        .map_err(Layer::Root.failed("part from the mounts of the machine"))
}

fn put(root: &OwnedFd, entry: &Entry) -> Result<Option<OwnedFd>, Errno> {
    let at = relative(entry.at())?;
    let (parent, name) = match (at.parent(), at.file_name()) {
        (Some(parent), Some(name)) => (directory(root, parent)?, name),
        _ => return Err(Errno::INVAL),
    };
    match entry {
        Entry::Bind { from, access, .. } => bind(&parent, name, from, *access).map(Some),
        Entry::Scratch { bytes, .. } => {
            let target = directory(&parent, Path::new(name))?;
            let files = (bytes / SCRATCH_BYTES_PER_FILE).max(64).to_string();
            let options = [("size", &*bytes.to_string()), ("nr_inodes", &*files), ("mode", "1777")];
            let scratch = file_system("tmpfs", &options, MountAttrFlags::empty())?;
            attach(&scratch, &target, "")?;
            Ok(Some(scratch))
        }
        Entry::File { text, .. } => {
            let file = open(&parent, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o444)?;
            write_all(&file, text.as_bytes())?;
            Ok(Some(file))
        }
        Entry::Link { to, .. } => symlinkat(to, &parent, name).map(|()| None),
        Entry::Directory { .. } => directory(&parent, Path::new(name)).map(|_| None),
        Entry::Processes { .. } => {
            let target = directory(&parent, Path::new(name))?;
            let options = [("subset", "pid"), ("hidepid", "invisible")];
            let processes = file_system("proc", &options, MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
            attach(&processes, &target, "")?;
            Ok(Some(processes))
        }
    }
}

fn bind(parent: &OwnedFd, name: &OsStr, from: &Path, access: Access) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, from, flags)?;
    let found = FileType::from_raw_mode(fstat(&tree)?.st_mode);
    let is_device = matches!(found, FileType::CharacterDevice | FileType::BlockDevice);
    if is_device != (access == Access::Device) {
        return Err(Errno::ACCESS);
    }
    let target = if found == FileType::Directory {
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
    attach(&tree, &target, "")?;
    let access = match access {
        Access::Read => MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOEXEC,
        Access::Execute => MountFlags::RDONLY | MountFlags::NODEV,
        Access::Write => MountFlags::NODEV,
        Access::Device => MountFlags::RDONLY | MountFlags::NOEXEC,
    };
    remount(&tree, access | MountFlags::NOSUID)?;
    Ok(tree)
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

/// Adds flags to a mount. Those that it has stay: in a user namespace they may not be taken away.
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
    mount_remount(format!("/proc/self/fd/{}", mount.as_raw_fd()), flags, "")
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
