//! The processes that the heart starts: kernel, gateway, cells. Their first argument is the role.
//!
//! Not part of the command line that people see. Each role first ties its life to the heart's and
//! takes from itself what it will not need; only then it does its work, in a library of its own.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};
use solo_heart::protocol::descriptors::GATEWAY_HTTP;
use solo_sandbox::Level;
use solo_tls::TlsFiles;
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::cli::{Failure, chain};

/// Environment variable with the log filter of every process: `debug`, `solo_kernel=trace`, ...
const LOG_VARIABLE: &str = "SOLO_LOG";

/// The first arguments that are roles.
const ROLES: [&str; 4] = ["kernel", "gateway", "cell", "audit-command"];

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
    },
    /// The front door
    Gateway {
        #[arg(long)]
        home: PathBuf,
        #[command(flatten)]
        tls: Tls,
    },
    /// A host of guest code
    Cell {
        kind: Kind,
        #[arg(long)]
        id: String,
        #[arg(long)]
        socket: PathBuf,
    },
    /// Stands between the kernel and a command that is given the audit log; the kernel starts it
    AuditCommand {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
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

/// What a cell does.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Wasm,
    Compiler,
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
    solo_heart::bind_to_parent().map_err(told)?;
    // The kernel holds the signing key; who speaks TLS holds the key of the certificate.
    let holds_keys = match &role {
        Role::Kernel { .. } => true,
        Role::Gateway { tls, .. } => tls.tls_key.is_some(),
        Role::Cell { .. } | Role::AuditCommand { .. } => false,
    };
    let level = if holds_keys { Level::Keys } else { Level::Role };
    solo_sandbox::confine_self(level).map_err(told)?;
    match role {
        Role::Kernel { home, tls } => {
            let tls = tls.files();
            solo_kernel::run(solo_kernel::KernelOptions { home, tls }).map_err(told)
        }
        Role::Gateway { home, tls } => {
            let listener = solo_heart::take_descriptor(GATEWAY_HTTP).map_err(told)?;
            let (listener, tls) = (TcpListener::from(listener), tls.files());
            solo_gateway::run(solo_gateway::GatewayOptions { home, listener, tls }).map_err(told)
        }
        Role::Cell { kind: Kind::Wasm, id, socket } => {
            let options = solo_cell::wasm::WasmCellOptions { cell: id, socket };
            solo_cell::wasm::run(options).map_err(told)
        }
        Role::Cell { kind: Kind::Compiler, id, socket } => {
            let options = solo_cell::compiler::CompilerOptions { cell: id, socket };
            solo_cell::compiler::run(options).map_err(told)
        }
        // It is no child of the heart's: see above.
        Role::AuditCommand { .. } => Ok(()),
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_roles_are_those_that_are_looked_for() {
        Role::command().debug_assert();
        let names: Vec<_> =
            Role::command().get_subcommands().map(|role| role.get_name().to_owned()).collect();
        assert_eq!(names, ROLES);
    }

    #[test]
    fn the_command_lines_of_the_heart_are_understood() {
        for line in [
            "solo kernel --home /h",
            "solo gateway --home /h",
            "solo kernel --home /h --tls-cert /c --tls-key /k",
            "solo gateway --home /h --tls-cert /c --tls-key /k --tls-client-ca /a",
            "solo cell wasm --id wasm-default --socket /h/run/cells/wasm-default.sock",
            "solo cell compiler --id compiler-1 --socket /h/run/cells/compiler-1.sock",
            "solo audit-command -- /bin/cat --help",
        ] {
            assert!(Role::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
