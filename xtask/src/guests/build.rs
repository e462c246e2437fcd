//! Runs the builds of the guests that are out of date: one run of cargo for all Rust guests, one of
//! Node.js for each JavaScript guest.

use super::inputs::Digest;
use super::toolchain::{JavaScriptTools, RustTools, TARGET};
use super::{Guest, Places, Source, finish, say};
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use wit_component::ComponentEncoder;

/// Variables that steer the build of Solo itself and would leak into the build of the guests.
const LEAKING: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// Builds the Rust guests that changed and returns how many.
///
/// # Errors
/// Cargo fails, a module does not become a component, or an output cannot be written.
pub(super) fn rust(places: &Places, tools: &RustTools, guests: &[&Guest]) -> anyhow::Result<usize> {
    let mut stale = Vec::new();
    for guest in guests {
        let folder = format!("guests/rust/{}", guest.name);
        let paths = [
            folder.as_str(),
            "guests/rust/shared",
            "guests/rust/Cargo.toml",
            "guests/rust/Cargo.lock",
            "wit",
        ];
        let digest = Digest::of(&places.repository, &paths, &tools.version)?;
        if !digest.matches(&places.output(guest)) {
            stale.push((*guest, digest));
        }
    }
    if stale.is_empty() {
        return Ok(0);
    }
    let compiler = tools.version.lines().next().unwrap_or_default();
    say(&format!("guests: {} of {} Rust guests to build, {compiler}", stale.len(), guests.len()));
    if tools.build_std && !places.cargo_target.join(TARGET).exists() {
        say("guests: this first time builds the standard library too, which takes minutes");
    }
    let started = Instant::now();
    let names = stale.iter().map(|(guest, _)| guest.name);
    let status = cargo(places, tools, names).status().context("failed to start cargo")?;
    ensure!(status.success(), "cargo could not build the Rust guests: {status}");
    say(&format!("guests: compiled in {:.1} s", started.elapsed().as_secs_f64()));
    for (guest, digest) in &stale {
        let started = Instant::now();
        let file = format!("{}.wasm", guest.name.replace('-', "_"));
        let path = places.cargo_target.join(TARGET).join("release").join(file);
        let module =
            std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let wasm = match guest.source {
            Source::RustCore => module,
            _ => componentize(&module)
                .with_context(|| format!("failed to make a component of {}", guest.name))?,
        };
        finish(places, guest, &wasm, digest, started)?;
    }
    Ok(stale.len())
}

/// The cargo command that builds the named packages.
fn cargo<'a>(places: &Places, tools: &RustTools, names: impl Iterator<Item = &'a str>) -> Command {
    let mut command = cargo_in(&places.repository.join("guests/rust"), &places.cargo_target, tools);
    for name in names {
        command.args(["--package", name]);
    }
    command
}

/// The cargo command that builds the workspace in `folder` for WebAssembly.
pub(crate) fn cargo_in(folder: &Path, target: &Path, tools: &RustTools) -> Command {
    let mut command = Command::new(&tools.cargo);
    command
        .current_dir(folder)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTC", &tools.rustc);
    for name in LEAKING {
        command.env_remove(name);
    }
    if let Some(linker) = &tools.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    if tools.build_std {
        // Building the standard library is not stable; Debian's compiler is, and needs to be told.
        // The library path of the toolchain that runs xtask is not for Debian's.
        command
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("LD_LIBRARY_PATH");
    }
    command
}

/// Makes a component of a core module that wit-bindgen left its WIT in.
pub(crate) fn componentize(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

/// Builds the JavaScript guests that changed and returns how many.
///
/// # Errors
/// Node.js fails, or an output cannot be written.
pub(super) fn javascript(
    places: &Places,
    tools: &JavaScriptTools,
    guests: &[&Guest],
) -> anyhow::Result<usize> {
    let mut built = 0;
    for guest in guests {
        let Source::JavaScript { wit, world } = guest.source else { continue };
        let folder = format!("guests/js/{}", guest.name);
        let paths =
            [folder.as_str(), wit, "guests/js/componentize.mjs", "guests/js/package-lock.json"];
        let digest = Digest::of(&places.repository, &paths, &tools.version)?;
        if digest.matches(&places.output(guest)) {
            continue;
        }
        say(&format!(
            "guests: {} to build, {}",
            guest.name,
            tools.version.trim().replace('\n', ", ")
        ));
        let started = Instant::now();
        let raw = places.out.join(format!("{}.{}.raw", guest.name, std::process::id()));
        let status = Command::new(&tools.node)
            .current_dir(places.repository.join("guests/js"))
            .arg("componentize.mjs")
            .arg(format!("{}/{}.js", guest.name, guest.name))
            .arg(places.repository.join(wit))
            .arg(world)
            .arg(&raw)
            .status()
            .context("failed to start node")?;
        ensure!(status.success(), "componentize-js could not build {}: {status}", guest.name);
        let wasm =
            std::fs::read(&raw).with_context(|| format!("failed to read {}", raw.display()))?;
        std::fs::remove_file(&raw)?;
        finish(places, guest, &wasm, &digest, started)?;
        built += 1;
    }
    Ok(built)
}
