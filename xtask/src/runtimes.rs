//! Builds the runtimes of languages under `runtimes/`: `cargo xtask runtimes`.
//!
//! A runtime is built to a component, started once and compiled for this machine by `solo-snapshot`, which
//! `make build` has built before. Builds only what changed, and installs nothing: where a tool is missing it
//! says so, names the command that installs it, and the language is missing from this Solo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::guests::inputs::Digest;
use crate::guests::{Places, build, say, toolchain, write_whole};

const USAGE: &str = "usage: cargo xtask runtimes [--allow-missing]";

/// What its runtime is made of.
const INPUTS: [&str; 3] = ["runtimes/javascript", "wit", "crates/solo-source/src/resolve.rs"];

/// What its engine in C is compiled with.
const CLANG_MISSING: &str = "no clang for WebAssembly, which the runtime of JavaScript is built with; install it with\n  \
     runtimes/setup.sh\n\
     which installs Debian's clang-N, llvm-N and libclang-rt-N-dev-wasm32 for the newest N that has all of them";

/// Runs `cargo xtask runtimes` with the arguments after that word.
///
/// # Errors
/// An unknown option; a tool that is missing, unless `--allow-missing` was given; a build that fails.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let allow_missing = match arguments {
        [] => false,
        [option] if option == "--allow-missing" => true,
        _ => bail!(USAGE),
    };
    match javascript() {
        Err(error) if allow_missing && error.is::<Missing>() => {
            say(&format!("runtimes: JavaScript is skipped: {error:#}"));
            Ok(())
        }
        outcome => outcome,
    }
}

/// A tool is not there.
#[derive(Debug)]
struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

fn javascript() -> anyhow::Result<()> {
    let places = Places::find(None)?;
    let target = places.out.parent().context("no target folder")?.to_owned();
    let snapshot = target.join("release/solo-snapshot");
    let rust = toolchain::rust().map_err(|error| Missing(format!("{error:#}")))?;
    let (clang, archiver) =
        clang(Path::new("/usr/bin")).ok_or_else(|| Missing(CLANG_MISSING.to_owned()))?;
    let snapshot_bytes = std::fs::read(&snapshot).with_context(|| {
        format!("failed to read {}: `make build` builds it", snapshot.display())
    })?;
    let tools = format!("{}{}\n{}", rust.version, clang.display(), blake3::hash(&snapshot_bytes));
    let work = target.join("runtime-build");
    std::fs::create_dir_all(&work)?;
    let component = work.join("javascript.wasm");
    let runtimes = target.join("runtimes");
    let inputs = Digest::of(&places.repository, &INPUTS, &tools)?;
    if inputs.matches(&component) && runtimes.is_dir() {
        say("runtimes: JavaScript is up to date");
        return Ok(());
    }
    say("runtimes: building JavaScript (QuickJS-NG), about a minute");
    let started = Instant::now();
    let mut command = build::cargo_in(&places.repository.join("runtimes/javascript"), &work, &rust);
    let status = command
        .env("CC_wasm32_unknown_unknown", &clang)
        .env("AR_wasm32_unknown_unknown", &archiver)
        .env("CFLAGS_wasm32_unknown_unknown", "-O3")
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "cargo could not build the runtime of JavaScript: {status}");
    let module = work.join(toolchain::TARGET).join("release/javascript_runtime.wasm");
    let module =
        std::fs::read(&module).with_context(|| format!("failed to read {}", module.display()))?;
    let bytes = build::componentize(&module)?;
    write_whole(&component, &bytes)?;
    let status = Command::new(&snapshot)
        .arg("javascript")
        .arg(&component)
        .arg(&runtimes)
        .status()
        .context("failed to start solo-snapshot")?;
    ensure!(status.success(), "solo-snapshot failed: {status}");
    inputs.store(&component, &bytes)?;
    say(&format!("runtimes: JavaScript is ready after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The newest clang that has an archiver of its version beside it.
fn clang(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let names = std::fs::read_dir(folder).ok()?;
    let versions = names.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("clang-")?.parse::<u32>().ok()
    });
    let of = |version: u32| {
        let pair =
            (folder.join(format!("clang-{version}")), folder.join(format!("llvm-ar-{version}")));
        pair.1.exists().then_some((version, pair))
    };
    versions.filter_map(of).max_by_key(|(version, _)| *version).map(|(_, pair)| pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_clang_is_taken() -> anyhow::Result<()> {
        let folder = std::env::temp_dir().join(format!("solo-xtask-clang-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        assert_eq!(clang(&folder), None);
        for name in ["clang-9", "llvm-ar-9", "clang-22", "llvm-ar-22", "clang-23", "clang-cpp-24"] {
            std::fs::write(folder.join(name), "")?;
        }
        let found = Some((folder.join("clang-22"), folder.join("llvm-ar-22")));
        assert_eq!(clang(&folder), found);
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
