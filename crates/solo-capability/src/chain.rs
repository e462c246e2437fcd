//! Chains: how a capability came to its holder, hand by hand.
//!
//! A link is one act of granting: the first one by an operator, each further one by whoever held what
//! is before it. A chain allows what all its links allow, so that a further link can only narrow, and
//! that the order of links decides nothing. A token's blocks and the records of [`crate::Grants`]
//! are the same links; they differ in who vouches for them, which is not the business of this module.

use std::fmt;
use std::sync::Arc;

use crate::{Capability, ModelError};

/// Capabilities of one link. More would make a decision slow; who needs them makes two grants.
pub const CAPABILITIES_MAX: usize = 16;

/// Links of a chain: twice the blocks of a token, as what a token's holder grants begins a new one.
pub const LINKS_MAX: usize = 64;

/// Characters of an id: a signature in hexadecimal.
const GRANT_ID_CHARS_MAX: usize = 128;

/// Names one act of granting, and is what a revocation names. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(String);

impl GrantId {
    /// Checks an id: 1 to 128 letters, digits and any of `-_.:`.
    ///
    /// # Errors
    /// [`ModelError::Name`].
    pub fn new(id: &str) -> Result<Self, ModelError> {
        check_name(id, GRANT_ID_CHARS_MAX)?;
        Ok(Self(id.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn check_name(name: &str, chars_max: usize) -> Result<(), ModelError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let is_legal = (1..=chars_max).contains(&name.len()) && name.bytes().all(legal);
    if is_legal { Ok(()) } else { Err(ModelError::Name { chars_max }) }
}

/// One act of granting: any of its capabilities is enough to pass it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    id: GrantId,
    /// The grant that Solo issued and that this one is, or was made from without asking Solo. Uses
    /// are counted on its account, as holders can make such links without end.
    account: GrantId,
    capabilities: Vec<Capability>,
}

impl Link {
    /// A grant that Solo issues.
    ///
    /// # Errors
    /// [`ChainError::Capabilities`]: none, or more than [`CAPABILITIES_MAX`].
    pub fn issued(id: GrantId, capabilities: Vec<Capability>) -> Result<Self, ChainError> {
        Self::checked(id.clone(), id, capabilities)
    }

    /// An attenuation that the holder of `account` made offline.
    ///
    /// # Errors
    /// As [`Self::issued`].
    pub fn attenuation(
        id: GrantId,
        account: GrantId,
        capabilities: Vec<Capability>,
    ) -> Result<Self, ChainError> {
        Self::checked(id, account, capabilities)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &GrantId {
        &self.id
    }

    /// The issued grant that it counts for; its own id if it was issued itself.
    #[must_use]
    pub fn account(&self) -> &GrantId {
        &self.account
    }

    /// What it lets through.
    #[must_use]
    pub fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    /// Tells whether Solo issued it.
    #[must_use]
    pub fn is_issued(&self) -> bool {
        self.id == self.account
    }

    /// First second in which nothing of it is valid any more; `None`: something does not expire.
    #[must_use]
    pub fn expires_at_unix_s(&self) -> Option<u64> {
        let ends = self.capabilities.iter().map(|c| c.constraints().expires_at_unix_s());
        ends.collect::<Option<Vec<u64>>>().and_then(|ends| ends.into_iter().max())
    }

    fn checked(
        id: GrantId,
        account: GrantId,
        capabilities: Vec<Capability>,
    ) -> Result<Self, ChainError> {
        if (1..=CAPABILITIES_MAX).contains(&capabilities.len()) {
            Ok(Self { id, account, capabilities })
        } else {
            Err(ChainError::Capabilities)
        }
    }
}

/// Why links do not make a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A link without capabilities, or with too many.
    #[error("a grant has 1 to {CAPABILITIES_MAX} capabilities")]
    Capabilities,
    /// No links, or too many.
    #[error("a chain has 1 to {LINKS_MAX} links")]
    Links,
}

/// The links from an operator's grant to what somebody holds, oldest first. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    links: Vec<Arc<Link>>,
}

impl Chain {
    /// Makes a chain.
    ///
    /// # Errors
    /// [`ChainError::Links`]: none, or more than [`LINKS_MAX`].
    pub fn new(links: Vec<Arc<Link>>) -> Result<Self, ChainError> {
        if (1..=LINKS_MAX).contains(&links.len()) {
            Ok(Self { links })
        } else {
            Err(ChainError::Links)
        }
    }

    /// Adds links at its end.
    ///
    /// # Errors
    /// [`ChainError::Links`]: more than [`LINKS_MAX`].
    pub fn then(&self, links: impl IntoIterator<Item = Arc<Link>>) -> Result<Self, ChainError> {
        Self::new(self.links.iter().cloned().chain(links).take(LINKS_MAX + 1).collect())
    }

    /// Its links, at least one.
    #[must_use]
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Tells whether it was made from what `other` is, or is the same. Whoever holds `other` may
    /// revoke it.
    #[must_use]
    pub fn derives_from(&self, other: &Self) -> bool {
        let last = other.links.last();
        last.is_some_and(|last| self.links.iter().any(|link| link.id() == last.id()))
    }

    /// What it allows altogether, as one list in which no entry lies within another. `None`: the
    /// list is longer than `capabilities_max`; the chain can still be decided on.
    #[must_use]
    pub fn effective(&self, capabilities_max: usize) -> Option<Vec<Capability>> {
        let mut effective: Vec<Capability> = Vec::new();
        for (at, link) in self.links.iter().enumerate() {
            let mut next: Vec<Capability> = Vec::new();
            let own = link.capabilities();
            let both = effective.iter().flat_map(|a| own.iter().map(|b| a.intersection(b)));
            let first = own.iter().cloned().map(Some);
            let all: &mut dyn Iterator<Item = Option<Capability>> =
                if at == 0 { &mut { first } } else { &mut { both } };
            for capability in all.flatten() {
                if next.iter().any(|known| capability.is_within(known)) {
                    continue;
                }
                next.retain(|known| !known.is_within(&capability));
                next.push(capability);
                if next.len() > capabilities_max {
                    return None;
                }
            }
            effective = next;
        }
        Some(effective)
    }
}
