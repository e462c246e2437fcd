//! A start in a prepared sandbox, as the kernel and the cell of a tenant have it done: seal, connect, start.

use std::fs::File;
use std::io::{Read as _, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use solo_process::wire::messages::control_answer::Tell as Told;
use solo_process::wire::messages::control_request::Ask as Request;
use solo_process::wire::messages::program_answer::Tell;
use solo_process::wire::messages::program_request::Ask;
use solo_process::wire::messages::{
    ControlAnswer, ControlRequest, GroupLimits, Prepare, ProgramAnswer, ProgramRequest, Seal, Start,
};
use solo_process::wire::{Connection, entry_message, take_descriptors};
use solo_sandbox::{Access, Entry, Groups, Limits};

/// For every answer: nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A user that owns nothing on any machine.
const USER: u32 = 1_900_000_003;

/// Prepares a sandbox, and times what is left to do for the first byte of `program` in it.
pub(super) fn start(directory: &Path, program: &Path) -> anyhow::Result<Duration> {
    let directory = tempfile::Builder::new().prefix("p").tempdir_in(directory)?;
    let (control, socket) = (directory.path().join("control"), directory.path().join("program"));
    let groups = Groups::open(&format!("bench-{}", std::process::id())).ok();
    let group =
        groups.as_ref().map(|groups| groups.create("cell", &Limits::default())).transpose()?;
    let (theirs, alive) = pipe()?;
    solo_sandbox::own_namespaces()?;
    let mut command = Command::new(crate::solo::binary()?);
    command.args(["cell", "process", "--id", "bench", "--socket"]).arg(&control);
    for directory in group.iter().flat_map(solo_sandbox::Group::directories) {
        command.arg("--group").arg(directory);
    }
    command.env_clear().env(solo_heart::HEART_PID_VARIABLE, std::process::id().to_string());
    command.env("SOLO_LOG", "error").stdin(theirs);
    let mut child = solo_sandbox::spawn_in_pid_namespace(command)?;
    let time = timed(&control, &socket, program);
    drop(alive);
    child.wait()?;
    if let Some(groups) = groups {
        groups.remove(PATIENCE)?;
    }
    time
}

fn timed(control: &Path, socket: &Path, program: &Path) -> anyhow::Result<Duration> {
    let mut kernel = connect(control)?;
    let shown = ["/usr", "/bin", "/sbin", "/lib", "/lib64"].map(PathBuf::from);
    let shown = shown.into_iter().filter(|path| path.exists());
    let bind = |from: PathBuf, at: PathBuf| Entry::Bind { from, at, access: Access::Execute };
    let entries: Option<Vec<_>> =
        shown.map(|path| entry_message(&bind(path.clone(), path))).collect();
    let entries = entries.context("a path is no text")?;
    ask(&mut kernel, Request::Prepare(Prepare { entries }))?;
    let code = entry_message(&bind(program.to_owned(), "/app/program".into()));
    let seal = Seal {
        instance: "bench-1-1".into(),
        entries: code.into_iter().collect(),
        user: USER,
        program_socket: socket.to_str().context("a path is no text")?.into(),
        group_limits: Some(GroupLimits {
            memory_bytes: Some(256 << 20),
            processes: Some(100),
            cpu_weight: Some(100),
            ..GroupLimits::default()
        }),
        ..Seal::default()
    };
    let began = Instant::now();
    ask(&mut kernel, Request::Seal(seal))?;
    let mut cell = Connection::open(socket)?;
    let start = Start { program: "/app/program".into(), ..Start::default() };
    cell.send(&ProgramRequest { id: 1, ask: Some(Ask::Start(start)) }, PATIENCE)?;
    let answer: ProgramAnswer = cell.receive(PATIENCE)?;
    let descriptors = take_descriptors(cell.frames(), &answer)?;
    let Some(Tell::Started(_)) = answer.tell else { bail!("not started: {answer:?}") };
    let output = descriptors.into_iter().next().context("no output")?.1;
    let mut byte = [0];
    File::from(output).read_exact(&mut byte)?;
    Ok(began.elapsed())
}

fn connect(path: &Path) -> anyhow::Result<Connection> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Connection::open(path) {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn ask(kernel: &mut Connection, request: Request) -> anyhow::Result<()> {
    kernel.send(&ControlRequest { id: 1, ask: Some(request) }, PATIENCE)?;
    let answer: ControlAnswer = kernel.receive(PATIENCE)?;
    match answer.tell {
        Some(Told::Prepared(_) | Told::Sealed(_)) => Ok(()),
        other => bail!("the sandbox answered {other:?}"),
    }
}
