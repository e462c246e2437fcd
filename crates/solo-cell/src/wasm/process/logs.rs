//! What a program writes becomes lines of its log: read as fast as it may write, and no faster.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::super::output::{Logger, Stream};

/// As much as a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// As much as is read in one [`PERIOD`]; then the program waits, once its pipe is full. Well above what the
/// rate of lines lets through, and far below what reading it would cost a processor.
const PERIOD_BYTES: usize = 1 << 20;
const PERIOD: Duration = Duration::from_millis(100);

/// Takes all that comes, until the last writer has closed its end.
pub(super) async fn take(mut from: pipe::Receiver, logger: Arc<Logger>, stream: Stream) {
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
