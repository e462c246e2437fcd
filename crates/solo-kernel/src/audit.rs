//! The audit actor: writes what is about to be acknowledged into the hash-chained log (SPEC C6).
//!
//! Entries that wait at the same time share one sync. Whoever appends waits until the entry is on
//! disk; when it cannot be written the operation does not happen.

use std::path::PathBuf;
use std::sync::Arc;

use solo_audit::AuditLog;
use solo_types::{Problem, ProblemKind};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::clock;

/// Entries that may wait. Each operation has one, so this bounds the operations that wait.
const QUEUE_MAX: usize = 1_024;

/// Entries that share one sync.
const BATCH_MAX: usize = 256;

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

/// Handle to the log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    entries: mpsc::Sender<Waiting>,
    /// Taken by the actor while it lives.
    queue: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    path: PathBuf,
    /// Why nothing can be written at present.
    trouble: Arc<parking_lot::Mutex<Option<String>>>,
}

impl Audit {
    pub(crate) fn new(path: PathBuf) -> Self {
        let (entries, queue) = mpsc::channel(QUEUE_MAX);
        Self { entries, queue: Arc::new(Mutex::new(queue)), path, trouble: Arc::default() }
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
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || AuditLog::open(&path)).await;
        let mut log = match opened {
            Ok(Ok(log)) => {
                *self.trouble.lock() = None;
                log
            }
            Ok(Err(error)) => return self.refuse_all(&mut queue, &error.to_string()).await,
            Err(error) => return Err(error.to_string()),
        };
        let mut batch: Vec<Waiting> = Vec::new();
        loop {
            if queue.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return Ok(());
            }
            let (entries, replies): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|(entry, reply)| (entry.0, reply)).unzip();
            let written = tokio::task::spawn_blocking(move || {
                let written = log.append_batch(&entries);
                (log, written)
            })
            .await;
            let (returned, written) = written.map_err(|error| error.to_string())?;
            log = returned;
            let failed = written.as_ref().err().map(ToString::to_string);
            for reply in replies {
                let answer = failed.as_ref().map_or(Ok(()), |error| Err(unwritable(error)));
                // Who has gone does not act on it either.
                let _gone = reply.send(answer);
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// The log does not verify or cannot be opened: every operation is refused until it can be.
    async fn refuse_all(
        &self,
        queue: &mut mpsc::Receiver<Waiting>,
        error: &str,
    ) -> Result<(), String> {
        tracing::error!(error, path = %self.path.display(), "The audit log cannot be used");
        *self.trouble.lock() = Some(error.to_owned());
        let again = tokio::time::sleep(std::time::Duration::from_secs(5));
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

fn unwritable(why: &str) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "AUDIT_UNWRITABLE",
        format!("the audit record cannot be written, so nothing was done: {why}"),
    )
    .remedy("check the disk and audit/audit.jsonl under SOLO_HOME; keep a damaged log aside for inspection")
}
