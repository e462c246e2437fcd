//! The loopback of a new network namespace, which is there and down.

use std::io;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

use super::{EnterError, Layer};

/// `RTM_NEWLINK`, with request and acknowledgement flags.
const NEW_LINK: u16 = 16;
const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;

/// Index of the loopback, the first interface of every namespace.
const LOOPBACK: i32 = 1;

/// `IFF_UP`.
const UP: u32 = 1;

/// `NLMSG_ERROR`: the answer, with an error number that is 0 if all is well.
const ANSWER: u16 = 2;

/// Takes the loopback up. Needs the rights of the namespace's owner.
pub(super) fn up() -> Result<(), EnterError> {
    ask().map_err(Layer::NetworkNamespace.failed("take the loopback up"))
}

fn ask() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut message = Vec::with_capacity(32);
    // The header: length, kind, flags, number, sender.
    message.extend(32_u32.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend([0; 8]);
    // The link: any family, any type, the index, flags, which of them to change.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 64];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    match answer.get(..length).map(read_answer) {
        Some(Some(0)) => Ok(()),
        Some(Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The error number of an answer.
fn read_answer(bytes: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let error = i32::from_ne_bytes(bytes.get(16..20)?.try_into().ok()?);
    (kind == ANSWER).then_some(error)
}
