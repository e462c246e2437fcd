//! The processes that the heart starts: kernel, gateway, cells. Their first argument is the role.
//!
//! Not part of the command line that people see. Each role first ties its life to the heart's and
//! takes from itself what it will not need; only then it does its work, in a library of its own.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use solo_heart::protocol::descriptors::GATEWAY_HTTP;
use solo_sandbox::{
    Access, EnterError, Entry, Files, Filter, Group, Groups, Holds, Identity, Layer, Level, Limits,
    Policy, ProcessLimits, Sandbox, common_entries,
};
use solo_tls::TlsFiles;
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::cli::{Failure, chain};

/// Environment variable with the log filter of every process: `debug`, `solo_kernel=trace`, ...
const LOG_VARIABLE: &str = "SOLO_LOG";

/// For the control group of a cell on trial to be gone, which has ended.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// Room of `/tmp` and of `/dev/shm` of a program, each. It counts as memory of the program.
const SCRATCH_BYTES: u64 = 64 << 20;

/// Where a wasm cell sees the sockets of the programs of its tenant.
const PROGRAMS_PATH: &str = "/programs";

/// The first arguments that are roles.
const ROLES: [&str; 5] = ["kernel", "gateway", "cell", "trial", "audit-command"];

/// Command line of a role. The heart writes it; people do not.
#[derive(Debug, Parser)]
#[command(name = "solo")]
enum Role {
    /// The control plane
    Kernel {
        #[arg(long)]
        home: PathBuf,
        #[command(flatten)]
        tls: Tls,
        /// Layers that the operator does without
        #[arg(long, value_parser = layer)]
        without: Vec<Layer>,
    },
    /// The front door
    Gateway {
        #[arg(long)]
        home: PathBuf,
        #[command(flatten)]
        tls: Tls,
        /// Layers that the operator does without
        #[arg(long, value_parser = layer)]
        without: Vec<Layer>,
    },
    /// A host of guest code
    Cell {
        kind: Kind,
        #[arg(long)]
        id: String,
        #[arg(long)]
        socket: PathBuf,
        #[command(flatten)]
        room: Room,
        /// Shut itself in, tell what holds, and end
        #[arg(long)]
        trial: bool,
    },
    /// Starts a cell that only tries whether it can be shut in
    Trial {
        kind: Kind,
        #[arg(long)]
        user: Option<u32>,
    },
    /// Stands between the kernel and a command that is given the audit log; the kernel starts it
    AuditCommand {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Tries whether a cell of a kind can be shut in on this machine; `solo doctor` starts it.
fn try_cell(kind: Kind, user: Option<u32>) -> Result<(), String> {
    // Where the machine has no control groups for Solo, cells go without.
    let groups = Groups::open(&format!("trial-{}", std::process::id())).ok();
    let tried = try_in(groups.as_ref(), kind, user);
    let removed = groups.map_or(Ok(()), |groups| groups.remove(TRIAL_WAIT));
    tried.and(removed.map_err(told))
}

fn try_in(groups: Option<&Groups>, kind: Kind, user: Option<u32>) -> Result<(), String> {
    let group = groups.map(|groups| groups.create("cell", &Limits::default()));
    let group = group.transpose().map_err(told)?;
    solo_sandbox::own_namespaces().map_err(told)?;
    let kind = kind.to_possible_value().ok_or("no kind")?.get_name().to_owned();
    let program = std::env::current_exe().map_err(told)?;
    let (alive, ours) = std::io::pipe().map_err(told)?;
    let mut command = Command::new(program);
    command
        .args(["cell", &kind, "--id", "trial", "--socket", "/nowhere", "--trial"])
        .args(user.map(|user| format!("--user={user}")))
        .env(solo_heart::HEART_PID_VARIABLE, std::process::id().to_string())
        .stdin(alive);
    for directory in group.iter().flat_map(Group::directories) {
        command.arg("--group").arg(directory);
    }
    let mut child = solo_sandbox::spawn_in_pid_namespace(command).map_err(told)?;
    let status = child.wait().map_err(told)?;
    drop(ours);
    if status.success() { Ok(()) } else { Err(format!("{status}")) }
}

/// Files for TLS; none if no address is public.
#[derive(Debug, Args)]
struct Tls {
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[arg(long, requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl Tls {
    fn files(self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_cert?, self.tls_key?);
        Some(TlsFiles { certificate, key, client_ca: self.tls_client_ca })
    }
}

/// What a cell is shut into.
#[derive(Debug, Args)]
struct Room {
    /// Who it becomes
    #[arg(long)]
    user: Option<u32>,
    /// What it may read, and map to run
    #[arg(long)]
    execute: Vec<PathBuf>,
    /// What it may change
    #[arg(long)]
    write: Vec<PathBuf>,
    /// The directories of the control group that it enters
    #[arg(long)]
    group: Vec<PathBuf>,
    /// Where the sockets of external programs are
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Where it keeps what services keep
    #[arg(long)]
    state: Option<PathBuf>,
    /// Where the runtimes of languages are
    #[arg(long)]
    runtimes: Option<PathBuf>,
    /// Layers that the operator does without
    #[arg(long, value_parser = layer)]
    without: Vec<Layer>,
}

impl Room {
    /// Where the cell finds the sockets of external programs: the path of a socket must be short.
    fn programs_inside(&self) -> PathBuf {
        match &self.programs {
            Some(path) if self.without.contains(&Layer::Root) => path.clone(),
            _ => PROGRAMS_PATH.into(),
        }
    }

    /// Shuts this process in as a cell of `kind`; the cell of a program does so by itself, but on trial.
    fn shut_in(self, kind: Kind) -> Result<Holds, String> {
        let entry = |path: PathBuf, access| Entry::Bind { at: path.clone(), from: path, access };
        let null = PathBuf::from("/dev/null");
        let (mut entries, policy) = match kind {
            Kind::Process => (common_entries(Identity::default(), SCRATCH_BYTES), Policy::Program),
            Kind::Wasm | Kind::Compiler => {
                let own =
                    vec![Entry::Processes { at: "/proc".into() }, entry(null, Access::Device)];
                (own, Policy::Cell)
            }
        };
        let executed = self.execute.into_iter().chain(self.runtimes);
        entries.extend(executed.map(|path| entry(path, Access::Execute)));
        let written = self.write.into_iter().chain(self.state);
        entries.extend(written.map(|path| entry(path, Access::Write)));
        entries.extend(self.programs.map(|from| Entry::Bind {
            from,
            at: PROGRAMS_PATH.into(),
            access: Access::Read,
        }));
        let sandbox = Sandbox {
            entries,
            identity: Identity { outside: self.user, ..Identity::default() },
            limits: ProcessLimits::default(),
            own_network: true,
            groups: self.group,
            without: self.without.into_iter().collect(),
        };
        let refused = |error: EnterError| {
            let remedy = error.remedy;
            format!("{}; {remedy}, or do without: --sandbox-without {}", chain(&error), error.layer)
        };
        let mut entered = sandbox.enter().map_err(refused)?;
        // The tie to the heart was cut with the former user.
        solo_heart::end_with_parent().map_err(told)?;
        entered.restrict_files().map_err(refused)?;
        sandbox.restrict_calls(policy).map_err(refused)?;
        Ok(entered.holds)
    }
}

/// A layer by its name.
pub(crate) fn layer(name: &str) -> Result<Layer, String> {
    Layer::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Layer::ALL.into_iter().map(Layer::as_str).collect();
        format!("there are the layers {}", names.join(", "))
    })
}

/// What a cell does.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Wasm,
    Compiler,
    Process,
}

/// Runs the role that the first argument names; nothing if it names none.
pub(crate) fn run_requested() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if !ROLES.iter().any(|role| first == *role) {
        return None;
    }
    let role = match Role::try_parse() {
        Ok(role) => role,
        Err(error) => {
            // Without standard error the exit code has to do.
            let _ = error.print();
            return Some(ExitCode::from(if error.use_stderr() { 2 } else { 0 }));
        }
    };
    // The heart checked the filter before it started anything; a wrong one is the default's.
    let _ = start_log();
    Some(match run(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            // The command line looks for this message; see `cli::up`.
            error!(role = %first.to_string_lossy(), cause, "The process ends");
            ExitCode::FAILURE
        }
    })
}

fn run(role: Role) -> Result<(), String> {
    if let Role::AuditCommand { command } = role {
        solo_sandbox::confine_self(Level::Role).map_err(told)?;
        let (program, arguments) = command.split_first().ok_or("no command")?;
        return solo_heart::tend_command(program, arguments).map_err(told);
    }
    if let Role::Trial { kind, user } = role {
        return try_cell(kind, user);
    }
    solo_heart::bind_to_parent().map_err(told)?;
    // The kernel holds the signing key; who speaks TLS holds the key of the certificate.
    let holds_keys = match &role {
        Role::Kernel { .. } => true,
        Role::Gateway { tls, .. } => tls.tls_key.is_some(),
        Role::Cell { .. } | Role::AuditCommand { .. } | Role::Trial { .. } => false,
    };
    let level = if holds_keys { Level::Keys } else { Level::Role };
    solo_sandbox::confine_self(level).map_err(told)?;
    if let Role::Kernel { without, .. } | Role::Gateway { without, .. } = &role {
        if !without.contains(&Layer::Landlock)
            && let Some(files) = files_of(&role)
        {
            files.restrict().map_err(|error| {
                let remedy = error.remedy;
                let cause = chain(&error);
                format!("{cause}; {remedy}, or do without: --sandbox-without {}", error.layer)
            })?;
        }
        if !without.contains(&Layer::Seccomp) {
            Policy::Role.filter().and_then(Filter::install).map_err(told)?;
        }
    }
    match role {
        Role::Kernel { home, tls, .. } => {
            let tls = tls.files();
            solo_kernel::run(solo_kernel::KernelOptions { home, tls }).map_err(told)
        }
        Role::Gateway { home, tls, .. } => {
            let listener = solo_heart::take_descriptor(GATEWAY_HTTP).map_err(told)?;
            let (listener, tls) = (TcpListener::from(listener), tls.files());
            solo_gateway::run(solo_gateway::GatewayOptions { home, listener, tls }).map_err(told)
        }
        Role::Cell { kind, room, trial: true, .. } => {
            let holds = serde_json::to_vec(&room.shut_in(kind)?).map_err(told)?;
            std::io::stdout().write_all(&holds).map_err(told)
        }
        Role::Cell { kind: Kind::Wasm, id, socket, room, .. } => {
            let programs = room.programs_inside();
            let (state, runtimes) = (room.state.clone(), room.runtimes.clone());
            let options =
                solo_cell::wasm::WasmCellOptions { cell: id, socket, programs, state, runtimes };
            let cell = solo_cell::wasm::WasmCell::prepare(options).map_err(told)?;
            room.shut_in(Kind::Wasm)?;
            cell.run().map_err(told)
        }
        Role::Cell { kind: Kind::Compiler, id, socket, room, .. } => {
            let runtimes = room.runtimes.clone();
            let options = solo_cell::compiler::CompilerOptions { cell: id, socket, runtimes };
            let cell = solo_cell::compiler::CompilerCell::prepare(options).map_err(told)?;
            room.shut_in(Kind::Compiler)?;
            cell.run().map_err(told)
        }
        Role::Cell { kind: Kind::Process, id, socket, room, .. } => {
            let without = room.without.into_iter().collect();
            let entries = common_entries(Identity::default(), SCRATCH_BYTES);
            let groups = room.group;
            let options = solo_process::Options { cell: id, socket, entries, groups, without };
            solo_process::run(options).map_err(told)
        }
        // They are no children of the heart's: see above.
        Role::AuditCommand { .. } | Role::Trial { .. } => Ok(()),
    }
}

/// What kernel and gateway may do with files. `None`: what their user may.
fn files_of(role: &Role) -> Option<Files> {
    match role {
        // It reads what operators name: certificates, programs, directories of the machine.
        Role::Kernel { home, .. } => {
            let mut write = solo_kernel::written_by_sinks(home)?;
            write.push(home.clone());
            Some(Files { read: vec!["/".into()], write })
        }
        // Nothing of the home but the way to the API, and the certificate that it serves.
        Role::Gateway { home, tls, .. } => {
            let own = [&tls.tls_cert, &tls.tls_key, &tls.tls_client_ca];
            let above = |path: &&PathBuf| path.parent().map(PathBuf::from);
            let mut read: Vec<PathBuf> =
                own.into_iter().flatten().filter_map(|p| above(&p)).collect();
            read.extend(["/etc", "/lib", "/lib64", "/proc", "/sys", "/usr"].map(PathBuf::from));
            read.push(home.join("run"));
            Some(Files { read, write: Vec::new() })
        }
        _ => None,
    }
}

fn told<E: std::error::Error + 'static>(error: E) -> String {
    chain(&error)
}

/// Starts the log of this process, on standard error; everything from `info` on unless `SOLO_LOG`
/// says otherwise. Never in colour: it ends up in files.
///
/// # Errors
/// The filter is none; the default holds.
pub(crate) fn start_log() -> Result<(), Failure> {
    let text = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let default = || EnvFilter::new("info");
    let (filter, wrong) = match text.as_str() {
        "" => (default(), None),
        text => match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(error) => (default(), Some(wrong_filter(text, &error))),
        },
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .finish();
    // Fails only if there is a log already, which then goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    wrong.map_or(Ok(()), Err)
}

fn wrong_filter(text: &str, error: &dyn Display) -> Failure {
    Failure::usage(
        format!("{LOG_VARIABLE}={text} is no log filter: {error}"),
        "use a level (error, warn, info, debug, trace), or MODULE=LEVEL, separated by commas",
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_roles_are_those_that_are_looked_for() {
        Role::command().debug_assert();
        let names: Vec<_> =
            Role::command().get_subcommands().map(|role| role.get_name().to_owned()).collect();
        assert_eq!(names, ROLES);
    }

    /// The gateway parses what strangers send: it reads no key, token or database, and writes nothing.
    #[test]
    fn the_gateway_has_nothing_of_the_home_but_the_way_to_the_api() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path();
        let role = Role::Gateway { home: home.to_owned(), tls: none(), without: Vec::new() };
        let files = files_of(&role).expect("restricted");
        assert_eq!(files.write, Vec::<PathBuf>::new());
        let of_home = files.read.iter().filter(|path| path.starts_with(home));
        assert_eq!(of_home.collect::<Vec<_>>(), [&home.join("run")]);
        assert!(files.read.iter().all(|path| path != Path::new("/") && !home.starts_with(path)));
    }

    /// A command that is given the audit log runs below the kernel, and writes where it likes.
    #[test]
    fn the_kernel_writes_to_its_home_and_where_its_sinks_do() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path();
        let files =
            || files_of(&Role::Kernel { home: home.to_owned(), tls: none(), without: Vec::new() });
        assert_eq!(files().expect("restricted").write, [home]);
        let say = |text: &str| std::fs::write(home.join("audit.toml"), text).expect("written");
        say("[sinks.a]\nto = \"file:/usr/share/not/there/yet\"\n");
        assert_eq!(files().expect("restricted").write, [Path::new("/usr/share"), home]);
        say("[sinks.a]\ncommand = [\"/bin/cat\"]\n");
        assert_eq!(files(), None);
    }

    fn none() -> Tls {
        Tls { tls_cert: None, tls_key: None, tls_client_ca: None }
    }

    #[test]
    fn the_command_lines_of_the_heart_are_understood() {
        for line in [
            "solo kernel --home /h",
            "solo gateway --home /h",
            "solo kernel --home /h --tls-cert /c --tls-key /k",
            "solo gateway --home /h --tls-cert /c --tls-key /k --tls-client-ca /a",
            "solo kernel --home /h --without=landlock --without=seccomp",
            "solo cell wasm --id wasm-default --socket /h/run/cells/wasm-default.sock \
             --group /g/memory/solo-0/wasm-default --group /g/cpu/solo-0/wasm-default --user=1900000001 \
             --programs /h/run/programs/wasm-default --execute /h/tenants/default/compiled \
             --state /h/tenants/default/state --runtimes /opt/solo/runtimes",
            "solo cell process --id process-1 --socket /h/run/cells/process-1.sock \
             --group /g/cpu/solo-x/process-1 --without=landlock",
            "solo cell compiler --id compiler-1 --socket /h/run/cells/compiler-1.sock --write /h/w \
             --without=landlock --without=seccomp",
            "solo audit-command -- /bin/cat --help",
            "solo trial wasm --user=1900000000",
            "solo cell wasm --id trial --socket /nowhere --trial",
        ] {
            assert!(Role::try_parse_from(line.split_whitespace()).is_ok(), "{line}");
        }
    }
}
