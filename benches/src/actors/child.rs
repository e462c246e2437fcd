//! A process that measures: started, read until its sheet is complete, ended.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;

use crate::measure::{Experiment, Scale, System};
use crate::sheet::Sheet;

/// The longest that one experiment may take; on an idle machine none takes a quarter of it.
const DEADLINE: Duration = Duration::from_secs(150);

/// Characters of its standard error that go with an error.
const LAST_WORDS: usize = 600;

/// The program of the Erlang experiments.
const ERLANG: &str = include_str!("../../peers/solo_peer.erl");

/// A process that has measured and stays as it is until this is dropped.
#[derive(Debug)]
pub(super) struct Measured {
    child: Child,
    pub(super) sheet: Sheet,
}

impl Measured {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Each fails only for what has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Has one experiment measured; the process is gone afterwards.
///
/// # Errors
/// The system is not on this machine, or the experiment does not work.
pub(super) async fn measure(
    quick: bool,
    directory: &Path,
    system: System,
    experiment: Experiment,
) -> anyhow::Result<Sheet> {
    let command = match system {
        System::Erlang => erlang(quick, directory, experiment)?,
        _ => own(quick, directory, system, experiment)?,
    };
    Ok(run(command, directory).await?.sheet.clone())
}

/// Has the experiment `idle` measured with so many services; they stay until the result is dropped.
///
/// # Errors
/// One of them does not start or does not answer.
pub(super) async fn idle(directory: &Path, services: usize) -> anyhow::Result<Measured> {
    let mut command = own(false, directory, System::Solo, Experiment::Idle)?;
    command.arg("--services").arg(services.to_string());
    run(command, directory).await
}

fn own(
    quick: bool,
    directory: &Path,
    system: System,
    experiment: Experiment,
) -> anyhow::Result<Command> {
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).context("it has no name")
    };
    let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
    command
        .arg("measure")
        .arg(word(system.to_possible_value())?)
        .arg(word(experiment.to_possible_value())?)
        .arg(directory);
    if quick {
        command.arg("--quick");
    }
    Ok(command)
}

/// The virtual machine with as many schedulers as Solo's cell has threads in that experiment.
fn erlang(quick: bool, directory: &Path, experiment: Experiment) -> anyhow::Result<Command> {
    let source = directory.join("solo_peer.erl");
    if !source.exists() {
        std::fs::write(&source, ERLANG)?;
        let compiler = Command::new("erlc").arg("-o").arg(directory).arg(&source).output();
        let compiled = compiler.context("erlc is not here: apt-get install erlang-base")?;
        let words = String::from_utf8_lossy(&compiled.stdout);
        ensure!(compiled.status.success(), "erlc failed: {words}");
    }
    let schedulers = match experiment {
        Experiment::Talk | Experiment::Growth => "1:1",
        _ => "",
    };
    let mut command = Command::new("erl");
    command.args(["-noshell", "+P", "300000", "-pa"]).arg(directory);
    command.env("ERL_CRASH_DUMP_SECONDS", "0");
    if !schedulers.is_empty() {
        command.args(["+S", schedulers]);
    }
    let name = experiment.to_possible_value().context("it has no name")?.get_name().to_owned();
    let scale = if quick { "quick" } else { "full" };
    command.args(["-run", "solo_peer", "main", &name, scale]);
    command.args(Scale::of(quick).levels.iter().map(usize::to_string));
    Ok(command)
}

/// Starts `command` and reads its sheet.
async fn run(mut command: Command, directory: &Path) -> anyhow::Result<Measured> {
    let name = command.get_program().to_string_lossy().into_owned();
    let words = tempfile::NamedTempFile::new_in(directory).context("failed to make a file")?;
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::options().append(true).open(words.path())?)
        .spawn();
    let child = child.with_context(|| match name.as_str() {
        "erl" => "erl is not here: apt-get install erlang-base".to_owned(),
        _ => format!("failed to start {name}"),
    })?;
    // From here on it is ended when this is dropped, whatever happens.
    let mut measured = Measured { child, sheet: Sheet::default() };
    let out = measured.child.stdout.take().context("it has no output")?;
    let (done, result) = tokio::sync::oneshot::channel();
    // Ends when the process does.
    std::thread::Builder::new().name("sheet".into()).spawn(move || {
        // The receiver is gone once the deadline is over.
        let _ = done.send(read(out));
    })?;
    let read = match tokio::time::timeout(DEADLINE, result).await {
        Ok(read) => read.context("a thread ended early")?,
        Err(_) => bail!("not done within {DEADLINE:?}"),
    };
    match read {
        Ok(sheet) => measured.sheet = sheet,
        Err(error) => {
            end(&mut measured.child);
            let text = std::fs::read_to_string(words.path()).unwrap_or_default();
            let skip = text.trim().chars().count().saturating_sub(LAST_WORDS);
            let last: String = text.trim().chars().skip(skip).collect();
            bail!("{error:#}: {last}");
        }
    }
    Ok(measured)
}

fn read(out: ChildStdout) -> anyhow::Result<Sheet> {
    let mut sheet = Sheet::default();
    for line in BufReader::new(out).lines() {
        if sheet.read_line(&line.context("failed to read")?)? {
            return Ok(sheet);
        }
    }
    bail!("it ended before it was done")
}
