//! The kernel's end of the line to the heart: asks for cells, learns of their ends.
//!
//! What is known of the cell processes is a level, not a stream of events: whoever waits for an end
//! looks at the state, so that no news can be missed. When the heart is gone the kernel has no
//! business left and ends.

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use solo_heart::protocol::{CellKind, LINE_BYTES_MAX, Report, Request};
use solo_types::TenantName;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

/// Requests that may wait to be written. The heart answers at once; more means that it hangs.
const REQUESTS_MAX: usize = 256;

/// The heart starts a process in well under a millisecond; longer means that the machine is stuck.
const SPAWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the heart says to a kill of a cell that has ended already.
const ABSENT: &str = "absent";

/// What the heart last said about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CellProcess {
    /// It runs.
    Alive {
        /// Its process.
        pid: u32,
    },
    /// It ended: `code:N`, `signal:N` or `absent`.
    Ended(String),
    /// It could not be started.
    SpawnFailed(String),
}

/// Why there is no cell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeartError {
    #[error("the heart could not start cell {cell}: {error}")]
    SpawnFailed { cell: String, error: String },
    #[error("the heart did not answer within {SPAWN_TIMEOUT:?}")]
    Timeout,
    #[error("the line to the heart is broken")]
    Broken,
}

impl HeartError {
    /// The same for all cells.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::SpawnFailed { error, .. } => error.clone(),
            other => other.to_string(),
        }
    }
}

pub(crate) type Processes = HashMap<String, CellProcess>;

/// The line to the heart. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Heart {
    requests: mpsc::Sender<Request>,
    processes: watch::Receiver<Processes>,
}

/// What the rest of the kernel must act on.
#[derive(Debug)]
pub(crate) struct HeartNews {
    /// True once the operator wants Solo to end.
    pub(crate) terminate: watch::Receiver<bool>,
    /// Ends with the line: the heart is gone.
    pub(crate) line: tokio::task::JoinHandle<()>,
}

impl Heart {
    /// Takes over the line, and reads which cells live.
    pub(crate) async fn connect(stream: StdUnixStream) -> std::io::Result<(Self, HeartNews)> {
        stream.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(stream)?.into_split();
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let (publish, processes) = watch::channel(Processes::new());
        let (terminating, terminate) = watch::channel(false);
        let (listed, mut is_listed) = watch::channel(false);
        let line = tokio::spawn(async move {
            tokio::select! {
                () = read_reports(read, &publish, &terminating, &listed) => {}
                () = write_requests(write, outgoing) => {}
            }
        });
        let waited =
            tokio::time::timeout(SPAWN_TIMEOUT, is_listed.wait_for(|listed| *listed)).await;
        if !matches!(waited, Ok(Ok(_))) {
            return Err(std::io::Error::other("the heart did not say which cells live"));
        }
        Ok((Self { requests, processes }, HeartNews { terminate, line }))
    }

    /// The process of a cell that lives.
    pub(crate) fn pid(&self, cell: &str) -> Option<u32> {
        match self.processes.borrow().get(cell) {
            Some(CellProcess::Alive { pid }) => Some(*pid),
            _ => None,
        }
    }

    /// All cells that live.
    pub(crate) fn living(&self) -> Vec<(String, u32)> {
        let processes = self.processes.borrow();
        let mut living: Vec<_> = processes
            .iter()
            .filter_map(|(cell, process)| match process {
                CellProcess::Alive { pid } => Some((cell.clone(), *pid)),
                _ => None,
            })
            .collect();
        living.sort();
        living
    }

    /// All cells, and their changes.
    pub(crate) fn processes(&self) -> watch::Receiver<Processes> {
        self.processes.clone()
    }

    /// Makes sure that `cell` runs, with the files of `tenant` if it starts now. Returns its process.
    pub(crate) async fn spawn(
        &self,
        cell: &str,
        kind: CellKind,
        tenant: Option<&TenantName>,
    ) -> Result<u32, HeartError> {
        if let Some(pid) = self.pid(cell) {
            return Ok(pid);
        }
        let mut processes = self.processes.clone();
        let before = processes.borrow_and_update().get(cell).cloned();
        let tenant = tenant.map(|tenant| tenant.as_str().to_owned());
        self.request(Request::Spawn { cell: cell.to_owned(), kind, tenant }).await?;
        let answer = async {
            loop {
                processes.changed().await.map_err(|_| HeartError::Broken)?;
                let now = processes.borrow_and_update().get(cell).cloned();
                match now {
                    Some(CellProcess::Alive { pid }) => return Ok(pid),
                    Some(CellProcess::SpawnFailed(error)) => {
                        return Err(HeartError::SpawnFailed { cell: cell.to_owned(), error });
                    }
                    // It lived so short that only its end was seen. (Absent is what the heart says to a
                    // kill of one that had ended already, which may have been asked for before.)
                    Some(CellProcess::Ended(error)) if before != now && error != ABSENT => {
                        return Err(HeartError::SpawnFailed { cell: cell.to_owned(), error });
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(SPAWN_TIMEOUT, answer).await.map_err(|_| HeartError::Timeout)?
    }

    /// Ends `cell` at once. Does not wait.
    pub(crate) async fn kill(&self, cell: &str) -> Result<(), HeartError> {
        self.request(Request::Kill { cell: cell.to_owned() }).await
    }

    /// Waits until `cell` has ended, and tells how.
    pub(crate) async fn ended(&self, cell: &str) -> String {
        let mut processes = self.processes.clone();
        let gone = |p: &Processes| !matches!(p.get(cell), Some(CellProcess::Alive { .. }));
        match processes.wait_for(gone).await {
            Ok(processes) => match processes.get(cell) {
                Some(CellProcess::Ended(status)) => status.clone(),
                _ => ABSENT.to_owned(),
            },
            Err(_) => "unknown".to_owned(),
        }
    }

    /// Tells the heart that the API answers.
    pub(crate) async fn ready(&self) -> Result<(), HeartError> {
        self.request(Request::Ready).await
    }

    /// Tells the heart that all services have stopped.
    pub(crate) async fn stop(&self) -> Result<(), HeartError> {
        self.request(Request::Stop).await
    }

    async fn request(&self, request: Request) -> Result<(), HeartError> {
        tokio::time::timeout(SPAWN_TIMEOUT, self.requests.send(request))
            .await
            .map_err(|_| HeartError::Timeout)?
            .map_err(|_| HeartError::Broken)
    }
}

async fn write_requests(mut write: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Request>) {
    while let Some(request) = outgoing.recv().await {
        if let Err(error) = write.write_all(format!("{request}\n").as_bytes()).await {
            tracing::error!(%error, "Failed to write to the heart");
            return;
        }
    }
    // No handle is left, which is no reason to let the line break.
    std::future::pending::<()>().await;
}

async fn read_reports(
    read: OwnedReadHalf,
    processes: &watch::Sender<Processes>,
    terminate: &watch::Sender<bool>,
    listed: &watch::Sender<bool>,
) {
    let mut lines = BufReader::with_capacity(LINE_BYTES_MAX, read).lines();
    loop {
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "Failed to read from the heart");
                return;
            }
        };
        let set = |cell: String, process: CellProcess| {
            processes.send_modify(|all| {
                all.insert(cell, process);
            });
        };
        match line.parse::<Report>() {
            Ok(Report::Cell { cell, pid, .. } | Report::Spawned { cell, pid }) => {
                set(cell, CellProcess::Alive { pid });
            }
            Ok(Report::SpawnFailed { cell, error }) => set(cell, CellProcess::SpawnFailed(error)),
            Ok(Report::Exited { cell, status }) => set(cell, CellProcess::Ended(status)),
            Ok(Report::Listed) => {
                listed.send_replace(true);
            }
            Ok(Report::Terminate) => {
                terminate.send_replace(true);
            }
            Err(error) => tracing::error!(%error, "The heart said something unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;

    /// A heart that answers each request with the given lines.
    fn heart(answer: fn(&str) -> String) -> StdUnixStream {
        let (kernel, mut heart) = StdUnixStream::pair().expect("pair");
        std::thread::spawn(move || {
            heart.write_all(b"cell wasm-old wasm 7\nlisted\n").expect("write");
            let mut lines = BufReader::new(heart.try_clone().expect("clone")).lines();
            while let Some(Ok(line)) = lines.next() {
                heart.write_all(answer(&line).as_bytes()).expect("write");
            }
        });
        kernel
    }

    #[tokio::test]
    async fn learns_of_starts_and_ends() {
        let stream = heart(|line| match line {
            "spawn a wasm" => "spawned a 42\n".into(),
            "spawn b compiler" => "spawn-failed b EAGAIN\n".into(),
            "kill a" => "exited a signal:9\n".into(),
            _ => String::new(),
        });
        let (heart, _news) = Heart::connect(stream).await.expect("connect");
        assert_eq!(heart.living(), [("wasm-old".to_owned(), 7)]);
        assert_eq!(heart.spawn("a", CellKind::Wasm, None).await.expect("spawn"), 42);
        let failed = heart.spawn("b", CellKind::Compiler, None).await.expect_err("must fail");
        assert!(failed.to_string().contains("EAGAIN"));
        heart.kill("a").await.expect("kill");
        assert_eq!(heart.ended("a").await, "signal:9");
        assert_eq!(heart.pid("a"), None);
    }
}
