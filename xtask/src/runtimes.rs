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

/// What the runtime of JavaScript is made of.
const JAVASCRIPT: [&str; 3] = ["runtimes/javascript", "wit", "crates/solo-source/src/resolve.rs"];

/// What that of Python is made of.
const PYTHON: [&str; 2] = ["runtimes/python", "wit"];

/// What puts CPython and its modules together.
const PYTHON_MISSING: &str = "no componentize-py, which the runtime of Python is built with; install it with\n  \
     runtimes/setup.sh python\n\
     which needs python3 with venv, and PyPI";

/// What its engine in C is compiled with.
const CLANG_MISSING: &str = "no clang for WebAssembly, which the runtime of JavaScript is built with; install it with\n  \
     runtimes/setup.sh\n\
     which installs Debian's clang-N, llvm-N and libclang-rt-N-dev-wasm32 for the newest N that has all of them";

type Build = fn(&Bench) -> anyhow::Result<()>;

const LANGUAGES: [(&str, Build); 2] = [("JavaScript", javascript), ("Python", python)];

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
    let bench = Bench::find()?;
    for (language, build) in LANGUAGES {
        match build(&bench) {
            Err(error) if allow_missing && error.is::<Missing>() => {
                say(&format!("runtimes: {language} is skipped: {error:#}"));
            }
            outcome => outcome?,
        }
    }
    Ok(())
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

/// What every runtime is built with.
struct Bench {
    places: Places,
    /// Where components are built.
    work: PathBuf,
    /// Where they go, compiled.
    runtimes: PathBuf,
    snapshot: PathBuf,
    snapshot_hash: String,
}

impl Bench {
    fn find() -> anyhow::Result<Self> {
        let places = Places::find(None)?;
        let target = places.out.parent().context("no target folder")?.to_owned();
        let snapshot = target.join("release/solo-snapshot");
        let bytes = std::fs::read(&snapshot).with_context(|| {
            format!("failed to read {}: `make build` builds it", snapshot.display())
        })?;
        let (work, runtimes) = (target.join("runtime-build"), target.join("runtimes"));
        std::fs::create_dir_all(&work)?;
        let snapshot_hash = blake3::hash(&bytes).to_string();
        Ok(Self { places, work, runtimes, snapshot, snapshot_hash })
    }

    /// Whether the component was made of these inputs, and compiled.
    fn is_up_to_date(&self, inputs: &Digest, component: &Path) -> bool {
        inputs.matches(component) && self.runtimes.is_dir()
    }

    /// Compiles a component for this machine, and notes what it was made of.
    fn finish(
        &self,
        options: &[&str],
        name: &str,
        component: &Path,
        inputs: &Digest,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(&self.snapshot);
        command.args(options).arg(name).arg(component).arg(&self.runtimes);
        let status = command.status().context("failed to start solo-snapshot")?;
        ensure!(status.success(), "solo-snapshot failed: {status}");
        inputs.store(component, &std::fs::read(component)?)
    }
}

fn javascript(bench: &Bench) -> anyhow::Result<()> {
    let rust = toolchain::rust().map_err(|error| Missing(format!("{error:#}")))?;
    let (clang, archiver) =
        clang(Path::new("/usr/bin")).ok_or_else(|| Missing(CLANG_MISSING.to_owned()))?;
    let tools = format!("{}{}\n{}", rust.version, clang.display(), bench.snapshot_hash);
    let component = bench.work.join("javascript.wasm");
    let inputs = Digest::of(&bench.places.repository, &JAVASCRIPT, &tools)?;
    if bench.is_up_to_date(&inputs, &component) {
        say("runtimes: JavaScript is up to date");
        return Ok(());
    }
    say("runtimes: building JavaScript (QuickJS-NG), about a minute");
    let started = Instant::now();
    let folder = bench.places.repository.join("runtimes/javascript");
    let status = build::cargo_in(&folder, &bench.work, &rust)
        .env("CC_wasm32_unknown_unknown", &clang)
        .env("AR_wasm32_unknown_unknown", &archiver)
        .env("CFLAGS_wasm32_unknown_unknown", "-O3")
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "cargo could not build the runtime of JavaScript: {status}");
    let module = bench.work.join(toolchain::TARGET).join("release/javascript_runtime.wasm");
    let module =
        std::fs::read(&module).with_context(|| format!("failed to read {}", module.display()))?;
    write_whole(&component, &build::componentize(&module)?)?;
    bench.finish(&[], "javascript", &component, &inputs)?;
    say(&format!("runtimes: JavaScript is ready after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

fn python(bench: &Bench) -> anyhow::Result<()> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let tools = Path::new(&home).join(".cache/solo-tools/python");
    let componentize = tools.join("bin/componentize-py");
    // Which version it is, the setup notes.
    let version = std::fs::read_to_string(tools.join("requirements.txt"));
    let version = version.ok().filter(|_| componentize.exists());
    let version = version.ok_or_else(|| Missing(PYTHON_MISSING.to_owned()))?;
    let component = bench.work.join("python.wasm");
    let tools = format!("{version}{}", bench.snapshot_hash);
    let inputs = Digest::of(&bench.places.repository, &PYTHON, &tools)?;
    if bench.is_up_to_date(&inputs, &component) {
        say("runtimes: Python is up to date");
        return Ok(());
    }
    say("runtimes: building Python (CPython), about half a minute");
    let started = Instant::now();
    let folder = bench.places.repository.join("runtimes/python");
    let wit = bench.work.join("python-wit");
    gather(&bench.places.repository, &wit)?;
    let mut command = Command::new(&componentize);
    command.arg("--quiet").arg("--wit-path").arg(&wit).args([
        "--world",
        "python",
        "componentize",
        "app",
    ]);
    command.arg("--python-path").arg(folder.join("src")).arg("--output").arg(&component);
    // Only what is named is taken in.
    command.env_remove("VIRTUAL_ENV").env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
    let status = command.status().context("failed to start componentize-py")?;
    ensure!(status.success(), "componentize-py could not build the runtime of Python: {status}");
    bench.finish(&["--started"], "python", &component, &inputs)?;
    say(&format!("runtimes: Python is ready after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Puts the interfaces together as one package and those that it needs, which is how they are read.
fn gather(repository: &Path, wit: &Path) -> anyhow::Result<()> {
    if wit.exists() {
        std::fs::remove_dir_all(wit)?;
    }
    for (from, to) in [
        ("runtimes/python/wit/python.wit", "python.wit"),
        ("runtimes/python/wit/deps/config/config.wit", "deps/config/config.wit"),
        ("runtimes/python/wit/deps/keyvalue/keyvalue.wit", "deps/keyvalue/keyvalue.wit"),
        ("wit/solo-service.wit", "deps/service/service.wit"),
        ("wit/runtime/solo-runtime.wit", "deps/runtime/runtime.wit"),
    ] {
        let to = wit.join(to);
        std::fs::create_dir_all(to.parent().unwrap_or(wit))?;
        std::fs::copy(repository.join(from), &to)
            .with_context(|| format!("failed to copy {from}"))?;
    }
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
