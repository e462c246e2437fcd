//! Runs a command inside a sandbox: the test binary starts itself as the first process of a pid
//! namespace, enters, and becomes the command.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::Arc;

use rustix::thread::{capabilities, configure_capability_in_ambient_set, set_capabilities};
use solo_sandbox::{
    Access, Entry, Holding, Identity, Layer, Policy, ProcessLimits, Sandbox, common_entries,
    spawn_in_pid_namespace,
};

/// In the environment of the process that is to enter: layers that are off, separated by spaces.
const WITHOUT: &str = "SOLO_TEST_WITHOUT";

/// What else it has: `FROM AT ACCESS`, one a line.
const BINDS: &str = "SOLO_TEST_BINDS";

/// The directories of its control group, one a line.
const GROUPS: &str = "SOLO_TEST_GROUPS";

/// Processes of its user and bytes of a file, at most; `-`: no limit.
const LIMITS: &str = "SOLO_TEST_LIMITS";

/// Set: before it restricts files it says that it has entered, and waits for its input to end.
const PAUSED: &str = "SOLO_TEST_PAUSED";

/// The command, one word a line.
const COMMAND: &str = "SOLO_TEST_COMMAND";

/// A user that owns nothing on any machine.
pub(crate) const OUTSIDE: u32 = 1_900_000_001;

/// What to try, and in what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    /// Layers that are off.
    pub(crate) without: Vec<Layer>,
    /// Directories of the machine that it has: from, at, whether they can be written.
    pub(crate) binds: Vec<(PathBuf, PathBuf, bool)>,
    /// The directories of the control group that it enters.
    pub(crate) groups: Vec<PathBuf>,
    /// How many processes its user may have.
    pub(crate) processes: Option<u64>,
    /// How large a file may become.
    pub(crate) file_bytes: Option<u64>,
    /// Its input, also its terminal.
    pub(crate) input: Option<Arc<File>>,
    /// It stops where its root is made and Landlock is not in force: says a line, waits for its input to end.
    pub(crate) paused: bool,
    /// A copy of this program to enter with; else itself.
    pub(crate) host: Option<PathBuf>,
}

impl Inside {
    /// Runs `words` and returns what it wrote.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.start(words).wait_with_output().expect("waited")
    }

    /// Starts `words`.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        let without: Vec<&str> = self.without.iter().map(|layer| layer.as_str()).collect();
        let binds: Vec<String> = self
            .binds
            .iter()
            .map(|(from, at, write)| format!("{} {} {write}", from.display(), at.display()))
            .collect();
        let groups: Vec<_> = self.groups.iter().map(|path| path.to_str().expect("text")).collect();
        let limit = |limit: Option<u64>| limit.map_or("-".to_owned(), |limit| limit.to_string());
        let limits = format!("{} {}", limit(self.processes), limit(self.file_bytes));
        let own = || std::env::current_exe().expect("a path");
        let input = self.input.as_ref().map(|file| file.try_clone().expect("a descriptor"));
        let silence = if self.paused { Stdio::piped } else { Stdio::null };
        let mut command = Command::new(self.host.clone().unwrap_or_else(own));
        command
            .env(WITHOUT, without.join(" "))
            .env(BINDS, binds.join("\n"))
            .env(GROUPS, groups.join("\n"))
            .env(LIMITS, limits)
            .env(PAUSED, if self.paused { "yes" } else { "" })
            .env(COMMAND, words.join("\n"))
            .stdin(input.map_or_else(silence, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = if self.without.contains(&Layer::PidNamespace) {
            spawn_with_capabilities(command)
        } else {
            spawn_in_pid_namespace(command)
        };
        child.expect("spawned")
    }

    /// What a shell script writes, which must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.run(&["/bin/sh", "-c", script]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}: {:?}\n{out}\n{err}", output.status);
        out
    }
}

/// Spawns as [`spawn_in_pid_namespace`] does, but in no namespace: with the capabilities of this process,
/// also if they are those of a user namespace.
fn spawn_with_capabilities(mut command: Command) -> io::Result<Child> {
    if nix::unistd::geteuid().is_root() {
        return command.spawn();
    }
    // A thread of its own: nobody else starts anything with capabilities.
    let parent = move || {
        let mut sets = capabilities(None)?;
        sets.inheritable = sets.permitted;
        set_capabilities(None, sets)?;
        for one in sets.permitted.iter() {
            configure_capability_in_ambient_set(one, true)?;
        }
        command.spawn()
    };
    std::thread::spawn(parent).join().expect("a thread")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lets the test do something outside, if it asked for that.
#[expect(clippy::print_stdout, reason = "what the test waits for")]
fn pause() {
    if std::env::var(PAUSED).is_ok_and(|paused| !paused.is_empty()) {
        println!("entered");
        io::copy(&mut io::stdin(), &mut io::sink()).expect("read");
    }
}

#[expect(clippy::print_stderr, reason = "what the parent shows if a test fails")]
/// Enters and becomes the command, if this process was started to do so. Returns only if it cannot.
pub(crate) fn become_command() -> Option<ExitCode> {
    let words = std::env::var(COMMAND).ok()?;
    let variable = |name| std::env::var(name).expect("set by `run`");
    let without: BTreeSet<Layer> =
        variable(WITHOUT).split_whitespace().filter_map(Layer::from_name).collect();
    let root = nix::unistd::geteuid().is_root();
    let identity = Identity { outside: root.then_some(OUTSIDE), ..Identity::default() };
    let mut entries = common_entries(identity, 16 << 20);
    for path in ["/usr", "/bin", "/sbin", "/lib", "/lib64"] {
        let path = PathBuf::from(path);
        if path.exists() {
            entries.push(Entry::Bind { from: path.clone(), at: path, access: Access::Execute });
        }
    }
    for line in variable(BINDS).lines() {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("three words");
        let (from, at, write) = (next().into(), next().into(), next());
        let access = if write == "true" { Access::Write } else { Access::Execute };
        entries.push(Entry::Bind { from, at, access });
    }
    let mut limits =
        variable(LIMITS).split(' ').map(|limit| limit.parse().ok()).collect::<Vec<_>>();
    let (file_bytes, processes) = (limits.pop().flatten(), limits.pop().flatten());
    let sandbox = Sandbox {
        entries,
        identity,
        limits: ProcessLimits { processes, file_bytes, ..ProcessLimits::default() },
        own_network: true,
        groups: variable(GROUPS).lines().map(PathBuf::from).collect(),
        without,
    };
    // As Solo's own processes have it.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let group = match &sandbox {
        Sandbox { without, .. } if without.contains(&Layer::ControlGroup) => Holding::SwitchedOff,
        Sandbox { groups, .. } if groups.is_empty() => Holding::NotUsed,
        _ => Holding::Holds,
    };
    let entered = sandbox
        .enter()
        .inspect(|entered| assert_eq!(entered.holds.of(Layer::ControlGroup), group))
        .inspect(|_| pause())
        .and_then(|mut entered| entered.restrict_files())
        .and_then(|()| sandbox.restrict_calls(Policy::Program));
    if let Err(error) = entered {
        eprintln!("{error}: {:?}", std::error::Error::source(&error));
        return Some(ExitCode::from(125));
    }
    let mut words = words.lines();
    let error = Command::new(words.next()?).args(words).env_clear().exec();
    eprintln!("exec: {error}");
    Some(ExitCode::from(126))
}
