//! Builds the guests, the services under `guests/`, into components: `cargo xtask guests`.
//!
//! Builds only what changed: beside each output lies a digest of all that went into it (sources,
//! WIT, lock files, the toolchain's version, this recipe). An output appears under its name only
//! after it was validated. Installs nothing: where a toolchain is missing it names the command that
//! installs it. Never writes into the source tree. For users: `docs/guests.md`.

pub(crate) mod build;
pub(crate) mod inputs;
mod inspect;
pub(crate) mod toolchain;

use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

const USAGE: &str = "usage: cargo xtask guests [--out DIR] [--only NAME (can be repeated)] \
     [--allow-missing] [--list]";

/// One service to build; the output is `NAME.wasm`.
#[derive(Debug, Clone, Copy)]
struct Guest {
    name: &'static str,
    source: Source,
}

/// The language of a guest and what is built from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The package `guests/rust/NAME`, made into a component.
    Rust,
    /// The package `guests/rust/NAME`, left as the core module it is.
    RustCore,
    /// The module `guests/js/NAME/NAME.js` in a world of the WIT folder, which is relative to the
    /// repository.
    JavaScript { wit: &'static str, world: &'static str },
}

/// All guests, in the order of building.
const GUESTS: &[Guest] = &[
    Guest { name: "calculator", source: Source::Rust },
    Guest { name: "chain", source: Source::Rust },
    Guest { name: "counter", source: Source::Rust },
    Guest { name: "cpu-hog", source: Source::Rust },
    Guest { name: "crash-on-init", source: Source::Rust },
    Guest { name: "crasher", source: Source::Rust },
    Guest { name: "hang-on-init", source: Source::Rust },
    Guest { name: "hello-command", source: Source::Rust },
    Guest { name: "hello-preview1", source: Source::RustCore },
    Guest { name: "keeper", source: Source::Rust },
    Guest { name: "keeper-draft", source: Source::Rust },
    Guest { name: "logger", source: Source::Rust },
    Guest { name: "memory-hog", source: Source::Rust },
    Guest { name: "order", source: Source::Rust },
    Guest { name: "parent", source: Source::Rust },
    Guest { name: "pinger", source: Source::Rust },
    Guest { name: "pool", source: Source::Rust },
    Guest { name: "reacher", source: Source::Rust },
    Guest { name: "refuse-on-init", source: Source::Rust },
    Guest { name: "retry-on-init", source: Source::Rust },
    Guest { name: "watcher", source: Source::Rust },
    Guest { name: "worker", source: Source::Rust },
    Guest {
        name: "calculator-js",
        source: Source::JavaScript { wit: "guests/rust/calculator/wit", world: "calculator" },
    },
    Guest { name: "counter-js", source: Source::JavaScript { wit: "wit", world: "service" } },
];

impl Guest {
    fn is_rust(&self) -> bool {
        matches!(self.source, Source::Rust | Source::RustCore)
    }
}

/// What the command line asked for.
#[derive(Debug, Default)]
struct Options {
    out: Option<PathBuf>,
    only: BTreeSet<String>,
    allow_missing: bool,
    list: bool,
}

/// Where things are.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) repository: PathBuf,
    /// Finished guests and their digests.
    pub(crate) out: PathBuf,
    /// Cargo's target directory for the Rust guests.
    cargo_target: PathBuf,
}

/// Runs `cargo xtask guests` with the arguments after that word.
///
/// # Errors
/// An unknown option or guest; a toolchain that is missing, unless `--allow-missing` was given; a
/// build that fails; an output that is no valid component.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let options = parse(args)?;
    let chosen: Vec<&Guest> = GUESTS
        .iter()
        .filter(|guest| options.only.is_empty() || options.only.contains(guest.name))
        .collect();
    if options.list {
        chosen.iter().for_each(|guest| say(guest.name));
        return Ok(());
    }
    let started = Instant::now();
    let places = Places::find(options.out)?;
    let (rust, scripts): (Vec<&Guest>, Vec<&Guest>) =
        chosen.into_iter().partition(|guest| guest.is_rust());
    let mut built = 0;
    if !rust.is_empty()
        && let Some(tools) = found(toolchain::rust(), rust.len(), options.allow_missing)?
    {
        built += build::rust(&places, &tools, &rust)?;
    }
    if !scripts.is_empty() {
        let tools = toolchain::javascript(&places.repository);
        if let Some(tools) = found(tools, scripts.len(), options.allow_missing)? {
            built += build::javascript(&places, &tools, &scripts)?;
        }
    }
    say(&format!(
        "guests: {built} built in {:.1} s, the rest was up to date or skipped; see {}",
        started.elapsed().as_secs_f64(),
        places.out.display()
    ));
    Ok(())
}

fn parse(args: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => options.out = Some(args.next().context(USAGE)?.into()),
            "--only" => {
                let name = args.next().context(USAGE)?;
                ensure!(
                    GUESTS.iter().any(|guest| guest.name == name),
                    "no guest is called {name}; there are: {}",
                    GUESTS.iter().map(|guest| guest.name).collect::<Vec<_>>().join(", ")
                );
                options.only.insert(name.clone());
            }
            "--allow-missing" => options.allow_missing = true,
            "--list" => options.list = true,
            other => bail!("unknown option {other}\n{USAGE}"),
        }
    }
    Ok(options)
}

/// The toolchain; none if it is missing and that is allowed.
fn found<T>(
    tools: anyhow::Result<T>,
    guests: usize,
    allow_missing: bool,
) -> anyhow::Result<Option<T>> {
    match tools {
        Ok(tools) => Ok(Some(tools)),
        Err(error) if allow_missing => {
            say(&format!("guests: {guests} skipped: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Places {
    /// Makes the folder of the outputs.
    pub(crate) fn find(out: Option<PathBuf>) -> anyhow::Result<Self> {
        // Cargo tells where the package lies now; the compiled-in path is for a bare start.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let repository = package.parent().context("xtask is not in a repository")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => std::path::absolute(target)?,
            None => repository.join("target"),
        };
        let out = match out {
            Some(out) => std::path::absolute(out)?,
            None => target.join("guests"),
        };
        std::fs::create_dir_all(&out)
            .with_context(|| format!("failed to make the folder {}", out.display()))?;
        Ok(Self { repository, out, cargo_target: target.join("guest-build") })
    }

    fn output(&self, guest: &Guest) -> PathBuf {
        self.out.join(format!("{}.wasm", guest.name))
    }
}

/// Checks a finished guest, gives it its name and its digest, and says what it is.
fn finish(
    places: &Places,
    guest: &Guest,
    wasm: &[u8],
    inputs: &inputs::Digest,
    started: Instant,
) -> anyhow::Result<()> {
    let found = inspect::inspect(wasm)
        .with_context(|| format!("the build of {} made something invalid", guest.name))?;
    let wants_component = guest.source != Source::RustCore;
    ensure!(
        found.is_component == wants_component,
        "the build of {} made the wrong kind of module",
        guest.name
    );
    write_whole(&places.output(guest), wasm)?;
    inputs.store(&places.output(guest), wasm)?;
    say(&format!(
        "  {:<15} {:>6} KiB {:>6.1} s  exports {}",
        guest.name,
        wasm.len().div_ceil(1024),
        started.elapsed().as_secs_f64(),
        found.exports.join(", ")
    ));
    Ok(())
}

/// Writes under a temporary name first, so that a reader never sees half a file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// Progress is for people, so it goes to standard error.
#[expect(clippy::print_stderr, reason = "xtask talks to the person who runs it")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(args: &[&str]) -> anyhow::Result<Options> {
        parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_understood() {
        let options = check_parse(&["--out", "x", "--only", "counter", "--allow-missing"])
            .expect("these options are valid");
        assert_eq!(options.out, Some(PathBuf::from("x")));
        assert!(options.only.contains("counter") && options.allow_missing && !options.list);
    }

    #[test]
    fn unknown_options_and_guests_are_refused() {
        assert!(check_parse(&["--frobnicate"]).is_err());
        assert!(check_parse(&["--out"]).is_err());
        let error = check_parse(&["--only", "nobody"]).expect_err("there is no such guest");
        assert!(error.to_string().contains("calculator"), "the guests are listed: {error}");
    }

    /// The page shows parts of guests that are built and tested, and shows them as they are.
    #[test]
    fn rust_on_the_page_is_in_a_guest() {
        let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read =
            |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of the tree");
        let sources: Vec<String> = GUESTS
            .iter()
            .filter(|guest| guest.is_rust())
            .map(|guest| trimmed(&read(&format!("guests/rust/{}/src/lib.rs", guest.name))))
            .collect();
        let page = read("docs/guests.md");
        let mut blocks = 0;
        for block in page.split("```rust\n").skip(1) {
            let block = block.split("\n```").next().unwrap_or_default();
            let known = sources.iter().any(|source| source.contains(&trimmed(block)));
            assert!(known, "no guest has this:\n{block}");
            blocks += 1;
        }
        assert!(blocks >= 3, "hardly anything is shown");
    }

    /// A guest that is in the tree but not in the table would never be built.
    #[test]
    fn every_guest_of_the_tree_is_in_the_table() {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
        for (language, file) in [("rust", "Cargo.toml"), ("js", "")] {
            let entries = std::fs::read_dir(guests.join(language)).expect("the folder is there");
            for entry in entries {
                let path = entry.expect("the folder can be read").path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && path.join(file).exists() && name != "node_modules" {
                    assert!(GUESTS.iter().any(|guest| guest.name == name), "{name} is missing");
                }
            }
        }
    }
}
