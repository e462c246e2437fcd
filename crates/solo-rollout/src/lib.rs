//! Decides how one revision of a service takes over from another (SPEC U1). Pure: starts nothing.
//!
//! A [`Rollout`] looks at the instances that exist and answers with one step. It remembers only what
//! cannot be seen: its plan, and that it was turned back. Therefore it can be asked at any time,
//! also after a crash in the middle of a step; stored as it was, it goes on.
//!
//! Here so far: `recreate` and `rolling`. Canary and blue-green will be further strategies with
//! decisions of their own.

mod rollout;
mod step;

pub use rollout::{Decision, ObservedInstance, Rollout, RolloutSpec, Strategy};

#[cfg(test)]
mod tests;
