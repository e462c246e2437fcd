//! A connection that waits, each time until a deadline at most.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;

use super::{Frames, encode, receive, send};

/// The side of who connects, or of whoever has the other end.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    frames: Frames,
}

impl Connection {
    /// Connects to a socket of a cell.
    ///
    /// # Errors
    /// As the system says. It does not wait: a listener whose queue is full answers at once.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(UnixStream::connect(path)?))
    }

    /// A connection that is there already.
    #[must_use]
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, frames: Frames::default() }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// As the system says; `TimedOut`: `wait` is over, and the connection can no longer be used.
    pub fn send<M: Message>(&mut self, message: &M, wait: Duration) -> io::Result<()> {
        self.send_with(message, &[], wait)
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_with<M: Message>(
        &mut self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
        wait: Duration,
    ) -> io::Result<()> {
        let frame = encode(message).map_err(invalid)?;
        let until = Instant::now() + wait;
        let mut sent = 0;
        while let Some(rest) = frame.get(sent..).filter(|rest| !rest.is_empty()) {
            self.socket.set_write_timeout(Some(left(until)?))?;
            let descriptors = if sent == 0 { descriptors } else { &[] };
            match send(&self.socket, rest, descriptors) {
                Ok(bytes) => sent += bytes,
                Err(error) => again(error)?,
            }
        }
        Ok(())
    }

    /// Receives a message. Its descriptors wait until they are taken from [`Self::frames`].
    ///
    /// # Errors
    /// As the system says; `UnexpectedEof`: the peer has closed; `TimedOut`: `wait` is over, and it may be
    /// tried again; `InvalidData`: this is not the protocol.
    pub fn receive<M: Message + Default>(&mut self, wait: Duration) -> io::Result<M> {
        let until = Instant::now() + wait;
        loop {
            if let Some(message) = self.frames.next_message().map_err(invalid)? {
                return Ok(message);
            }
            self.socket.set_read_timeout(Some(left(until)?))?;
            match receive(&self.socket, &mut self.frames) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => again(error)?,
            }
        }
    }

    /// What was received and not yet taken.
    pub fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// Takes descriptors that the last message announced.
    ///
    /// # Errors
    /// `InvalidData`: fewer came.
    pub fn take(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        self.frames.take(count).map_err(invalid)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The deadline is looked at by who tries again.
fn again(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

fn invalid(error: super::WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
