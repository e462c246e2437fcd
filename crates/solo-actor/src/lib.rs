//! Actors on a few threads: the scheduler of a cell, and the mailbox.
//!
//! Two layers. `core` decides and is pure: which actor runs next by weight, tier and quota, and
//! where one that was woken is placed. The rest is the thin loop that does it: one thread per
//! processor, a slot for the actor that was woken last (so that actors that talk stay on one
//! thread), a doorbell that interrupts a running actor, and a clock thread.
//!
//! An actor is a future here. What it is made of, and how one that runs is made to give way, is not
//! known: whoever runs guests asks [`current::should_yield`] and passes a `bell` that makes them ask.

pub mod clock;
pub mod core;
pub mod current;
mod doorbell;
mod executor;
mod mailbox;
mod rest;
mod sleepers;
mod state;
mod station;
mod sync;
mod task;
mod ticker;
mod timers;
mod virtual_clock;
mod worker;

pub use executor::{Around, Executor, ExecutorOptions, Handle};
pub use mailbox::{Mailbox, MailboxBounds, Message, Next, PushError, Pushed, Ticket};
pub use task::{Actor, CpuFigures};

/// Parts that tests with loom drive one by one; not to be used otherwise.
#[doc(hidden)]
pub mod model {
    pub use crate::doorbell::Doorbell;
    pub use crate::rest::Rest;
    pub use crate::sleepers::Sleepers;
    pub use crate::state::{Finished, TaskState};
    pub use crate::station::Station;
    pub use crate::timers::{Level, TimerLevels};
}
