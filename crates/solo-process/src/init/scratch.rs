//! Empties a scratch directory of all that a former life left there, whatever it looks like.
//!
//! Nothing runs while it does. It follows no link, leaves the file system of the directory for no other,
//! and needs neither stack nor descriptors for deep trees: each directory is moved to the top first.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags, chmodat, openat2, renameat_with,
    unlinkat,
};
use rustix::io::Errno;

/// Empties it. What is mounted in it stays, with the directories on the way there.
///
/// # Errors
/// As the system says; some of it may be gone.
pub(super) fn empty(directory: &Path) -> io::Result<()> {
    let top = open(CWD, directory, ResolveFlags::empty())?;
    let mut moved = 0;
    // Each round removes what is at the top, and moves there what was below: it ends when all is gone.
    while round(&top, &mut moved)? {}
    Ok(())
}

/// Removes what is at the top; tells whether that was anything.
fn round(top: &OwnedFd, moved: &mut u64) -> Result<bool, Errno> {
    let mut progress = false;
    each(top, |name| {
        progress |= match remove(top, name)? {
            Removed::Gone => true,
            Removed::Directory => flatten(top, name, moved)?,
            Removed::Mounted => false,
        };
        Ok(())
    })?;
    Ok(progress)
}

enum Removed {
    Gone,
    Directory,
    Mounted,
}

fn remove(at: &OwnedFd, name: &CStr) -> Result<Removed, Errno> {
    match unlinkat(at, name, AtFlags::empty()) {
        // Another one that was moved here may have been seen twice.
        Ok(()) | Err(Errno::NOENT) => Ok(Removed::Gone),
        Err(Errno::ISDIR) => Ok(Removed::Directory),
        Err(Errno::BUSY) => Ok(Removed::Mounted),
        Err(error) => Err(error),
    }
}

/// Removes a directory of the top, after its own directories were moved beside it. Tells whether
/// anything changed.
fn flatten(top: &OwnedFd, name: &CStr, moved: &mut u64) -> Result<bool, Errno> {
    let stay = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match unlinkat(top, name, AtFlags::REMOVEDIR) {
        Ok(()) => return Ok(true),
        Err(Errno::BUSY) => return Ok(false),
        Err(_) => {}
    }
    // It may have been closed to its owner.
    chmodat(top, name, Mode::RWXU, AtFlags::empty())?;
    let directory = match open(top, name, stay) {
        Err(Errno::XDEV) => return Ok(false),
        other => other?,
    };
    let mut progress = false;
    each(&directory, |inner| {
        match remove(&directory, inner)? {
            Removed::Gone => progress = true,
            Removed::Directory => {
                chmodat(&directory, inner, Mode::RWXU, AtFlags::empty())?;
                progress |= lift(&directory, inner, top, moved)?;
            }
            Removed::Mounted => {}
        }
        Ok(())
    })?;
    match unlinkat(top, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        // Something is mounted below, or was read past: the next round sees.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(progress),
        Err(error) => Err(error),
    }
}

/// Moves a directory to the top, under a name that is free there.
fn lift(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> Result<bool, Errno> {
    loop {
        *moved += 1;
        let free = format!(".solo-{moved}");
        match renameat_with(from, name, top, free.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            // It is where something is mounted.
            Err(Errno::BUSY | Errno::XDEV) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn each(
    directory: &OwnedFd,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            each(name)?;
        }
    }
    Ok(())
}

fn open<P: rustix::path::Arg>(
    at: impl std::os::fd::AsFd,
    path: P,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(at, path, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn is_empty(path: &Path) -> bool {
        fs::read_dir(path).expect("read").next().is_none()
    }

    #[test]
    fn everything_goes_and_no_link_is_followed() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("kept"), "").expect("written");
        let inside = tempfile::tempdir().expect("a directory");
        let at = |name: &str| inside.path().join(name);
        fs::create_dir_all(at("a/b/c")).expect("made");
        fs::write(at("a/b/file"), "").expect("written");
        fs::create_dir_all(at(".solo-1/x")).expect("made");
        symlink(outside.path(), at("link")).expect("linked");
        symlink(outside.path(), at("a/b/link")).expect("linked");
        for number in 0..500 {
            fs::write(at(&format!("many-{number}")), "").expect("written");
        }
        fs::set_permissions(at("a/b"), Permissions::from_mode(0o0)).expect("closed");
        fs::set_permissions(at("a"), Permissions::from_mode(0o0)).expect("closed");
        empty(inside.path()).expect("emptied");
        assert!(is_empty(inside.path()));
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_stack_goes() {
        let inside = tempfile::tempdir().expect("a directory");
        let mut at = open(CWD, inside.path(), ResolveFlags::empty()).expect("opened");
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("made");
            at = open(&at, "d", ResolveFlags::empty()).expect("opened");
        }
        drop(at);
        empty(inside.path()).expect("emptied");
        assert!(is_empty(inside.path()));
    }
}
