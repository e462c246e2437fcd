//! The run queue of one thread.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Entity, SYSTEM_STREAK_NS, Tier};

/// Actors that wait for a processor, and those that wait for their quota.
#[derive(Debug)]
pub struct RunQueue<T> {
    system: BinaryHeap<Waiting<T>>,
    user: BinaryHeap<Waiting<T>>,
    throttled: BinaryHeap<Waiting<T>>,
    /// Counts up: of two that are equal, the one that came first.
    sequence: u64,
    /// How long system-tier actors ran in a row while a user-tier actor waited.
    system_streak_ns: u64,
}

/// What runs next.
#[derive(Debug)]
pub struct Pick<T> {
    /// The actor.
    pub actor: T,
    /// Its tier.
    pub tier: Tier,
    /// Its virtual time.
    pub virtual_time: u64,
    /// It comes from its quota's waiting, and since then: place it anew before it runs.
    pub throttled_since_ns: Option<u64>,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Virtual time; of a throttled one, when it is released.
    key: u64,
    sequence: u64,
    since_ns: u64,
    tier: Tier,
    actor: T,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self {
            system: BinaryHeap::new(),
            user: BinaryHeap::new(),
            throttled: BinaryHeap::new(),
            sequence: 0,
            system_streak_ns: 0,
        }
    }
}

impl<T> RunQueue<T> {
    /// Adds an actor that can run, or that waits for its quota.
    pub fn push(&mut self, actor: T, entity: &mut Entity, now_ns: u64) {
        self.sequence += 1;
        let (tier, sequence) = (entity.tier(), self.sequence);
        let (heap, key) = match (entity.throttled_until(now_ns), tier) {
            (Some(until_ns), _) => (&mut self.throttled, until_ns),
            (None, Tier::System) => (&mut self.system, entity.virtual_time()),
            (None, Tier::User) => (&mut self.user, entity.virtual_time()),
        };
        heap.push(Waiting { key, sequence, since_ns: now_ns, tier, actor });
    }

    /// Takes what runs next: one whose quota is there again, then system before user, each by virtual
    /// time, except that a busy system tier leaves the user tier its part.
    pub fn pick(&mut self, now_ns: u64) -> Option<Pick<T>> {
        if self.throttled.peek().is_some_and(|waiting| waiting.key <= now_ns) {
            let waiting = self.throttled.pop()?;
            return Some(Pick {
                throttled_since_ns: Some(waiting.since_ns),
                ..waiting.into_pick()
            });
        }
        let yields = self.system_streak_ns >= SYSTEM_STREAK_NS && !self.user.is_empty();
        if yields {
            self.system_streak_ns = 0;
        }
        let first = if yields { None } else { self.system.pop() };
        let waiting = first.or_else(|| self.user.pop()).or_else(|| self.system.pop())?;
        Some(waiting.into_pick())
    }

    /// An actor of `tier` ran for so long.
    pub fn ran(&mut self, tier: Tier, ran_ns: u64) {
        self.system_streak_ns = match tier {
            Tier::System if !self.user.is_empty() => self.system_streak_ns.saturating_add(ran_ns),
            Tier::System | Tier::User => 0,
        };
    }

    /// What would be picked, as one number to compare with other queues: the lower, the sooner.
    /// `u64::MAX`: nothing can run.
    #[must_use]
    pub fn head(&self) -> u64 {
        let user = self.user.peek().map(|waiting| head_of(Tier::User, waiting.key));
        let system = self.system.peek().map(|waiting| head_of(Tier::System, waiting.key));
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
}

/// Virtual times of both tiers in one order.
#[must_use]
pub(crate) fn head_of(tier: Tier, virtual_time: u64) -> u64 {
    match tier {
        Tier::System => virtual_time >> 1,
        Tier::User => (virtual_time >> 1) | (1 << 63),
    }
}

impl<T> Waiting<T> {
    fn into_pick(self) -> Pick<T> {
        Pick {
            actor: self.actor,
            tier: self.tier,
            virtual_time: self.key,
            throttled_since_ns: None,
        }
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
