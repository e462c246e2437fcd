//! A socket that listens, and its one connection: bounded both ways, never waited on.
//!
//! A newer connection replaces the older one. What is not the protocol, and who does not take what it is
//! sent, loses the connection; nothing else happens.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use prost::Message;

use crate::wire::{Frames, encode, send};

/// Messages on their way to a peer. It is read no further while half of them wait.
const WAITING_MAX: usize = 64;

/// Requests of a peer in one turn, so that what else happens is seen.
pub(super) const REQUESTS_AT_ONCE: usize = 16;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// How long the last answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credentials {
    /// Its user, as this process sees that.
    pub(super) user: Uid,
    /// Whether it lives in no pid namespace that this process can see.
    pub(super) is_outside: bool,
}

#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    peer: Option<Peer>,
}

#[derive(Debug)]
struct Peer {
    socket: UnixStream,
    frames: Frames,
    waiting: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Door {
    /// Listens at `path`, where nothing may be.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let nowhere = || io::Error::from(io::ErrorKind::InvalidInput);
        let (directory, name) = (path.parent().ok_or_else(nowhere)?, path.file_name());
        // From within its directory: the whole path may be longer than the address of a socket.
        std::env::set_current_dir(directory)?;
        // A socket is made with all bits that the mask leaves; to change them later is a second write to the disk.
        let mask = nix::sys::stat::Mode::from_bits_truncate(0o777 & !mode);
        let before = nix::sys::stat::umask(mask);
        let bound = UnixListener::bind(name.ok_or_else(nowhere)?);
        nix::sys::stat::umask(before);
        std::env::set_current_dir("/")?;
        let listener = bound?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, peer: None })
    }

    /// What to wait for.
    pub(super) fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let peer = self.peer.as_ref().map(|peer| {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::POLLIN, peer.may_ask());
            wanted.set(PollFlags::POLLOUT, !peer.waiting.is_empty());
            PollFd::new(peer.socket.as_fd(), wanted)
        });
        [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)].into_iter().chain(peer)
    }

    /// Takes a new connection if there is one of somebody who may. Returns whether it did.
    pub(super) fn accept(&mut self, may: impl Fn(Credentials) -> bool) -> bool {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if is_for_later(&error) => return false,
            Err(_) => {
                // What waits for the older one may be what holds all descriptors.
                self.peer = None;
                return false;
            }
        };
        let trusted = credentials(&socket).is_some_and(may);
        if !trusted || socket.set_nonblocking(true).is_err() {
            return false;
        }
        self.peer = Some(Peer { socket, frames: Frames::default(), waiting: VecDeque::new() });
        true
    }

    /// The user at the other end.
    pub(super) fn peer_user(&self) -> Option<Uid> {
        Some(credentials(&self.peer.as_ref()?.socket)?.user)
    }

    /// Whether there is something to do that no socket tells of.
    pub(super) fn has_next(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.may_ask() && peer.frames.has_message())
    }

    pub(super) fn is_open(&self) -> bool {
        self.peer.is_some()
    }

    /// The next message of the peer, if there is one now. A peer can send without end: call it at most
    /// [`REQUESTS_AT_ONCE`] times in a turn.
    pub(super) fn next<M: Message + Default>(&mut self) -> Option<M> {
        let peer = self.peer.as_mut()?;
        let next = peer.next();
        match next {
            Ok(message) => message,
            Err(()) => {
                self.peer = None;
                None
            }
        }
    }

    /// Sends a message, now or as soon as the peer takes it. Without a peer it is forgotten.
    pub(super) fn send(&mut self, message: &impl Message, descriptors: Vec<OwnedFd>) {
        let Some(peer) = &mut self.peer else { return };
        match encode(message) {
            Ok(bytes) if peer.waiting.len() < WAITING_MAX => {
                peer.waiting.push_back(Outgoing { bytes, sent: 0, descriptors });
                self.flush();
            }
            _ => self.peer = None,
        }
    }

    /// Sends what waits, as far as the peer takes it.
    pub(super) fn flush(&mut self) {
        if self.peer.as_mut().is_some_and(|peer| peer.flush().is_err()) {
            self.peer = None;
        }
    }

    /// Sends what waits, and waits for that a little.
    pub(super) fn flush_before_end(&mut self) {
        if let Some(peer) = &self.peer
            && peer.socket.set_nonblocking(false).is_ok()
            && peer.socket.set_write_timeout(Some(LAST_ANSWER)).is_ok()
        {
            self.flush();
        }
    }
}

impl Peer {
    fn may_ask(&self) -> bool {
        self.waiting.len() < WAITING_MAX / 2
    }

    fn next<M: Message + Default>(&mut self) -> Result<Option<M>, ()> {
        if !self.may_ask() {
            return Ok(None);
        }
        if let Some(message) = self.frames.next_message().map_err(drop)? {
            return Ok(Some(message));
        }
        let mut bytes = [0; READ_BYTES];
        // Descriptors that somebody sends are closed by the system: they are not asked for.
        match self.socket.read(&mut bytes) {
            Ok(0) => return Err(()),
            Ok(read) => {
                let bytes = bytes.get(..read).unwrap_or_default();
                self.frames.push(bytes, []).map_err(drop)?;
            }
            Err(error) if is_for_later(&error) => return Ok(None),
            Err(_) => return Err(()),
        }
        self.frames.next_message().map_err(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front_mut() {
            let descriptors: Vec<_> = first.descriptors.iter().map(AsFd::as_fd).collect();
            let rest = first.bytes.get(first.sent..).unwrap_or_default();
            match send(&self.socket, rest, &descriptors) {
                Ok(sent) => first.sent += sent,
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            first.descriptors.clear();
            if first.sent >= first.bytes.len() {
                self.waiting.pop_front();
            }
        }
        Ok(())
    }
}

fn credentials(socket: &UnixStream) -> Option<Credentials> {
    let found = getsockopt(socket, PeerCredentials).ok()?;
    Some(Credentials { user: Uid::from_raw(found.uid()), is_outside: found.pid() == 0 })
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::wire::messages::{ProgramAnswer, ProgramRequest};

    fn open() -> (tempfile::TempDir, Door, UnixStream) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("door");
        let mut door = Door::bind(&path, 0o600).expect("bound");
        let peer = UnixStream::connect(path).expect("connected");
        assert!(door.accept(|_| true));
        (directory, door, peer)
    }

    #[test]
    fn who_may_not_is_not_let_in() {
        let (directory, mut door, _peer) = open();
        let own = nix::unistd::geteuid();
        let _second = UnixStream::connect(directory.path().join("door")).expect("connected");
        assert!(!door.accept(|peer| peer.is_outside || peer.user != own));
        assert!(door.is_open(), "the first one stays");
    }

    #[test]
    fn garbage_closes_the_connection() {
        let (_directory, mut door, mut peer) = open();
        peer.write_all(&[0xff; 64]).expect("sent");
        assert!(door.next::<ProgramRequest>().is_none());
        assert!(!door.is_open());
    }

    #[test]
    fn who_takes_nothing_is_read_no_further_and_then_dropped() {
        let (_directory, mut door, mut peer) = open();
        let status = crate::wire::messages::Status { text: "x".repeat(1 << 16) };
        let tell = Some(crate::wire::messages::program_answer::Tell::Status(status));
        let answer = ProgramAnswer { tell, ..ProgramAnswer::default() };
        while door.is_open() && door.peer.as_ref().is_some_and(Peer::may_ask) {
            door.send(&answer, Vec::new());
        }
        let hello = encode(&ProgramRequest { id: 1, ask: None }).expect("encoded");
        peer.write_all(&hello).expect("sent");
        assert!(door.next::<ProgramRequest>().is_none() && door.is_open());
        for _ in 0..WAITING_MAX {
            door.send(&answer, Vec::new());
        }
        assert!(!door.is_open());
    }
}
