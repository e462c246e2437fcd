//! Connections to ports of the program, made for the proxy, which is in another network namespace.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};

use crate::wire::messages::Connect;

/// Connections that are being made. On a loopback they wait only for a program that accepts none.
const PENDING_MAX: usize = 32;

/// If the proxy names no time.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that it may name.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoConnection {
    Port,
    TooMany,
    Deadline,
    Refused(Errno),
}

/// Those that are being made.
#[derive(Debug, Default)]
pub(super) struct Connects {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    id: u64,
    socket: OwnedFd,
    address: SocketAddrV4,
    until: Instant,
}

pub(super) type Outcome = Result<OwnedFd, NoConnection>;

impl Connects {
    /// Begins one, and returns what became of it if that is known at once.
    pub(super) fn begin(&mut self, id: u64, asked: &Connect, now: Instant) -> Option<Outcome> {
        let port = u16::try_from(asked.port).ok().filter(|port| *port != 0);
        let Some(port) = port else { return Some(Err(NoConnection::Port)) };
        if self.pending.len() >= PENDING_MAX {
            return Some(Err(NoConnection::TooMany));
        }
        let wait = match asked.timeout_millis {
            0 => TIMEOUT,
            millis => Duration::from_millis(millis.into()).min(TIMEOUT_MAX),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let made = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP));
        let socket = match made {
            Ok(socket) => socket,
            Err(error) => return Some(Err(NoConnection::Refused(error))),
        };
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let pending = Pending { id, socket, address, until: now + wait };
        match pending.step(now) {
            Ok(outcome) => Some(outcome),
            Err(pending) => {
                self.pending.push(pending);
                None
            }
        }
    }

    /// What became of those that are done or late.
    pub(super) fn finished(&mut self, now: Instant) -> Vec<(u64, Outcome)> {
        let mut finished = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let id = pending.id;
            match pending.step(now) {
                Ok(outcome) => finished.push((id, outcome)),
                Err(pending) => self.pending.push(pending),
            }
        }
        finished
    }

    /// Forgets all: nobody waits for them.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// What to wait for, and how long.
    pub(super) fn watched<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) -> Option<Instant> {
        let sockets = self.pending.iter().map(|pending| pending.socket.as_fd());
        watched.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::POLLOUT)));
        self.pending.iter().map(|pending| pending.until).min()
    }
}

impl Pending {
    /// Asks the system how it is, which is to connect again.
    fn step(self, now: Instant) -> Result<Outcome, Self> {
        match connect(&self.socket, &self.address) {
            Ok(()) | Err(Errno::ISCONN) => Ok(Ok(self.socket)),
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN | Errno::INTR) => {
                if now >= self.until { Ok(Err(NoConnection::Deadline)) } else { Err(self) }
            }
            Err(error) => Ok(Err(NoConnection::Refused(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn begin(connects: &mut Connects, port: u32) -> Option<Outcome> {
        let now = Instant::now();
        connects.begin(1, &Connect { port, timeout_millis: 50 }, now)
    }

    fn outcome(port: u32) -> Outcome {
        let mut connects = Connects::default();
        let begun = begin(&mut connects, port);
        begun.unwrap_or_else(|| {
            loop {
                if let Some((1, outcome)) = connects.finished(Instant::now()).pop() {
                    return outcome;
                }
            }
        })
    }

    #[test]
    fn it_connects_or_says_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = u32::from(listener.local_addr().expect("an address").port());
        outcome(port).expect("connected");
        drop(listener);
        assert_eq!(outcome(port).err(), Some(NoConnection::Refused(Errno::CONNREFUSED)));
        for wrong in [0, 65_536, u32::MAX] {
            assert_eq!(outcome(wrong).err(), Some(NoConnection::Port));
        }
    }

    #[test]
    fn who_accepts_nothing_is_waited_for_until_the_deadline() {
        let listener =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("a socket");
        rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bound");
        rustix::net::listen(&listener, 0).expect("listens");
        let port = std::net::TcpListener::from(listener);
        let number = u32::from(port.local_addr().expect("an address").port());
        let _queue: Vec<_> = (0..4).map(|_| outcome(number)).collect();
        assert_eq!(outcome(number).err(), Some(NoConnection::Deadline));
    }
}
