//! The whole of the command line: global flags and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{Failure, Output};
use super::{
    audit, call, code, deploy, doctor, explain, failure, secret, services, shutdown, tenant, tls,
    token, trust, up, update, volume, watch,
};
use crate::output::Format;

/// Bulletproof services on demand
///
/// Solo takes code and runs it as a supervised, isolated, observable service that agents, people
/// and other services call, update and stop. `solo up` starts it on this machine.
#[derive(Debug, Parser)]
#[command(name = "solo", version, after_help = failure::EXIT_CODES_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Directory of all data of Solo [env: SOLO_HOME] [default: /var/lib/solo as root, else
    /// $XDG_DATA_HOME/solo or ~/.local/share/solo]
    // Variables are not read by clap: an empty one is none, and what comes from one must not show
    // as required in the usage.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Address of the API: HOST:PORT, https://HOST:PORT or the path of a Unix socket [env: SOLO_API] [default:
    /// run/api.sock in the home]; for `up` where to listen [default: 127.0.0.1:7747]
    // Not by clap: the variable must not decide where `up` listens.
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) api: Option<String>,
    /// Token to act with [env: SOLO_TOKEN] [default, over the socket in the home: the owner's, from
    /// keys/admin.token in the home]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) trust: trust::Trust,
    /// How to print results and errors
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start Solo on this machine
    Up(up::Up),
    /// Deploy code as a new service
    Deploy(Box<deploy::Deploy>),
    /// Call a service and print its answer
    Call(call::Call),
    /// Send a message to a service without waiting for an answer
    Send(call::Send),
    /// Show everything about one service
    Status(services::Status),
    /// List services
    List(services::List),
    /// End a service for good
    Kill(services::Kill),
    /// Print logs, events and metrics of services
    Watch(watch::Watch),
    /// Print the log of a service
    Logs(watch::Logs),
    /// Replace the code or the settings of a service
    Update(Box<update::Update>),
    /// Issue a token for rights on a service (the same as `solo token mint`)
    Grant(token::Mint),
    /// Make, narrow, explain and end tokens
    Token(token::Token),
    /// Tell whether somebody may do something, and by which grants
    Explain(explain::Explain),
    /// Keep secrets that services are given by reference
    Secret(secret::Secret),
    /// List and remove the volumes of programs
    Volume(volume::Volume),
    /// Make tenants, and say what each may have
    Tenant(tenant::Tenant),
    /// Draw the tree of supervisors, cells, services and instances
    Tree(services::Tree),
    /// Store code without deploying it
    Upload(code::Upload),
    /// Stop all services, then Solo
    Shutdown(shutdown::Shutdown),
    /// Print and verify the audit log
    Audit(audit::Audit),
    /// Make and show certificates for addresses that are not loopback
    Tls(tls::Tls),
    /// Tell what the machine offers and whether Solo runs
    Doctor(doctor::Doctor),
    /// Print the completion script of a shell
    Completions(Completions),
}

/// Arguments of `solo completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to print the script for
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self, mut command: clap::Command, output: Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "solo", &mut script);
        output.bytes(&script)
    }
}

/// Parses words that a single space separates.
#[cfg(test)]
pub(crate) fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split(' ')).expect("a legal command line")
}
