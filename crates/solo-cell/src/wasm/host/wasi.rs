//! WASI as a service gets it: clocks, randomness, arguments, environment, and output that becomes log
//! lines. No files, no sockets, no name lookup, no input.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::super::output::{Logger, Stream};
use super::super::slot::Slot;

/// Bytes that a guest may write in one call: whole lines of a burst, without a large copy.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Bytes of randomness in one call; the default of 64 MiB is a way to make the host busy.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// One output of a guest. Always ready: what exceeds the rate is counted, not waited for.
#[derive(Clone)]
struct Output {
    logger: Arc<Logger>,
    stream: Stream,
}

/// The context of one incarnation of `slot`.
pub(super) fn context(slot: &Slot) -> WasiCtxBuilder {
    let service = &slot.service;
    let output = |stream| Output { logger: Arc::clone(&slot.logger), stream };
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(output(Stream::Stdout))
        .stderr(output(Stream::Stderr))
        // What is granted is nothing; said in full because a default may change.
        .socket_addr_check(|_, _| Box::pin(async { false }))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .allow_blocking_current_thread(false)
        .max_random_size(RANDOM_BYTES_MAX)
        .arg(&service.name)
        .args(&service.arguments)
        .envs(&service.environment);
    builder
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.logger.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.logger.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
