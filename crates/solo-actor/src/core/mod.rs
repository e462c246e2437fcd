//! The decisions of the scheduler, pure: actors and times in, choices out. No clock, no lock, no thread.
//!
//! Processor time is shared by weight through virtual time: an actor's advances by the time it ran,
//! divided by its weight, and the one that is furthest behind runs next. Virtual time is common to all
//! threads, so that an actor can be moved without being converted, and a thread that compares the
//! heads of the queues shares fairly over all of them.

mod entity;
mod queue;

pub use entity::{Entity, Quota, QuotaMode, Tier, Weight};
pub(crate) use queue::head_of;
pub use queue::{Pick, RunQueue};

/// How long an actor may run while others wait: short enough that 100 busy ones come around in 50 ms
/// on two processors, long enough that switching (a microsecond) costs a thousandth.
pub const SLICE_NS: u64 = 1_000_000;

/// Virtual time of a slice at the default weight.
pub const SLICE_VIRTUAL: u64 = SLICE_NS * entity::SCALE / Weight::DEFAULT as u64;

/// What an actor that slept is ahead of those that did not: it runs next, but cannot save up more.
pub const WAKE_CREDIT: u64 = SLICE_VIRTUAL;

/// Time that system-tier actors may run in a row while a user-tier actor waits: they go first, but a
/// busy one leaves others at least one slice in 21.
pub const SYSTEM_STREAK_NS: u64 = 20 * SLICE_NS;

/// A queue pulls from another one only what is further behind than this: less is not worth a cold
/// cache.
pub const PULL_MARGIN: u64 = SLICE_VIRTUAL;

/// Period of hard quotas. What is used up is given back with the next one.
pub const QUOTA_PERIOD_NS: u64 = 100_000_000;
