//! Files that hold a secret key: made once, for their owner alone, durable before they are used.
//!
//! Knows nothing of what a key is for, and never shows one.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Longest key that is read.
const KEY_BYTES_MAX: usize = 4_096;

/// Who else than the owner may read or write a file.
const OTHERS: u32 = 0o077;

/// Reads the key at `path`, or makes it if there is none.
///
/// # Errors
/// The file cannot be read, made or synced, is too long, or is open to others than its owner.
pub(crate) fn load_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    if let Some(key) = load(path)? {
        return Ok(key);
    }
    let key = Zeroizing::new(make()?);
    store(path, &key)?;
    Ok(key)
}

/// Reads the key at `path`; none if there is no file.
///
/// # Errors
/// The file cannot be read, is too long, or is open to others than its owner.
pub(crate) fn load(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match std::fs::File::open(path) {
        Ok(file) => read(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(file: std::fs::File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS != 0 {
        let why = format!("others may use it (mode {:o}): chmod 600", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    // With room for all from the start: a buffer that grows leaves copies behind.
    let mut key = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES_MAX));
    file.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut key)?;
    if key.len() > KEY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a key"));
    }
    Ok(key)
}

/// Writes a key in place of the one that is there.
///
/// # Errors
/// It cannot be written or synced.
pub(crate) fn store(path: &Path, key: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    // What a killed process left may have another mode.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    crate::artifacts::sync_directory(&path.with_file_name(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("some.key");
        std::fs::write(path.with_extension("tmp"), "left by a killed process").expect("write");
        let made = load_or_make(&path, || Ok(vec![1, 2, 3])).expect("made");
        let read = load_or_make(&path, || panic!("it is there")).expect("read");
        assert_eq!((made.as_slice(), read.as_slice()), (&[1, 2, 3][..], &[1, 2, 3][..]));
        let mode = std::fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!path.with_extension("tmp").exists());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("some.key");
        std::fs::write(&path, [7; 32]).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = load_or_make(&path, || panic!("it is there")).expect_err("refused");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, vec![7; 5_000]).expect("write");
        load_or_make(&path, || panic!("it is there")).expect_err("too long");
    }
}
