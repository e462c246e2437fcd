//! A thread that waits for the disk, so that nobody else does: it takes what waits, groups it by service,
//! and answers each group after its commit.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use solo_types::{Problem, ServiceId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::shelf::{Shelf, Trouble, full};
use crate::{Answer, KEEP_FREE_BYTES, Op, of_service};

/// Jobs that share one look at the queue, and with it a commit for each of their services.
const JOBS_MAX: usize = 128;

/// Files that one thread has open: each takes some 100 KiB and three descriptors.
const OPEN_MAX: usize = 128;

/// A file that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(5);

/// What somebody waits for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) service: ServiceId,
    pub(crate) op: Op,
    pub(crate) answer: oneshot::Sender<Result<Answer, Problem>>,
    /// Its place among what waits.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// Between two lines in the log, which services must not be able to fill.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Open {
    shelf: Shelf,
    used: Instant,
}

/// The files that one thread has open. No other thread has the same.
#[derive(Debug)]
pub(crate) struct Worker {
    directory: PathBuf,
    open: HashMap<ServiceId, Open>,
    warned: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, open: HashMap::new(), warned: None }
    }

    /// Works until nobody can ask any more.
    pub(crate) fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            let first = if self.open.is_empty() {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(IDLE)
            };
            match first {
                Ok(job) => {
                    let mut batch = vec![job];
                    batch.extend(jobs.try_iter().take(JOBS_MAX - 1));
                    self.work(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.close();
        }
    }

    fn work(&mut self, batch: Vec<Job>) {
        let mut by_service: HashMap<ServiceId, Vec<Job>> = HashMap::new();
        for job in batch {
            // Whoever is gone has not been told that it is done.
            if !job.answer.is_closed() {
                by_service.entry(job.service).or_default().push(job);
            }
        }
        for (service, jobs) in by_service {
            self.work_for(service, jobs.into());
        }
    }

    fn work_for(&mut self, service: ServiceId, mut jobs: VecDeque<Job>) {
        while !jobs.is_empty() {
            let ops: Vec<&Op> = jobs.iter().map(|job| &job.op).collect();
            let mut answers = self.together(service, &ops);
            if let (Err(trouble), [first, _, ..]) = (&answers, &*ops)
                && trouble.may_be_of_one()
            {
                answers = self.together(service, &[first]);
            }
            let answers = answers.unwrap_or_else(|trouble| {
                let problem = self.told(service, trouble);
                vec![Err(problem); ops.len()]
            });
            for answer in answers {
                let Some(job) = jobs.pop_front() else { return };
                // Whoever is gone meanwhile does not want it.
                let _ = job.answer.send(answer);
            }
        }
    }

    fn told(&mut self, service: ServiceId, trouble: Trouble) -> Problem {
        let is_ours = matches!(trouble, Trouble::Storage(_));
        let problem = trouble.problem();
        if is_ours {
            // What is wrong with an open file may not be wrong with the file.
            self.open.remove(&service);
            if self.warned.is_none_or(|warned| warned.elapsed() > WARN_INTERVAL) {
                self.warned = Some(Instant::now());
                tracing::warn!(%problem, %service, "Failed to use the storage of a service");
            }
        }
        problem
    }

    /// Answers the first of `ops`, one at least, and as many more as one answer to all may hold.
    fn together(
        &mut self,
        service: ServiceId,
        ops: &[&Op],
    ) -> Result<Vec<Result<Answer, Problem>>, Trouble> {
        let grows = ops.iter().any(|op| op.writes() && !matches!(op, Op::Delete(_)));
        if grows {
            self.check_room()?;
        }
        let Some(shelf) = self.shelf(service, grows)? else {
            return Ok(ops.iter().map(|op| Ok(of_nothing(op))).collect());
        };
        shelf.run(ops)
    }

    /// The file of a service; `None`: there is none, and `create` does not want one.
    fn shelf(&mut self, service: ServiceId, create: bool) -> Result<Option<&mut Shelf>, Trouble> {
        let used = Instant::now();
        if !self.open.contains_key(&service) {
            let path = self.directory.join(of_service(service));
            let Some(shelf) = Shelf::open(&path, create)? else { return Ok(None) };
            self.open.insert(service, Open { shelf, used });
        }
        Ok(self.open.get_mut(&service).map(|open| {
            open.used = used;
            &mut open.shelf
        }))
    }

    fn check_room(&self) -> Result<(), Trouble> {
        // A machine that does not tell is not kept from working; SQLite tells of a full disk too.
        let Ok(disk) = rustix::fs::statvfs(&self.directory) else { return Ok(()) };
        if disk.f_bavail.saturating_mul(disk.f_frsize) < KEEP_FREE_BYTES {
            return Err(Trouble::Refused(full("the disk has too little room left")));
        }
        Ok(())
    }

    /// Closes what nobody uses, and the oldest of what is too many.
    fn close(&mut self) {
        self.open.retain(|_, open| open.used.elapsed() < IDLE);
        while self.open.len() > OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.open.remove(&oldest);
        }
    }
}

/// What an operation that makes nothing answers where there is nothing.
fn of_nothing(op: &Op) -> Answer {
    match op {
        Op::Get(keys) => Answer::Values(vec![None; keys.len()]),
        Op::Exists(_) => Answer::Is(false),
        Op::List { .. } => Answer::Page(crate::Page { keys: Vec::new(), more: false }),
        Op::Rows { .. } => Answer::Rows(crate::Rows { keys: Vec::new(), next: None }),
        Op::Read(_) => Answer::Read(crate::Read { version: 0, value: None }),
        Op::Set(_) | Op::Delete(_) | Op::Increment { .. } | Op::Swap { .. } => Answer::Done,
    }
}
