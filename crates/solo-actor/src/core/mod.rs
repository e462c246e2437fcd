//! The decisions of the scheduler, pure: actors and times in, choices out. No clock, no lock, no thread.
//!
//! Processor time is shared by weight through virtual time: an actor's advances by the time it ran,
//! divided by its weight, and the one that is furthest behind runs next. Virtual time is common to all
//! threads, so that an actor can be moved without being converted, and a thread that compares the
//! heads of the queues shares fairly over all of them. Three rules keep it honest: who wakes or starts
//! is hardly ahead of the rest ([`Entity::wake`], [`start`]); who gets a whole thread and would deserve
//! more saves up no more than [`Entity::keep_up`] says; and who is woken by an actor and runs at once in
//! its slice must not be ahead of what waits by more than a slice of its own ([`NextUp`]).

mod entity;
mod placement;
mod processor;
mod queue;

pub use entity::{Entity, Quota, QuotaMode, Tier, Weight};
pub use placement::{deserves_ring, first, start, target, victim};
pub use processor::{NextUp, Processor, Turn};
pub use queue::{Picked, RunQueue, place};

/// How long an actor may run while others wait: short enough that 100 busy ones come around in 50 ms
/// on two processors, long enough that switching (a microsecond) costs a thousandth.
pub const SLICE_NS: u64 = 1_000_000;

/// Virtual time of a slice at the default weight.
pub const SLICE_VIRTUAL: u64 = SLICE_NS * entity::SCALE / Weight::DEFAULT as u64;

/// What an actor that slept is ahead of those that did not: it runs next, but cannot save up more.
pub const WAKE_CREDIT: u64 = SLICE_VIRTUAL;

/// Actors that start in quick succession are so far apart in virtual time. Otherwise an endless line
/// of new ones, each with the wake credit, would keep all others from running.
pub const START_STEP: u64 = WAKE_CREDIT / 16;

/// Time that system-tier actors may run in a row while a user-tier actor waits: they go first, but a
/// busy one leaves others at least one slice in 21.
pub const SYSTEM_STREAK_NS: u64 = 20 * SLICE_NS;

/// A queue pulls from another one only what is further behind than this: less is not worth a cold
/// cache. Half the wake credit, so that one that wakes is ahead of what any thread runs, although the
/// threads differ by this margin.
pub const PULL_MARGIN: u64 = WAKE_CREDIT / 2;

/// Work may wait so long behind others before a thread that sleeps is woken for it: waking one takes
/// 20 to 50 us, and actors that talk are better off together. It is looked at when an actor gives way,
/// so that work behind one that does not waits for up to a slice more.
pub const BACKLOG_NS: u64 = 50_000;

/// With so many actors waiting a sleeping thread is woken at once.
pub const BACKLOG_MAX: usize = 3;

/// Threads that are looked at to find the one to interrupt: with more, the last one and some beside.
pub const CANDIDATES_MAX: usize = 8;

/// Period of hard quotas. What is used up is given back with the next one.
pub const QUOTA_PERIOD_NS: u64 = 100_000_000;
