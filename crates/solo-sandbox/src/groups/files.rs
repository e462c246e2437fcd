//! Reads and writes the files of groups, which are there or not: none is ever made.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::GroupError;

/// Writes a value, in one piece as the system wants it.
pub(super) fn write(path: &Path, value: &str) -> Result<(), GroupError> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(GroupError::file("write", path))
}

/// Reads a text.
pub(super) fn read(path: &Path) -> Result<String, GroupError> {
    fs::read_to_string(path).map_err(GroupError::file("read", path))
}

/// Takes a file, group or way of the kernel that is not there for nothing to do.
pub(super) fn if_there<T>(result: Result<T, GroupError>) -> Result<Option<T>, GroupError> {
    match result {
        // A group that is being removed has its files, and nothing behind them.
        Err(GroupError::File { source, .. })
            if source.kind() == ErrorKind::NotFound
                || source.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The one number in a file.
pub(super) fn number(path: &Path) -> Result<u64, GroupError> {
    parse(path, Some(read(path)?.trim()))
}

/// The number behind `key` in a file of lines with a key and a number each.
pub(super) fn keyed(path: &Path, key: &str) -> Result<u64, GroupError> {
    let text = read(path)?;
    let mut lines = text.lines();
    parse(path, lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')))
}

fn parse(path: &Path, text: Option<&str>) -> Result<u64, GroupError> {
    let unclear = || GroupError::file("read", path)(io::Error::from(ErrorKind::InvalidData));
    text.and_then(|text| text.parse().ok()).ok_or_else(unclear)
}

/// Makes a directory unless it is there. Tells whether it made it.
pub(super) fn make(path: &Path) -> Result<bool, GroupError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true).map_err(GroupError::file("make", path)),
    }
}

/// Removes a directory unless it is gone.
pub(super) fn remove(path: &Path) -> Result<(), GroupError> {
    if_there(fs::remove_dir(path).map_err(GroupError::file("remove", path))).map(drop)
}
