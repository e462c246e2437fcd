//! Waiting of one instance for the answer of another one.
//!
//! An instance handles one message at a time, so that it waits for one other at most; a cycle of
//! waiting is a deadlock whichever messages it is made of. The answer goes into the caller's slot:
//! no channel is made per call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use parking_lot::Mutex;
use solo_actor::{Ticket, current};

use super::failure::{Failure, Reason};
use super::message::{Answer, Chain, Envelope, Reply, Waiting, Work};
use super::slot::Slot;

/// Longest chain of waiting instances that is followed: a longer one is answered by its timeout.
const WAIT_CHAIN_MAX: usize = 64;

/// What an instance waits for.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// Number of the call that is waited for; 0: none. A copy for readers that must not lock.
    number: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    callee: Option<Arc<Slot>>,
    /// `Some(None)`: no answer will come.
    answer: Option<Option<Result<Answer, Failure>>>,
}

/// Why a call was not made.
pub(crate) enum Unsent {
    /// The callee waits, over whatever chain, for the caller.
    Deadlock(Work),
    /// The callee does not take it.
    Refused(Failure, Work),
}

/// The caller stops waiting, however that comes about.
struct Ends<'a> {
    caller: &'a Arc<Slot>,
    /// The message, while it may still lie in the callee's mailbox.
    queued: Option<(Arc<Slot>, Ticket)>,
}

impl Slot {
    /// Queues a call of this instance at `callee` and waits for its answer. Dropping the future
    /// withdraws the message if it was not taken.
    ///
    /// # Errors
    /// [`Unsent`], with what was to be done.
    pub(crate) async fn call(
        self: &Arc<Self>,
        callee: &Arc<Self>,
        work: Work,
        chain: Chain,
    ) -> Result<Result<Answer, Failure>, Unsent> {
        let number = self.wait.begin(callee);
        let mut ends = Ends { caller: self, queued: None };
        // Each side notes first and looks then: of two that close a cycle at the same moment, at
        // least one sees it.
        if callee.waits_for(self) {
            return Err(Unsent::Deadlock(work));
        }
        let reply = Reply::Instance(Waiting::new(Arc::clone(self), number));
        match callee.offer(Envelope { work, reply, chain }) {
            Ok(ticket) => ends.queued = Some((Arc::clone(callee), ticket)),
            Err((failure, envelope)) => return Err(Unsent::Refused(failure, envelope.work)),
        }
        self.hand_over(callee);
        let answer = std::future::poll_fn(|_| {
            let answer = self.wait.state.lock().answer.take();
            if let Some(answer) = answer {
                return Poll::Ready(Some(answer));
            }
            let now_ns = current::now_ns();
            if now_ns >= chain.deadline_ns {
                return Poll::Ready(None);
            }
            if chain.deadline_ns != u64::MAX {
                self.wake_by(chain.deadline_ns, now_ns);
            }
            Poll::Pending
        })
        .await;
        Ok(match answer {
            Some(Some(result)) => {
                ends.queued = None;
                result
            }
            // Skipped because its deadline had passed, or thrown away with the instance.
            Some(None) if current::now_ns() < chain.deadline_ns => Err(callee.closed()),
            Some(None) | None => {
                let message = format!("{} did not answer in time", callee.service.name);
                Err(Failure::new(Reason::Timeout, message))
            }
        })
    }

    /// The answer to a call of this instance is there, or (`None`) will not come.
    pub(crate) fn answered(&self, number: u64, answer: Option<Result<Answer, Failure>>) {
        {
            let mut state = self.wait.state.lock();
            if state.last_number != number || state.callee.is_none() {
                return;
            }
            state.callee = None;
            state.answer = Some(answer);
        }
        self.wake();
    }

    /// Whether it still waits with its call of this number.
    pub(crate) fn waits_with(&self, number: u64) -> bool {
        self.wait.number.load(Ordering::Relaxed) == number
    }

    /// Whether this one waits, over whatever chain, for `other`.
    fn waits_for(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        if Arc::ptr_eq(self, other) {
            return true;
        }
        let mut next = self.wait.callee();
        for _ in 0..WAIT_CHAIN_MAX {
            match next {
                None => return false,
                Some(slot) if Arc::ptr_eq(&slot, other) => return true,
                Some(slot) => next = slot.wait.callee(),
            }
        }
        false
    }
}

impl Wait {
    fn begin(&self, callee: &Arc<Slot>) -> u64 {
        let mut state = self.state.lock();
        state.last_number += 1;
        state.callee = Some(Arc::clone(callee));
        state.answer = None;
        self.number.store(state.last_number, Ordering::Relaxed);
        state.last_number
    }

    fn callee(&self) -> Option<Arc<Slot>> {
        self.state.lock().callee.clone()
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let wait = &self.caller.wait;
        wait.number.store(0, Ordering::Relaxed);
        let left = {
            let mut state = wait.state.lock();
            (state.callee.take(), state.answer.take())
        };
        // Outside of the lock: what is dropped may look at this instance.
        drop(left);
        if let Some((callee, ticket)) = self.queued.take() {
            drop(callee.front.mailbox.remove(ticket));
        }
    }
}
