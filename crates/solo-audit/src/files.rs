//! The few things that are done to files and directories. Decides nothing about their content.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::AuditError;

/// Ending of a file that has not got its name yet.
pub(crate) const NEW: &str = ".new";

/// Puts an error of the file system together with what was tried.
pub(crate) fn failed(
    step: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Io { step, path, source }
}

/// Opens for appending, made if it is not there; only this user can read it.
pub(crate) fn open_to_append(path: &Path) -> Result<File, AuditError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

/// Takes the lock that a single process can have; it lasts as long as the file is open.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), AuditError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

/// Makes names that were given or taken away in the directory of `path` survive a power loss.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), AuditError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync the directory of", path))
}

/// The name under which a file is written before it gets its own.
pub(crate) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    PathBuf::from(name)
}

/// Writes a small file so that at any moment either the old or the new content is there.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), AuditError> {
    let new = new_name(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("open", &new))?;
    file.write_all(content).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    fs::rename(&new, path).map_err(failed("rename", &new))?;
    sync_directory_of(path)
}

/// Reads a small file; `None` if it is not there.
///
/// # Errors
/// The file system fails, or the file is longer than `most` bytes.
pub(crate) fn read_small(path: &Path, most: usize) -> Result<Option<Vec<u8>>, AuditError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path)(source)),
    };
    let mut content = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(failed("read", path))?;
    if content.len() > most {
        return Err(AuditError::Malformed { path: path.to_owned() });
    }
    Ok(Some(content))
}
