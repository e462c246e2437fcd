//! The run queue of one thread.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Entity, Tier, Turn};

/// Actors that wait for a processor, and those that wait for their quota.
#[derive(Debug)]
pub struct RunQueue<T> {
    system: BinaryHeap<Waiting<T>>,
    user: BinaryHeap<Waiting<T>>,
    throttled: BinaryHeap<Waiting<T>>,
    /// Counts up: of two that are equal, the one that came first.
    sequence: u64,
}

/// What was taken from a queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Picked<T> {
    /// It runs next.
    Runs {
        /// The actor.
        actor: T,
        /// Its tier.
        tier: Tier,
        /// Its virtual time.
        virtual_time: u64,
    },
    /// Its quota is there again. Wake it, queue it anew, and pick again.
    Released {
        /// The actor.
        actor: T,
        /// Since when it waited for its quota.
        since_ns: u64,
    },
}

#[derive(Debug)]
struct Waiting<T> {
    /// Virtual time; of a throttled one, when it is released.
    key: u64,
    sequence: u64,
    since_ns: u64,
    actor: T,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self {
            system: BinaryHeap::new(),
            user: BinaryHeap::new(),
            throttled: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<T> RunQueue<T> {
    /// Adds an actor that can run, or that waits for its quota.
    pub fn push(&mut self, actor: T, entity: &mut Entity, now_ns: u64) {
        self.sequence += 1;
        let (heap, key) = match (entity.throttled_until(now_ns), entity.tier()) {
            (Some(until_ns), _) => (&mut self.throttled, until_ns),
            (None, Tier::System) => (&mut self.system, entity.virtual_time()),
            (None, Tier::User) => (&mut self.user, entity.virtual_time()),
        };
        heap.push(Waiting { key, sequence: self.sequence, since_ns: now_ns, actor });
    }

    /// Takes one whose quota is there again, or else what runs next: the tier whose turn it is, and
    /// within it the one with the least virtual time.
    pub fn pick(&mut self, turn: Turn, now_ns: u64) -> Option<Picked<T>> {
        if self.throttled.peek().is_some_and(|waiting| waiting.key <= now_ns) {
            let Waiting { actor, since_ns, .. } = self.throttled.pop()?;
            return Some(Picked::Released { actor, since_ns });
        }
        let tier = match turn {
            Turn::User if !self.user.is_empty() => Tier::User,
            Turn::Usual if self.system.is_empty() => Tier::User,
            Turn::User | Turn::Usual => Tier::System,
        };
        let heap = match tier {
            Tier::System => &mut self.system,
            Tier::User => &mut self.user,
        };
        let Waiting { actor, key: virtual_time, .. } = heap.pop()?;
        Some(Picked::Runs { actor, tier, virtual_time })
    }

    /// Lets one that waits for its quota go at the next pick. False: it does not wait for that here.
    pub fn release(&mut self, is_it: impl Fn(&T) -> bool) -> bool {
        let mut throttled = std::mem::take(&mut self.throttled).into_vec();
        let found = throttled.iter_mut().find(|waiting| is_it(&waiting.actor));
        let is_here = found.map(|waiting| waiting.key = 0).is_some();
        self.throttled = throttled.into();
        is_here
    }

    /// Place of what runs next in the order of all queues, `u64::MAX` if nothing can run.
    #[must_use]
    pub fn head(&self) -> u64 {
        let user = self.user.peek().map(|waiting| place(Tier::User, waiting.key));
        let system = self.system.peek().map(|waiting| place(Tier::System, waiting.key));
        system.or(user).unwrap_or(u64::MAX)
    }

    /// When the first throttled actor may run again.
    #[must_use]
    pub fn next_release_ns(&self) -> Option<u64> {
        self.throttled.peek().map(|waiting| waiting.key)
    }

    /// Actors that can run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.system.len() + self.user.len()
    }

    /// Whether none can run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.user.is_empty()
    }

    /// All that are in it, in any order.
    pub fn into_actors(self) -> impl Iterator<Item = T> {
        let heaps = [self.system, self.user, self.throttled];
        heaps.into_iter().flatten().map(|waiting| waiting.actor)
    }
}

/// Place of an actor in the order of all, of both tiers: the lower, the sooner. Less than `u64::MAX`,
/// which stands for none.
#[must_use]
pub fn place(tier: Tier, virtual_time: u64) -> u64 {
    match tier {
        Tier::System => virtual_time >> 1,
        Tier::User => ((virtual_time >> 1) | (1 << 63)).min(u64::MAX - 1),
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    /// The heap's greatest is what comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.key, other.sequence).cmp(&(self.key, self.sequence))
    }
}
