//! The command line: a client of the API, and `solo up`, which starts a node.
//!
//! Each command is one module: its flags, the request that they make, and what becomes of the
//! answer. It has no authority and keeps no state; whatever is refused, the kernel refuses, but for
//! what is no value at all. Exit codes and the texts of failures: `failure`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::output::{Format, Output};

mod args;
mod audit;
mod call;
mod code;
mod context;
mod deploy;
mod doctor;
mod explain;
mod failure;
mod maps;
mod modules;
mod mounts;
mod node;
mod package;
mod program;
mod public;
mod secret;
mod services;
mod settings;
mod shutdown;
mod sinks;
mod tenant;
mod tls;
mod tls_files;
mod token;
mod trust;
mod up;
mod update;
mod values;
mod volume;
mod watch;

use args::{Cli, Command};
use context::Context;
pub(crate) use failure::{Failure, chain};

/// Runs the command that the arguments of the process name.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_command_line(&error),
    };
    let output = Output::new(cli.global.output);
    match dispatch(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(cli: Cli, output: Output) -> Result<(), Failure> {
    match cli.command {
        // The heart must find a process with one thread.
        Command::Up(up) => up.run(&cli.global, output),
        Command::Completions(completions) => completions.run(Cli::command(), output),
        command => {
            let context = Context::new(&cli.global, output)?;
            context::block_on(remote(command, &context))?
        }
    }
}

async fn remote(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Deploy(command) => command.run(context).await,
        Command::Call(command) => command.run(context).await,
        Command::Send(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::List(command) => command.run(context).await,
        Command::Kill(command) => command.run(context).await,
        Command::Watch(command) => command.run(context).await,
        Command::Logs(command) => command.run(context).await,
        Command::Update(command) => command.run(context).await,
        Command::Grant(command) => command.run(context).await,
        Command::Token(command) => command.run(context).await,
        Command::Explain(command) => command.run(context).await,
        Command::Secret(command) => command.run(context).await,
        Command::Volume(command) => command.run(context).await,
        Command::Tenant(command) => command.run(context).await,
        Command::Tree(command) => command.run(context).await,
        Command::Upload(command) => command.run(context).await,
        Command::Shutdown(command) => command.run(context).await,
        Command::Audit(command) => command.run(context).await,
        Command::Tls(command) => command.run(context),
        Command::Doctor(command) => command.run(context).await,
        Command::Up(_) | Command::Completions(_) => Ok(()),
    }
}

/// Prints help where it was asked for, and errors in the format that was asked for.
fn wrong_command_line(error: &clap::Error) -> ExitCode {
    let wants_json = wants_json(std::env::args_os());
    if !error.use_stderr() || !wants_json {
        // A closed terminal cannot be told that it is closed.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let text = error.to_string();
    let cause = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let failure = Failure::usage(cause, "see `solo help` and `solo help COMMAND`");
    Output::new(Format::Json).failure(&failure);
    ExitCode::from(failure.exit_code())
}

/// Whether the arguments ask for JSON, found without understanding the rest.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<_> =
        arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--output=json" | "-ojson" | "-o=json"))
        || arguments
            .windows(2)
            .any(|pair| matches!(pair[0].as_str(), "--output" | "-o") && pair[1] == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help() {
        let mut command = Cli::command();
        command.build();
        for subcommand in command.get_subcommands_mut() {
            let name = subcommand.get_name().to_owned();
            assert!(subcommand.get_about().is_some(), "{name} says what it does");
            assert!(!subcommand.render_long_help().to_string().is_empty(), "{name}");
        }
    }

    #[test]
    fn json_is_found_in_a_wrong_command_line() {
        let wants = |line: &str| wants_json(line.split(' ').map(OsString::from));
        assert!(wants("solo deploy -o json"));
        assert!(wants("solo --output=json deploy --nonsense"));
        assert!(!wants("solo deploy json"));
    }

    #[test]
    fn negative_numbers_name_their_field() {
        for (flags, field) in [
            ("--replicas -1", "replicas"),
            ("--max-memory -5MiB", "limits.max_memory_bytes"),
            ("--startup-timeout -1s", "limits.startup_timeout_ms"),
            ("--max-restarts=-2", "restart.max_restarts"),
        ] {
            let line = format!("solo deploy name file {flags}");
            let error = Cli::try_parse_from(line.split(' ')).expect_err(flags);
            assert!(error.to_string().contains(&format!("{field} is negative")), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn negative_arguments_of_a_call_are_no_flags() {
        assert!(Cli::try_parse_from(["solo", "call", "calc", "add", "2", "-3"]).is_ok());
        assert!(Cli::try_parse_from(["solo", "call", "calc", "-"]).is_ok());
    }
}
