//! What the sandbox of one instance is made of: which files, which user, which bounds. And saying so to the
//! process that will be its init.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_process::wire::messages::control_answer::Tell;
use solo_process::wire::messages::control_request::Ask;
use solo_process::wire::messages::{
    self, ControlAnswer, ControlRequest, Hello, Identity, Prepare, Seal,
};
use solo_process::wire::{Connection, VERSION, entry_message};
use solo_sandbox::{Access, Entry};
use solo_types::{LimitAction, Limits, Problem, ProblemKind};

use super::Wish;
use super::settings::Settings;
use super::volumes;

/// Where the code of a program is, inside.
const PROGRAM_PATH: &str = "/app/program";

/// Of the control group, as much is the init's.
const INIT_MEMORY_BYTES: u64 = 4 << 20;

/// It has a second thread while it starts a program.
const INIT_PROCESSES: u64 = 2;

/// What holds also where limits only warn.
const MEMORY_CEILING_BYTES: u64 = 4 << 30;
const PROCESSES_CEILING: u64 = 10_000;

/// For all that an init is asked: it mounts some file systems, on a machine that may be busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to reach an init that starts.
const PAUSE: Duration = Duration::from_millis(2);

/// The code of a program, as the kernel finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    /// In the store.
    Stored(PathBuf),
    /// The machine's.
    Host(PathBuf),
}

impl Code {
    /// Its path inside.
    pub(crate) fn inside(&self) -> &Path {
        match self {
            Self::Stored(_) => Path::new(PROGRAM_PATH),
            Self::Host(path) => path,
        }
    }
}

/// What is asked for, for one instance.
pub(super) fn message(
    settings: &Settings,
    wish: &Wish<'_>,
    user: Option<u32>,
    socket: &Path,
) -> Result<Seal, Problem> {
    let mut entries = Vec::new();
    if let Code::Stored(from) = wish.code {
        let (from, at) = (from.clone(), PROGRAM_PATH.into());
        entries.push(Entry::Bind { from, at, access: Access::Execute });
    }
    entries.extend(volumes::entries(settings, wish.tenant, &wish.spec.mounts)?);
    let no_text = || Problem::internal("a path of the sandbox is no UTF-8");
    let entries: Option<Vec<_>> = entries.iter().map(entry_message).collect();
    Ok(Seal {
        instance: wish.instance.to_owned(),
        entries: entries.ok_or_else(no_text)?,
        user: user.unwrap_or_default(),
        limits: Some(messages::Limits::default()),
        without: Vec::new(),
        program_socket: socket.to_str().ok_or_else(no_text)?.to_owned(),
        group_limits: Some(group_limits(&wish.spec.limits)),
    })
}

/// What the control group of an instance is to hold it to. The init itself is added.
fn group_limits(limits: &Limits) -> messages::GroupLimits {
    let most = limits.max_memory_bytes;
    let (memory_bytes, memory_high_bytes) = match limits.limit_exceeded_action {
        LimitAction::Kill => (most, None),
        // Slowed down before it is ended, where the system knows how.
        LimitAction::Throttle => (most, Some(most / 10 * 9)),
        LimitAction::Warn => (MEMORY_CEILING_BYTES.max(most), None),
    };
    let processes = match limits.limit_exceeded_action {
        LimitAction::Warn => PROCESSES_CEILING.max(limits.max_processes),
        LimitAction::Kill | LimitAction::Throttle => limits.max_processes,
    };
    // Shares as wasm instances have them, 1,024 for who says nothing; the system's weight is 100 then.
    let weight = (limits.cpu_shares.saturating_mul(100) / 1_024).clamp(1, 10_000);
    messages::GroupLimits {
        memory_bytes: Some(memory_bytes + INIT_MEMORY_BYTES),
        memory_high_bytes: memory_high_bytes.map(|bytes| bytes + INIT_MEMORY_BYTES),
        processes: Some(processes + INIT_PROCESSES),
        cpu_weight: u32::try_from(weight).ok(),
        cpu_percent: match limits.limit_exceeded_action {
            LimitAction::Kill | LimitAction::Throttle => limits.cpu_quota_percent,
            LimitAction::Warn => None,
        }
        .and_then(|percent| u32::try_from(percent).ok()),
    }
}

/// What programs see of the machine, as far as this machine has it. A link stays a link.
fn shown(settings: &Settings) -> Vec<Entry> {
    let entry = |path: &PathBuf| match std::fs::read_link(path) {
        Ok(to) if settings.shown.iter().any(|other| leads_into(path, &to, other)) => {
            Some(Entry::Link { at: path.clone(), to })
        }
        _ => path.exists().then(|| Entry::Bind {
            from: path.clone(),
            at: path.clone(),
            access: Access::Execute,
        }),
    };
    settings.shown.iter().filter_map(entry).collect()
}

/// Whether the link at `path` to `to` ends in `other`, which is shown too.
fn leads_into(path: &Path, to: &Path, other: &Path) -> bool {
    let from = path.parent().unwrap_or(Path::new("/"));
    other != path && from.join(to).starts_with(other)
}

/// Whether the operator shows `path` to programs, also behind links.
///
/// # Errors
/// `HOST_PATH_NOT_SHOWN`, `HOST_PATH_MISSING`.
pub(super) fn check_host_path(settings: &Settings, path: &Path) -> Result<(), Problem> {
    let refuse = |reason: &str, cause: String, remedy: &str| {
        Err(Problem::new(ProblemKind::FailedPrecondition, reason, cause)
            .remedy(remedy)
            .field("code.host_path"))
    };
    if !settings.shown.iter().any(|shown| path.starts_with(shown)) {
        return refuse(
            "HOST_PATH_NOT_SHOWN",
            format!("{} is in no directory that the operator shows to programs", path.display()),
            "choose a program of /usr, send it as code, or have `show` in programs.toml changed",
        );
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => {
            refuse("HOST_PATH_MISSING", format!("{} is no file", path.display()), "name a program")
        }
        Err(error) => refuse(
            "HOST_PATH_MISSING",
            format!("{}: {error}", path.display()),
            "install it on the machine, or send the program as code",
        ),
    }
}

/// Has the process at `control` make what every sandbox has. Blocks.
///
/// # Errors
/// `SANDBOX_REFUSED`, `SANDBOX_LOST`.
pub(super) fn prepare(
    control: &Path,
    settings: &Settings,
    lives: impl Fn() -> bool,
) -> Result<(), Problem> {
    let entries: Option<Vec<_>> = shown(settings).iter().map(entry_message).collect();
    let no_text = || Problem::internal("a path of the sandbox is no UTF-8");
    done(control, Ask::Prepare(Prepare { entries: entries.ok_or_else(no_text)? }), lives)
}

/// Tells the process at `control` for whom it is. Blocks.
///
/// # Errors
/// As [`prepare`].
pub(super) fn seal(control: &Path, seal: Seal) -> Result<(), Problem> {
    done(control, Ask::Seal(seal), || true)
}

fn done(control: &Path, request: Ask, lives: impl Fn() -> bool) -> Result<(), Problem> {
    match ask(control, request, lives).map_err(|error| unreachable(&error))? {
        Tell::Sealed(_) | Tell::Prepared(_) => Ok(()),
        Tell::Failed(failed) => {
            let layer = if failed.layer.is_empty() { "the request" } else { &failed.layer };
            let cause = format!(
                "the sandbox cannot be made: {layer}: {}: {}",
                failed.action, failed.detail
            );
            let remedy = if failed.remedy.is_empty() {
                "`solo doctor` tells what the machine lacks".to_owned()
            } else {
                failed.remedy
            };
            Err(Problem::new(ProblemKind::FailedPrecondition, "SANDBOX_REFUSED", cause)
                .remedy(remedy))
        }
        Tell::Identity(_) => Err(Problem::internal("the sandbox answered with something else")),
    }
}

/// Asks the process at `control` for whom it is. Blocks.
pub(super) fn hello(control: &Path) -> io::Result<Identity> {
    match ask(control, Ask::Hello(Hello { version: VERSION }), || true)? {
        Tell::Identity(identity) => Ok(identity),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `lives`: whether the process may still begin to listen.
fn ask(control: &Path, ask: Ask, lives: impl Fn() -> bool) -> io::Result<Tell> {
    let until = std::time::Instant::now() + ANSWER_TIMEOUT;
    let mut connection = loop {
        match Connection::open(control) {
            Ok(connection) => break connection,
            Err(error) if std::time::Instant::now() >= until || !lives() => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    };
    connection.send(&ControlRequest { id: 1, ask: Some(ask) }, ANSWER_TIMEOUT)?;
    let answer: ControlAnswer = connection.receive(ANSWER_TIMEOUT)?;
    answer.tell.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn unreachable(error: &io::Error) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "SANDBOX_LOST",
        format!("the process of the sandbox does not answer: {error}"),
    )
    .remedy("try again; Solo's log says why it ended, `solo doctor` checks the machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_shown_stay_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("usr")).expect("made");
        std::os::unix::fs::symlink("usr", at("bin")).expect("made");
        std::os::unix::fs::symlink("/etc", at("etc")).expect("made");
        let settings = Settings {
            shown: ["usr", "bin", "etc", "none"].map(at).to_vec(),
            ..Settings::default()
        };
        let shown = shown(&settings);
        assert_eq!(shown.len(), 3);
        assert!(matches!(&shown[1], Entry::Link { to, .. } if to == Path::new("usr")));
        assert!(matches!(&shown[2], Entry::Bind { .. }), "what it leads to is not shown itself");
    }

    #[test]
    fn only_what_is_shown_can_be_named() {
        let settings = Settings { shown: vec!["/usr".into()], ..Settings::default() };
        let check = |path: &str| {
            check_host_path(&settings, Path::new(path)).map_err(|problem| problem.reason)
        };
        assert_eq!(check("/usr/bin/env"), Ok(()));
        assert_eq!(check("/usrlocal/x"), Err("HOST_PATH_NOT_SHOWN".to_owned()));
        assert_eq!(check("/etc/passwd"), Err("HOST_PATH_NOT_SHOWN".to_owned()));
        assert_eq!(check("/usr/bin/no-such-program"), Err("HOST_PATH_MISSING".to_owned()));
        assert_eq!(check("/usr/bin"), Err("HOST_PATH_MISSING".to_owned()));
    }
}
