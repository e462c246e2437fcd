//! The one message that a program has, from when it is handed out until its reply.
//!
//! Keeps what the program said and when; waits for nothing but a message, and sends nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use solo_api::socket::v1::{Message, message};
use solo_types::{Problem, ProblemKind};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::super::super::failure::Failure;
use super::super::super::message::{Answer, Chain};

/// Nanoseconds of a millisecond.
const MS_NS: u64 = 1_000_000;

/// What the program said to a message.
pub(super) type Said = Result<Answer, Failure>;

/// Where the message lies.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Number of the last message.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    in_hand: Option<InHand>,
}

#[derive(Debug)]
struct InHand {
    message: Arc<Message>,
    chain: Chain,
    said: oneshot::Sender<Said>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Puts a message there, which takes the place of one that nobody wants answered any more. What comes
    /// back tells what the program says.
    pub(super) fn put(
        &self,
        function: String,
        input: Option<message::Input>,
        wants_answer: bool,
        chain: Chain,
    ) -> oneshot::Receiver<Said> {
        let (said, answer) = oneshot::channel();
        let chain = Chain { trace: chain.trace.or_draw(), ..chain };
        let mut state = self.state.lock();
        state.last += 1;
        let message = Message {
            id: state.last,
            function,
            input,
            wants_answer,
            remaining_ms: None,
            trace_id: chain.trace.text(),
        };
        let before = state.in_hand.replace(InHand { message: Arc::new(message), chain, said });
        let last = state.last;
        drop(state);
        drop(before);
        self.changed.send_replace(last);
        answer
    }

    /// The chain of the message that is being handled.
    pub(super) fn chain(&self) -> Chain {
        let state = self.state.lock();
        let chain = state.in_hand.as_ref().map_or(Chain::NONE, |in_hand| in_hand.chain);
        Chain { trace: chain.trace.or_draw(), ..chain }
    }

    /// The message after number `after`, if one is there within `wait`.
    ///
    /// # Errors
    /// There is no message `after` yet.
    pub(super) async fn receive(
        &self,
        after: u64,
        wait: Duration,
    ) -> Result<Option<Message>, Problem> {
        let mut changed = self.changed.subscribe();
        let until = Instant::now() + wait;
        loop {
            changed.borrow_and_update();
            if let Some(message) = self.message_after(after)? {
                return Ok(Some(message));
            }
            // An error would mean that this desk is gone.
            if !matches!(tokio::time::timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return Ok(None);
            }
        }
    }

    fn message_after(&self, after: u64) -> Result<Option<Message>, Problem> {
        let (message, chain) = {
            let state = self.state.lock();
            if after > state.last {
                let rule =
                    format!("there was no message {after} yet; the last one is {}", state.last);
                return Err(Problem::invalid("NO_SUCH_MESSAGE", "after", &rule));
            }
            match &state.in_hand {
                Some(in_hand) if in_hand.message.id > after => {
                    (Arc::clone(&in_hand.message), in_hand.chain)
                }
                _ => return Ok(None),
            }
        };
        let left_ns = chain.deadline_ns.saturating_sub(solo_actor::clock::now_ns());
        let remaining_ms = (chain.deadline_ns != u64::MAX).then_some(left_ns / MS_NS);
        Ok(Some(Message { remaining_ms, ..Message::clone(&message) }))
    }

    /// Whether the message of this number, which has no reply yet, came with bytes rather than JSON.
    ///
    /// # Errors
    /// There is no such message, or it has its reply.
    pub(super) fn is_payload(&self, id: u64) -> Result<bool, Problem> {
        let state = self.state.lock();
        match &state.in_hand {
            Some(in_hand) if in_hand.message.id == id => {
                Ok(!matches!(in_hand.message.input, Some(message::Input::JsonArguments(_))))
            }
            _ => Err(no_message(id, state.last)),
        }
    }

    /// Ends the message of this number.
    ///
    /// # Errors
    /// There is no such message, or it has its reply.
    pub(super) fn reply(&self, id: u64, said: Said) -> Result<(), Problem> {
        let mut state = self.state.lock();
        let Some(in_hand) = state.in_hand.take_if(|in_hand| in_hand.message.id == id) else {
            return Err(no_message(id, state.last));
        };
        drop(state);
        // The instance may be ending.
        let _ = in_hand.said.send(said);
        Ok(())
    }
}

fn no_message(id: u64, last: u64) -> Problem {
    if (1..=last).contains(&id) {
        let cause = format!("message {id} has its reply already");
        let problem = Problem::new(ProblemKind::FailedPrecondition, "REPLIED_ALREADY", cause);
        return problem.remedy("reply to each message once");
    }
    let cause = format!("there is no message {id}; the last one is {last}");
    Problem::new(ProblemKind::NotFound, "NO_SUCH_MESSAGE", cause)
        .remedy("reply with the id of the message as it was received")
}

#[cfg(test)]
mod tests {
    use super::super::super::super::failure::Reason;
    use super::*;

    fn put(desk: &Desk, function: &str) -> oneshot::Receiver<Said> {
        let input = Some(message::Input::JsonArguments("[]".to_owned()));
        desk.put(function.to_owned(), input, true, Chain::NONE)
    }

    async fn received(desk: &Desk, after: u64) -> Option<u64> {
        desk.receive(after, Duration::ZERO).await.expect("legal").map(|message| message.id)
    }

    #[tokio::test]
    async fn a_message_is_there_until_its_reply() {
        let desk = Desk::new();
        assert_eq!(received(&desk, 0).await, None);
        let mut answer = put(&desk, "f");
        assert_eq!(received(&desk, 0).await, Some(1));
        // The answer with it was lost.
        assert_eq!(received(&desk, 0).await, Some(1));
        assert_eq!(received(&desk, 1).await, None);
        assert!(answer.try_recv().is_err());
        desk.reply(1, Ok(Answer::Json("1".to_owned()))).expect("a reply");
        assert!(matches!(answer.try_recv(), Ok(Ok(Answer::Json(_)))));
        assert_eq!(received(&desk, 0).await, None);
    }

    #[tokio::test]
    async fn a_reply_is_to_the_message_that_is_there() {
        let desk = Desk::new();
        let reason = |id| {
            let failure = Failure::new(Reason::Refused, "no");
            desk.reply(id, Err(failure)).err().map(|problem| problem.reason)
        };
        assert_eq!(reason(1).as_deref(), Some("NO_SUCH_MESSAGE"));
        drop(put(&desk, "f"));
        for id in [0, 2, u64::MAX] {
            assert_eq!(reason(id).as_deref(), Some("NO_SUCH_MESSAGE"), "{id}");
        }
        // Nobody waits any more; that is not the program's fault.
        assert_eq!(reason(1), None);
        assert_eq!(reason(1).as_deref(), Some("REPLIED_ALREADY"));
        assert!(desk.is_payload(1).is_err());
        let too_far = desk.receive(2, Duration::ZERO).await;
        assert_eq!(too_far.expect_err("not yet").reason, "NO_SUCH_MESSAGE");
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_one() {
        let desk = Arc::new(Desk::new());
        let waiting = Arc::clone(&desk);
        let next = tokio::spawn(async move { waiting.receive(0, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        let _answer = put(&desk, "f");
        let message = next.await.expect("no panic").expect("legal").expect("a message");
        assert_eq!((message.id, message.function.as_str()), (1, "f"));
        assert_eq!((message.wants_answer, message.remaining_ms), (true, None));
        assert_eq!(message.trace_id.len(), 32);
        assert_eq!(desk.chain().trace.text(), message.trace_id);
    }
}
