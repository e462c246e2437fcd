//! Tokens: minting them and deciding what they allow (SPEC C2). Pure: no clock, no store, no I/O.
//!
//! A token is a Biscuit. Its first block, signed by this node's [`Authority`], names one service, the
//! rights on it and an expiry. Whoever holds a token may append blocks that narrow it, without asking
//! anyone. What widens is no part of the design: rights come from the first block alone, and
//! appended blocks may contain checks and nothing else.
//!
//! Not here yet: tokens for other objects than services, delegation between principals, handles
//! inside cells. They belong to the issue on capabilities.

mod authority;
mod bounds;
mod denial;

pub use authority::{Access, Authority, KeyError, MintError, Minted, TokenGrant};
pub use denial::Denial;

#[cfg(test)]
mod tests;
