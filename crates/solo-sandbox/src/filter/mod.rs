//! What a process may ask of the kernel: system-call filters (seccomp) compiled from policies.
//!
//! A [`Policy`] is a text under `policies/` that gives a reason for each call it allows; a
//! [`Filter`] is that text compiled for this machine. All else is refused. It never loosens: a
//! filter that is in force stays for good, and passes to all that is started.
//!
//! It does not decide which files or peers a process reaches: those stand behind pointers, which a
//! filter cannot follow.

mod bpf;
mod install;
mod names;
mod policy;

pub use install::{Filter, FilterError, Policy};
pub use policy::RuleError;

#[cfg(test)]
mod tests;
