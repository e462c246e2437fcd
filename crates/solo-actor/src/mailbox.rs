//! A mailbox: a bounded queue in front of one actor, that outlives its incarnations.
//!
//! Bounded by messages and by bytes; a full one refuses, it never drops. A message whose sender went
//! away before it was taken is removed. One urgent place in front is for health checks, so that a long
//! queue does not make a service look ill. It wakes nobody: who pushes wakes the actor afterwards.

use std::collections::VecDeque;

use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Removed messages leave holes; so many more holes than messages are tolerated before the queue is
/// packed, which keeps removal cheap without letting holes pile up.
const HOLES_MAX: usize = 1_024;

/// An empty mailbox keeps memory for so many messages: enough for most, and what a flood has taken is
/// given back.
const KEPT_MAX: usize = 64;

/// What lies in a mailbox.
pub trait Message {
    /// Memory that it takes while it waits.
    fn bytes(&self) -> usize;
}

/// Identifies a message within its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxBounds {
    /// Messages from which on it is worth an alert.
    pub alert: usize,
    /// Messages that are never exceeded.
    pub messages_max: usize,
    /// The same in bytes, except that one message always fits.
    pub bytes_max: usize,
}

/// A message was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Which.
    pub ticket: Ticket,
    /// Nothing else waits.
    pub is_first: bool,
    /// Since the last alert the queue had shrunk to half, and now it exceeds the threshold again.
    pub alert: bool,
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// As many messages wait as may.
    Full,
    /// Those that wait have as many bytes as may.
    FullOfBytes,
    /// Takes no messages any more.
    Closed,
}

/// What taking came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<M> {
    /// The next message.
    Message(M),
    /// There is none: sleep until woken.
    Empty,
    /// There is none, and none will come.
    Closed,
}

/// The queue. In the order of its fields, and those are few: with thousands of actors each cache line is
/// one that the processor has to fetch.
#[derive(Debug)]
#[repr(C)]
pub struct Mailbox<M> {
    /// Messages that wait; a copy for readers that must not lock.
    depth: AtomicUsize,
    /// The same for their bytes.
    bytes: AtomicUsize,
    bounds: MailboxBounds,
    queue: Mutex<Queue<M>>,
}

#[derive(Debug)]
struct Queue<M> {
    /// By ticket, ascending. `None`: removed.
    slots: VecDeque<(u64, Option<M>)>,
    /// Slots that are not holes.
    waiting: usize,
    bytes: usize,
    next_ticket: u64,
    /// Boxed: it is rare.
    urgent: Option<Box<M>>,
    closed: bool,
    /// An alert was given, and the queue has not shrunk since.
    alerted: bool,
}

impl<M: Message> Mailbox<M> {
    /// An empty mailbox.
    #[must_use]
    pub fn new(bounds: MailboxBounds) -> Self {
        let queue = Queue {
            slots: VecDeque::new(),
            waiting: 0,
            bytes: 0,
            next_ticket: 0,
            urgent: None,
            closed: false,
            alerted: false,
        };
        Self {
            depth: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            bounds,
            queue: Mutex::new(queue),
        }
    }

    /// Queues a message at the end. `room_bytes`: what the receiver's memory has room for at the moment,
    /// where that is less than the mailbox's own bound.
    ///
    /// # Errors
    /// [`PushError`], and the message: another mailbox may take it.
    pub fn push(&self, message: M, room_bytes: usize) -> Result<Pushed, (PushError, M)> {
        let bytes = message.bytes();
        let bytes_max = self.bounds.bytes_max.min(room_bytes);
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err((PushError::Closed, message));
        }
        if queue.waiting >= self.bounds.messages_max {
            return Err((PushError::Full, message));
        }
        // One message always fits: it was bounded when it was made.
        if queue.waiting > 0 && queue.bytes.saturating_add(bytes) > bytes_max {
            return Err((PushError::FullOfBytes, message));
        }
        Ok(self.add(&mut queue, message, bytes))
    }

    /// Queues a message that was promised, and that is bounded by its promises: no bound refuses it.
    ///
    /// # Errors
    /// `Closed`.
    pub fn push_promised(&self, message: M) -> Result<Pushed, PushError> {
        let bytes = message.bytes();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(PushError::Closed);
        }
        Ok(self.add(&mut queue, message, bytes))
    }

    fn add(&self, queue: &mut Queue<M>, message: M, bytes: usize) -> Pushed {
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.slots.push_back((ticket, Some(message)));
        queue.waiting += 1;
        queue.bytes += bytes;
        let alert = queue.waiting > self.bounds.alert && !queue.alerted;
        queue.alerted |= alert;
        self.publish(queue);
        Pushed { ticket: Ticket(ticket), is_first: queue.waiting == 1, alert }
    }

    /// Puts a message in front of everything. One that still waits there is replaced. False: closed.
    pub fn put_urgent(&self, message: M) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        let replaced = queue.urgent.replace(Box::new(message));
        // Without the lock: dropping a message may lead back here.
        drop(queue);
        drop(replaced);
        true
    }

    /// Takes the next message. To be called by the one actor alone.
    pub fn take(&self) -> Next<M> {
        let mut queue = self.queue.lock();
        if let Some(message) = queue.urgent.take() {
            return Next::Message(*message);
        }
        while let Some((_, slot)) = queue.slots.pop_front() {
            if let Some(message) = slot {
                self.took(&mut queue, &message);
                return Next::Message(message);
            }
        }
        if queue.closed { Next::Closed } else { Next::Empty }
    }

    /// Removes a message that was not taken yet.
    pub fn remove(&self, Ticket(ticket): Ticket) -> Option<M> {
        let mut queue = self.queue.lock();
        let place = queue.slots.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        let removed = queue.slots[place].1.take();
        if let Some(message) = &removed {
            self.took(&mut queue, message);
        }
        if queue.slots.len() > 2 * queue.waiting + HOLES_MAX {
            queue.slots.retain(|(_, message)| message.is_some());
        }
        removed
    }

    fn took(&self, queue: &mut Queue<M>, message: &M) {
        queue.waiting -= 1;
        queue.bytes -= message.bytes();
        if queue.alerted && queue.waiting <= self.bounds.alert / 2 {
            queue.alerted = false;
        }
        if queue.waiting == 0 && queue.slots.capacity() > KEPT_MAX {
            // Only holes are left.
            queue.slots = VecDeque::new();
        }
        self.publish(queue);
    }

    /// Refuses new messages from now on; those that wait can still be taken.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let urgent = queue.urgent.take();
        drop(queue);
        drop(urgent);
    }

    /// Closes and hands out everything that waits, oldest first.
    pub fn close_and_clear(&self) -> Vec<M> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let urgent = queue.urgent.take();
        let slots = std::mem::take(&mut queue.slots);
        queue.waiting = 0;
        queue.bytes = 0;
        queue.alerted = false;
        self.publish(&queue);
        drop(queue);
        drop(urgent);
        slots.into_iter().filter_map(|(_, message)| message).collect()
    }

    /// Messages that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Memory that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How much may wait.
    #[must_use]
    pub fn bounds(&self) -> MailboxBounds {
        self.bounds
    }

    fn publish(&self, queue: &Queue<M>) {
        self.depth.store(queue.waiting, Ordering::Relaxed);
        self.bytes.store(queue.bytes, Ordering::Relaxed);
    }
}

// Loom's locks work in its models only.
#[cfg(not(feature = "loom"))]
#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: MailboxBounds = MailboxBounds { alert: 4, messages_max: 8, bytes_max: 1_000 };

    impl Message for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    fn push(mailbox: &Mailbox<usize>, bytes: usize) -> Result<Ticket, PushError> {
        mailbox.push(bytes, usize::MAX).map(|pushed| pushed.ticket).map_err(|(error, refused)| {
            assert_eq!(refused, bytes);
            error
        })
    }

    #[test]
    fn messages_come_in_order_and_are_bounded() {
        let mailbox = Mailbox::new(MailboxBounds { messages_max: 2, ..BOUNDS });
        assert!(push(&mailbox, 1).is_ok() && push(&mailbox, 2).is_ok());
        assert_eq!(push(&mailbox, 3), Err(PushError::Full));
        assert_eq!((mailbox.depth(), mailbox.bytes()), (2, 3));
        assert_eq!(mailbox.take(), Next::Message(1));
        assert!(push(&mailbox, 3).is_ok());
        assert_eq!(mailbox.take(), Next::Message(2));
        assert_eq!(mailbox.take(), Next::Message(3));
        assert_eq!(mailbox.take(), Next::Empty);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let mailbox = Mailbox::new(BOUNDS);
        assert!(push(&mailbox, 1_001).is_ok());
        assert_eq!(push(&mailbox, 1), Err(PushError::FullOfBytes));
        assert_eq!(mailbox.take(), Next::Message(1_001));
        assert!(push(&mailbox, 500).is_ok());
        assert_eq!(mailbox.push(100, 599), Err((PushError::FullOfBytes, 100)));
        assert!(mailbox.push(100, 600).is_ok());
        assert!(mailbox.push_promised(5_000).is_ok());
    }

    #[test]
    fn one_alert_per_flood() {
        let mailbox = Mailbox::new(BOUNDS);
        let alerts = |n: usize| {
            (0..n).filter(|_| mailbox.push(1, 1_000).is_ok_and(|pushed| pushed.alert)).count()
        };
        assert_eq!(alerts(4), 0);
        assert_eq!(alerts(4), 1);
        for _ in 0..5 {
            assert_eq!(mailbox.take(), Next::Message(1));
        }
        assert_eq!(alerts(3), 0, "it has not shrunk to half");
        for _ in 0..4 {
            assert_eq!(mailbox.take(), Next::Message(1));
        }
        assert_eq!(alerts(4), 1);
    }

    #[test]
    fn removed_messages_free_their_place() {
        let mailbox = Mailbox::new(MailboxBounds { messages_max: 3, ..BOUNDS });
        let tickets: Vec<Ticket> = (1..=3).filter_map(|n| push(&mailbox, n).ok()).collect();
        assert_eq!(mailbox.remove(tickets[1]), Some(2));
        assert_eq!(mailbox.remove(tickets[1]), None);
        assert!(push(&mailbox, 4).is_ok());
        assert_eq!(mailbox.take(), Next::Message(1));
        assert_eq!(mailbox.remove(tickets[0]), None);
        assert_eq!(mailbox.take(), Next::Message(3));
        assert_eq!(mailbox.take(), Next::Message(4));
        assert_eq!(mailbox.bytes(), 0);
    }

    #[test]
    fn holes_do_not_pile_up() {
        let mailbox = Mailbox::new(BOUNDS);
        assert!(push(&mailbox, 1).is_ok());
        for _ in 0..10 * HOLES_MAX {
            let ticket = push(&mailbox, 2).expect("there is room");
            mailbox.remove(ticket);
        }
        assert!(mailbox.queue.lock().slots.len() <= HOLES_MAX + 4);
        assert_eq!(mailbox.take(), Next::Message(1));
    }

    #[test]
    fn a_closed_mailbox_gives_what_it_has_and_ends() {
        let mailbox = Mailbox::new(BOUNDS);
        assert!(push(&mailbox, 1).is_ok());
        mailbox.close();
        assert_eq!(push(&mailbox, 2), Err(PushError::Closed));
        assert!(!mailbox.put_urgent(3));
        assert_eq!(mailbox.take(), Next::Message(1));
        assert_eq!(mailbox.take(), Next::Closed);
    }

    #[test]
    fn what_is_urgent_goes_first() {
        let mailbox = Mailbox::new(BOUNDS);
        assert!(push(&mailbox, 1).is_ok());
        assert!(mailbox.put_urgent(9));
        assert_eq!(mailbox.take(), Next::Message(9));
        assert_eq!(mailbox.close_and_clear(), [1]);
    }

    #[test]
    fn a_flood_that_was_withdrawn_is_over() {
        let mailbox = Mailbox::new(BOUNDS);
        for _ in 0..3 {
            let pushed: Vec<Pushed> = (0..8).filter_map(|_| mailbox.push(1, 100).ok()).collect();
            assert_eq!(pushed.iter().filter(|pushed| pushed.alert).count(), 1);
            assert!(pushed.iter().all(|pushed| mailbox.remove(pushed.ticket) == Some(1)));
        }
        assert_eq!((mailbox.depth(), mailbox.bytes()), (0, 0));
    }

    #[test]
    fn the_memory_of_a_flood_is_given_back() {
        let mailbox = Mailbox::new(MailboxBounds { messages_max: 10_000, ..BOUNDS });
        for _ in 0..10_000 {
            assert!(mailbox.push(0, 0).is_ok());
        }
        assert!(mailbox.queue.lock().slots.capacity() >= 10_000);
        while mailbox.take() != Next::Empty {}
        assert!(mailbox.queue.lock().slots.capacity() <= KEPT_MAX);
    }

    /// Asks its mailbox when it is dropped, as one does that answers its sender.
    struct Asks(std::sync::Weak<Mailbox<Asks>>);

    impl Message for Asks {
        fn bytes(&self) -> usize {
            1
        }
    }

    impl Drop for Asks {
        fn drop(&mut self) {
            if let Some(mailbox) = self.0.upgrade() {
                let ticket = Ticket(0);
                assert!(mailbox.remove(ticket).is_none());
            }
        }
    }

    #[test]
    fn a_message_may_use_the_mailbox_while_it_is_dropped() {
        let mailbox =
            std::sync::Arc::new(Mailbox::new(MailboxBounds { messages_max: 1, ..BOUNDS }));
        let message = || Asks(std::sync::Arc::downgrade(&mailbox));
        assert!(mailbox.push_promised(message()).is_ok());
        drop(mailbox.take());
        assert!(mailbox.put_urgent(message()) && mailbox.put_urgent(message()));
        assert!(mailbox.push(message(), 9).is_ok() && mailbox.push(message(), 9).is_err());
        mailbox.close();
        assert!(!mailbox.put_urgent(message()) && mailbox.push_promised(message()).is_err());
        drop(mailbox.close_and_clear());
    }
}
