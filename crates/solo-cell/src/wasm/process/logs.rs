//! What a program writes becomes lines of its log: read as fast as it may write, and no faster.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::output::{Logger, Stream};

/// As much as a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// As much as is read in one [`PERIOD`]; then the program waits, once its pipe is full. Well above what the
/// rate of lines lets through, and far below what reading it would cost a processor.
const PERIOD_BYTES: usize = 1 << 20;
const PERIOD: Duration = Duration::from_millis(100);

/// How long what a program wrote last is read once it has ended: all that a pipe holds takes one [`PERIOD`] or
/// two. No process of it is left then that could write.
const REST_MAX: Duration = Duration::from_millis(500);

/// Held by each reader: it is gone when all of them have come to the end.
pub(super) type Reading = Arc<watch::Sender<()>>;

/// Waits for readers.
#[derive(Debug, Clone)]
pub(super) struct Rest(watch::Receiver<()>);

impl Rest {
    /// With what each reader is to hold.
    pub(super) fn new() -> (Self, Reading) {
        let (reading, rest) = watch::channel(());
        (Self(rest), Arc::new(reading))
    }

    /// Waits until all is read that a program that has ended wrote.
    pub(super) async fn read(&self) {
        // Nothing is ever sent; late readers are given up.
        let _ = timeout(REST_MAX, self.0.clone().changed()).await;
    }
}

/// Takes all that comes, until the last writer has closed its end.
pub(super) async fn take(
    mut from: pipe::Receiver,
    logger: Arc<Logger>,
    stream: Stream,
    _reading: Reading,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut began, mut bytes) = (Instant::now(), 0);
    loop {
        match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                logger.write(stream, &chunk[..count]);
                bytes += count;
            }
        }
        if bytes >= PERIOD_BYTES {
            tokio::time::sleep_until(began + PERIOD).await;
            (began, bytes) = (Instant::now(), 0);
        }
    }
}
