//! Bytes and descriptors over a Unix stream socket, as far as it takes or has them now.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::Frames;

/// Descriptors that are passed with one call.
const AT_ONCE_MAX: usize = 16;

/// Bytes that are read with one call.
const READ_BYTES: usize = 16 << 10;

/// Sends some of `bytes`; `descriptors`, at most 16, go with the first of them. Returns how many bytes
/// went: if that is not 0 the descriptors went too, and must not be sent again.
///
/// # Errors
/// As the system says; `WouldBlock` if the socket does not block and is full.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE_MAX))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut with, SendFlags::NOSIGNAL)?)
}

/// Receives some bytes and descriptors into `frames`. Returns how many bytes came; 0: the peer has closed.
///
/// # Errors
/// As the system says; `WouldBlock` if the socket does not block and has nothing; `InvalidData` if more
/// descriptors came than anybody announces.
pub fn receive(socket: impl AsFd, frames: &mut Frames) -> io::Result<usize> {
    let mut bytes = [0; READ_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE_MAX))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, slices, &mut with, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors: Vec<OwnedFd> = with
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let bytes = bytes.get(..received).unwrap_or_default();
    let pushed = frames.push(bytes, descriptors);
    pushed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(received)
}
