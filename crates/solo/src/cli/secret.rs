//! `solo secret`: keeps, lists and forgets secrets. There is no command that prints one.
//!
//! A value is read from standard input or from a file, never from the command line, where other
//! users of the machine and the history of the shell would see it.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_api::v1;
use solo_types::bounds;
use zeroize::Zeroizing;

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use crate::output::{one_line, size, table};

/// So much is read: a value that is too long by its line break, and by one more byte, so that the kernel
/// can tell. What is longer is cut; it is refused anyway.
const READ_BYTES_MAX: usize = bounds::SECRET_BYTES_MAX + 3;

/// Arguments of `solo secret`.
#[derive(Debug, Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a value under a name; replaces what was there
    Set(Set),
    /// List names, versions and sizes
    List,
    /// Forget a secret
    Rm(Rm),
}

/// Arguments of `solo secret set`.
///
/// The value is read from standard input, less one line break at its end, or from a file, as it is.
#[derive(Debug, Args)]
struct Set {
    /// Name of the secret
    #[arg(value_name = "NAME")]
    name: String,
    /// File with the value, taken byte by byte [default: standard input, less one line break at its end]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Arguments of `solo secret rm`.
#[derive(Debug, Args)]
struct Rm {
    /// Name of the secret
    #[arg(value_name = "NAME")]
    name: String,
}

impl Secret {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::Set(set) => set.run(context).await,
            Command::List => list(context).await,
            Command::Rm(rm) => rm.run(context).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct SetJson {
    name: String,
    version: u64,
    services: Vec<String>,
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut value = match &self.file {
            Some(path) => {
                let shown = path.display().to_string();
                let file = File::open(path).map_err(|error| unreadable(&shown, &error))?;
                read(&shown, file)?
            }
            None => without_line_break(from_stdin()?),
        };
        let client = context.client().await?;
        let value = std::mem::take(&mut *value);
        let message = v1::SetSecretRequest { name: self.name.clone(), value };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().set_secret(request)).await?;
        let json =
            SetJson { name: self.name, version: response.version, services: response.services };
        if !json.services.is_empty() {
            let names = json.services.join(", ");
            context.output.note(&format!("`solo update` gives the new value to: {names}"));
        }
        context
            .output
            .show(&json, |set| format!("{} is version {}\n", one_line(&set.name), set.version))
    }
}

fn from_stdin() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(
            "standard input is a terminal, which would show the value",
            "pipe the value in, or name a file with --file",
        ));
    }
    // Not through the standard library's handle, whose buffer is never wiped.
    let descriptor = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned();
    let file = File::from(descriptor.map_err(|error| unreadable("standard input", &error))?);
    read("standard input", file)
}

fn read(shown: &str, file: File) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // With room for all from the start: a buffer that grows leaves copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(2 * READ_BYTES_MAX));
    let read = file.take(READ_BYTES_MAX as u64).read_to_end(&mut value);
    read.map_err(|error| unreadable(shown, &error))?;
    Ok(value)
}

/// `echo` and people end a value with a line break that is not part of it. One that is meant is kept by
/// writing two, or by a file.
fn without_line_break(mut value: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    value
}

fn unreadable(shown: &str, error: &io::Error) -> Failure {
    let cause = format!("failed to read {shown}: {error}");
    Failure::local("FILE_UNREADABLE", cause, "check the path and the rights of the file")
}

#[derive(Debug, Serialize)]
struct SecretJson {
    name: String,
    version: u64,
    size_bytes: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListJson {
    secrets: Vec<SecretJson>,
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.client().await?;
    let request = client.request(v1::ListSecretsRequest {}, DEADLINE);
    let response = answer(DEADLINE, client.grpc().list_secrets(request)).await?;
    let secrets = response.secrets.into_iter().map(|secret| SecretJson {
        name: secret.name,
        version: secret.version,
        size_bytes: secret.size_bytes,
        created_at: secret.created_at.as_ref().map(ToString::to_string),
        updated_at: secret.updated_at.as_ref().map(ToString::to_string),
    });
    context.output.show(&ListJson { secrets: secrets.collect() }, |list| {
        if list.secrets.is_empty() {
            return "no secrets\n".to_owned();
        }
        let rows = list.secrets.iter().map(|secret| {
            let updated = secret.updated_at.clone().unwrap_or_default();
            vec![
                one_line(&secret.name),
                secret.version.to_string(),
                size(secret.size_bytes),
                updated,
            ]
        });
        table(&["NAME", "VERSION", "SIZE", "UPDATED"], &[1, 2], rows.collect())
    })
}

#[derive(Debug, Serialize)]
struct RemovedJson {
    name: String,
    services: Vec<String>,
}

impl Rm {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::RemoveSecretRequest { name: self.name.clone() };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().remove_secret(request)).await?;
        let json = RemovedJson { name: self.name, services: response.services };
        if !json.services.is_empty() {
            let names = json.services.join(", ");
            context.output.note(&format!(
                "these go on with the value that they have, and will not start again: {names}"
            ));
        }
        context.output.show(&json, |removed| format!("{} is removed\n", one_line(&removed.name)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;
    use super::*;

    #[test]
    fn one_line_break_is_not_part_of_the_value() {
        for (read, expected) in [
            ("value", "value"),
            ("value\n", "value"),
            ("value\r\n", "value"),
            ("value\n\n", "value\n"),
            ("value\r", "value\r"),
            ("\n", ""),
            ("", ""),
        ] {
            let value = without_line_break(Zeroizing::new(read.as_bytes().to_vec()));
            assert_eq!(value.as_slice(), expected.as_bytes(), "{read:?}");
        }
    }

    #[test]
    fn a_value_is_no_argument() {
        for line in ["solo secret set db hunter2", "solo secret set db --value hunter2"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Cli::try_parse_from(["solo", "secret", "set", "db", "--file", "x"]).is_ok());
    }
}
