//! Finds the tools that build guests. Installs nothing: an error names the command that does.

use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of the Rust guests: no WASI of its own, so a guest imports only what its world says.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// `1.N`: what wit-bindgen and the edition of the guests need.
const RUST_MINOR_MIN: u32 = 87;

/// The oldest Node.js that componentize-js is tested with here.
const NODE_MAJOR_MIN: u32 = 20;

const RUST_MISSING: &str = "no Rust toolchain for the target wasm32-unknown-unknown; install one with\n  \
     guests/setup.sh rust\n\
     which is `rustup target add wasm32-unknown-unknown`, or with Debian's packages\n  \
     apt-get install --no-install-recommends rustc-web cargo-web rust-web-src rust-web-llvm lld-22\n\
     (or the newest lld-N that there is)";

const JAVASCRIPT_MISSING: &str = "the tools for JavaScript guests are missing; install them with\n  \
     guests/setup.sh js\n\
     which is Node.js 20 or newer and `npm ci --prefix guests/js`";

/// A compiler for the Rust guests.
#[derive(Debug)]
pub(crate) struct RustTools {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// None: the compiler's own. Debian's compiler is given one by name.
    pub(crate) linker: Option<PathBuf>,
    /// The target's standard library is not installed and is built from source.
    pub(crate) build_std: bool,
    /// Everything about it that may change the output.
    pub(crate) version: String,
}

/// Node.js and what npm installed for it.
#[derive(Debug)]
pub(crate) struct JavaScriptTools {
    pub(crate) node: PathBuf,
    /// Versions of Node.js and componentize-js.
    pub(crate) version: String,
}

/// Finds a Rust compiler for [`TARGET`]: the one in use if it has the target, else Debian's
/// `rustc-web`.
///
/// # Errors
/// There is none; says what to install.
pub(crate) fn rust() -> anyhow::Result<RustTools> {
    let variable = |name, or: &str| std::env::var_os(name).map_or_else(|| or.into(), PathBuf::from);
    let in_use = (variable("CARGO", "cargo"), variable("RUSTC", "rustc"));
    let debian = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    for (cargo, rustc) in [in_use, debian] {
        let Ok(version) = output(Command::new(&rustc).arg("-vV")) else { continue };
        let Ok(sysroot) = output(Command::new(&rustc).args(["--print", "sysroot"])) else {
            continue;
        };
        let minor = number(&version, "release: 1.");
        if minor.is_none_or(|minor| minor < RUST_MINOR_MIN) {
            continue;
        }
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        if rustlib.join(TARGET).join("lib").is_dir() {
            return Ok(RustTools { cargo, rustc, linker: None, build_std: false, version });
        }
        let is_debian = rustc.starts_with("/usr/bin");
        if is_debian && rustlib.join("src/rust/library").is_dir() {
            let linker = newest_linker(Path::new("/usr/bin")).context(RUST_MISSING)?;
            let version = format!("{version}linker: {}\n", linker.display());
            return Ok(RustTools { cargo, rustc, linker: Some(linker), build_std: true, version });
        }
    }
    bail!(RUST_MISSING)
}

/// Finds Node.js and the packages under `guests/js/node_modules`.
///
/// # Errors
/// One is missing, too old, or not the version that `package.json` pins; says what to install.
pub(crate) fn javascript(repository: &Path) -> anyhow::Result<JavaScriptTools> {
    const PACKAGE: &str = "@bytecodealliance/componentize-js";
    let folder = repository.join("guests/js");
    let node = PathBuf::from("node");
    let version = output(Command::new(&node).arg("--version")).context(JAVASCRIPT_MISSING)?;
    ensure!(
        number(&version, "v").is_some_and(|major| major >= NODE_MAJOR_MIN),
        "Node.js {} is too old; {JAVASCRIPT_MISSING}",
        version.trim()
    );
    let wanted = json(&folder.join("package.json"))?;
    let wanted =
        wanted["dependencies"][PACKAGE].as_str().context("package.json pins no version")?;
    let installed = json(&folder.join("node_modules").join(PACKAGE).join("package.json"))
        .context(JAVASCRIPT_MISSING)?;
    let installed = installed["version"].as_str().unwrap_or_default();
    ensure!(
        installed == wanted,
        "{PACKAGE} {installed} is installed, {wanted} is wanted; {JAVASCRIPT_MISSING}"
    );
    Ok(JavaScriptTools { node, version: format!("node {version}{PACKAGE} {installed}\n") })
}

/// Debian names the linker by its version: `wasm-ld-22`. Plain `wasm-ld` counts as the oldest.
fn newest_linker(folder: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let (_, name) = names
        .filter_map(|name| {
            let version = match name.strip_prefix("wasm-ld")? {
                "" => 0,
                suffix => suffix.strip_prefix('-')?.parse::<u32>().ok()?,
            };
            Some((version, name))
        })
        .max()?;
    Some(folder.join(name))
}

/// The whole number right after `prefix`, which must begin a line.
fn number(text: &str, prefix: &str) -> Option<u32> {
    let rest = text.lines().find_map(|line| line.strip_prefix(prefix))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Runs a program that must succeed and returns what it printed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output =
        command.output().with_context(|| format!("failed to start {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{:?} failed: {}", command.get_program(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn json(path: &Path) -> anyhow::Result<serde_json::Value> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_out_of_what_tools_print() {
        assert_eq!(number("rustc 1.96.0 (x)\nrelease: 1.96.0\n", "release: 1."), Some(96));
        assert_eq!(number("v20.20.2\n", "v"), Some(20));
        assert_eq!(number("v20.20.2\n", "release: "), None);
    }

    #[test]
    fn the_newest_linker_wins_by_number_not_by_spelling() -> anyhow::Result<()> {
        let folder = std::env::temp_dir().join(format!("solo-xtask-lld-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        assert_eq!(newest_linker(&folder), None);
        for name in ["wasm-ld", "wasm-ld-9", "wasm-ld-22", "wasm-ld-x", "wasm-opt"] {
            std::fs::write(folder.join(name), "")?;
        }
        assert_eq!(newest_linker(&folder), Some(folder.join("wasm-ld-22")));
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
