//! Decides whether a guest is up to date, by a BLAKE3 digest of all that goes into it.
//!
//! Looks at contents, never at times, so a fresh checkout or a copied cache changes nothing.

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// The recipe itself is an input: a changed build step makes a new output.
const RECIPE: &[&str] = &[
    include_str!("../guests.rs"),
    include_str!("build.rs"),
    include_str!("inspect.rs"),
    include_str!("toolchain.rs"),
];

/// Folders that hold what tools made, not what people wrote.
const SKIPPED: &[&str] = &["node_modules", "target", "__pycache__"];

/// A digest of everything one output is made from.
#[derive(Debug)]
pub(crate) struct Digest(String);

impl Digest {
    /// Reads the files and folders, `paths` relative to `root`, and adds `tools`, the toolchain's
    /// version.
    ///
    /// # Errors
    /// A path that is not there or cannot be read.
    pub(crate) fn of(root: &Path, paths: &[&str], tools: &str) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            collect(&root.join(path), &mut files)?;
        }
        files.sort();
        let mut hasher = blake3::Hasher::new();
        for text in RECIPE.iter().copied().chain([tools]) {
            add(&mut hasher, text.as_bytes());
        }
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file);
            add(&mut hasher, name.as_os_str().as_encoded_bytes());
            let content = std::fs::read(&file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            add(&mut hasher, &content);
        }
        Ok(Self(hasher.finalize().to_hex().to_string()))
    }

    /// True when `output` was made from these inputs and was not touched since.
    pub(crate) fn matches(&self, output: &Path) -> bool {
        let stored = std::fs::read_to_string(stamp(output)).unwrap_or_default();
        std::fs::read(output).is_ok_and(|bytes| stored == self.line(&bytes))
    }

    /// Notes beside `output` that `bytes`, its content, was made from these inputs.
    ///
    /// # Errors
    /// The note cannot be written.
    pub(crate) fn store(&self, output: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        super::write_whole(&stamp(output), self.line(bytes).as_bytes())
    }

    fn line(&self, output: &[u8]) -> String {
        format!("inputs {}\noutput {}\n", self.0, blake3::hash(output).to_hex())
    }
}

/// `NAME.inputs` beside `NAME.wasm`.
fn stamp(output: &Path) -> PathBuf {
    output.with_extension("inputs")
}

/// Adds one part, its length first, so that no two lists of parts look the same.
fn add(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&part.len().to_le_bytes());
    hasher.update(part);
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("failed to read {}", path.display());
    if !std::fs::metadata(path).with_context(context)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(context)? {
        let entry = entry.with_context(context)?;
        if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_input_or_output_is_not_up_to_date() -> anyhow::Result<()> {
        let root = std::env::temp_dir().join(format!("solo-xtask-inputs-{}", std::process::id()));
        std::fs::create_dir_all(root.join("src/target"))?;
        let output = root.join("out.wasm");
        std::fs::write(root.join("src/a"), "1")?;
        std::fs::write(&output, "made")?;
        let first = Digest::of(&root, &["src"], "tools 1")?;
        assert!(!first.matches(&output), "nothing was stored yet");
        first.store(&output, b"made")?;
        std::fs::write(root.join("src/target/made"), "by a tool")?;
        assert!(Digest::of(&root, &["src"], "tools 1")?.matches(&output));
        assert!(!Digest::of(&root, &["src"], "tools 2")?.matches(&output));
        std::fs::write(root.join("src/a"), "2")?;
        assert!(!Digest::of(&root, &["src"], "tools 1")?.matches(&output));
        std::fs::write(root.join("src/a"), "1")?;
        std::fs::write(&output, "damaged")?;
        assert!(!Digest::of(&root, &["src"], "tools 1")?.matches(&output));
        assert!(Digest::of(&root, &["nowhere"], "tools 1").is_err());
        std::fs::remove_dir_all(&root)?;
        Ok(())
    }
}
