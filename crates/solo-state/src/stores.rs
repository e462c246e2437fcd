//! What a cell asks: a bounded number of operations that wait for a few threads.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use solo_types::{Problem, ServiceId};
use tokio::sync::{Semaphore, oneshot};

use crate::shelf::unavailable;
use crate::worker::{Job, Worker};
use crate::{Answer, Op};

/// Ends the name of each file; SQLite adds `-wal` and `-shm` for files beside it.
pub const FILE_EXTENSION: &str = "db";

/// Threads that wait for the disk. A service is always the same one's, so that its operations keep their
/// order and its file is open once.
const THREADS: usize = 2;

/// One place among what waits.
const PLACE_BYTES: usize = 64 << 10;

/// Places: so many operations wait, or so many bytes of them (64 MiB).
const PLACES: usize = 1_024;

/// From asking to an answer. Longer than a disk that works takes, also when others have asked before.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Name of the file of a service.
#[must_use]
pub fn of_service(service: ServiceId) -> PathBuf {
    format!("{service}.{FILE_EXTENSION}").into()
}

/// The key-value storage of the services of one tenant. Its threads end when it is dropped and what waits
/// is done.
#[derive(Debug)]
pub struct Stores {
    threads: Vec<SyncSender<Job>>,
    places: Arc<Semaphore>,
}

impl Stores {
    /// Starts threads over a directory, which exists and is written to by nobody else.
    ///
    /// # Errors
    /// No threads.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let start = |number| {
            let (sender, jobs) = sync_channel(PLACES);
            let directory = directory.to_owned();
            std::thread::Builder::new()
                .name(format!("state-{number}"))
                .spawn(move || serve(&directory, &jobs))
                .map(|_| sender)
        };
        let threads = (0..THREADS).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, places: Arc::new(Semaphore::new(PLACES)) })
    }

    /// Does one operation for a service. When it is dropped before its end, the operation may be done.
    ///
    /// Needs the timers of a tokio runtime.
    ///
    /// # Errors
    /// `INVALID_KEY`, `INVALID_VALUE`, `INVALID_LIMIT`, `TOO_MUCH_AT_ONCE`; `STORAGE_FULL`,
    /// `NOT_A_NUMBER`, `OUT_OF_RANGE`; `STORAGE_UNAVAILABLE`, `STORAGE_DAMAGED`. Nothing was done, except that after
    /// `STORAGE_UNAVAILABLE` it may have been.
    pub async fn run(&self, service: ServiceId, op: Op) -> Result<Answer, Problem> {
        op.check()?;
        let done = tokio::time::timeout(TIMEOUT, self.ask(service, op)).await;
        done.unwrap_or_else(|_| Err(unavailable("it did not answer in time")))
    }

    async fn ask(&self, service: ServiceId, op: Op) -> Result<Answer, Problem> {
        // At most a quarter of all places: `check` bounds what an operation brings.
        let places = u32::try_from(1 + op.bytes() / PLACE_BYTES).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.places).acquire_many_owned(places).await;
        let place = place.map_err(|_| unavailable("it has ended"))?;
        let (answer, answered) = oneshot::channel();
        let job = Job { service, op, answer, _place: place };
        let ended = || unavailable("its thread has ended");
        // There are no more jobs than places.
        self.threads[self.thread_of(service)].try_send(job).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    fn thread_of(&self, service: ServiceId) -> usize {
        let mut hasher = DefaultHasher::new();
        service.hash(&mut hasher);
        usize::try_from(hasher.finish() % THREADS as u64).unwrap_or_default()
    }
}

fn serve(directory: &Path, jobs: &Receiver<Job>) {
    loop {
        // Its open files go with it; who waited is told that there is no answer.
        let work = AssertUnwindSafe(|| Worker::new(directory.to_owned()).run(jobs));
        if std::panic::catch_unwind(work).is_ok() {
            return;
        }
        tracing::error!("A thread of the storage of services panicked; it goes on");
    }
}
