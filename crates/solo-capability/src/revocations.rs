//! Revocations: the ids of grants that allow nothing any more.
//!
//! A chain that contains a revoked link is refused as a whole, so that one id ends all that was
//! derived from it, also what was derived offline and never seen here.

use std::collections::BTreeMap;

use crate::GrantId;

/// Ids that are kept at a time. Each takes about 300 bytes.
pub const REVOCATIONS_MAX: usize = 100_000;

/// There is no room for another revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are in force")]
pub struct RevocationsFull;

/// What was revoked, each with the second from which on it need not be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocations {
    ids: BTreeMap<GrantId, Option<u64>>,
}

impl Revocations {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Revokes a grant. `expires_at_unix_s`: when it ends anyway; `None` for one that does not, or
    /// where that is not known. Of two such times the later counts.
    ///
    /// # Errors
    /// [`RevocationsFull`]: revoke the grant that it came from, which takes the place of all below.
    pub fn insert(
        &mut self,
        id: GrantId,
        expires_at_unix_s: Option<u64>,
    ) -> Result<(), RevocationsFull> {
        if let Some(known) = self.ids.get_mut(&id) {
            *known = known.zip(expires_at_unix_s).map(|(a, b)| a.max(b));
            return Ok(());
        }
        if self.ids.len() >= REVOCATIONS_MAX {
            return Err(RevocationsFull);
        }
        self.ids.insert(id, expires_at_unix_s);
        Ok(())
    }

    /// Tells whether a grant itself was revoked.
    #[must_use]
    pub fn contains(&self, id: &GrantId) -> bool {
        self.ids.contains_key(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// All of them, with when they may be forgotten.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, Option<u64>)> {
        self.ids.iter().map(|(id, expires_at)| (id, *expires_at))
    }

    /// Forgets those whose grants are over by themselves.
    pub fn prune(&mut self, now_unix_s: u64) {
        self.ids.retain(|_, expires_at| expires_at.is_none_or(|at| now_unix_s < at));
    }
}
