//! Tarballs of npm among the files: each becomes the files of a package below `node_modules`.
//!
//! Keeps what can be imported and throws away the rest. Bounded in what it reads and in what it keeps.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::packages::{FOLDER, MANIFEST, Manifest, is_name};
use crate::{File, SourceError, TEXT_BYTES_MAX};

/// Bytes that all tarballs of a service have unpacked.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// Bytes of theirs that are kept.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Entries of one tarball.
const ENTRIES_MAX: usize = 50_000;

/// What can be imported.
const KEPT: [&str; 4] = [".js", ".mjs", ".cjs", ".json"];

/// Replaces tarballs by what is in them.
///
/// # Errors
/// `BAD_PACKAGE`, `TOO_LARGE`.
pub(crate) fn all(files: Vec<File>) -> Result<Vec<File>, SourceError> {
    let mut unpacked = Vec::with_capacity(files.len());
    let mut budget = Budget { read: UNPACKED_BYTES_MAX, kept: KEPT_BYTES_MAX };
    for file in files {
        if is_tarball(&file.path) {
            unpacked.extend(package(&file, &mut budget)?);
        } else {
            unpacked.push(file);
        }
    }
    Ok(unpacked)
}

/// Whether the ending says so.
fn is_tarball(path: &str) -> bool {
    path.ends_with(".tgz") || path.ends_with(".tar.gz")
}

/// What may still be read and kept.
struct Budget {
    read: u64,
    kept: usize,
}

fn package(tarball: &File, budget: &mut Budget) -> Result<Vec<File>, SourceError> {
    let bad = |why: String| {
        let error = SourceError::new("BAD_PACKAGE", &tarball.path, why);
        let hint = "send what `npm pack NAME` makes".to_owned();
        SourceError { hint, ..error }
    };
    let too_large = |why: &str| SourceError::new("TOO_LARGE", &tarball.path, why);
    let mut archive =
        tar::Archive::new(GzDecoder::new(tarball.content.as_slice()).take(budget.read));
    let mut files = Vec::new();
    let entries = archive.entries().map_err(|error| bad(format!("it is no tarball: {error}")))?;
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| bad(format!("it is no whole tarball: {error}")))?;
        if count == ENTRIES_MAX {
            return Err(too_large(&format!("it has more than {ENTRIES_MAX} entries")));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // `package/` of npm, whatever it is called by others.
        let Some((_, path)) = path.split_once('/') else { continue };
        if !KEPT.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        let mut content = Vec::new();
        let limit = TEXT_BYTES_MAX as u64 + 1;
        let read = entry.by_ref().take(limit).read_to_end(&mut content);
        read.map_err(|error| bad(format!("it is no whole tarball: {error}")))?;
        if content.len() > TEXT_BYTES_MAX {
            return Err(too_large(&format!("{path} has more than {TEXT_BYTES_MAX} bytes")));
        }
        budget.kept = budget.kept.checked_sub(content.len()).ok_or_else(|| {
            too_large(&format!("packages have more than {KEPT_BYTES_MAX} bytes of code"))
        })?;
        files.push(File { path: path.to_owned(), content });
    }
    budget.read = archive.into_inner().limit();
    let manifest = files.iter().find(|file| file.path == MANIFEST);
    let manifest = manifest.and_then(|file| Manifest::read(&file.content));
    let manifest = manifest.ok_or_else(|| bad(format!("it has no {MANIFEST}")))?;
    let name = manifest.name().filter(|name| is_name(name));
    let name = name.ok_or_else(|| bad(format!("its {MANIFEST} has no name of a package")))?;
    for file in &mut files {
        file.path = format!("{FOLDER}/{name}/{}", file.path);
    }
    Ok(files)
}
