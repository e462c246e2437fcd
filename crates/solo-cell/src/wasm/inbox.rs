//! What gets into the mailbox of an instance, and what is refused: bounds, alerts, limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use solo_actor::{PushError, Ticket};
use solo_types::LimitAction;
use tokio::sync::oneshot;

use super::failure::{Failure, Fault, Reason};
use super::message::{Answer, Chain, Envelope, Reply, Trace, Work};
use super::slot::Slot;
use super::violations::Limit;

/// A message may be handled for so long while its instance's mailbox is full; then, where limits
/// kill, the instance counts as stuck.
const STUCK_NS: u64 = 1_000_000_000;

impl Slot {
    /// Queues a message.
    ///
    /// # Errors
    /// `OVERLOADED`, `UNAVAILABLE`, `COMPLETED` or `NOT_CALLABLE`.
    pub(crate) fn push(&self, envelope: Envelope) -> Result<Ticket, Failure> {
        self.offer(envelope).map_err(|(failure, _)| failure)
    }

    /// As [`Slot::push`], and gives back what it does not take: another instance may.
    ///
    /// # Errors
    /// As [`Slot::push`].
    pub(super) fn offer(&self, envelope: Envelope) -> Result<Ticket, (Failure, Box<Envelope>)> {
        if !self.service.takes_messages() && self.is_open() {
            let message = format!("{} is a program and takes no messages", self.service.name);
            return Err((Failure::new(Reason::NotCallable, message), Box::new(envelope)));
        }
        self.warmth.fetch_self();
        match self.front.mailbox.push(envelope, self.room_bytes()) {
            Ok(pushed) => {
                if pushed.alert {
                    self.alert();
                }
                if pushed.is_first {
                    self.warmth.fetch();
                }
                self.wake();
                Ok(pushed.ticket)
            }
            Err((error, envelope)) => Err((self.refused(error), Box::new(envelope))),
        }
    }

    /// Queues a message that was promised; one that is bounded by its promises.
    pub(crate) fn push_promised(&self, envelope: Envelope) {
        // Closed: nobody is left to be told.
        if self.front.mailbox.push_promised(envelope).is_ok() {
            self.wake();
        }
    }

    /// Puts the health check in front of everything.
    pub(crate) fn put_health(&self, envelope: Envelope) {
        if self.front.mailbox.put_urgent(envelope) {
            self.wake();
        }
    }

    /// Memory that is left for messages.
    fn room_bytes(&self) -> usize {
        let figures = &self.figures;
        let used = figures.memory_bytes.load(Ordering::Relaxed)
            + figures.host_bytes.load(Ordering::Relaxed);
        let room = self.service.memory_ceiling_bytes().saturating_sub(used);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Whether `bytes` more on the host are within the limit of its memory.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.front.mailbox.bytes().saturating_add(bytes) <= self.room_bytes()
    }

    fn alert(&self) {
        let limit = self.service.message_queue_limit;
        let action = match self.service.limit_action {
            LimitAction::Throttle => LimitAction::Throttle,
            LimitAction::Kill | LimitAction::Warn => LimitAction::Warn,
        };
        self.violated(Limit::MessageQueue, action, || {
            format!("more than message_queue_limit = {limit} messages wait")
        });
    }

    /// Counts that a limit was exceeded.
    pub(crate) fn violated(
        &self,
        limit: Limit,
        action: LimitAction,
        message: impl FnOnce() -> String,
    ) {
        let names = (&self.service.id, &self.id);
        self.violations.note(names, &self.reports, limit, action, message);
    }

    /// Why a message was not queued.
    fn refused(&self, error: PushError) -> Failure {
        let life = self.life();
        let bounds = self.front.mailbox.bounds();
        let (limit, bound) = match error {
            PushError::Closed => return self.closed(),
            PushError::Full if self.service.limit_action == LimitAction::Throttle => {
                (Limit::MessageQueue, format!("message_queue_limit = {}", bounds.messages_max))
            }
            PushError::Full => {
                (Limit::MessageQueueMax, format!("message_queue_max = {}", bounds.messages_max))
            }
            PushError::FullOfBytes if self.room_bytes() < bounds.bytes_max => (
                Limit::Memory,
                format!("max_memory_bytes = {}, messages included", self.service.max_memory_bytes),
            ),
            PushError::FullOfBytes => (
                Limit::MessageQueueMax,
                format!("together they may have {} MiB", bounds.bytes_max >> 20),
            ),
        };
        let (name, depth) = (&self.service.name, self.front.mailbox.depth());
        let message = format!("the mailbox of {name} is full: {depth} messages wait ({bound})");
        let kills = self.service.limit_action == LimitAction::Kill && self.is_stuck();
        let action = if kills { LimitAction::Kill } else { LimitAction::Throttle };
        self.violated(limit, action, || message.clone());
        if kills {
            let fault = Fault::limit(format!(
                "{message}, and one was being handled for over {} ms",
                STUCK_NS / 1_000_000
            ));
            self.inject(life, fault);
        }
        Failure::new(Reason::Overloaded, message)
    }

    /// Whether one message takes long. A sender alone cannot bring that about: what is flooded and
    /// goes on is not ended for it.
    fn is_stuck(&self) -> bool {
        let since_ns = self.figures.busy_since_ns.load(Ordering::Relaxed);
        since_ns > 0 && solo_actor::clock::now_ns().saturating_sub(since_ns) > STUCK_NS
    }

    /// Queues a message and waits for its answer. Dropping the future withdraws the message if it was
    /// not taken yet.
    ///
    /// # Errors
    /// As [`Slot::push`]; `TIMEOUT`; `CRASHED`; whatever the handler answers.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        work: Work,
        deadline: Instant,
        trace: Trace,
    ) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = solo_actor::clock::now_ns().saturating_add(left_ns);
        let chain = Chain { deadline_ns, trace };
        let ticket = self.push(Envelope { work, reply: Reply::Outside(reply), chain })?;
        let mut waiting = Withdraw { slot: self, ticket: Some(ticket) };
        let timeout = || {
            let message = format!("{} did not answer in time", self.service.name);
            Failure::new(Reason::Timeout, message)
        };
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => {
                waiting.ticket = None;
                result
            }
            // Skipped because its deadline had passed, or thrown away with the instance.
            Ok(Err(_)) if Instant::now() >= deadline => Err(timeout()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(timeout()),
        }
    }
}

/// Removes a message that nobody waits for any more.
struct Withdraw<'a> {
    slot: &'a Slot,
    ticket: Option<Ticket>,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.slot.front.mailbox.remove(ticket);
        }
    }
}
