//! Trees of files that guests made: counted and removed.
//!
//! Such a tree may be deeper than a stack, a path and a process' descriptors allow for, and full of links.
//! Nothing here follows a link, and no recursion is deeper than `DEPTH_MAX`.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// Directories that are open at one time.
const DEPTH_MAX: usize = 32;

/// Files of one tree that are counted.
const COUNTED_MAX: u64 = 50_000;

/// Bytes of a block, as `stat` counts them.
const BLOCK_BYTES: u64 = 512;

/// What a tree takes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    /// All of it was looked at.
    pub(crate) complete: bool,
}

/// Counts what the files of a directory take. What changes meanwhile may be counted or not.
///
/// # Errors
/// It is no directory that can be read.
pub(crate) fn tree_size(path: &Path) -> io::Result<Size> {
    let top = open(&openat(CWD, path, DIRECTORY, Mode::empty())?, c".")?;
    let mut count = Count { files: 0, bytes: 0, complete: true };
    count.directory(&top, 0);
    Ok(Size { bytes: count.bytes, complete: count.complete })
}

struct Count {
    files: u64,
    bytes: u64,
    complete: bool,
}

impl Count {
    fn directory(&mut self, directory: &OwnedFd, depth: usize) {
        let Ok(entries) = Dir::read_from(directory) else {
            self.complete = false;
            return;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                self.complete = false;
                return;
            };
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            if self.files == COUNTED_MAX {
                self.complete = false;
                return;
            }
            self.files += 1;
            // Gone by now, or not to be looked at.
            let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK_BYTES;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            match open(directory, name) {
                Ok(child) if depth < DEPTH_MAX => self.directory(&child, depth + 1),
                _ => self.complete = false,
            }
        }
    }
}

/// Removes a directory and all that is in it, however deep. Nobody else may change it meanwhile.
///
/// # Errors
/// Something in it cannot be removed; what could be is gone.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = openat(CWD, path, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return std::fs::remove_dir(path);
        }
        for name in names {
            remove(&top, &top, &name, 0, &mut moved)?;
        }
    }
}

/// Removes what is called `name` in `directory`; what lies too deep is moved up to `top` instead, whose
/// turn comes again.
fn remove(
    top: &OwnedFd,
    directory: &OwnedFd,
    name: &CStr,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if depth == DEPTH_MAX {
        loop {
            *moved += 1;
            match renameat(directory, name, top, format!("moved-{moved}")) {
                // A guest had the same idea.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return Ok(other?),
            }
        }
    }
    let child = match open(directory, name) {
        Err(Errno::ACCESS) => {
            // The owner took the right from themselves, who is the user of this process.
            chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
            open(directory, name)?
        }
        other => other?,
    };
    loop {
        let names = names(&child)?;
        if names.is_empty() {
            return Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?);
        }
        for entry in names {
            match remove(top, &child, &entry, depth + 1, moved) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
                    remove(top, &child, &entry, depth + 1, moved)?;
                }
                other => other?,
            }
        }
    }
}

/// A directory is never reached through a link.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(directory, name, DIRECTORY, Mode::empty())
}

/// Names in a directory, at most so many that they fit in memory: who removes them looks again.
fn names(directory: &OwnedFd) -> io::Result<Vec<std::ffi::CString>> {
    const NAMES_MAX: usize = 10_000;
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

fn is_dots(name: &CStr) -> bool {
    [c".", c".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_a_path_is_removed_and_links_are_not_followed() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("kept"), "x").expect("written");
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().join("top");
        std::fs::create_dir(&top).expect("made");
        std::os::unix::fs::symlink(outside.path(), top.join("link")).expect("linked");
        std::fs::write(top.join("moved-1"), "in the way").expect("written");
        let mut at = openat(CWD, &top, DIRECTORY, Mode::empty()).expect("opened");
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("made");
            at = open(&at, c"d").expect("opened");
            rustix::fs::symlinkat(outside.path(), &at, "link").expect("linked");
        }
        drop(at);
        let size = tree_size(&top).expect("counted");
        assert!(!size.complete, "it is too deep to be counted");
        remove_tree(&top).expect("removed");
        assert!(!top.exists() && outside.path().join("kept").exists());
    }

    #[test]
    fn files_are_counted_and_what_may_not_be_entered_is_removed_too() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).expect("made");
        std::fs::write(top.join("a/b/file"), vec![1; 100_000]).expect("written");
        let size = tree_size(&top).expect("counted");
        assert!(size.complete && size.bytes >= 100_000 && size.bytes < 1_000_000, "{size:?}");
        std::fs::set_permissions(top.join("a"), PermissionsExt::from_mode(0o000)).expect("closed");
        remove_tree(&top).expect("removed");
        assert!(!top.exists());
    }

    #[test]
    fn a_directory_with_more_files_than_fit_is_emptied() {
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().join("top");
        std::fs::create_dir_all(top.join("many")).expect("made");
        for number in 0..12_000 {
            std::fs::File::create(top.join("many").join(number.to_string())).expect("made");
        }
        remove_tree(&top).expect("removed");
        assert!(!top.exists());
    }
}
