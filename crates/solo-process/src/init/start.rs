//! Starts the program, or says in a stable word why it cannot be.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, pipe};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::Pid;

use super::life::{Life, Streams};
use super::oom::Oom;
use super::usage::Used;
use super::{notify, own};
use crate::wire::messages::{Descriptor, Start};

/// If the environment names none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const HOME: &str = "/tmp";

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A stable word.
    pub(super) reason: &'static str,
    pub(super) detail: String,
    /// 0: the system said nothing.
    pub(super) errno: i32,
}

impl Refusal {
    pub(super) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), errno: 0 }
    }

    pub(super) fn system(reason: &'static str, about: impl Display, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        Self { reason, detail: format!("{about}: {error}"), errno }
    }
}

/// Starts it. Nothing of it is left if it is refused, but sockets in scratch directories.
pub(super) fn start(asked: &Start, null: &File, oom: &Oom) -> Result<Life, Refusal> {
    check_text(asked)?;
    let directory = if asked.directory.is_empty() { "/" } else { &asked.directory };
    let directory = Path::new(directory);
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Refusal::new("directory", "the working directory is none")),
        Err(error) => return Err(Refusal::system("directory", directory.display(), &error)),
    }
    let variable = |name: &str| {
        let found = asked.environment.iter().find(|variable| variable.name == name);
        found.map(|variable| variable.value.as_str())
    };
    let (path, home) = (variable("PATH").unwrap_or(PATH), variable("HOME").unwrap_or(HOME));
    let program = find(&asked.program, path, directory)?;
    let mut command = Command::new(&program);
    command
        .arg0(&asked.program)
        .args(&asked.arguments)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .envs(asked.environment.iter().map(|variable| (&variable.name, &variable.value)))
        .env_remove("NOTIFY_SOCKET")
        .env_remove("SOLO_SOCKET")
        .current_dir(directory)
        // A group of its own, as a shell would give it.
        .process_group(0);
    let streams = connect(&mut command, asked, null)?;
    let used_before = Used::by_ended();
    // The handle is dropped on purpose: all children are reaped by process id.
    let child = oom.unspared(|| unblocked(|| command.spawn()))??;
    let child = child.map_err(|error| refusal_of_exec(&program, &error))?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Life::new(Pid::from_raw(pid), streams, used_before))
}

/// Does something with no signal blocked: what it starts has it so too. Who ends meanwhile is not told of,
/// and must be looked for.
fn unblocked<T>(action: impl FnOnce() -> T) -> Result<T, Errno> {
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let done = action();
    blocked.thread_set_mask()?;
    Ok(done)
}

/// What the system would refuse without a good word.
fn check_text(asked: &Start) -> Result<(), Refusal> {
    let variables = &asked.environment;
    let mut texts = [&asked.program, &asked.directory, &asked.socket]
        .into_iter()
        .chain(&asked.arguments)
        .chain(variables.iter().flat_map(|variable| [&variable.name, &variable.value]));
    if texts.any(|text| text.contains('\0')) {
        return Err(Refusal::new("invalid", "a zero byte in a text"));
    }
    if variables.iter().any(|variable| variable.name.is_empty() || variable.name.contains('=')) {
        return Err(Refusal::new("invalid", "a variable with a name that is none"));
    }
    if asked.program.is_empty() {
        return Err(Refusal::new("not_found", "no program"));
    }
    Ok(())
}

/// Connects the streams and sockets that the program is given.
fn connect(command: &mut Command, asked: &Start, null: &File) -> Result<Streams, Refusal> {
    let (output, theirs) = pipe()?;
    command.stdout(theirs);
    let (error_output, theirs) = pipe()?;
    command.stderr(theirs);
    let mut handed =
        vec![(Descriptor::Output, output.into()), (Descriptor::ErrorOutput, error_output.into())];
    if asked.input {
        let (theirs, input) = pipe()?;
        command.stdin(theirs);
        handed.push((Descriptor::Input, input.into()));
    } else {
        command.stdin(Stdio::from(null.try_clone()?));
    }
    let refused = |path: &Path, error| Refusal::system("socket", path.display(), &error);
    if !asked.socket.is_empty() {
        let path = Path::new(&asked.socket);
        // One of a former life, in a directory that stays.
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path).map_err(|error| refused(path, error))?;
        }
        let listener = UnixListener::bind(path).map_err(|error| refused(path, error))?;
        command.env("SOLO_SOCKET", path);
        handed.push((Descriptor::Listener, listener.into()));
    }
    let mut notify = None;
    if asked.notify {
        let path = own("notify.sock");
        notify = Some(notify::bind(&path).map_err(|error| refused(&path, error))?);
        command.env("NOTIFY_SOCKET", path);
    }
    Ok(Streams { handed, notify })
}

/// Where the program is: as a shell would find it.
fn find(program: &str, path: &str, directory: &Path) -> Result<PathBuf, Refusal> {
    if program.contains('/') {
        let at = directory.join(program);
        return check(&at).map(|()| at);
    }
    let mut refusal = Refusal::new("not_found", format!("{program} is in no directory of PATH"));
    for place in path.split(':') {
        let at = directory.join(place).join(program);
        match check(&at) {
            Ok(()) => return Ok(at),
            // What is there and cannot be run is told of if nothing better is found.
            Err(found) if found.reason != "not_found" => refusal = found,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn check(program: &Path) -> Result<(), Refusal> {
    let found = fs::metadata(program).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => "permission",
            _ => "not_found",
        };
        Refusal::system(reason, program.display(), &error)
    })?;
    let refused = |detail: &str| {
        Err(Refusal::new("not_executable", format!("{} {detail}", program.display())))
    };
    if !found.is_file() {
        refused("is no file")
    } else if found.permissions().mode() & 0o111 == 0 {
        refused("is not marked to be run")
    } else {
        Ok(())
    }
}

/// The program is there, and was not run.
fn refusal_of_exec(program: &Path, error: &io::Error) -> Refusal {
    let at = program.display();
    match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {
            Refusal::system("not_found", format!("the interpreter or loader of {at}"), error)
        }
        Errno::EACCES | Errno::EPERM => Refusal::system("permission", at, error),
        Errno::ENOEXEC | Errno::EINVAL | Errno::ELIBBAD => Refusal::system("format", at, error),
        Errno::E2BIG | Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => {
            Refusal::system("limit", at, error)
        }
        Errno::ETXTBSY => Refusal::system("busy", at, error),
        _ => Refusal::system("system", at, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::Variable;

    fn reason(program: &str, path: &str) -> Result<PathBuf, &'static str> {
        find(program, path, Path::new("/")).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn programs_are_found_as_a_shell_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let plain = directory.path().join("sh");
        fs::write(&plain, "").expect("written");
        let text = directory.path().to_str().expect("text");
        assert_eq!(reason("sh", "/bin"), Ok("/bin/sh".into()));
        assert_eq!(reason("sh", &format!("{text}:/bin")), Ok("/bin/sh".into()));
        assert_eq!(reason("sh", text), Err("not_executable"));
        assert_eq!(reason("sh", "/nowhere:"), Err("not_found"));
        assert_eq!(reason("bin/sh", "/nowhere"), Ok("/bin/sh".into()));
        assert_eq!(reason("/bin", ""), Err("not_executable"));
        assert_eq!(reason("/bin/sh/x", ""), Err("not_found"));
    }

    #[test]
    fn texts_that_cannot_be_passed_on_are_refused() {
        let variable = |name: &str| Variable { name: name.into(), value: String::new() };
        for wrong in [
            Start::default(),
            Start { program: "a\0".into(), ..Start::default() },
            Start { program: "a".into(), arguments: vec!["\0".into()], ..Start::default() },
            Start { program: "a".into(), environment: vec![variable("")], ..Start::default() },
            Start { program: "a".into(), environment: vec![variable("a=b")], ..Start::default() },
        ] {
            assert!(check_text(&wrong).is_err());
        }
    }
}
