//! `solo audit`: reads and verifies the audit log of this machine's home. Works without a running Solo.
//!
//! Reads the files themselves, as an auditor does: what it says holds whether or not the kernel tells
//! the truth. So it is for who may read the home; nothing here writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_audit::{
    AuditError, Checkpoint, Filter, Follower, PublicKey, Record, TrailCheck, TrailSummary,
};

use super::Failure;
use super::context::Context;
use super::node::{Addresses, Process};
use super::values::{milliseconds, number};
use crate::output::one_line;

/// A log that is being written is looked at so often before it is called damaged.
const LIVE_LOOKS_MAX: u32 = 5;

/// Between two looks at what was added.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

const DAMAGED_REMEDY: &str = "keep a copy aside, find out who could write the files, and go on from a \
     backup; `solo audit verify` names the first record that is not as it was written";

/// Arguments of `solo audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print records
    Show(Show),
    /// Print records, and new ones as they are written
    Follow(Follow),
    /// Check that no record was changed, removed, reordered or cut off
    Verify(Verify),
    /// Print records as JSON, one a line, as they are in the log
    Export(Show),
    /// Tell how far the sinks are that audit.toml in the home names
    Sinks,
}

/// Which records.
#[derive(Debug, Args)]
struct Selection {
    /// Who: `owner`, `token:ID`, `kernel`
    #[arg(long, value_name = "WHO")]
    principal: Option<String>,
    /// What: `deploy`, `kill`, `limit_exceeded`
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// What the name of the object begins with
    #[arg(long, value_name = "PREFIX")]
    object: Option<String>,
    /// How it ended: `allowed`, `refused`, or `refused: REASON`
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Of the last 10m, 2h, 7d
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = milliseconds("since"))]
    since: Option<u64>,
}

/// Arguments of `solo audit show` and `export`.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    selection: Selection,
    /// Begin with the record of this number
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true, value_parser = number::<u64>("from"))]
    from: Option<u64>,
    /// The newest N of them only
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u16>("tail"))]
    tail: Option<u16>,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `solo audit follow`.
#[derive(Debug, Args)]
struct Follow {
    #[command(flatten)]
    selection: Selection,
    /// Begin with the record of this number [default: with the next one]
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true, value_parser = number::<u64>("from"))]
    from: Option<u64>,
}

/// Arguments of `solo audit verify`.
#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// Public key that signed the checkpoints, ed25519:HEX [default: keys/audit.pub in the home]
    #[arg(long, value_name = "KEY")]
    key: Option<PublicKey>,
}

#[derive(Debug, Args)]
struct Place {
    /// Directory with a copy of the log [default: audit in the home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::Show(show) => show.run(context, false),
            Command::Export(show) => show.run(context, true),
            Command::Follow(follow) => follow.run(context).await,
            Command::Verify(verify) => verify.run(context),
            Command::Sinks => super::sinks::show(context),
        }
    }
}

impl Selection {
    fn filter(self) -> Filter {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Filter {
            principal: self.principal,
            operation: self.operation,
            object_prefix: self.object,
            outcome: self.outcome,
            from_unix_ms: self.since.map(|since_ms| now_ms.saturating_sub(since_ms)),
            until_unix_ms: None,
        }
    }
}

impl Show {
    fn run(self, context: &Context, as_json: bool) -> Result<(), Failure> {
        let directory = self.place.directory(context)?;
        let filter = self.selection.filter();
        let from = self.from.unwrap_or_default();
        let mut follower = Follower::open(&directory, from).map_err(failure)?;
        let mut newest = std::collections::VecDeque::new();
        while let Some(record) = follower.next_record(u64::MAX).map_err(failure)? {
            if !filter.matches(&record) {
                continue;
            }
            let Some(tail) = self.tail.map(usize::from) else {
                print(context, &record, as_json)?;
                continue;
            };
            newest.push_back(record);
            if newest.len() > tail {
                newest.pop_front();
            }
        }
        newest.iter().try_for_each(|record| print(context, record, as_json))
    }
}

impl Follow {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let directory = Place { directory: None }.directory(context)?;
        let filter = self.selection.filter();
        let mut follower =
            Follower::open(&directory, self.from.unwrap_or_default()).map_err(failure)?;
        if self.from.is_none() {
            while follower.next_record(u64::MAX).map_err(failure)?.is_some() {}
        }
        loop {
            match follower.next_record(u64::MAX).map_err(failure)? {
                Some(record) if filter.matches(&record) => print(context, &record, false)?,
                Some(_) => {}
                None => tokio::time::sleep(FOLLOW_PAUSE).await,
            }
        }
    }
}

/// What was found to be in order.
#[derive(Debug, Serialize)]
struct VerifiedJson {
    directory: PathBuf,
    /// Number of the first and of the last record that is there.
    first_seq: u64,
    last_seq: u64,
    segments: usize,
    checkpoints: u64,
    /// The last record that a checkpoint proves; those behind it are only chained.
    proven_seq: u64,
    /// The checkpoint that lies beside the key: a log that ends before it was cut. 0 for none.
    kept_seq: u64,
    /// Whether checkpoints were checked: a key was there.
    signed: bool,
    /// Hash of the last record: kept elsewhere it proves the whole log.
    head: String,
}

impl Verify {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let is_own = self.place.directory.is_none();
        let directory = self.place.directory(context)?;
        let keys: Vec<PublicKey> = match self.key {
            Some(key) => vec![key],
            None => own_key(context)?.into_iter().collect(),
        };
        let mut looks = 0;
        let (summary, kept_seq) = loop {
            let kept = match is_own && !keys.is_empty() {
                true => kept(&context.home()?.join("keys/audit.checkpoint"), &keys)?,
                false => None,
            };
            // What is being written may end in the midst of a record.
            let is_live = is_own && is_written(context);
            let through_seq = if is_live { last_seq(&directory) } else { None };
            let check =
                TrailCheck { keys: &keys, kept: kept.as_ref().map(Checkpoint::head), through_seq };
            match solo_audit::verify_trail(&directory, &check) {
                Ok(summary) => break (summary, check.kept.map_or(0, |head| head.seq)),
                // The first record has its checkpoint a moment later. What is damaged stays so.
                Err(_) if is_live && looks < LIVE_LOOKS_MAX => {
                    looks += 1;
                    std::thread::sleep(FOLLOW_PAUSE);
                }
                Err(error) => return Err(failure(error)),
            }
        };
        let verified = verified(directory, &summary, !keys.is_empty(), kept_seq);
        context.output.show(&verified, verified_text)
    }
}

impl Place {
    fn directory(&self, context: &Context) -> Result<PathBuf, Failure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(context.home()?.join("audit")),
        }
    }
}

fn own_key(context: &Context) -> Result<Option<PublicKey>, Failure> {
    let path = context.home()?.join("keys/audit.pub");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(failure),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn kept(path: &Path, keys: &[PublicKey]) -> Result<Option<Checkpoint>, Failure> {
    let kept = Checkpoint::read(path).map_err(failure)?;
    if let Some(checkpoint) = &kept {
        checkpoint.verify(keys).map_err(failure)?;
    }
    Ok(kept)
}

fn is_written(context: &Context) -> bool {
    let addresses = context.home().ok().and_then(Addresses::read);
    addresses.is_some_and(|node| Process::find(node.heart_pid).is_some())
}

/// The last record that is complete; none if the log is not in order up to there, which verification
/// says better.
fn last_seq(directory: &Path) -> Option<u64> {
    let mut follower = Follower::open(directory, 0).ok()?;
    while follower.next_record(u64::MAX).ok()?.is_some() {}
    Some(follower.head().seq)
}

fn verified(directory: PathBuf, found: &TrailSummary, signed: bool, kept_seq: u64) -> VerifiedJson {
    let proven = found.newest_checkpoint.as_ref().map(|newest| newest.head().seq);
    VerifiedJson {
        directory,
        first_seq: found.before.seq.saturating_add(1),
        last_seq: found.summary.head.seq,
        segments: found.segments,
        checkpoints: found.checkpoints,
        proven_seq: proven.filter(|_| signed).unwrap_or_default(),
        kept_seq,
        signed,
        head: found.summary.head.hash.to_string(),
    }
}

fn verified_text(found: &VerifiedJson) -> String {
    let VerifiedJson { first_seq, last_seq, segments, checkpoints, proven_seq, .. } = found;
    let proof = match found.signed {
        true => format!("{checkpoints} checkpoints prove records up to {proven_seq}"),
        false => "no key was given, so that only the chain was checked".to_owned(),
    };
    format!("records {first_seq} to {last_seq} in {segments} files are in order; {proof}\n")
}

fn print(context: &Context, record: &Record, as_json: bool) -> Result<(), Failure> {
    if as_json && !context.output.is_json() {
        let mut line = serde_json::to_vec(record).map_err(|error| {
            Failure::local("OUTPUT_FAILED", format!("the record is no JSON: {error}"), "")
        })?;
        line.push(b'\n');
        return context.output.bytes(&line);
    }
    context.output.show(record, record_text)
}

fn record_text(record: &Record) -> String {
    let at = record.at_rfc3339().unwrap_or_else(|| record.at_unix_ms.to_string());
    let mut text = format!(
        "{at} {} {} {} {}: {}",
        record.seq,
        one_line(&record.principal),
        one_line(&record.operation),
        one_line(if record.object.is_empty() { "-" } else { &record.object }),
        one_line(&record.outcome)
    );
    for (key, value) in &record.details {
        text.push_str(&format!(" {}={}", one_line(key), one_line(value)));
    }
    if !record.request_id.is_empty() {
        text.push_str(&format!(" request={}", one_line(&record.request_id)));
    }
    text.push('\n');
    text
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let cause = format!("{} cannot be read: {error}", path.display());
    Failure::local("AUDIT_UNREADABLE", cause, "run it as the owner of the home")
}

fn failure(error: AuditError) -> Failure {
    let cause = super::chain(&error);
    match error {
        AuditError::Io { .. } => {
            Failure::local("AUDIT_UNREADABLE", cause, "run it as the owner of the home")
        }
        AuditError::PublicKey => Failure::usage(cause, "give --key as keys/audit.pub holds it"),
        _ => Failure::local("AUDIT_DAMAGED", cause, DAMAGED_REMEDY),
    }
}
