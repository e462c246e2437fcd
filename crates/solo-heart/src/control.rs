//! The heart's end of the socket pair to the kernel: lines in, lines out, both bounded.
//!
//! It never waits. It refuses lines over [`LINE_BYTES_MAX`], text that is no request, and to keep
//! more than [`OUTPUT_BYTES_MAX`] for a kernel that does not read.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::protocol::{LINE_BYTES_MAX, Report, Request};

/// Reports that wait for the kernel to read. Twice the longest list of cells (256 lines of at most
/// 64 bytes), beside what the socket itself holds.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Bytes taken in at one go, so that a talkative kernel does not keep the heart from its signals.
const READ_BYTES_MAX: usize = 4 << 10;

/// What one read brought.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// In order of arrival.
    pub(crate) requests: Vec<Request>,
    /// Why there will be no more.
    pub(crate) end: Option<End>,
    /// Nothing was there to read.
    pub(crate) dry: bool,
}

/// Why a connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    #[error("the kernel closed its control socket")]
    Closed,
    #[error("the kernel sent what is no request")]
    Garbage,
    #[error("the kernel sent a line that is too long")]
    LongLine,
    #[error("the kernel does not read its reports")]
    Overflow,
    #[error("the control socket failed")]
    Failed,
}

/// A connection to one life of the kernel.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Control {
    /// Makes a connection and the kernel's end of it.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok((Self { stream, input: Vec::new(), output: Vec::new() }, theirs.into()))
    }

    /// Reads once.
    pub(crate) fn read(&mut self) -> Incoming {
        let mut chunk = [0; READ_BYTES_MAX];
        let mut incoming = Incoming::default();
        match self.stream.read(&mut chunk) {
            Ok(0) => incoming.end = Some(End::Closed),
            Ok(count) => self.split(&chunk[..count], &mut incoming),
            Err(error) if error.kind() == ErrorKind::WouldBlock => incoming.dry = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A peer that died with reports unread resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                incoming.end = Some(End::Closed);
            }
            Err(_) => incoming.end = Some(End::Failed),
        }
        incoming
    }

    fn split(&mut self, bytes: &[u8], incoming: &mut Incoming) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.input.extend_from_slice(piece);
            if self.input.len() > LINE_BYTES_MAX {
                incoming.end = Some(End::LongLine);
                return;
            }
            if self.input.last() != Some(&b'\n') {
                return;
            }
            self.input.pop();
            let request = std::str::from_utf8(&self.input).ok().and_then(|line| line.parse().ok());
            self.input.clear();
            match request {
                Some(request) => incoming.requests.push(request),
                None => {
                    incoming.end = Some(End::Garbage);
                    return;
                }
            }
        }
    }

    /// Queues a report and sends what the socket takes.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(crate) fn send(&mut self, report: &Report) -> Result<(), End> {
        let line = format!("{report}\n");
        if self.output.len() + line.len() > OUTPUT_BYTES_MAX {
            return Err(End::Overflow);
        }
        self.output.extend_from_slice(line.as_bytes());
        self.flush()
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    ) =>
                {
                    // The read side says so too, after the last requests of the kernel.
                    self.output.clear();
                }
                Err(_) => return Err(End::Failed),
            }
        }
        Ok(())
    }

    /// Tells whether [`Control::flush`] has something to do.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Control, UnixStream) {
        let (control, theirs) = Control::new().expect("a socket pair");
        (control, theirs.into())
    }

    fn end_of(bytes: &[u8]) -> (Vec<Request>, Option<End>) {
        let (mut control, mut kernel) = pair();
        kernel.write_all(bytes).expect("written");
        let incoming = control.read();
        (incoming.requests, incoming.end)
    }

    #[test]
    fn lines_arrive_whole_however_they_were_cut() {
        let (mut control, mut kernel) = pair();
        assert!(control.read().dry);
        kernel.write_all(b"ready\nkill a").expect("written");
        assert_eq!(control.read().requests, [Request::Ready]);
        kernel.write_all(b"b\nst").expect("written");
        assert_eq!(control.read().requests, [Request::Kill { cell: "ab".into() }]);
        drop(kernel);
        assert_eq!(control.read().end, Some(End::Closed));
    }

    #[test]
    fn garbage_ends_the_connection_after_the_good_lines() {
        let (requests, end) = end_of(b"ready\nrm -rf\nstop\n");
        assert_eq!((requests.as_slice(), end), (&[Request::Ready][..], Some(End::Garbage)));
        assert_eq!(end_of(b"\xff\xfe\n").1, Some(End::Garbage));
        assert_eq!(end_of(b"\n").1, Some(End::Garbage));
        assert_eq!(end_of(&[b'x'; 600]).1, Some(End::LongLine));
    }

    #[test]
    fn a_kernel_that_does_not_read_is_noticed_in_bounded_memory() {
        let (mut control, _kernel) = pair();
        let report = Report::Exited { cell: "a".into(), status: "code:0".into() };
        let sent = (0..1_000_000).find(|_| control.send(&report) == Err(End::Overflow));
        assert!(sent.is_some());
        assert!(control.output.len() <= OUTPUT_BYTES_MAX && control.has_output());
    }

    #[test]
    fn reports_to_a_dead_kernel_vanish() {
        let (mut control, kernel) = pair();
        drop(kernel);
        assert_eq!(control.send(&Report::Listed), Ok(()));
        assert!(!control.has_output());
    }
}
