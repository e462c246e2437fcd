//! The parts of a run: what is measured of Solo, each next to its floor.
//!
//! A part starts the Solo that it needs and ends it. It fails when something does not work; a number
//! that is bad is a number.

mod auditing;
mod call;
mod compile;
mod crash;
mod deploy;
mod growth;
mod kernel;
mod memory;
mod message;
mod programs;
mod revocation;
mod security;
mod state;

use std::path::Path;

pub(crate) use programs::descendants;

use crate::endings::say;
use crate::floors::{Echo, Engines};
use crate::guests;
use crate::options::{Options, Part, Sizes};
use crate::report::Section;
use crate::solo::Solo;

/// What the parts share.
pub(crate) struct Bench<'a> {
    sizes: &'static Sizes,
    /// For files of the floors.
    directory: &'a Path,
    /// Where homes go.
    homes: Option<&'a Path>,
    engines: Engines,
    echo: Echo,
    counter: Vec<u8>,
}

/// Runs the parts that are wanted.
///
/// # Errors
/// Something does not work.
pub(crate) async fn run(options: &Options, directory: &Path) -> anyhow::Result<Vec<Section>> {
    if options.only.iter().all(|part| *part == Part::Actors) && !options.only.is_empty() {
        // What follows is made for the others.
        return Ok(Vec::new());
    }
    let bench = Bench {
        sizes: options.sizes(),
        directory,
        homes: options.dir.as_deref(),
        engines: Engines::new()?,
        echo: Echo::start(directory).await?,
        counter: guests::read("counter")?,
    };
    let mut sections = Vec::new();
    let wants = |part: Part, what: &str| {
        let wanted = options.wants(part);
        if wanted {
            say(&format!("solo-bench: {what}"));
        }
        wanted
    };
    if wants(Part::Deploy, "deploys of a known artifact") {
        sections.push(deploy::run(&bench).await?);
    }
    if wants(Part::Compile, "deploys of new components") {
        sections.push(compile::run(&bench).await?);
    }
    if wants(Part::Call, "calls from outside") {
        sections.push(call::run(&bench).await?);
    }
    if wants(Part::Message, "messages from service to service") {
        sections.push(message::run(&bench).await?);
    }
    if wants(Part::Crash, "crashes") {
        sections.push(crash::run(&bench).await?);
    }
    if wants(Part::Memory, "memory of idle services") {
        sections.push(memory::run(&bench).await?);
    }
    if wants(Part::Kernel, "kills of the kernel") {
        sections.push(kernel::run(&bench).await?);
    }
    if wants(Part::Security, "tokens and the audit log") {
        sections.push(security::run(&bench).await?);
    }
    if wants(Part::State, "what services keep") {
        sections.push(state::run(&bench).await?);
    }
    if wants(Part::Growth, "deploys beside many services") {
        sections.push(growth::run(&bench).await?);
    }
    if wants(Part::Programs, "external programs") {
        sections.push(programs::run(&bench).await?);
    }
    Ok(sections)
}

impl Bench<'_> {
    /// A fresh Solo.
    async fn solo(&self) -> anyhow::Result<Solo> {
        Solo::start(self.homes).await
    }
}

/// Names for many services.
fn names(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{prefix}-{number}")).collect()
}
