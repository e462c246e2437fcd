//! Desired state on disk: services, their revisions, compiled artifacts, idempotency keys, grants and how
//! often they were used, secrets.
//!
//! One thread owns the SQLite connection (WAL, `synchronous=FULL`). Jobs that wait at the same time
//! share one transaction and one sync to disk (group commit); each has a savepoint of its own, so
//! that one that fails does not take the others along. A job is answered after the commit: what was
//! answered is on disk. The thread holds no state that the database does not have.

mod held;
mod rows;
mod schema;
mod secrets;
mod tenants;
mod uses;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction};
use solo_types::Problem;
use tokio::sync::{mpsc, oneshot};

pub(crate) use held::{
    HeldRow, LinkRow, RevokedRow, forget_holder, give_services, insert_grant, load_grants, revoke,
    services_hold_grants,
};
pub(crate) use rows::{
    CompiledArtifact, IdempotencyRow, Outcome, RolloutRow, ServiceRow, Tombstone,
};
pub(crate) use rows::{
    find_compiled, find_idempotent, find_tombstone, finish_rollout, forget_old, insert_service,
    kill_service, latest_revision_of_name, load_services, load_tombstones, node, put_compiled,
    put_idempotent, referenced_digests, reserve_service_numbers, set_outcome, start_rollout,
    veil_key,
};

pub(crate) use tenants::{TenantRow, delete_tenant, load_tenants, put_tenant, was_tenant};

pub(crate) use secrets::{
    SecretRow, count_secrets, delete_secret, find_secrets, list_secrets, put_secret,
};
pub(crate) use uses::{UsesRow, load_uses, put_uses};

/// Jobs that may wait for the thread. Each API operation has at most one, so this bounds the
/// operations that wait for the disk; beyond it they wait for room.
const QUEUE_MAX: usize = 1_024;

/// Jobs that share one commit. More would make the first one wait longer than a sync takes.
const BATCH_MAX: usize = 128;

/// Why the store did not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("failed to open the database {path}")]
    Open {
        path: String,
        #[source]
        source: Arc<rusqlite::Error>,
    },
    #[error("the database was made by a newer Solo (schema {found}, this one knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("failed to read or write the database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    #[error("a row of the database cannot be read: {0}")]
    Row(String),
    #[error("the store has ended")]
    Ended,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Problem::new(solo_types::ProblemKind::Internal, "STORE_FAILED", error.to_string())
            .remedy("check the disk under SOLO_HOME: space, permissions, health")
    }
}

type Job =
    Box<dyn FnOnce(&Transaction<'_>) -> Box<dyn FnOnce(Result<(), StoreError>) + Send> + Send>;

/// Handle to the store. Clones share the thread.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the database, making or migrating it, and starts the thread.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let open_error = |source| StoreError::Open {
            path: path.display().to_string(),
            source: Arc::new(source),
        };
        let mut connection = Connection::open(path).map_err(open_error)?;
        schema::prepare(&mut connection)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(connection, queue))
            .map_err(|error| StoreError::Row(format!("no thread: {error}")))?;
        Ok(Self { jobs })
    }

    /// Runs `job` in a transaction and answers once that is on disk.
    ///
    /// An error of the job undoes the job alone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let outcome = in_savepoint(transaction, job);
            Box::new(move |committed| {
                // The caller may have gone; what was done stays done.
                let _gone = reply.send(committed.and(outcome));
            })
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Ended)?;
        answer.await.map_err(|_| StoreError::Ended)?
    }
}

fn in_savepoint<T>(
    transaction: &Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    transaction.execute_batch("SAVEPOINT job")?;
    let outcome = job(transaction);
    let end = if outcome.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    transaction.execute_batch(end)?;
    outcome
}

fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        let transaction = match connection.transaction() {
            Ok(transaction) => transaction,
            Err(error) => {
                // Dropping the jobs answers each of them with `Ended`.
                tracing::error!(%error, "Failed to begin a transaction");
                continue;
            }
        };
        let replies: Vec<_> = batch.into_iter().map(|job| job(&transaction)).collect();
        let committed = transaction.commit().map_err(StoreError::from);
        if let Err(error) = &committed {
            tracing::error!(%error, "Failed to commit");
        }
        for reply in replies {
            reply(committed.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(store: &Store) -> i64 {
        store
            .run(|t| Ok(t.query_row("SELECT count(*) FROM grants", [], |row| row.get(0))?))
            .await
            .expect("count")
    }

    #[tokio::test]
    async fn a_failing_job_undoes_itself_alone() {
        let directory = tempfile::tempdir().expect("tempdir");
        let store = Store::open(&directory.path().join("solo.db")).expect("open");
        let insert = |id: &'static str, fail: bool| {
            store.run(move |t| {
                t.execute(
                    "INSERT INTO grants (id, holder, links, expires_at) VALUES (?1, 's', '', 0)",
                    [id],
                )?;
                if fail { Err(StoreError::Row("wanted".into())) } else { Ok(()) }
            })
        };
        let (a, b, c) = tokio::join!(insert("a", false), insert("b", true), insert("c", false));
        assert!(a.is_ok() && b.is_err() && c.is_ok());
        assert_eq!(count(&store).await, 2);
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_opening_again() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("solo.db");
        let first = Store::open(&path).expect("open");
        let numbers = first.run(|t| reserve_service_numbers(t, 10)).await.expect("reserve");
        assert_eq!(numbers, 1..11);
        // The second connection sees the first one's commits although that is still open.
        let second = Store::open(&path).expect("open again");
        assert_eq!(second.run(|t| reserve_service_numbers(t, 10)).await.expect("reserve"), 11..21);
    }
}
