//! The mailbox of one instance: a bounded queue that outlives its incarnations.
//!
//! Bounded by messages and by bytes; a full one refuses, it never drops. A message whose sender went
//! away before it was taken is removed. The health check has a place of its own in front, so that
//! a long queue does not make a service look ill. Decides nothing about what a message means.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::message::Envelope;

/// Bytes that may wait in one mailbox: eight of the largest messages. The limit of messages alone
/// would let 10,000 of 4 MiB take 40 GiB.
pub(crate) const MAILBOX_BYTES_MAX: usize = 32 << 20;

/// Removed messages leave holes; so many more holes than messages are tolerated before the queue is
/// packed, which keeps removal cheap without letting holes pile up.
const HOLES_MAX: usize = 1_024;

/// Identifies a message within its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    /// As many messages wait as may.
    Full,
    /// Those that wait have as many bytes as may.
    FullOfBytes,
    /// Takes no messages any more.
    Closed,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    /// Messages that wait; a copy for readers that must not lock.
    depth: AtomicUsize,
    messages_max: usize,
}

#[derive(Debug)]
struct Queue {
    /// By ticket, ascending. `None`: removed.
    slots: VecDeque<(u64, Option<Envelope>)>,
    /// Slots that are not holes.
    waiting: usize,
    bytes: usize,
    next_ticket: u64,
    health: Option<Envelope>,
    closed: bool,
    /// Of the one task that takes.
    waker: Option<Waker>,
}

impl Mailbox {
    /// An empty mailbox for at most `messages_max` messages.
    pub(crate) fn new(messages_max: u64) -> Self {
        Self {
            queue: Mutex::new(Queue {
                slots: VecDeque::new(),
                waiting: 0,
                bytes: 0,
                next_ticket: 0,
                health: None,
                closed: false,
                waker: None,
            }),
            depth: AtomicUsize::new(0),
            messages_max: usize::try_from(messages_max).unwrap_or(usize::MAX),
        }
    }

    /// Queues a message at the end.
    ///
    /// # Errors
    /// [`PushError`], with the message dropped: its caller is the one who called this.
    pub(crate) fn push(&self, envelope: Envelope) -> Result<Ticket, PushError> {
        let bytes = envelope.bytes();
        let (ticket, waker) = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Err(PushError::Closed);
            }
            if queue.waiting >= self.messages_max {
                return Err(PushError::Full);
            }
            // One message always fits.
            if queue.waiting > 0 && queue.bytes + bytes > MAILBOX_BYTES_MAX {
                return Err(PushError::FullOfBytes);
            }
            let ticket = queue.next_ticket;
            queue.next_ticket += 1;
            queue.slots.push_back((ticket, Some(envelope)));
            queue.waiting += 1;
            queue.bytes += bytes;
            self.depth.store(queue.waiting, Ordering::Relaxed);
            (ticket, queue.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(Ticket(ticket))
    }

    /// Puts the health check in front of everything. One that still waits is replaced.
    pub(crate) fn put_health(&self, envelope: Envelope) {
        let waker = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return;
            }
            queue.health = Some(envelope);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the next message; waits for one. `None`: closed, and everything was taken.
    pub(crate) async fn next(&self) -> Option<Envelope> {
        std::future::poll_fn(|context| {
            let mut queue = self.queue.lock();
            if let Some(envelope) = queue.health.take() {
                return Poll::Ready(Some(envelope));
            }
            if let Some(envelope) = queue.pop() {
                self.depth.store(queue.waiting, Ordering::Relaxed);
                return Poll::Ready(Some(envelope));
            }
            if queue.closed {
                return Poll::Ready(None);
            }
            queue.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Removes a message that was not taken yet.
    pub(crate) fn remove(&self, Ticket(ticket): Ticket) {
        let mut queue = self.queue.lock();
        let Ok(place) = queue.slots.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return;
        };
        let removed = queue.slots[place].1.take();
        if let Some(envelope) = &removed {
            queue.waiting -= 1;
            queue.bytes -= envelope.bytes();
            self.depth.store(queue.waiting, Ordering::Relaxed);
        }
        if queue.slots.len() > 2 * queue.waiting + HOLES_MAX {
            queue.slots.retain(|(_, envelope)| envelope.is_some());
        }
    }

    /// Refuses new messages from now on; those that wait can still be taken.
    pub(crate) fn close(&self) {
        let waker = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.health = None;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Closes and hands out everything that waits, oldest first.
    pub(crate) fn close_and_clear(&self) -> Vec<Envelope> {
        self.close();
        let mut queue = self.queue.lock();
        let envelopes = queue.slots.drain(..).filter_map(|(_, envelope)| envelope).collect();
        queue.waiting = 0;
        queue.bytes = 0;
        self.depth.store(0, Ordering::Relaxed);
        envelopes
    }

    /// Messages that wait.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Envelope> {
        while let Some((_, slot)) = self.slots.pop_front() {
            if let Some(envelope) = slot {
                self.waiting -= 1;
                self.bytes -= envelope.bytes();
                return Some(envelope);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::message::{Input, Work};
    use super::*;

    fn envelope(bytes: usize) -> Envelope {
        let input = Input::Payload(vec![0; bytes]);
        Envelope {
            work: Work::Cast { function: String::new(), input },
            reply: None,
            deadline: None,
        }
    }

    fn size(envelope: &Envelope) -> usize {
        match &envelope.work {
            Work::Cast { input: Input::Payload(bytes), .. } => bytes.len(),
            other => panic!("{other:?}"),
        }
    }

    fn take(mailbox: &Mailbox) -> Option<Option<usize>> {
        mailbox.next().now_or_never().map(|next| next.map(|envelope| size(&envelope)))
    }

    #[test]
    fn messages_come_in_order_and_are_bounded() {
        let mailbox = Mailbox::new(2);
        assert!(mailbox.push(envelope(1)).is_ok());
        assert!(mailbox.push(envelope(2)).is_ok());
        assert_eq!(mailbox.push(envelope(3)), Err(PushError::Full));
        assert_eq!(mailbox.depth(), 2);
        assert_eq!(take(&mailbox), Some(Some(1)));
        assert!(mailbox.push(envelope(3)).is_ok());
        assert_eq!(take(&mailbox), Some(Some(2)));
        assert_eq!(take(&mailbox), Some(Some(3)));
        assert_eq!(take(&mailbox), None);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let mailbox = Mailbox::new(1_000);
        assert!(mailbox.push(envelope(MAILBOX_BYTES_MAX + 1)).is_ok());
        assert_eq!(mailbox.push(envelope(1)), Err(PushError::FullOfBytes));
        let _ = take(&mailbox);
        assert!(mailbox.push(envelope(MAILBOX_BYTES_MAX / 2)).is_ok());
        assert_eq!(mailbox.push(envelope(MAILBOX_BYTES_MAX / 2)), Err(PushError::FullOfBytes));
    }

    #[test]
    fn removed_messages_free_their_place() {
        let mailbox = Mailbox::new(3);
        let tickets: Vec<Ticket> = (1..=3).filter_map(|n| mailbox.push(envelope(n)).ok()).collect();
        mailbox.remove(tickets[1]);
        mailbox.remove(tickets[1]);
        assert_eq!(mailbox.depth(), 2);
        assert!(mailbox.push(envelope(4)).is_ok());
        assert_eq!(take(&mailbox), Some(Some(1)));
        mailbox.remove(tickets[0]);
        assert_eq!(take(&mailbox), Some(Some(3)));
        assert_eq!(take(&mailbox), Some(Some(4)));
        assert_eq!(mailbox.queue.lock().bytes, 0);
    }

    #[test]
    fn holes_do_not_pile_up() {
        let mailbox = Mailbox::new(10);
        assert!(mailbox.push(envelope(1)).is_ok());
        for _ in 0..10 * HOLES_MAX {
            let ticket = mailbox.push(envelope(2)).expect("there is room");
            mailbox.remove(ticket);
        }
        assert!(mailbox.queue.lock().slots.len() <= HOLES_MAX + 4);
        assert_eq!(take(&mailbox), Some(Some(1)));
    }

    #[test]
    fn a_closed_mailbox_gives_what_it_has_and_ends() {
        let mailbox = Mailbox::new(10);
        assert!(mailbox.push(envelope(1)).is_ok());
        mailbox.close();
        assert_eq!(mailbox.push(envelope(2)), Err(PushError::Closed));
        assert_eq!(take(&mailbox), Some(Some(1)));
        assert_eq!(take(&mailbox), Some(None));
    }

    #[test]
    fn the_health_check_goes_first() {
        let mailbox = Mailbox::new(1);
        assert!(mailbox.push(envelope(1)).is_ok());
        mailbox.put_health(envelope(9));
        assert_eq!(take(&mailbox), Some(Some(9)));
        assert_eq!(mailbox.close_and_clear().len(), 1);
    }
}
