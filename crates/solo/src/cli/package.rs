//! Packages of npm that lie in a directory, as the tarballs that Solo takes.
//!
//! Takes what can be imported of them; the same files make the same bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use solo_api::v1;

use super::Failure;

/// What says that a directory is a package.
const MANIFEST: &str = "package.json";

/// What can be imported.
const KEPT: [&str; 4] = ["js", "mjs", "cjs", "json"];

/// Directories below each other.
const DEPTH_MAX: usize = 32;

/// The packages of `directory`: itself if it is one, else those in it (`node_modules`).
///
/// # Errors
/// It cannot be read, or there is none.
pub(crate) fn packages(directory: &Path) -> Result<Vec<v1::SourceFile>, Failure> {
    let unreadable = |error: io::Error| {
        let cause = format!("failed to read {}: {error}", directory.display());
        Failure::local("FILE_UNREADABLE", cause, "check the path and the rights of the directory")
    };
    let found = find(directory).map_err(unreadable)?;
    if found.is_empty() {
        let cause = format!("{} is no package and has none in it", directory.display());
        let remedy = "name a package, a directory of packages (node_modules), or files one by one";
        return Err(Failure::local("NO_PACKAGE", cause, remedy));
    }
    found.iter().map(|package| pack(package).map_err(unreadable)).collect()
}

/// Packages directly in a directory, or in the directory of a scope (`@name`) in it.
fn find(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if directory.join(MANIFEST).is_file() {
        return Ok(vec![directory.to_owned()]);
    }
    let mut packages = Vec::new();
    for path in entries(directory)? {
        if path.join(MANIFEST).is_file() {
            packages.push(path);
        } else if path.is_dir() && name(&path).starts_with('@') {
            packages
                .extend(entries(&path)?.into_iter().filter(|path| path.join(MANIFEST).is_file()));
        }
    }
    Ok(packages)
}

fn pack(package: &Path) -> io::Result<v1::SourceFile> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    add(&mut archive, package, "package", 0)?;
    let content = archive.into_inner()?.finish()?;
    // Two scopes may have a package of one name.
    let scope = package.parent().map(name).filter(|scope| scope.starts_with('@'));
    let scope = scope.map(|scope| format!("{}-", scope.trim_start_matches('@')));
    let path = format!("{}{}.tgz", scope.unwrap_or_default(), name(package));
    Ok(v1::SourceFile { path, content })
}

fn add(
    archive: &mut tar::Builder<GzEncoder<Vec<u8>>>,
    directory: &Path,
    below: &str,
    depth: usize,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{} is too deep", directory.display())));
    }
    for path in entries(directory)? {
        let inner = format!("{below}/{}", name(&path));
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            add(archive, &path, &inner, depth + 1)?;
        } else if metadata.is_file() && is_kept(&path) {
            let content = fs::read(&path)?;
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, &inner, content.as_slice())?;
        }
    }
    Ok(())
}

fn is_kept(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|e| KEPT.contains(&e))
}

/// In the order of their names.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
