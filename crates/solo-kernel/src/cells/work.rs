//! The directory through which code goes into a compiler cell and comes out compiled.
//!
//! The cell sees nothing else of the machine's files, and may do in there what it likes: so links are not
//! followed, and nothing in there is taken for what it says it is.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Largest compiled artifact: what a cell may write into one file.
const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// The directory of one cell.
#[derive(Debug, Clone)]
pub(super) struct Work(PathBuf);

impl Work {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// What the cell is to read.
    pub(super) fn input(&self) -> PathBuf {
        self.0.join("in")
    }

    /// What the cell is to write.
    pub(super) fn output(&self) -> PathBuf {
        self.0.join("out")
    }

    /// Brings a copy of `artifact` in.
    pub(super) fn bring(&self, artifact: &Path) -> io::Result<()> {
        self.clear()?;
        let mut from = File::open(artifact)?;
        // Fails on whatever is there, a link too.
        let mut to = File::create_new(self.input())?;
        io::copy(&mut from, &mut to)?;
        to.set_permissions(Permissions::from_mode(0o644))
    }

    /// Takes what the cell wrote to `path`, which after a crash or power loss at any moment is as it was
    /// before or complete.
    pub(super) fn fetch(&self, path: &Path) -> io::Result<()> {
        // A pipe in its place would be waited for.
        let careful = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = File::from(rustix::fs::open(self.output(), careful, Mode::empty())?);
        if !from.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the output is no file"));
        }
        let temporary = path.with_extension("tmp");
        let copy = || {
            let mut to = File::create(&temporary)?;
            let bytes = io::copy(&mut (&from).take(OUTPUT_BYTES_MAX + 1), &mut to)?;
            if bytes > OUTPUT_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            to.set_permissions(Permissions::from_mode(0o644))?;
            to.sync_all()?;
            fs::rename(&temporary, path)
        };
        if let Err(error) = copy() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        // The name is durable only when the directory is.
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    /// Empties it.
    pub(super) fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn code_goes_in_and_comes_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("work")).expect("made");
        fs::write(at("code"), "code").expect("written");
        let work = Work::new(at("work"));
        work.bring(&at("code")).expect("brought");
        assert_eq!(fs::read(work.input()).expect("read"), b"code");
        fs::write(work.output(), "compiled").expect("written");
        work.fetch(&at("a.cwasm")).expect("fetched");
        assert_eq!(fs::read(at("a.cwasm")).expect("read"), b"compiled");
        work.clear().expect("cleared");
        assert_eq!(fs::read_dir(at("work")).expect("read").count(), 0);
    }

    #[test]
    fn a_cell_that_was_taken_over_leads_nowhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("work")).expect("made");
        fs::write(at("code"), "code").expect("written");
        fs::write(at("secret"), "secret").expect("written");
        let work = Work::new(at("work"));
        // Links to what is to be overwritten and to what is to be read.
        symlink(at("secret"), work.input()).expect("linked");
        work.bring(&at("code")).expect("brought");
        assert_eq!(fs::read(at("secret")).expect("read"), b"secret");
        symlink(at("secret"), work.output()).expect("linked");
        assert!(work.fetch(&at("a.cwasm")).is_err());
        // A pipe that nobody writes to, and a directory.
        fs::remove_file(work.output()).expect("removed");
        let pipe = (rustix::fs::FileType::Fifo, Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, work.output(), pipe.0, pipe.1, 0).expect("made");
        assert!(work.fetch(&at("a.cwasm")).is_err());
        fs::remove_file(work.output()).expect("removed");
        fs::create_dir(work.output()).expect("made");
        assert!(work.fetch(&at("a.cwasm")).is_err());
        assert!(!at("a.cwasm").exists() && !at("a.tmp").exists());
        work.clear().expect("cleared");
    }
}
