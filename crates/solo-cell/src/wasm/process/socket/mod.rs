//! `interface: socket`: a program asks for its messages, and sends its own, as gRPC over a Unix socket whose
//! listener its init made (`proto/solo/program/v1/program.proto`).
//!
//! Here is the side of the actor: it puts one message at a time on the desk, waits for its reply, and makes
//! the calls that the program asks for, one at a time, as a component would in its place. `door` serves the
//! socket, `service` is what can be asked for.

mod desk;
mod door;
mod meter;
mod service;

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use solo_api::socket::v1::{self as wire, message};
use tokio::sync::{mpsc, watch};

use super::super::failure::{Failure, Reason};
use super::super::host::{Caller, ServiceRef, guest_down};
use super::super::message::{Answer, Chain, Down, Input};
use super::super::monitor::Monitors;
use super::super::runner::Parts;
use super::Task;
use desk::{Desk, Said};
use meter::Meter;
use service::{Api, Ask, Shared};

/// Calls that wait for the one that is under way: more than there are requests.
const ASKS_MAX: usize = 16;

/// A call that the program makes.
type UnderWay = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The socket of one incarnation. Dropping it ends all that is served on it.
pub(super) struct Socket {
    shared: Arc<Shared>,
    asks: mpsc::Receiver<Ask>,
    under_way: Option<UnderWay>,
    /// Of the next message.
    chain: Chain,
    _door: Task,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Socket {
    /// Serves who connects to `listener`.
    ///
    /// # Errors
    /// It is no listener.
    pub(super) fn new(listener: OwnedFd, parts: &Parts) -> std::io::Result<Self> {
        let Parts { slot, routes, storage, incarnation, .. } = parts;
        let listener = door::listen(listener)?;
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let shared = Arc::new(Shared {
            slot: Arc::clone(slot),
            routes: Arc::clone(routes),
            storage: Arc::clone(storage),
            desk: Desk::new(),
            monitors: Mutex::new(Monitors::new(Arc::clone(slot), *incarnation)),
            ready: watch::Sender::new(false),
            is_ending: AtomicBool::new(false),
        });
        let api = Api::new(Arc::clone(&shared), sender);
        let meter = Meter::new(Some(Arc::clone(slot)));
        let door = Task::spawn(door::serve(listener, api, meter));
        Ok(Self { shared, asks, under_way: None, chain: Chain::NONE, _door: door })
    }

    /// Whether the program said that it is ready.
    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.shared.ready.subscribe()
    }

    /// The next message belongs to this chain.
    pub(super) fn begin(&mut self, chain: Chain) {
        self.chain = chain;
    }

    /// From now on calls go out no more.
    pub(super) fn begin_end(&self) {
        self.shared.is_ending.store(true, Ordering::Release);
    }

    /// Gives the program a message and waits for its reply.
    ///
    /// # Errors
    /// What the program said.
    pub(super) async fn call(
        &mut self,
        function: &str,
        input: Input,
        wants_answer: bool,
    ) -> Result<Answer, Failure> {
        let input = match input {
            Input::None => message::Input::JsonArguments("[]".to_owned()),
            Input::Json(text) => message::Input::JsonArguments(text),
            Input::Payload(bytes) => message::Input::Payload(bytes),
            Input::Passing(_) => return Err(super::no_references()),
        };
        self.give(function.to_owned(), input, wants_answer).await
    }

    /// Tells it of the end of an instance that it watched.
    ///
    /// # Errors
    /// What the program said.
    pub(super) async fn down(&mut self, down: Down) -> Result<Answer, Failure> {
        if !self.shared.monitors.lock().take(&down) {
            return Ok(Answer::Payload(Vec::new()));
        }
        let down = guest_down(down);
        let input = message::Input::Down(wire::Down {
            watch: down.monitor,
            service: down.service,
            instance: down.instance,
            reason: down.reason,
            message: down.message,
            restarts: down.restarts,
        });
        self.give(String::new(), input, false).await
    }

    async fn give(
        &mut self,
        function: String,
        input: message::Input,
        wants_answer: bool,
    ) -> Result<Answer, Failure> {
        let chain = self.chain;
        let mut answer = self.shared.desk.put(function, Some(input), wants_answer, chain);
        let said = std::future::poll_fn(|context| {
            if let Poll::Ready(said) = Pin::new(&mut answer).poll(context) {
                return Poll::Ready(said);
            }
            self.poll_asks(context)
        });
        said.await.unwrap_or_else(|_| {
            Err(Failure::new(Reason::Unavailable, "another message took its place (a bug of Solo)"))
        })
    }

    /// Ready when no call of the program is under way: it may be given a message.
    pub(super) fn poll_under_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(under_way) = &mut self.under_way {
            ready!(under_way.as_mut().poll(context));
            self.under_way = None;
        }
        Poll::Ready(())
    }

    /// Makes the calls that the program asks for. Never ready.
    pub(super) fn poll_asks<T>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if self.poll_under_way(context).is_pending() {
            return Poll::Pending;
        }
        if let Poll::Ready(Some(ask)) = self.asks.poll_recv(context) {
            self.under_way = Some(make(Arc::clone(&self.shared), ask));
            // Not here: what else is to be done comes in between.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Makes one call of the program.
fn make(shared: Arc<Shared>, ask: Ask) -> UnderWay {
    Box::pin(async move {
        let Ask { to, function, input, timeout_ms, mut said } = ask;
        let caller = Caller {
            slot: &shared.slot,
            routes: &shared.routes,
            chain: shared.desk.chain(),
            is_ending: shared.is_ending(),
        };
        let answer: Said = match ServiceRef::lookup(&shared.routes, &shared.slot, to) {
            Ok(mut reference) => tokio::select! {
                biased;
                () = said.closed() => return,
                answer = reference.call(caller, function, input, timeout_ms) => answer,
            },
            Err(failure) => Err(failure),
        };
        // It may have given up.
        let _ = said.send(answer);
    })
}
