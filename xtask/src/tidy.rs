//! `cargo xtask tidy`: what a machine can check of style and layering.
//!
//! Reads the work tree and `cargo metadata`; changes nothing and runs nothing else. Findings are of
//! two kinds: errors, which fail the run, and notes, which a person should look at now and then.

mod claims;
mod documents;
mod layers;
mod source;
mod strip;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// Directories that are not ours: build output, and what package managers fetched.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// What was found, each with its place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    errors: Vec<String>,
    notes: Vec<String>,
}

impl Findings {
    fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

/// A file of the work tree.
#[derive(Debug)]
struct SourceFile {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

/// Runs all checks.
///
/// # Errors
/// At least one error was found, or the tree could not be read.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    ensure!(arguments.is_empty(), "usage: cargo xtask tidy");
    let root = repository()?;
    let files = read_tree(&root)?;
    let mut findings = Findings::default();
    for file in &files {
        source::check(file, &mut findings);
    }
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(&root)
        .no_deps()
        .exec()
        .context("failed to run `cargo metadata`")?;
    layers::check(&layers::crates(&metadata), &mut findings);
    documents::check(&files, &mut findings);
    claims::check(&files, &mut findings);
    report(&files, &findings)
}

fn report(files: &[SourceFile], findings: &Findings) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for note in &findings.notes {
        writeln!(out, "note: {note}")?;
    }
    for error in &findings.errors {
        writeln!(out, "error: {error}")?;
    }
    let (errors, notes) = (findings.errors.len(), findings.notes.len());
    writeln!(out, "tidy: {} files, {errors} errors, {notes} notes", files.len())?;
    if errors > 0 {
        bail!("the tree is not tidy");
    }
    Ok(())
}

fn repository() -> anyhow::Result<PathBuf> {
    // Cargo tells where the package lies now; the compiled-in path is for a bare start.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Ok(package.parent().context("xtask is not in a repository")?.to_owned())
}

/// All text files that the checks know, sorted by path.
fn read_tree(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("failed to read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            // Links are not followed: they could lead out of the tree.
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                directories.push(path);
            } else if kind.is_file()
                && let Some(relative) = path.strip_prefix(root)?.to_str()
                && source::is_checked(relative)
            {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                files.push(SourceFile { path: relative.to_owned(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
