//! One run: the parts in order, then the report. Ends early, cleanly, on Ctrl-C and SIGTERM.

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::actors::Actors;
use crate::endings::say;
use crate::machine::Machine;
use crate::options::{Options, Part};
use crate::report::Section;
use crate::targets::Verdict;
use crate::{actors, parts, solo, table};

/// How a run ended that did not fail.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The report is out.
    Measured,
    /// The same, and `--strict` found these rows to miss what is required.
    Missed(Vec<String>),
    /// By a signal; everything that was started is gone.
    Interrupted,
}

/// Measures, prints and judges.
///
/// # Errors
/// Something does not work.
pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    // One thread: the client is not what is measured, and leaves the other processor to Solo.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to make a runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // What is dropped with the run ends what it started.
        tokio::select! {
            outcome = measure(options) => outcome,
            _ = interrupt.recv() => Ok(Outcome::Interrupted),
            _ = terminate.recv() => Ok(Outcome::Interrupted),
        }
    })
}

async fn measure(options: &Options) -> anyhow::Result<Outcome> {
    solo::binary()?;
    let directory = solo::temporary(options.dir.as_deref())?;
    let mut machine = Machine::look(directory.path());
    let doubts = machine.doubts();
    for doubt in &doubts {
        say(&format!("solo-bench: {doubt}"));
    }
    // First, and before anything else is started: its figures are the smallest.
    let actors = match options.wants(Part::Actors) {
        true => Some(actors::run(options, directory.path()).await?),
        false => None,
    };
    let sections = parts::run(options, directory.path()).await?;
    machine.note_end();
    table::print(&machine, actors.as_ref(), &sections)?;
    for doubt in &doubts {
        say(&format!("solo-bench: {doubt}"));
    }
    if let Some(path) = &options.json {
        table::write_json(path, options.quick, &machine, actors.as_ref(), &sections)?;
    }
    let broken = actors.iter().flat_map(|actors| actors.broken.clone()).collect::<Vec<_>>();
    if !broken.is_empty() {
        bail!("in a cell of Solo does not work: {}", broken.join("; "));
    }
    let mut missed = missed(&sections);
    missed.extend(actors.iter().flat_map(Actors::missed));
    if options.strict && !missed.is_empty() {
        return Ok(Outcome::Missed(missed));
    }
    Ok(Outcome::Measured)
}

fn missed(sections: &[Section]) -> Vec<String> {
    let rows = sections.iter().flat_map(|section| &section.rows);
    let missed = rows.filter(|row| row.verdict == Some(Verdict::Missed));
    missed.map(|row| row.name.clone()).collect()
}
