//! Runs the code of one incarnation: makes a store, starts the guest in it, calls its functions.
//!
//! One guest, one caller: nothing here queues, times out or restarts. An outer error means that the
//! store is finished and must be dropped (a trapped instance refuses calls).

mod component;
mod module;
mod program;
mod source;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use solo_actor::current;
use solo_types::ServiceKind;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use wasmtime::{Engine, Store, UpdateDeadline};

use super::artifact::Artifact;
use super::cell::Cell;
use super::failure::{Failure, Fault, Reason};
use super::message::{Answer, Chain, Down, Input};
use super::process::ProcessGuest;
use super::route::Routes;
use super::slot::{Slot, StopReason};
use super::storage::Storage;
use component::ComponentGuest;
use module::ModuleGuest;
use program::Program;
use source::SourceGuest;

/// Epochs until a running guest is asked whether it gives way: the next ring of the bell.
const SLICE_TICKS: u64 = 1;

/// Bytes that a guest may hand to the host in one call: the largest message and its answer, twice.
/// More would be host memory that no limit of the service covers.
const HANDED_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// The same for a typed function, whose results are [`Val`]s: JSON has at least two bytes for each
/// element, which is a value and, in an option, one more; and all bytes of strings. So everything that
/// fits into a message as JSON passes, and so does much of what does not: that is an answer to the
/// caller, while going over this bound ends the instance.
///
/// [`Val`]: wasmtime::component::Val
const HANDED_VALUES_BYTES_MAX: usize =
    MESSAGE_BYTES_MAX * size_of::<wasmtime::component::Val>() + HANDED_BYTES_MAX;

/// Everything that an incarnation is made from.
#[derive(Clone)]
pub(crate) struct Parts {
    /// What runs its code.
    pub(crate) engine: Engine,
    /// What runs its actor.
    pub(crate) actors: solo_actor::Handle,
    /// Its code.
    pub(crate) artifact: Arc<Artifact>,
    /// Whose incarnation it is.
    pub(crate) slot: Arc<Slot>,
    /// Where its messages may go.
    pub(crate) routes: Arc<Routes>,
    /// What starts its children.
    pub(crate) cell: Weak<Cell>,
    /// Where the sockets of external programs are.
    pub(crate) programs: PathBuf,
    /// What its service keeps.
    pub(crate) storage: Arc<Storage>,
    /// Counts up from 1 within the slot.
    pub(crate) incarnation: u64,
}

/// What one message came to. The outer error ends the incarnation.
pub(crate) type Outcome = Result<Result<Answer, Failure>, Fault>;

/// A guest that is ready.
pub(crate) enum Guest {
    /// A component: handler, typed functions, or both.
    Component(Box<ComponentGuest>),
    /// A core module.
    Module(Box<ModuleGuest>),
    /// Runs to completion.
    Program(Box<Program>),
    /// An external program.
    Process(Box<ProcessGuest>),
    /// Source text.
    Source(Box<SourceGuest>),
}

impl Guest {
    /// Makes a store, instantiates and initialises.
    ///
    /// # Errors
    /// [`Fault`] with what went wrong; nothing is left.
    pub(crate) async fn start(parts: Parts) -> Result<Self, Fault> {
        let kind = parts.slot.service.kind;
        Ok(match kind {
            ServiceKind::Command => Self::Program(Box::new(Program::start(parts).await?)),
            ServiceKind::Core => Self::Module(Box::new(ModuleGuest::start(parts).await?)),
            ServiceKind::Process => Self::Process(Box::new(ProcessGuest::start(parts).await?)),
            ServiceKind::Source => {
                let slot = Arc::clone(&parts.slot);
                let guest = Box::new(SourceGuest::start(parts).await?);
                guest.settled(&slot);
                Self::Source(guest)
            }
            ServiceKind::Handler | ServiceKind::Typed => {
                let slot = Arc::clone(&parts.slot);
                let guest = Box::new(ComponentGuest::start(parts).await?);
                guest.settled(&slot);
                Self::Component(guest)
            }
        })
    }

    /// The next message belongs to this chain.
    pub(crate) fn begin(&mut self, chain: Chain) {
        match self {
            Self::Component(guest) => guest.begin(chain),
            Self::Process(guest) => guest.begin(chain),
            Self::Source(guest) => guest.begin(chain),
            Self::Module(_) | Self::Program(_) => {}
        }
    }

    /// Ready when it may be given a message: what it began by itself is done.
    pub(crate) fn poll_under_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Process(guest) => guest.poll_under_way(context),
            Self::Component(_) | Self::Module(_) | Self::Program(_) | Self::Source(_) => {
                Poll::Ready(())
            }
        }
    }

    /// Does what it wants by itself while there is no message. Never ready.
    pub(crate) fn poll_asks<T>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        match self {
            Self::Process(guest) => guest.poll_asks(context),
            Self::Component(_) | Self::Module(_) | Self::Program(_) | Self::Source(_) => {
                Poll::Pending
            }
        }
    }

    /// Tells it that an instance ended which it watched.
    ///
    /// # Errors
    /// The incarnation ended.
    pub(crate) async fn down(&mut self, down: Down) -> Outcome {
        match self {
            Self::Component(guest) => guest.down(down).await,
            Self::Process(guest) => guest.down(down).await,
            Self::Source(guest) => guest.down(down).await,
            Self::Module(_) | Self::Program(_) => Ok(Err(not_callable())),
        }
    }

    /// Calls a function for a caller who waits.
    ///
    /// # Errors
    /// The incarnation ended.
    pub(crate) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        match self {
            Self::Component(guest) => guest.call(function, input).await,
            Self::Module(guest) => guest.call(function, input).await,
            Self::Process(guest) => guest.call(function, input).await,
            Self::Source(guest) => guest.call(function, input).await,
            Self::Program(_) => Ok(Err(not_callable())),
        }
    }

    /// Calls a function for nobody.
    ///
    /// # Errors
    /// The incarnation ended.
    pub(crate) async fn cast(&mut self, function: &str, input: Input) -> Outcome {
        match self {
            Self::Component(guest) => guest.cast(function, input).await,
            Self::Module(guest) => guest.call(function, input).await,
            Self::Process(guest) => guest.cast(function, input).await,
            Self::Source(guest) => guest.call(function, input).await,
            Self::Program(_) => Ok(Err(not_callable())),
        }
    }

    /// Tells it that a timer is due which it set.
    ///
    /// # Errors
    /// The incarnation ended.
    pub(crate) async fn timer(&mut self, payload: Vec<u8>) -> Outcome {
        match self {
            Self::Source(guest) => guest.tick().await,
            _ => self.cast("", Input::Payload(payload)).await,
        }
    }

    /// Asks for its health.
    ///
    /// # Errors
    /// The incarnation ended.
    pub(crate) async fn health(&mut self, function: &str) -> Outcome {
        match self {
            Self::Component(guest) => guest.health(function).await,
            Self::Module(guest) => guest.call(function, Input::None).await,
            Self::Process(guest) => guest.health(function).await,
            Self::Source(guest) => guest.health(function).await,
            Self::Program(_) => Ok(Err(not_callable())),
        }
    }

    /// Tells it that it ends.
    ///
    /// # Errors
    /// It did not take that well; it ends anyway.
    pub(crate) async fn terminate(&mut self, reason: StopReason) -> Result<(), Fault> {
        match self {
            Self::Component(guest) => guest.terminate(reason).await,
            Self::Process(guest) => guest.terminate(reason).await,
            Self::Source(guest) => guest.terminate(reason).await,
            Self::Module(_) | Self::Program(_) => Ok(()),
        }
    }
}

/// Checks a message that nobody waits for, so that its sender learns what its receiver cannot say.
///
/// # Errors
/// `NO_SUCH_FUNCTION`, `BAD_ARGUMENTS`.
pub(crate) fn check_cast(
    artifact: &Artifact,
    kind: ServiceKind,
    function: &str,
    input: &Input,
) -> Result<(), Failure> {
    match kind {
        ServiceKind::Handler | ServiceKind::Typed => {
            component::check_cast(artifact, kind, function, input)
        }
        ServiceKind::Core => module::prepare(artifact, function, input).map(drop),
        ServiceKind::Source => source::check_cast(artifact, function, input),
        // The slot says so, or the program itself.
        ServiceKind::Command | ServiceKind::Process => Ok(()),
    }
}

/// Sets the limits of a new store that do not depend on what it holds.
fn bound<T>(store: &mut Store<T>, actors: &solo_actor::Handle) {
    let actors = actors.clone();
    store.set_epoch_deadline(SLICE_TICKS);
    store.epoch_deadline_callback(move |_| {
        // Each ring of the bell gets here; who is not meant goes on.
        Ok(if current::should_yield(&actors) {
            UpdateDeadline::Yield(SLICE_TICKS)
        } else {
            UpdateDeadline::Continue(SLICE_TICKS)
        })
    });
    store.set_hostcall_fuel(HANDED_BYTES_MAX);
}

fn not_callable() -> Failure {
    Failure::new(Reason::NotCallable, "a program takes no messages")
}

fn bad_payload(expected: String) -> Failure {
    let message = "the function takes a JSON array of arguments, not a payload";
    Failure::new(Reason::BadArguments, message).expected(expected)
}
