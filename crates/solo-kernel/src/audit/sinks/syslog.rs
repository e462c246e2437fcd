//! A sink that speaks syslog (RFC 5424): over a socket of this machine, TCP (RFC 6587) or UDP.
//!
//! Syslog confirms nothing. Of a stream, what was sent counts as arrived when the connection has
//! stayed whole for a while behind it; a datagram of this machine when the receiver's queue took it;
//! one over UDP when it was sent, so that what gets lost on the way is lost.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use solo_audit::sink::{Batch, Cursor, Syslog, SyslogOptions, octet_counted};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::transport::{Failure, Unconfirmed, write_all};
use crate::audit::target::{Framing, Peer, Target};

/// Bytes of a message where it must fit into a packet: what every receiver should take (RFC 5426).
const UDP_MESSAGE_BYTES_MAX: usize = 2_048;

/// Bytes of what a peer says that are read at a time; nothing of it matters.
const HEARD_BYTES: usize = 256;

/// The system's own name of the machine.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The sink.
#[derive(Debug)]
pub(super) struct SyslogSink {
    target: Target,
    form: Syslog,
    connection: Option<Connection>,
    /// Of a stream.
    unconfirmed: Unconfirmed,
}

#[derive(Debug)]
enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Udp(UdpSocket),
    Datagram(UnixDatagram),
}

impl SyslogSink {
    pub(super) fn new(target: Target, node: &str) -> Self {
        let options = SyslogOptions::default();
        let hostname = std::fs::read_to_string(HOSTNAME_FILE).unwrap_or_default();
        let message_bytes_max = match &target {
            Target::SyslogUdp(_) => UDP_MESSAGE_BYTES_MAX,
            _ => options.message_bytes_max,
        };
        let form = Syslog::new(&SyslogOptions {
            hostname: hostname.trim().to_owned(),
            process_id: node.to_owned(),
            message_bytes_max,
            ..options
        });
        Self { target, form, connection: None, unconfirmed: Unconfirmed::default() }
    }

    /// Gives the connection up.
    pub(super) fn reset(&mut self) {
        self.connection = None;
        self.unconfirmed = Unconfirmed::default();
    }

    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        if self.connection.is_some() {
            // What was sent to a peer that has gone since is not confirmed.
            self.check()?;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.target).await?,
        };
        self.send_over(&mut connection, batch).await?;
        self.connection = Some(connection);
        if let Some(last) = batch.records.last() {
            self.unconfirmed.sent(Instant::now(), Cursor::behind(last));
        }
        Ok(())
    }

    async fn send_over(&self, connection: &mut Connection, batch: &Batch) -> Result<(), Failure> {
        let messages = batch.records.iter().map(|record| self.form.message(record));
        match connection {
            Connection::Unix(stream) => write_all(stream, &self.framed(messages)).await,
            Connection::Tcp(stream) => write_all(stream, &self.framed(messages)).await,
            Connection::Udp(socket) => {
                for message in messages {
                    socket.send(message.as_bytes()).await.map_err(|error| unsent(&error))?;
                }
                Ok(())
            }
            Connection::Datagram(socket) => {
                for message in messages {
                    // Waits while the receiver's queue is full.
                    socket.send(message.as_bytes()).await.map_err(|error| unsent(&error))?;
                }
                Ok(())
            }
        }
    }

    fn framed(&self, messages: impl Iterator<Item = String>) -> Vec<u8> {
        let framing = match &self.target {
            Target::SyslogUnix(_, framing) | Target::SyslogTcp(_, framing) => *framing,
            _ => Framing::default(),
        };
        messages.fold(Vec::new(), |mut bytes, message| {
            match framing {
                Framing::OctetCounting => bytes.extend(octet_counted(&message)),
                Framing::Newline => {
                    bytes.extend(message.as_bytes());
                    bytes.push(b'\n');
                }
            }
            bytes
        })
    }

    /// Of what was sent, tells what has arrived.
    pub(super) fn arrived(&mut self, sent: Cursor) -> Result<Option<Cursor>, Failure> {
        self.check()?;
        let confirmed = self.unconfirmed.whole(Instant::now());
        Ok(match &self.connection {
            Some(Connection::Udp(_) | Connection::Datagram(_)) => Some(sent),
            _ => confirmed,
        })
    }

    /// Notices a peer that has gone.
    fn check(&mut self) -> Result<(), Failure> {
        let mut heard = [0; HEARD_BYTES];
        let read = match &self.connection {
            Some(Connection::Unix(stream)) => stream.try_read(&mut heard),
            Some(Connection::Tcp(stream)) => stream.try_read(&mut heard),
            _ => return Ok(()),
        };
        let why = match read {
            Ok(1..) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(_) => "the receiver closed the connection".to_owned(),
            Err(error) => format!("the connection broke off: {error}"),
        };
        let had_doubt = !self.unconfirmed.is_empty();
        self.reset();
        // Everything had arrived: a new connection will do.
        if had_doubt { Err(Failure::broken(why)) } else { Ok(()) }
    }
}

async fn connect(target: &Target) -> Result<Connection, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("it cannot be reached: {error}"));
    match target {
        Target::SyslogUnix(path, _) => connect_unix(path).await.map_err(failed),
        Target::SyslogTcp(Peer { host, port }, _) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            // A failure costs latency only.
            let _slow = stream.set_nodelay(true);
            Ok(Connection::Tcp(stream))
        }
        Target::SyslogUdp(Peer { host, port }) => {
            let mut addresses =
                tokio::net::lookup_host((host.as_str(), *port)).await.map_err(failed)?;
            let address =
                addresses.next().ok_or_else(|| Failure::new("its name has no address"))?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await.map_err(failed)?;
            socket.connect(address).await.map_err(failed)?;
            Ok(Connection::Udp(socket))
        }
        _ => Err(Failure::new("it is no syslog")),
    }
}

/// Whichever type the socket has.
async fn connect_unix(path: &Path) -> std::io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => Ok(Connection::Datagram(socket)),
        // EPROTOTYPE has no name of its own in the standard library.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            UnixStream::connect(path).await.map(Connection::Unix)
        }
        Err(error) => Err(error),
    }
}

fn unsent(error: &std::io::Error) -> Failure {
    Failure::new(format!("it did not take a message: {error}"))
}
