//! Frames: a length of 4 bytes, big-endian, and a message. Pure.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use prost::Message;

use super::{DESCRIPTORS_MAX, FRAME_BYTES_MAX};

/// Bytes of the length before a message.
const HEADER_BYTES: usize = 4;

/// Room that is kept for what comes next; more, which a large frame took, is given back.
const KEPT_BYTES: usize = 16 << 10;

/// What a peer sent is not the protocol; the connection must be closed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A frame of this many bytes.
    #[error("a frame of {0} bytes; {FRAME_BYTES_MAX} at most")]
    TooLarge(usize),
    /// Bytes that are no message.
    #[error("failed to read a message")]
    Message(#[from] prost::DecodeError),
    /// More descriptors than messages announce.
    #[error("more descriptors than were announced")]
    TooManyDescriptors,
    /// Fewer of them.
    #[error("{0} descriptors were announced and did not come")]
    MissingDescriptors(usize),
}

/// The frame of a message.
///
/// # Errors
/// [`WireError::TooLarge`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let length = message.encoded_len();
    let header = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX);
    let header = header.ok_or(WireError::TooLarge(length))?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + length);
    frame.extend(header.to_be_bytes());
    // A vector grows as needed, which is the one thing that could fail.
    let _ = message.encode(&mut frame);
    Ok(frame)
}

/// Takes apart what comes in. Its room grows with what came, never with what a length promises.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How much of `bytes` was read.
    start: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Frames {
    /// Adds what was received, in its order. The descriptors belong to the last of the bytes.
    ///
    /// # Errors
    /// [`WireError::TooManyDescriptors`].
    pub fn push(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<(), WireError> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > DESCRIPTORS_MAX {
            return Err(WireError::TooManyDescriptors);
        }
        Ok(())
    }

    /// The next message, if all of it has come.
    ///
    /// # Errors
    /// [`WireError`]; what follows cannot be read either.
    pub fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, WireError> {
        let unread = self.bytes.get(self.start..).unwrap_or_default();
        let Some((header, rest)) = unread.split_first_chunk::<HEADER_BYTES>() else {
            self.rest();
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(WireError::TooLarge(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = M::decode(body)?;
        self.start += HEADER_BYTES + length;
        Ok(Some(message))
    }

    /// Whether [`Self::next_message`] has an answer other than that more must come.
    #[must_use]
    pub fn has_message(&self) -> bool {
        let unread = self.bytes.get(self.start..).unwrap_or_default();
        unread.split_first_chunk::<HEADER_BYTES>().is_some_and(|(header, rest)| {
            let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
            length > FRAME_BYTES_MAX || rest.len() >= length
        })
    }

    /// Takes descriptors that a message announced.
    ///
    /// # Errors
    /// [`WireError::MissingDescriptors`].
    pub fn take(&mut self, count: usize) -> Result<Vec<OwnedFd>, WireError> {
        let missing = count.saturating_sub(self.descriptors.len());
        if missing > 0 {
            return Err(WireError::MissingDescriptors(missing));
        }
        Ok(self.descriptors.drain(..count).collect())
    }

    /// Gives room back that a large frame took.
    fn rest(&mut self) {
        if self.start == self.bytes.len() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }
}

/// The descriptors that an answer announces, each with what it is. Kinds that this version does not know
/// are 0.
///
/// # Errors
/// [`WireError::MissingDescriptors`].
pub fn take_descriptors(
    frames: &mut Frames,
    answer: &super::messages::ProgramAnswer,
) -> Result<Vec<(super::messages::Descriptor, OwnedFd)>, WireError> {
    let taken = frames.take(answer.descriptors.len())?;
    Ok(answer.descriptors().zip(taken).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages::{ProgramRequest, Start, program_request::Ask};

    fn request(id: u64, program: &str) -> ProgramRequest {
        let start = Start { program: program.to_owned(), ..Start::default() };
        ProgramRequest { id, ask: Some(Ask::Start(start)) }
    }

    #[test]
    fn what_is_too_large_is_refused_on_both_sides() {
        let large = request(1, &"x".repeat(FRAME_BYTES_MAX));
        assert!(matches!(encode(&large), Err(WireError::TooLarge(_))));
        let mut frames = Frames::default();
        frames.push(&[0xff; 4], []).expect("pushed");
        assert!(matches!(frames.next_message::<ProgramRequest>(), Err(WireError::TooLarge(_))));
    }

    #[test]
    fn room_of_a_large_frame_is_given_back() {
        let mut frames = Frames::default();
        let large = request(1, &"x".repeat(FRAME_BYTES_MAX / 2));
        frames.push(&encode(&large).expect("encoded"), []).expect("pushed");
        assert!(frames.next_message::<ProgramRequest>().expect("read").is_some());
        assert!(frames.next_message::<ProgramRequest>().expect("read").is_none());
        assert_eq!(frames.bytes.capacity(), 0);
    }

    #[test]
    fn descriptors_are_taken_in_their_order_and_counted() {
        let open = || OwnedFd::from(std::fs::File::open("/dev/null").expect("opened"));
        let mut frames = Frames::default();
        frames.push(&[], [open(), open()]).expect("pushed");
        assert!(matches!(frames.take(3), Err(WireError::MissingDescriptors(1))));
        assert_eq!(frames.take(2).expect("taken").len(), 2);
        let many = (0..=DESCRIPTORS_MAX).map(|_| open());
        assert!(matches!(frames.push(&[], many), Err(WireError::TooManyDescriptors)));
    }

    proptest! {
        #[test]
        fn frames_are_read_however_they_are_cut(
            programs in proptest::collection::vec("[a-z]{0,40}", 1..8),
            cut in 1_usize..50,
        ) {
            let sent: Vec<_> = (1..).zip(&programs).map(|(id, name)| request(id, name)).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|one| encode(one).expect("encoded")).collect();
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.push(piece, []).expect("pushed");
                while let Some(request) = frames.next_message::<ProgramRequest>().expect("read") {
                    read.push(request);
                }
                prop_assert!(!frames.has_message());
            }
            prop_assert!(read == sent);
        }

        #[test]
        fn garbage_is_refused_or_waited_on(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            frames.push(&bytes, []).expect("pushed");
            while let Ok(Some(_)) = frames.next_message::<ProgramRequest>() {}
        }
    }
}
