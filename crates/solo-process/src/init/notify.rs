//! What a program tells about itself, as to systemd (`sd_notify`).
//!
//! Knows `READY=1`, `STOPPING=1` and `STATUS=`; reads and forgets all else, descriptors included. A flood
//! costs its sender: the socket's queue is short, and of statuses the latest counts.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Bytes of one message; the rest is cut off.
const MESSAGE_BYTES: usize = 4 << 10;

/// Characters of a status.
const STATUS_CHARS: usize = 256;

/// Messages that are read in one turn, so that what else happens is seen.
const AT_ONCE: usize = 32;

/// What was told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) ready: bool,
    pub(super) stopping: bool,
    pub(super) status: String,
}

impl Told {
    /// Adds a message.
    pub(super) fn add(&mut self, message: &[u8]) {
        for line in message.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                self.ready = true;
            } else if line == b"STOPPING=1" {
                self.stopping = true;
            } else if let Some(status) = line.strip_prefix(b"STATUS=") {
                let status = String::from_utf8_lossy(status);
                let shown = status.chars().map(|c| if c.is_control() { ' ' } else { c });
                self.status = shown.take(STATUS_CHARS).collect();
            }
        }
    }
}

/// Makes the socket.
pub(super) fn bind(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Reads what was told.
pub(super) fn read(socket: &UnixDatagram, told: &mut Told) {
    let mut message = [0; MESSAGE_BYTES];
    for _ in 0..AT_ONCE {
        // Descriptors are not asked for, so that the system closes them.
        let Ok(bytes) = socket.recv(&mut message) else { return };
        told.add(message.get(..bytes).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[&[u8]]) -> Told {
        let mut told = Told::default();
        messages.iter().for_each(|message| told.add(message));
        told
    }

    #[test]
    fn what_is_known_is_read() {
        assert!(told(&[b"READY=1"]).ready);
        let all = told(&[b"MAINPID=1\nREADY=1\nSTATUS=a\n", b"STOPPING=1\nSTATUS=b\x1b[1m"]);
        assert_eq!(all, Told { ready: true, stopping: true, status: "b [1m".into() });
    }

    #[test]
    fn what_is_not_known_changes_nothing() {
        for wrong in [&b""[..], b"READY=0", b"ready=1", b"XREADY=1", b"\xff\xfe", b"STOPPING=11"] {
            assert_eq!(told(&[wrong]), Told::default());
        }
        assert_eq!(told(&[&[b"STATUS=".as_slice(), &[b'x'; 4_000]].concat()]).status.len(), 256);
    }
}
