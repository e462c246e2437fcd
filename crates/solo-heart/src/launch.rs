//! Starts the processes of Solo: fixed command lines, a clean environment, named descriptors.
//!
//! It runs one program only, with arguments that it builds itself. Nothing that a client or a guest
//! chose becomes part of a command line: a cell's id has been checked letter by letter.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::errno::Errno;
use solo_sandbox::{Layer, spawn_in_pid_namespace};

use crate::HeartError;
use crate::control::Control;
use crate::home::Home;
use crate::isolation::Isolation;
use crate::parent::HEART_PID_VARIABLE;
use crate::protocol::CellKind;
use crate::protocol::descriptors;
use crate::run::TlsOptions;
use crate::sockets::Sockets;
use crate::vocabulary::Role;

/// What children see of the heart's environment. All else (credentials, proxies, `LD_*`) stays out:
/// `PATH` because programs that services name are looked up in it, `SOLO_LOG` because it sets what
/// every process logs, `RUST_BACKTRACE` because it sets what a panic shows.
const ENVIRONMENT: [&str; 3] = ["PATH", "SOLO_LOG", "RUST_BACKTRACE"];

/// How glibc keeps the memory of children: few arenas, and large blocks mapped one by one, so that
/// what a burst of large messages took goes back to the machine. Without it the kernel kept 1 GiB
/// after 100 clients had sent 4 MiB each.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "262144"),
    ("MALLOC_TRIM_THRESHOLD_", "1048576"),
];

/// Highest descriptor that a child is given.
const DESCRIPTOR_MAX: i32 = descriptors::KERNEL_METRICS;

/// Knows how to start each role.
#[derive(Debug)]
pub(crate) struct Launcher {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    tls: Option<TlsOptions>,
    isolation: Isolation,
    /// A pipe that nobody writes to: whoever has the first end sees when the heart, which alone has
    /// the second, is gone.
    alive: (PipeReader, PipeWriter),
    /// Keep the numbers that children are given occupied here: the pipe on which a failed `exec`
    /// is told would otherwise get one of them, and be overwritten in the child.
    _occupied: Vec<File>,
}

impl Launcher {
    /// Checks that the program is there.
    ///
    /// # Errors
    /// [`HeartError::Program`], or no descriptors left.
    pub(crate) fn new(
        program: PathBuf,
        tls: Option<TlsOptions>,
        isolation: Isolation,
    ) -> Result<Self, HeartError> {
        let program = std::path::absolute(&program).unwrap_or(program);
        match std::fs::metadata(&program) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                let source = io::Error::from(io::ErrorKind::InvalidInput);
                return Err(HeartError::Program { path: program, source });
            }
            Err(source) => return Err(HeartError::Program { path: program, source }),
        }
        let mut occupied = Vec::new();
        loop {
            let file = File::open("/dev/null").map_err(HeartError::file("open", "/dev/null"))?;
            if file.as_raw_fd() > DESCRIPTOR_MAX {
                break;
            }
            occupied.push(file);
        }
        let environment = ENVIRONMENT
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
            .collect();
        let alive = io::pipe().map_err(HeartError::file("make", "a pipe"))?;
        Ok(Self { program, environment, tls, isolation, alive, _occupied: occupied })
    }

    /// Layers that the operator does without.
    pub(crate) fn without(&self) -> &[Layer] {
        &self.isolation.without
    }

    /// Starts the kernel and returns its process and the heart's end of the control socket.
    ///
    /// # Errors
    /// As the system says, also when the program cannot be executed.
    pub(crate) fn kernel(&self, home: &Home, sockets: &Sockets) -> io::Result<(u32, Control)> {
        let (control, theirs) = Control::new()?;
        let mut command = self.command(home);
        command.arg("kernel").arg("--home").arg(home.root());
        self.name_tls_files(&mut command);
        self.name_layers(&mut command);
        let pid = start(
            command,
            vec![
                FdMapping { parent_fd: theirs, child_fd: descriptors::KERNEL_CONTROL },
                mapping(&sockets.api, descriptors::KERNEL_API_TCP)?,
                mapping(&sockets.api_unix, descriptors::KERNEL_API_UNIX)?,
                mapping(&sockets.metrics, descriptors::KERNEL_METRICS)?,
            ],
        )?;
        Ok((pid, control))
    }

    /// Starts the gateway.
    ///
    /// # Errors
    /// As [`Launcher::kernel`].
    pub(crate) fn gateway(&self, home: &Home, sockets: &Sockets) -> io::Result<u32> {
        let mut command = self.command(home);
        command.arg("gateway").arg("--home").arg(home.root());
        self.name_tls_files(&mut command);
        self.name_layers(&mut command);
        start(command, vec![mapping(&sockets.gateway, descriptors::GATEWAY_HTTP)?])
    }

    /// Starts a cell, which enters the control group with these directories.
    ///
    /// # Errors
    /// As [`Launcher::kernel`].
    pub(crate) fn cell(&self, home: &Home, role: &Role, groups: &[PathBuf]) -> io::Result<u32> {
        let Role::Cell { cell, kind, tenant } = role else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // A socket of a former life would keep the new one from binding.
        home.forget(role);
        let mut command = self.command(home);
        command.args(["cell", kind.as_str(), "--id", cell, "--socket"]);
        command.arg(home.cell_socket(cell));
        for directory in groups {
            command.arg("--group").arg(directory);
        }
        let user = match kind {
            CellKind::Wasm | CellKind::Compiler => self.isolation.user(home.root(), cell),
            // It becomes one when it is told for whom it is.
            CellKind::Process => None,
        };
        command.args(user.map(|user| format!("--user={user}")));
        if *kind == CellKind::Wasm {
            command.arg("--programs").arg(home.own_programs(cell, user)?);
        }
        match (kind, tenant) {
            (CellKind::Wasm, Some(tenant)) => {
                command.arg("--execute").arg(home.compiled(tenant));
                command.arg("--state").arg(home.own_state(tenant, user)?);
                if let Some(runtimes) = self.runtimes() {
                    command.arg("--runtimes").arg(runtimes);
                }
            }
            (CellKind::Wasm, None) | (CellKind::Process, _) => {}
            (CellKind::Compiler, _) => {
                command.arg("--write").arg(home.new_work(cell, user)?);
                if let Some(runtimes) = self.runtimes() {
                    command.arg("--runtimes").arg(runtimes);
                }
            }
        }
        self.name_layers(&mut command);
        // It ends when the heart closes the other end of this, which it does by ending.
        command.stdin(self.alive.0.try_clone()?);
        let child = if self.isolation.without.contains(&Layer::PidNamespace) {
            command.spawn()
        } else {
            spawn_in_pid_namespace(command)
        };
        // The handle is dropped on purpose: the heart reaps all its children by process id.
        Ok(child?.id())
    }

    /// Paths only: who serves with a key reads it itself.
    /// Tells a child which layers the operator does without.
    fn name_layers(&self, command: &mut Command) {
        command.args(self.isolation.without.iter().map(|layer| format!("--without={layer}")));
    }

    fn name_tls_files(&self, command: &mut Command) {
        let Some(tls) = &self.tls else { return };
        command.arg("--tls-cert").arg(&tls.certificate).arg("--tls-key").arg(&tls.key);
        if let Some(client_ca) = &tls.client_ca {
            command.arg("--tls-client-ca").arg(client_ca);
        }
    }

    /// Where the runtimes of languages are: `runtimes` or `lib/solo/runtimes` beside the directory of the
    /// program. Looked for at each start of a cell, so that what was built meanwhile is there.
    fn runtimes(&self) -> Option<PathBuf> {
        let beside = self.program.parent()?.parent()?;
        let mut places = [beside.join("runtimes"), beside.join("lib/solo/runtimes")].into_iter();
        places.find(|place| place.is_dir())
    }

    fn command(&self, home: &Home) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(HEART_PID_VARIABLE, std::process::id().to_string())
            .envs(ALLOCATOR)
            .stdin(Stdio::null())
            .current_dir(home.root())
            // A group of its own: Ctrl-C in a terminal reaches the heart only, which ends all in
            // order.
            .process_group(0);
        command
    }
}

/// The errno name of a failure, as the protocol wants it.
pub(crate) fn errno_name(error: &io::Error) -> String {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    format!("{errno:?}")
}

fn mapping(listener: &impl AsFd, child_fd: i32) -> io::Result<FdMapping> {
    Ok(FdMapping { parent_fd: listener.as_fd().try_clone_to_owned()?, child_fd })
}

fn start(mut command: Command, mappings: Vec<FdMapping>) -> io::Result<u32> {
    if !mappings.is_empty() {
        command.fd_mappings(mappings).map_err(io::Error::other)?;
    }
    // The handle is dropped on purpose: the heart reaps all its children by process id.
    Ok(command.spawn()?.id())
}
