//! The log on disk and its key: opens both, appends, keeps checkpoints beside the key. Blocks.

use std::io;
use std::path::PathBuf;

use solo_audit::{
    AuditError, Checkpoint, CheckpointKey, Entry, PublicKey, SEGMENT_BYTES_DEFAULT, Trail,
    TrailOptions,
};

use super::retention::{self, AT_ONCE_MAX, Size};
use super::settings::Retention;
use crate::{clock, keyfile};

/// Who removes segments, for the log.
const PRINCIPAL: &str = "kernel";

/// Where the log and what belongs to it are.
#[derive(Debug, Clone)]
pub(crate) struct AuditPaths {
    /// Directory of the segments.
    pub(crate) log: PathBuf,
    /// Signs checkpoints.
    pub(crate) key: PathBuf,
    /// Verifies them.
    pub(crate) public_key: PathBuf,
    /// The newest checkpoint: shows that the log was cut.
    pub(crate) checkpoint: PathBuf,
}

/// The log, open.
#[derive(Debug)]
pub(super) struct Log {
    trail: Trail,
    checkpoint: PathBuf,
    public_key: PublicKey,
    /// Records since the last checkpoint.
    unsigned: bool,
}

/// What a retention did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) segments: usize,
    /// A sink was not given all of it.
    pub(super) undelivered: bool,
    /// There may be more to remove.
    pub(super) more: bool,
}

/// What has to be verified yet: everything that was there when the log was opened.
#[derive(Debug)]
pub(super) struct Unverified {
    log: PathBuf,
    key: PublicKey,
    head: solo_audit::Head,
}

impl Log {
    /// Opens the log, makes its key at the first start. Verifies its newest segment.
    ///
    /// # Errors
    /// The key cannot be read; the log does not verify, ends before the kept checkpoint, or cannot be
    /// read.
    pub(super) fn open(
        paths: &AuditPaths,
        retention: &Retention,
    ) -> Result<(Self, Unverified), String> {
        let key = key(paths).map_err(|error| format!("{}: {error}", paths.key.display()))?;
        let say = |error: AuditError| explain(&error);
        let public_key = key.public();
        let options = TrailOptions {
            kept: Checkpoint::read(&paths.checkpoint).map_err(say)?,
            segment_bytes_max: retention.segment_bytes.unwrap_or(SEGMENT_BYTES_DEFAULT),
            ..TrailOptions::new(key)
        };
        let trail = Trail::open(&paths.log, options, clock::unix_ms()).map_err(say)?;
        let head = trail.head();
        let log = Self {
            checkpoint: paths.checkpoint.clone(),
            unsigned: trail.newest_checkpoint().is_none_or(|newest| newest.head() != head),
            public_key,
            trail,
        };
        if let Some(newest) = log.trail.newest_checkpoint() {
            log.keep(newest);
        }
        Ok((log, Unverified { log: paths.log.clone(), key: public_key, head }))
    }

    /// Appends, durably.
    ///
    /// # Errors
    /// Nothing of it counts as written.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        let appended = self.trail.append_batch(entries).map_err(|error| explain(&error))?;
        self.unsigned = true;
        if let Some(checkpoint) = appended.checkpoint {
            self.unsigned = checkpoint.head() != self.trail.head();
            self.keep(&checkpoint);
        }
        Ok(())
    }

    /// Whether there are records behind the last checkpoint.
    pub(super) fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// Signs what is there.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn sign(&mut self) -> Result<(), String> {
        let signed = self.trail.checkpoint(clock::unix_ms()).map_err(|error| explain(&error))?;
        self.unsigned = false;
        if let Some(checkpoint) = signed {
            self.keep(&checkpoint);
        }
        Ok(())
    }

    /// Number of the last record.
    pub(super) fn seq(&self) -> u64 {
        self.trail.head().seq
    }

    /// Removes what `retention` does not keep, some segments at a time. `delivered_seq`: what every
    /// sink has. Answers what was removed, and whether there may be more.
    ///
    /// # Errors
    /// The disk failed, or a segment is not in order.
    pub(super) fn prune(
        &mut self,
        retention: &Retention,
        delivered_seq: u64,
    ) -> Result<Removed, String> {
        let say = |error: AuditError| explain(&error);
        let now = clock::unix_ms();
        let mut sizes = Vec::new();
        for size in solo_audit::segment_sizes(self.trail.directory()).map_err(say)? {
            let is_asked = retention.keep_ms.is_some() && sizes.len() < AT_ONCE_MAX;
            let ended_unix_ms = match is_asked {
                true => Some(size.ended_unix_ms().map_err(say)?),
                false => None,
            };
            sizes.push(Size { first_seq: size.first_seq, bytes: size.bytes, ended_unix_ms });
        }
        let plan = retention::plan(&sizes, retention, delivered_seq, now);
        if plan.remove == 0 {
            return Ok(Removed::default());
        }
        let pruned = self.trail.prune(&solo_audit::Retention {
            keep_segments: sizes.len() - plan.remove,
            keep_from_seq: u64::MAX,
            principal: PRINCIPAL,
            request_id: "",
            at_unix_ms: now,
        });
        let pruned = pruned.map_err(say)?;
        // The record of it may be the last one.
        let head = self.trail.head();
        self.unsigned = self.trail.newest_checkpoint().is_none_or(|newest| newest.head() != head);
        if let Some(checkpoint) = pruned.checkpoint {
            self.keep(&checkpoint);
        }
        Ok(Removed {
            segments: pruned.segments,
            undelivered: plan.undelivered,
            more: plan.remove == AT_ONCE_MAX,
        })
    }

    /// A checkpoint that cannot be kept is no reason to stop: an older one is there.
    fn keep(&self, checkpoint: &Checkpoint) {
        if let Err(error) = checkpoint.write(&self.checkpoint) {
            tracing::warn!(%error, key = %self.public_key, "Failed to keep a checkpoint of the audit log");
        }
    }
}

impl Unverified {
    /// Reads all segments up to where the log ended when it was opened. Takes a second for some 16 MiB.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn verify(&self) -> Result<(), String> {
        let check = solo_audit::TrailCheck {
            keys: &[self.key],
            kept: Some(self.head),
            through_seq: Some(self.head.seq),
        };
        solo_audit::verify_trail(&self.log, &check).map(drop).map_err(|error| explain(&error))
    }
}

/// Reads the key, or makes it; its public half lies beside it.
fn key(paths: &AuditPaths) -> io::Result<CheckpointKey> {
    let make = || {
        let key = CheckpointKey::generate().map_err(io::Error::other)?;
        Ok(key.to_bytes().to_vec())
    };
    let bytes = keyfile::load_or_make(&paths.key, make)?;
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "a key has 32 bytes");
    let key = CheckpointKey::from_bytes(&<[u8; 32]>::try_from(bytes.as_slice()).map_err(wrong)?);
    let public = format!("{}\n", key.public());
    if std::fs::read_to_string(&paths.public_key).ok().as_ref() != Some(&public) {
        std::fs::write(&paths.public_key, public)?;
    }
    Ok(key)
}

/// With its cause: most say which file and not why.
fn explain(error: &AuditError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}
