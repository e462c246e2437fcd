//! Packages of Python among the files (wheels, zips, source distributions): each becomes a folder of the same
//! path.
//!
//! Bounded in what it reads and in what it keeps. Native code is not kept but named: a file without content
//! says that it was there.

use std::io::{Cursor, Read};

use flate2::read::GzDecoder;
use zip::ZipArchive;

use crate::{File, SourceError, TEXT_BYTES_MAX};

/// Bytes that all archives of a service have unpacked.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// Entries of one archive.
const ENTRIES_MAX: usize = 50_000;

/// Native code.
const NATIVE: [&str; 4] = [".so", ".pyd", ".dylib", ".dll"];

/// What archives have become.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) files: Vec<File>,
    /// Folders that modules are looked for in.
    pub(crate) roots: Vec<String>,
}

/// Unpacks the archives among `files`; the others stay as they are.
///
/// # Errors
/// `BAD_PACKAGE`, `TOO_LARGE`.
pub(crate) fn all(files: Vec<File>) -> Result<Unpacked, SourceError> {
    let mut unpacked = Unpacked::default();
    let mut left = UNPACKED_BYTES_MAX;
    for file in files {
        let is_zip = [".whl", ".zip"].iter().any(|ending| file.path.ends_with(ending));
        let entries = match is_zip {
            true => unzip(&file, &mut left)?,
            false if is_tarball(&file.path) => untar(&file, &mut left)?,
            false => {
                unpacked.files.push(file);
                continue;
            }
        };
        unpacked.roots.extend(roots(&file.path, is_zip, &entries));
        unpacked.files.extend(
            entries
                .into_iter()
                .map(|(path, content)| File { path: format!("{}/{path}", file.path), content }),
        );
    }
    Ok(unpacked)
}

fn is_tarball(path: &str) -> bool {
    path.ends_with(".tgz") || path.ends_with(".tar.gz")
}

/// Where modules of an archive begin: at its top, or, where it has a folder for all, in that, or in `src` of that.
fn roots(archive: &str, is_zip: bool, entries: &[(String, Vec<u8>)]) -> Vec<String> {
    let first =
        |(path, _): &(String, Vec<u8>)| path.split_once('/').map(|(folder, _)| folder.to_owned());
    let has = |start: &str| entries.iter().any(|(path, _)| path.starts_with(start));
    let folder = entries.first().and_then(first);
    let folder =
        folder.filter(|folder| entries.iter().all(|entry| first(entry).as_ref() == Some(folder)));
    match folder {
        // `NAME-VERSION/`, which no module can be called.
        Some(folder) if !is_zip || folder.contains(['-', '.']) => {
            let inner = format!("{archive}/{folder}");
            match has(&format!("{folder}/src/")) {
                true => vec![format!("{inner}/src"), inner],
                false => vec![inner],
            }
        }
        _ => vec![archive.to_owned()],
    }
}

fn bad(archive: &File, why: impl std::fmt::Display) -> SourceError {
    let error = SourceError::new("BAD_PACKAGE", &archive.path, why.to_string());
    let hint = "send what `pip download --no-deps --only-binary :all: NAME` fetches".to_owned();
    SourceError { hint, ..error }
}

fn unzip(archive: &File, left: &mut u64) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let broken = |error: zip::result::ZipError| bad(archive, format!("it is no zip: {error}"));
    let mut zip = ZipArchive::new(Cursor::new(archive.content.as_slice())).map_err(broken)?;
    check_count(archive, zip.len())?;
    let mut entries = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?;
        let Some(path) = kept_path(entry.is_file(), &name) else { continue };
        let content = read(archive, &path, &mut entry, left)?;
        entries.push((path, content));
    }
    Ok(entries)
}

fn untar(archive: &File, left: &mut u64) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let broken = |error: std::io::Error| bad(archive, format!("it is no whole tarball: {error}"));
    let unpacked = GzDecoder::new(archive.content.as_slice()).take(UNPACKED_BYTES_MAX);
    let mut tar = tar::Archive::new(unpacked);
    let mut entries = Vec::new();
    for (count, entry) in tar.entries().map_err(broken)?.enumerate() {
        check_count(archive, count)?;
        let mut entry = entry.map_err(broken)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(path) = kept_path(entry.header().entry_type().is_file(), &path) else { continue };
        let content = read(archive, &path, &mut entry, left)?;
        entries.push((path, content));
    }
    Ok(entries)
}

fn check_count(archive: &File, count: usize) -> Result<(), SourceError> {
    if count <= ENTRIES_MAX {
        return Ok(());
    }
    let message = format!("it has more than {ENTRIES_MAX} entries");
    Err(SourceError::new("TOO_LARGE", &archive.path, message))
}

/// The path of what is kept.
fn kept_path(is_file: bool, path: &str) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let is_made = path.ends_with(".pyc") || path.split('/').any(|part| part == "__pycache__");
    (is_file && !is_made).then(|| path.to_owned())
}

fn read(
    archive: &File,
    path: &str,
    entry: &mut impl Read,
    left: &mut u64,
) -> Result<Vec<u8>, SourceError> {
    if NATIVE.iter().any(|ending| path.ends_with(ending)) {
        return Ok(Vec::new());
    }
    let mut content = Vec::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    let read = entry.take(limit.min(left.saturating_add(1))).read_to_end(&mut content);
    read.map_err(|error| bad(archive, format!("it is damaged: {path}: {error}")))?;
    let too_large = |why: String| SourceError::new("TOO_LARGE", &archive.path, why);
    if content.len() > TEXT_BYTES_MAX {
        return Err(too_large(format!("{path} has more than {TEXT_BYTES_MAX} bytes")));
    }
    *left = left.checked_sub(content.len() as u64).ok_or_else(|| {
        too_large(format!("archives have more than {UNPACKED_BYTES_MAX} bytes in them"))
    })?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_begin_where_the_archive_has_them() {
        let roots = |archive: &str, is_zip, paths: &[&str]| {
            let entries: Vec<_> = paths.iter().map(|p| ((*p).to_owned(), Vec::new())).collect();
            roots(archive, is_zip, &entries)
        };
        let wheel = ["jinja2/__init__.py", "jinja2-3.dist-info/METADATA"];
        assert_eq!(roots("j.whl", true, &wheel), ["j.whl"]);
        assert_eq!(roots("p.zip", true, &["p/__init__.py", "p/a.py"]), ["p.zip"]);
        assert_eq!(roots("p.zip", true, &["p-main/p.py"]), ["p.zip/p-main"]);
        let sdist = ["p-1.0/setup.py", "p-1.0/src/p.py"];
        assert_eq!(roots("p.tar.gz", false, &sdist), ["p.tar.gz/p-1.0/src", "p.tar.gz/p-1.0"]);
        assert_eq!(roots("e.zip", true, &[]), ["e.zip"]);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for path in ["a.whl", "a.zip", "a.tar.gz"] {
            let file = File { path: path.to_owned(), content: b"nonsense".to_vec() };
            let error = all(vec![file]).expect_err("refused");
            assert_eq!((error.reason, error.file.as_str()), ("BAD_PACKAGE", path));
        }
    }
}
