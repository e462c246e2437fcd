//! Connections of one listener: so many at once, and each has to say something soon.
//!
//! Each listener has a limit of its own, so that whoever fills the TCP port does not close the Unix
//! socket to its owner.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::unfold;
use solo_tls::{Incoming, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// Connections of one listener: an agent needs one. Three listeners stay far below 4,096 descriptors.
const CONNECTIONS_MAX: usize = 1_024;

/// A client says its first byte right after it has connected.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that counts.
#[derive(Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    silent: Option<Pin<Box<tokio::time::Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

/// The connections of a TCP listener, each with its handshake done, as a stream.
pub(crate) fn transports(incoming: Incoming) -> impl Stream<Item = io::Result<Transport>> {
    unfold(incoming, |mut incoming| async { Some((incoming.next().await, incoming)) })
}

/// Limits the connections of a listener. One too many is closed at once.
pub(crate) fn limited<S>(
    incoming: impl Stream<Item = io::Result<S>>,
) -> impl Stream<Item = io::Result<Limited<S>>> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    incoming.filter_map(move |accepted| match accepted {
        Err(error) => Some(Err(error)),
        Ok(inner) => {
            let permit = Arc::clone(&room).try_acquire_owned().ok()?;
            let silent = Some(Box::pin(tokio::time::sleep(FIRST_BYTE_TIMEOUT)));
            Some(Ok(Limited { inner, silent, _permit: permit }))
        }
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.silent = None;
        }
        if polled.is_pending()
            && let Some(silent) = &mut self.silent
            && silent.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S> Connected for Limited<S> {
    type ConnectInfo = ();

    /// Nothing: who asks is told by the token of a request.
    fn connect_info(&self) -> Self::ConnectInfo {}
}
