//! The audit actor: writes what is about to be acknowledged into the hash-chained log (SPEC C6).
//!
//! Entries that wait at the same time share one sync. Whoever appends waits until the entry is on
//! disk; when it cannot be written the operation does not happen. When the log is opened its newest
//! segment is verified; all others are while entries are written, and what is found ends that.

mod retention;
mod settings;
mod sinks;
mod target;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use solo_types::{Problem, ProblemKind};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::clock;
pub(crate) use settings::{Retention, read as read_settings};
pub use settings::{check_audit_settings, written_by_sinks};
pub(crate) use sinks::{SinkMetrics, SinkPaths, Sinks, drive as drive_sink, keep_report};
pub use sinks::{SinkReport, SinksReport};
pub(crate) use trail::AuditPaths;
use trail::{Log, Removed};

/// Entries that may wait. Each operation has one, so this bounds the operations that wait.
const QUEUE_MAX: usize = 1_024;

/// Entries that share one sync.
const BATCH_MAX: usize = 256;

/// After so much time without an entry the end of the log is signed: what comes behind the last
/// checkpoint could be cut off by who can write the files.
const SIGN_AFTER: Duration = Duration::from_secs(5);

/// Between two looks at what retention lets go; far shorter than any age that can be said.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// While there is more to remove: others write in between.
const PRUNE_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A log that cannot be used is opened anew so often: an operator may have mended it.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

type Waiting = (Entry, oneshot::Sender<Result<(), Problem>>);

/// What is about to happen.
#[derive(Debug, Clone)]
pub(crate) struct Entry(solo_audit::Entry);

impl Entry {
    /// `operation` on `object` by `principal`, allowed.
    pub(crate) fn new(principal: &str, operation: &str, object: &str) -> Self {
        Self(solo_audit::Entry {
            at_unix_ms: clock::unix_ms(),
            principal: principal.to_owned(),
            operation: operation.to_owned(),
            object: object.to_owned(),
            outcome: "allowed".to_owned(),
            request_id: String::new(),
            details: std::collections::BTreeMap::new(),
        })
    }

    /// Notes what the client calls the request.
    pub(crate) fn request_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.0.request_id);
        self
    }

    /// Marks it as refused.
    pub(crate) fn refused(mut self, reason: &str) -> Self {
        self.0.outcome = format!("refused: {reason}");
        self
    }

    /// Says what came of it, where that is neither of the two.
    pub(crate) fn outcome(mut self, outcome: &str) -> Self {
        outcome.clone_into(&mut self.0.outcome);
        self
    }

    /// Adds a detail.
    pub(crate) fn detail(mut self, key: &str, value: impl ToString) -> Self {
        self.0.details.insert(key.to_owned(), value.to_string());
        self
    }
}

/// What is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Number of the last record; 0 while the log was not opened.
    pub(crate) seq: u64,
    /// About when it was written.
    pub(crate) at_unix_ms: u64,
}

/// Handle to the log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    entries: mpsc::Sender<Waiting>,
    /// Taken by the actor while it lives.
    queue: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    paths: AuditPaths,
    /// Why nothing can be written at present.
    trouble: Arc<parking_lot::Mutex<Option<String>>>,
    retention: Retention,
    written: watch::Sender<Written>,
    sinks: Sinks,
}

impl Audit {
    /// A log that keeps everything and has no sinks.
    pub(crate) fn new(paths: AuditPaths) -> Self {
        let (entries, queue) = mpsc::channel(QUEUE_MAX);
        Self {
            entries,
            queue: Arc::new(Mutex::new(queue)),
            paths,
            trouble: Arc::default(),
            retention: Retention::default(),
            written: watch::Sender::default(),
            sinks: Sinks::default(),
        }
    }

    /// With what the operator wants.
    pub(crate) fn with(self, retention: Retention, sinks: Sinks) -> Self {
        Self { retention, sinks, ..self }
    }

    /// What is on disk, now and later. Nothing behind it was acknowledged.
    pub(crate) fn written(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// Where the segments are.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.paths.log
    }

    /// Those who are given the records.
    pub(crate) fn sinks(&self) -> &Sinks {
        &self.sinks
    }

    fn tell_written(&self, log: &Log) {
        self.written.send_replace(Written { seq: log.seq(), at_unix_ms: clock::unix_ms() });
    }

    /// Why nothing can be written at present; none when all is well.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Writes an entry; answers once it is on disk.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        self.entries.send((entry, reply)).await.map_err(|_| unwritable("the log has ended"))?;
        answer.await.map_err(|_| unwritable("the log was interrupted"))?
    }

    /// The actor: writes batches until its supervisor stops it.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let mut queue = self.queue.lock().await;
        let (paths, retention) = (self.paths.clone(), self.retention);
        let opened = tokio::task::spawn_blocking(move || Log::open(&paths, &retention)).await;
        let (mut log, unverified) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return self.refuse_all(&mut queue, &error).await,
            Err(error) => return Err(error.to_string()),
        };
        let mut verified = tokio::task::spawn_blocking(move || unverified.verify());
        let mut is_verified = false;
        if self.trouble().is_some() {
            // It was refused a moment ago: nothing is allowed before all of it is in order.
            is_verified = true;
            if let Err(error) = (&mut verified).await.map_err(|error| error.to_string())? {
                drop(log);
                return self.refuse_all(&mut queue, &error).await;
            }
        }
        *self.trouble.lock() = None;
        self.tell_written(&log);
        let mut batch: Vec<Waiting> = Vec::new();
        let mut prune_at = tokio::time::Instant::now();
        loop {
            let sign = tokio::time::sleep(SIGN_AFTER);
            // What is being verified must stay until that is done.
            let may_prune = is_verified && self.retention.is_bounded();
            tokio::select! {
                biased;
                found = &mut verified, if !is_verified => {
                    is_verified = true;
                    if let Err(error) = found.map_err(|error| error.to_string())? {
                        // Given free, so that it can be mended.
                        drop(log);
                        return self.refuse_all(&mut queue, &error).await;
                    }
                }
                // Before what waits, which may never end; some segments at a time.
                () = tokio::time::sleep_until(prune_at), if may_prune => {
                    let removed;
                    (log, removed) = self.prune(log).await?;
                    self.tell_written(&log);
                    let pause = if removed.more { PRUNE_AGAIN_AFTER } else { PRUNE_EVERY };
                    prune_at = tokio::time::Instant::now() + pause;
                }
                count = queue.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                    let written;
                    (log, written) = write(log, &mut batch).await?;
                    written?;
                    self.tell_written(&log);
                }
                () = sign, if log.is_unsigned() => {
                    let signed;
                    (log, signed) = blocking(log, Log::sign).await?;
                    signed?;
                    self.tell_written(&log);
                }
            }
        }
    }

    /// Removes what is not to be kept. A failure is told and tried again: it is no reason to refuse
    /// operations, as the log has everything.
    async fn prune(&self, log: Log) -> Result<(Log, Removed), String> {
        let (retention, delivered_seq) = (self.retention, self.sinks.delivered_by_all());
        let work = move |log: &mut Log| log.prune(&retention, delivered_seq);
        let (log, removed) = blocking(log, work).await?;
        let removed = removed.unwrap_or_else(|error| {
            tracing::error!(error, "Failed to remove old segments of the audit log");
            Removed::default()
        });
        if removed.undelivered {
            tracing::warn!(delivered_seq, "Removed audit records that a sink was not given");
        }
        Ok((log, removed))
    }

    /// The log does not verify or cannot be opened: every operation is refused until it can be.
    async fn refuse_all(
        &self,
        queue: &mut mpsc::Receiver<Waiting>,
        error: &str,
    ) -> Result<(), String> {
        tracing::error!(error, path = %self.paths.log.display(), "The audit log cannot be used");
        *self.trouble.lock() = Some(error.to_owned());
        let again = tokio::time::sleep(AGAIN_AFTER);
        tokio::pin!(again);
        loop {
            tokio::select! {
                waiting = queue.recv() => match waiting {
                    Some((_, reply)) => {
                        let _gone = reply.send(Err(unwritable(error)));
                    }
                    None => return Ok(()),
                },
                // Opens it anew, without counting as a crash: an operator may have mended it.
                () = &mut again => return Ok(()),
            }
        }
    }
}

/// Writes what waits and answers who waits for it.
async fn write(log: Log, batch: &mut Vec<Waiting>) -> Result<(Log, Result<(), String>), String> {
    let (entries, replies): (Vec<_>, Vec<_>) =
        batch.drain(..).map(|(entry, reply)| (entry.0, reply)).unzip();
    let (log, written) = blocking(log, move |log| log.append(&entries)).await?;
    for reply in replies {
        let answer = written.clone().map_err(|error| unwritable(&error));
        // Who has gone does not act on it either.
        let _gone = reply.send(answer);
    }
    Ok((log, written))
}

/// Runs what waits for the disk, where that keeps nobody else.
async fn blocking<T: Send + 'static>(
    mut log: Log,
    work: impl FnOnce(&mut Log) -> T + Send + 'static,
) -> Result<(Log, T), String> {
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&mut log);
        (log, done)
    });
    done.await.map_err(|error| error.to_string())
}

fn unwritable(why: &str) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "AUDIT_UNWRITABLE",
        format!("the audit record cannot be written, so nothing was done: {why}"),
    )
    .remedy("check the disk, and audit/ and keys/audit.* under SOLO_HOME; `solo audit verify` says more; keep a damaged log aside for inspection")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use solo_audit::{CheckpointKey, Trail, TrailOptions};

    use super::*;

    /// A log of several segments, of which an old one is damaged in its midst.
    fn damaged(directory: &std::path::Path) -> AuditPaths {
        let paths = AuditPaths {
            log: directory.join("audit"),
            key: directory.join("key"),
            public_key: directory.join("pub"),
            checkpoint: directory.join("checkpoint"),
        };
        std::fs::create_dir(&paths.log).expect("directory");
        let key = CheckpointKey::generate().expect("a key");
        let bytes = key.to_bytes().to_vec();
        crate::keyfile::load_or_make(&paths.key, || Ok(bytes)).expect("kept");
        let options = TrailOptions { segment_bytes_max: 4_000, ..TrailOptions::new(key) };
        let mut trail = Trail::open(&paths.log, options, 1).expect("a trail");
        for number in 0..60 {
            let entry = solo_audit::Entry {
                at_unix_ms: 1,
                principal: "owner".into(),
                operation: "deploy".into(),
                object: format!("service-{number}"),
                outcome: "allowed".into(),
                request_id: String::new(),
                details: BTreeMap::new(),
            };
            trail.append_batch(&[entry]).expect("append");
        }
        trail.close(1).expect("closed");
        let entries = std::fs::read_dir(&paths.log).expect("read").flatten();
        let mut segments: Vec<_> = entries.map(|entry| entry.path()).collect();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        segments.sort();
        assert!(segments.len() > 2, "{segments:?}");
        let text = std::fs::read_to_string(&segments[0]).expect("read");
        let changed = text.replace("service-3\"", "service-x\"");
        assert_ne!(text, changed);
        std::fs::write(&segments[0], changed).expect("write");
        paths
    }

    /// Opening verifies the newest segment alone, so that what is found in another one is found again
    /// after each opening; in between nothing may pass.
    #[tokio::test]
    async fn damage_in_an_old_segment_stays_an_obstacle() {
        let directory = tempfile::tempdir().expect("tempdir");
        let audit = Audit::new(damaged(directory.path()));
        let entry = || Entry::new("owner", "deploy", "more");
        let running = audit.clone();
        let actor = tokio::spawn(async move {
            loop {
                running.run().await.expect("no crash");
            }
        });
        while audit.trouble().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Longer than until it is opened anew.
        let until = tokio::time::Instant::now() + AGAIN_AFTER + Duration::from_secs(2);
        while tokio::time::Instant::now() < until {
            let problem = audit.append(entry()).await.expect_err("refused");
            assert_eq!(problem.reason, "AUDIT_UNWRITABLE");
            assert!(problem.cause.contains("was changed"), "{problem:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        actor.abort();
    }
}
