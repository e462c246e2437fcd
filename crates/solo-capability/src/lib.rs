//! Capabilities: who may do what with which object (SPEC C1, C2, S1). Pure: no clock, no store, no I/O.
//!
//! A [`Capability`] names objects, rights and constraints. A [`Chain`] is how one came to its holder:
//! links that each can only narrow. [`decide`] asks every link of a chain; what is used up is in a
//! [`Ledger`], what a request is to be charged on its [`Bill`], what was revoked in [`Revocations`]. [`Grants`] knows who holds what from whom, and
//! refuses to grant more than is held. A [`Token`] carries a chain outside of Solo and is narrowed
//! by whoever holds it ([`attenuate`]).
//!
//! Rights come from the first link alone, and each further one is intersected with it. What widens
//! is no part of the design.

mod authority;
mod bill;
mod bounds;
mod capability;
mod chain;
mod constraint;
mod decision;
mod denial;
mod error;
mod grant_error;
mod grants;
mod ledger;
mod object;
mod part;
mod pattern;
mod reach;
mod revocations;
mod token;

pub use authority::{Authority, KeyError, Minted};
pub use bill::{Bill, Overdrawn};
pub use capability::Capability;
pub use chain::{CAPABILITIES_MAX, Chain, ChainError, GrantId, LINKS_MAX, Link};
pub use constraint::{Constraints, Per, USES_MAX};
pub use decision::{Allowed, Context, Decision, Refusal, Request, Rule, decide};
pub use denial::Denial;
pub use error::ModelError;
pub use grant_error::GrantError;
pub use grants::{GRANTS_MAX, GrantRecord, Grants, HELD_MAX, Principal, Proposal};
pub use ledger::{ACCOUNTS_MAX, COUNTERS_PER_ACCOUNT_MAX, Count, Ledger};
pub use object::{Object, ObjectKind};
pub use pattern::ObjectPattern;
pub use reach::{Reach, Reached};
pub use revocations::{REVOCATIONS_MAX, Revocations, RevocationsFull};
pub use token::{Token, TokenError, attenuate, inspect};

#[cfg(test)]
mod tests;
