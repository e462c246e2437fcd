//! Packages of Python that lie in a directory, as the zips that Solo takes.
//!
//! Takes what can be imported or read of them; the same files make the same bytes.

use std::fs;
use std::io::{self, Cursor, Write as _};
use std::path::Path;

use solo_api::v1;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Failure;

/// What says that a directory is a package.
const BEGIN: &str = "__init__.py";

/// What was made of modules, or is native.
const LEFT_OUT: [&str; 5] = ["pyc", "so", "pyd", "dylib", "dll"];

/// Directories below each other.
const DEPTH_MAX: usize = 32;

type Writer = ZipWriter<Cursor<Vec<u8>>>;

/// A directory that is a package, or has packages and modules in it (`site-packages`).
///
/// # Errors
/// It cannot be read, or has no module.
pub(crate) fn package(directory: &Path) -> Result<v1::SourceFile, Failure> {
    let unreadable = |error: io::Error| {
        let cause = format!("failed to read {}: {error}", directory.display());
        Failure::local("FILE_UNREADABLE", cause, "check the path and the rights of the directory")
    };
    let whole = directory.canonicalize().map_err(unreadable)?;
    let name = name(&whole);
    let below = if directory.join(BEGIN).is_file() { format!("{name}/") } else { String::new() };
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let modules = add(&mut writer, directory, &below, 0).map_err(unreadable)?;
    if modules == 0 {
        let cause = format!("{} has no module of Python in it", directory.display());
        let remedy = "name a package, a directory of packages (site-packages), or files one by one";
        return Err(Failure::local("NO_PACKAGE", cause, remedy));
    }
    let content = writer.finish().map_err(|error| unreadable(error.into()))?.into_inner();
    Ok(v1::SourceFile { path: format!("{name}.zip"), content })
}

/// Adds what is in a directory; says how many modules that were.
fn add(writer: &mut Writer, directory: &Path, below: &str, depth: usize) -> io::Result<usize> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{} is too deep", directory.display())));
    }
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    let mut modules = 0;
    for path in entries {
        let inner = format!("{below}{}", name(&path));
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() && name(&path) != "__pycache__" {
            modules += add(writer, &path, &format!("{inner}/"), depth + 1)?;
        } else if metadata.is_file() && !is_left_out(&path) {
            // No time in it: the same files are the same code.
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(DateTime::default());
            writer.start_file(&inner, options)?;
            writer.write_all(&fs::read(&path)?)?;
            modules += usize::from(inner.ends_with(".py"));
        }
    }
    Ok(modules)
}

fn is_left_out(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|e| LEFT_OUT.contains(&e))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
