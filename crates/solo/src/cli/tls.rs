//! `solo tls`: an authority of one's own, and certificates of it. Works without a running Solo, which
//! notices new files by itself.
//!
//! Overwrites nothing unless it is told to.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_tls::issue::{self, DAYS_MAX, Issued};
use solo_tls::{CertificateFacts, ServerTls, TlsError, TlsFiles};
use solo_types::{Problem, ProblemKind};

use super::Failure;
use super::context::Context;
use super::failure::chain;
use super::public::not_usable;
use super::tls_files::{Directory, Pair, write};
use crate::output::{one_line, table};

/// Arguments of `solo tls`.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an authority (CA), and certificates of it for this server and for one client
    Init(Init),
    /// Make another certificate for this server, of the authority that is there
    Server(Server),
    /// Make a certificate for a client
    Client(Client),
    /// Show the certificates that are there, and whether they are of use
    Show,
}

/// What a certificate of the server is for.
#[derive(Debug, Args)]
struct Names {
    /// Name or IP address by which clients reach this server, beside those of this machine (can be
    /// repeated)
    #[arg(long = "host", value_name = "NAME_OR_IP")]
    hosts: Vec<String>,
    #[command(flatten)]
    validity: Validity,
}

#[derive(Debug, Args)]
struct Validity {
    /// Days until it ends, 1 to 3650
    #[arg(long, value_name = "N", default_value_t = 365, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: u32,
}

/// Arguments of `solo tls init`.
#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    names: Names,
    /// Have clients need a certificate of this authority from the next `solo up` on (mTLS)
    #[arg(long)]
    mutual: bool,
    /// Replace what is there; certificates of the old authority are then worth nothing
    #[arg(long)]
    force: bool,
}

/// Arguments of `solo tls server`.
#[derive(Debug, Args)]
struct Server {
    #[command(flatten)]
    names: Names,
}

/// Arguments of `solo tls client`.
#[derive(Debug, Args)]
struct Client {
    /// Letters, digits, `-`, `_` and `.`, 64 at most
    name: String,
    #[command(flatten)]
    validity: Validity,
    /// Replace the files that are there; the old certificate goes on until it ends
    #[arg(long)]
    force: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct MadeJson {
    directory: PathBuf,
    files: Vec<PathBuf>,
}

impl Tls {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let directory = Directory::new(context.home()?);
        let files = match self.command {
            Command::Init(init) => init.run(&directory)?,
            Command::Server(server) => server.run(&directory)?,
            Command::Client(client) => client.run(&directory)?,
            Command::Show => return show(&directory, context),
        };
        let made = MadeJson { directory: directory.path().to_owned(), files };
        context.output.show(&made, |made| {
            made.files
                .iter()
                .map(|file| format!("{}\n", one_line(&file.display().to_string())))
                .collect()
        })
    }
}

impl Init {
    fn run(self, directory: &Directory) -> Result<Vec<PathBuf>, Failure> {
        let (authority, server) = (directory.authority(), directory.server());
        let Some(client) = directory.client("client") else {
            return Err(Failure::usage("no name for a client", ""));
        };
        let client_ca = directory.client_ca();
        let own = [&authority, &server, &client].into_iter().flat_map(Pair::there);
        let there = own.chain(Some(&client_ca).filter(|path| path.exists())).next().cloned();
        if let Some(path) = there.filter(|_| !self.force) {
            return Err(exists(&path));
        }
        // Where clients had to have certificates of the authority that goes, they still have to.
        let is_mutual = self.mutual || is_same(&client_ca, &authority.certificate);
        let issued = issue::authority().map_err(|error| not_usable(&error))?;
        let of_server = self.names.issue(&issued)?;
        let of_client = issue::client(&issued, "client", self.names.validity.days);
        let of_client = of_client.map_err(|error| not_usable(&error))?;
        directory.make().map_err(|error| not_written(directory.path(), &error))?;
        let mut files = Vec::new();
        for (pair, issued) in [(authority, &issued), (server, &of_server), (client, &of_client)] {
            pair.write(issued).map_err(|error| not_written(&pair.certificate, &error))?;
            files.extend([pair.certificate, pair.key]);
        }
        if is_mutual {
            write(&client_ca, &issued.certificate, 0o644)
                .map_err(|error| not_written(&client_ca, &error))?;
            files.push(client_ca);
        }
        Ok(files)
    }
}

impl Server {
    /// Overwrites: that is what renewing is, and the running Solo takes it.
    fn run(self, directory: &Directory) -> Result<Vec<PathBuf>, Failure> {
        let issued = self.names.issue(&authority(directory)?)?;
        let pair = directory.server();
        pair.write(&issued).map_err(|error| not_written(&pair.certificate, &error))?;
        Ok(vec![pair.certificate, pair.key])
    }
}

impl Client {
    fn run(self, directory: &Directory) -> Result<Vec<PathBuf>, Failure> {
        let Some(pair) = directory.client(&self.name) else {
            return Err(Failure::usage(
                format!("{:?} cannot be the name of a client", self.name),
                "use letters, digits, `-`, `_` and `.`, 64 at most, a letter or a digit first",
            ));
        };
        if !self.force
            && let Some(path) = pair.there().next()
        {
            return Err(exists(path));
        }
        let issued = issue::client(&authority(directory)?, &self.name, self.validity.days)
            .map_err(|error| not_usable(&error))?;
        directory.make().map_err(|error| not_written(directory.path(), &error))?;
        pair.write(&issued).map_err(|error| not_written(&pair.certificate, &error))?;
        Ok(vec![pair.certificate, pair.key])
    }
}

impl Names {
    /// Makes the certificate of the server: for the hosts that were named, and for this machine.
    fn issue(&self, authority: &Issued) -> Result<Issued, Failure> {
        let mut hosts = self.hosts.clone();
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = own.trim();
        hosts.extend(Some(own).filter(|own| is_host(own)).map(str::to_owned));
        hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        let mut seen = std::collections::HashSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
        issue::server(authority, &hosts, self.validity.days).map_err(|error| match error {
            TlsError::Host(_) => Failure::usage(chain(&error), error.remedy()),
            error => not_usable(&error),
        })
    }
}

/// Machines have names that no certificate can be for; that must not keep the others out of it.
fn is_host(name: &str) -> bool {
    !name.is_empty() && issue::is_host(name)
}

/// The authority that is there, with its key.
fn authority(directory: &Directory) -> Result<Issued, Failure> {
    let pair = directory.authority();
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            let cause = format!("failed to read {}: {error}", path.display());
            Failure::local(
                "NO_AUTHORITY",
                cause,
                "make an authority with `solo tls init`, or put ca.crt and ca.key back; \
                 certificates of another authority are made by it",
            )
        })
    };
    Ok(Issued { certificate: read(&pair.certificate)?, key: read(&pair.key)? })
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((std::fs::read(one), std::fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

fn exists(path: &Path) -> Failure {
    let cause = format!("{} is there already", path.display());
    Failure::Refused(Problem::new(ProblemKind::AlreadyExists, "TLS_EXISTS", cause).remedy(
        "see it with `solo tls show`; renew the server's certificate with `solo tls server`; \
             --force replaces it",
    ))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    let cause = format!("failed to write {}: {error}", path.display());
    Failure::local("HOME_NOT_USABLE", cause, "choose another --home, or mend its rights")
}

/// What there is.
#[derive(Debug, Serialize)]
struct ShowJson {
    directory: PathBuf,
    /// Whether clients need a certificate, unless `solo up` is told otherwise.
    mutual: bool,
    /// Why `solo up` would refuse the certificate of the server; null if it would not.
    problem: Option<String>,
    certificates: Vec<CertificateJson>,
}

#[derive(Debug, Serialize)]
struct CertificateJson {
    file: PathBuf,
    subject: String,
    issuer: String,
    /// Hosts that it is for.
    names: Vec<String>,
    authority: bool,
    not_before_unix_s: i64,
    not_after_unix_s: i64,
    not_after: String,
    /// Whole days until it ends; negative once it has.
    days_left: i64,
    valid: bool,
}

fn show(directory: &Directory, context: &Context) -> Result<(), Failure> {
    let mut paths = vec![
        directory.authority().certificate,
        directory.server().certificate,
        directory.client_ca(),
    ];
    let entries = std::fs::read_dir(directory.clients()).into_iter().flatten().flatten();
    let mut clients: Vec<_> = entries.map(|entry| entry.path()).collect();
    clients.retain(|path| path.extension().is_some_and(|ending| ending == "crt"));
    clients.sort();
    paths.extend(clients);
    paths.retain(|path| path.exists());
    if paths.is_empty() {
        let cause = format!("there are no certificates in {}", directory.path().display());
        return Err(Failure::local("TLS_NOT_MADE", cause, "make some with `solo tls init`"));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_unix_s = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let certificates = paths
        .into_iter()
        .map(|path| certificate(path, now_unix_s))
        .collect::<Result<_, _>>()
        .map_err(|error| not_usable(&error))?;
    let (server, client_ca) = (directory.server(), directory.client_ca());
    let client_ca = Some(client_ca).filter(|path| path.exists());
    let json = ShowJson {
        directory: directory.path().to_owned(),
        mutual: client_ca.is_some(),
        problem: ServerTls::check(&TlsFiles {
            certificate: server.certificate,
            key: server.key,
            client_ca,
        })
        .err()
        .map(|error| format!("{}; {}", chain(&error), error.remedy())),
        certificates,
    };
    context.output.show(&json, show_text)
}

fn certificate(file: PathBuf, now_unix_s: i64) -> Result<CertificateJson, TlsError> {
    let facts = CertificateFacts::read(&file)?;
    Ok(CertificateJson {
        file,
        valid: facts.is_valid_at(now_unix_s),
        days_left: facts.remaining_s(now_unix_s).div_euclid(24 * 3_600),
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
        authority: facts.is_authority,
        not_before_unix_s: facts.not_before_unix_s,
        not_after_unix_s: facts.not_after_unix_s,
        not_after: facts.not_after,
    })
}

fn show_text(show: &ShowJson) -> String {
    let rows = show.certificates.iter().map(|certificate| {
        let file = certificate.file.strip_prefix(&show.directory).unwrap_or(&certificate.file);
        let left = match certificate.days_left {
            days if days < 0 => "ended".to_owned(),
            _ if !certificate.valid => "not valid yet".to_owned(),
            days => format!("{days} days"),
        };
        vec![
            one_line(&file.display().to_string()),
            one_line(&certificate.subject),
            one_line(&certificate.names.join(" ")),
            left,
        ]
    });
    let mut text = table(&["FILE", "SUBJECT", "FOR", "ENDS IN"], &[], rows.collect());
    if show.mutual {
        text.push_str("Clients need a certificate (client-ca.crt is there).\n");
    }
    if let Some(problem) = &show.problem {
        text.push_str(&format!("solo up would refuse it: {}\n", one_line(problem)));
    }
    text
}
