//! What lies in a mailbox, and where the answer goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use solo_actor::{Message, current};
use solo_types::Exit;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::host::ServiceRef;
use super::slot::Slot;

/// What a caller gave along.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// A JSON array, one value per parameter.
    Json(String),
    /// Bytes, for a handler.
    Payload(Vec<u8>),
    /// The same, with references. Boxed: hardly any message has some.
    Passing(Box<Passing>),
}

/// Bytes for a handler, and what it may reach from now on.
#[derive(Debug)]
pub(crate) struct Passing {
    /// The bytes.
    pub(crate) payload: Vec<u8>,
    /// The references.
    pub(crate) handles: Vec<ServiceRef>,
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
    /// An instance that was watched ended.
    Down(Box<Down>),
    /// The health check.
    Health,
}

/// The end of an instance, for one who watches it.
#[derive(Debug)]
pub(crate) struct Down {
    /// Of the watcher; a later one skips it: watches end with the incarnation.
    pub(crate) incarnation: u64,
    /// Number of the watch.
    pub(crate) monitor: u64,
    /// Name of the service.
    pub(crate) service: String,
    /// Its id; empty: there was none.
    pub(crate) instance: String,
    /// How it ended; `None`: there was none.
    pub(crate) exit: Option<Exit>,
    /// Whether it is started again.
    pub(crate) restarts: bool,
}

/// Names a chain of calls and sends; all zero: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) [u64; 2]);

/// What a message inherits from the one in whose handling it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// When whoever waits at its beginning stops waiting, in the time of [`solo_actor::clock`].
    /// `u64::MAX`: nobody waits.
    pub(crate) deadline_ns: u64,
    /// Its name.
    pub(crate) trace: Trace,
}

/// Where an answer goes. Dropped without one: the caller learns that none will come.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody waits.
    None,
    /// Somebody outside of the cell waits.
    Outside(oneshot::Sender<Result<Answer, Failure>>),
    /// An instance of this cell waits.
    Instance(Waiting),
}

/// An instance that waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// `None`: it was answered.
    caller: Option<Arc<Slot>>,
    /// Which of its calls.
    number: u64,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// What is to be done.
    pub(crate) work: Work,
    /// Where the answer goes.
    pub(crate) reply: Reply,
    /// Not handled after its deadline.
    pub(crate) chain: Chain,
}

impl Trace {
    /// A new chain. Distinct in this process, and by its first half most likely everywhere.
    pub(crate) fn draw() -> Self {
        static FIRST: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        static LAST: AtomicU64 = AtomicU64::new(1);
        // Without randomness the process's own number must do: the name is for people who search.
        let first = FIRST
            .get_or_init(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())) | 1);
        Self([*first, LAST.fetch_add(1, Ordering::Relaxed)])
    }

    /// Reads 16 bytes; anything else is none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let Ok(bytes) = <[u8; 16]>::try_from(bytes) else { return Self::default() };
        let number = u128::from_be_bytes(bytes);
        let [first, second] = [number >> 64, number & u128::from(u64::MAX)];
        // Both halves fit.
        Self([first, second].map(|half| u64::try_from(half).unwrap_or_default()))
    }

    /// This chain, or a new one where there is none.
    pub(crate) fn or_draw(self) -> Self {
        if self == Self::default() { Self::draw() } else { self }
    }

    /// 32 hexadecimal digits; empty for none.
    pub(crate) fn text(self) -> String {
        let Self([first, second]) = self;
        if self == Self::default() { String::new() } else { format!("{first:016x}{second:016x}") }
    }
}

impl Chain {
    /// The beginning of a chain that nobody waits for.
    pub(crate) const NONE: Self = Self { deadline_ns: u64::MAX, trace: Trace([0, 0]) };
}

impl Waiting {
    /// `caller` waits with its call of this number.
    pub(crate) fn new(caller: Arc<Slot>, number: u64) -> Self {
        Self { caller: Some(caller), number }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.answered(self.number, None);
        }
    }
}

impl Reply {
    /// Whether anybody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        match self {
            Self::None => true,
            Self::Outside(sender) => !sender.is_closed(),
            Self::Instance(waiting) => {
                waiting.caller.as_ref().is_some_and(|caller| caller.waits_with(waiting.number))
            }
        }
    }

    /// Answers; gives the result back when nobody is there to take it.
    pub(crate) fn send(self, result: Result<Answer, Failure>) -> Option<Result<Answer, Failure>> {
        match self {
            Self::None => return Some(result),
            // The caller may have gone away.
            Self::Outside(sender) => drop(sender.send(result)),
            Self::Instance(mut waiting) => {
                if let Some(caller) = waiting.caller.take() {
                    caller.answered(waiting.number, Some(result));
                }
            }
        }
        None
    }
}

impl Input {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Json(text) => text.len(),
            Self::Payload(bytes) => bytes.len(),
            Self::Passing(passing) => {
                let handles = passing.handles.len() * size_of::<ServiceRef>();
                size_of::<Passing>() + passing.payload.len() + handles
            }
        }
    }
}

impl Message for Envelope {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.work {
                Work::Call { function, input } | Work::Cast { function, input } => {
                    function.len() + input.bytes()
                }
                Work::Timer { payload, .. } => payload.len(),
                Work::Down(down) => {
                    size_of::<Down>() + down.exit.as_ref().map_or(0, |exit| exit.message.len())
                }
                Work::Health => 0,
            }
    }
}

impl Envelope {
    /// A message that nobody waits for.
    pub(crate) fn cast(work: Work, trace: Trace) -> Self {
        let chain = Chain { deadline_ns: u64::MAX, trace };
        Self { work, reply: Reply::None, chain }
    }

    /// Whether handling it would serve nobody.
    pub(crate) fn is_stale(&self) -> bool {
        let deadline_ns = self.chain.deadline_ns;
        !self.reply.is_wanted() || (deadline_ns != u64::MAX && current::now_ns() >= deadline_ns)
    }
}
