//! A service in Python: its files, with those of its packages. They are read by the language itself (see
//! `solo:runtime/reader`), not here.

use std::collections::HashSet;

use crate::{File, SourceError, TEXT_BYTES_MAX, archive, check_path};

/// Bytes of all files.
const BYTES_MAX: usize = 128 << 20;

/// What the language is given to read.
#[derive(Debug)]
pub struct Collected {
    /// Folders that modules are looked for in: that of the entry, that of all files, those of packages.
    pub roots: Vec<String>,
    /// What was sent, and what was in its archives.
    pub files: Vec<File>,
}

/// Collects the files of a service.
///
/// # Errors
/// `BAD_PATH`, `BAD_PACKAGE`, `TOO_LARGE`.
pub fn collect(entry: &str, files: Vec<File>) -> Result<Collected, SourceError> {
    let archive::Unpacked { files, roots: packages } = archive::all(files)?;
    let (mut known, mut bytes) = (HashSet::with_capacity(files.len()), 0);
    for file in &files {
        check_path(&file.path)?;
        if !known.insert(file.path.as_str()) {
            return Err(SourceError::new("BAD_PATH", &file.path, "two files have this path"));
        }
        if file.content.len() > TEXT_BYTES_MAX {
            let message = format!("it has {} bytes, at most {TEXT_BYTES_MAX}", file.content.len());
            return Err(SourceError::new("TOO_LARGE", &file.path, message));
        }
        bytes += file.content.len();
    }
    if bytes > BYTES_MAX {
        let message = format!("its files have {bytes} bytes unpacked, at most {BYTES_MAX}");
        return Err(SourceError::new("TOO_LARGE", "", message));
    }
    if !known.contains(entry) || !entry.ends_with(".py") {
        let message = "it is not among the files, or no Python";
        return Err(SourceError::new("BAD_PATH", entry, message));
    }
    let folder = entry.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let roots = [folder, String::new()].into_iter().chain(packages).collect();
    Ok(Collected { roots, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> File {
        File { path: path.to_owned(), content: content.to_vec() }
    }

    #[test]
    fn files_are_collected() {
        let files = vec![file("src/main.py", b""), file("src/words.py", b""), file("a.txt", b"")];
        let collected = collect("src/main.py", files).expect("collected");
        assert_eq!(collected.roots, ["src", ""]);
        assert_eq!(collected.files.len(), 3);
    }

    #[test]
    fn what_is_no_service_is_refused() {
        let refused = |entry: &str, files| collect(entry, files).expect_err("refused").reason;
        assert_eq!(refused("main.py", vec![file("other.py", b"")]), "BAD_PATH");
        assert_eq!(refused("main.txt", vec![file("main.txt", b"")]), "BAD_PATH");
        assert_eq!(refused("a.py", vec![file("a.py", b""), file("a.py", b"")]), "BAD_PATH");
        assert_eq!(refused("a.py", vec![file("a.py", b""), file("../b.py", b"")]), "BAD_PATH");
        let large = file("a.py", &vec![b' '; TEXT_BYTES_MAX + 1]);
        assert_eq!(refused("a.py", vec![large]), "TOO_LARGE");
    }
}
