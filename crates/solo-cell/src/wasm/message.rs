//! What lies in a mailbox. Plain data.

use std::time::Instant;

use tokio::sync::oneshot;

use super::failure::Failure;

/// What a caller gave along.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// A JSON array, one value per parameter.
    Json(String),
    /// Bytes, for a handler.
    Payload(Vec<u8>),
}

/// What a call came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One JSON value.
    Json(String),
    /// Bytes of a handler.
    Payload(Vec<u8>),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Work {
    /// Call a function and answer.
    Call {
        /// As the caller wrote it.
        function: String,
        /// Its arguments.
        input: Input,
    },
    /// Call a function; nobody waits.
    Cast {
        /// As the sender wrote it.
        function: String,
        /// Its arguments.
        input: Input,
    },
    /// A timer of the incarnation with this number fired.
    Timer {
        /// A later incarnation skips it: timers end with the incarnation.
        incarnation: u64,
        /// What it set.
        payload: Vec<u8>,
    },
    /// The health check.
    Health,
}

/// Where the answer goes. Dropped: nobody waits any more.
pub(crate) type Reply = oneshot::Sender<Result<Answer, Failure>>;

/// One message.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// What is to be done.
    pub(crate) work: Work,
    /// `None`: nobody waits.
    pub(crate) reply: Option<Reply>,
    /// Not handled after it.
    pub(crate) deadline: Option<Instant>,
}

impl Input {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Json(text) => text.len(),
            Self::Payload(bytes) => bytes.len(),
        }
    }
}

impl Envelope {
    /// Memory that it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.work {
                Work::Call { function, input } | Work::Cast { function, input } => {
                    function.len() + input.bytes()
                }
                Work::Timer { payload, .. } => payload.len(),
                Work::Health => 0,
            }
    }

    /// Whether handling it would serve nobody.
    pub(crate) fn is_stale(&self, now: impl FnOnce() -> Instant) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
            || self.deadline.is_some_and(|deadline| now() >= deadline)
    }
}
