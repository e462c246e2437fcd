//! Grants: who holds what, and from whom they have it.
//!
//! Each record keeps its whole chain, so that what derives from a grant is found in an index and
//! nothing here recurses. Plain data: the caller stores it, audits it and brings the time. Whether a
//! request is allowed is not decided here but by [`crate::decide`], over the chain of a record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use solo_types::{Right, ServiceId};

use crate::chain::check_name;
use crate::decision::{Decision, Refusal, Rule};
use crate::{
    Capability, Chain, Context, GrantError, GrantId, Ledger, Link, ModelError, Request,
    Revocations, RevocationsFull, Token, decide,
};

/// Grants of a node at a time: as many as something can be counted for.
pub const GRANTS_MAX: usize = crate::ACCOUNTS_MAX;

/// Grants that one principal holds at a time: an explanation looks at all of them.
pub const HELD_MAX: usize = 1_024;

/// Characters of a principal's name.
const PRINCIPAL_CHARS_MAX: usize = 128;

/// Begins the name of a service that holds grants.
const SERVICE_PREFIX: &str = "service:";

/// Who holds grants: a person, an agent, a tenant, or a service that acts with its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(String);

impl Principal {
    /// Checks a name: 1 to 128 letters, digits and any of `-_.:`.
    ///
    /// # Errors
    /// [`ModelError::Name`].
    pub fn new(name: &str) -> Result<Self, ModelError> {
        check_name(name, PRINCIPAL_CHARS_MAX)?;
        Ok(Self(name.to_owned()))
    }

    /// The service of this id, which acts with its own grants.
    #[must_use]
    pub fn service(id: ServiceId) -> Self {
        Self(format!("{SERVICE_PREFIX}{id}"))
    }

    /// Tells whether this is a service. What it holds cannot be presented by anybody, so that it need
    /// not be remembered once it has ended.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.0.starts_with(SERVICE_PREFIX)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A grant to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its id; of a token the revocation id of its first block. Never used before.
    pub id: GrantId,
    /// Who gets it.
    pub holder: Principal,
    /// What they get: 1 to [`crate::CAPABILITIES_MAX`].
    pub capabilities: Vec<Capability>,
}

/// A grant that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Who has it.
    pub holder: Principal,
    /// How they came to it; the last link is the grant itself, and was issued.
    pub chain: Chain,
}

impl GrantRecord {
    /// The grant itself.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        self.chain.links().last().map(Arc::as_ref)
    }
}

/// All grants of a node.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    records: BTreeMap<GrantId, GrantRecord>,
    by_holder: BTreeMap<Principal, BTreeSet<GrantId>>,
    /// For each link, issued or not, the records whose chains contain it.
    by_link: BTreeMap<GrantId, BTreeSet<GrantId>>,
    revoked: Revocations,
}

impl Grants {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a grant that comes from nobody: an operator's. The caller has made sure that it is one.
    ///
    /// # Errors
    /// [`GrantError`]; nothing has changed then.
    pub fn issue(&mut self, proposal: Proposal) -> Result<&GrantRecord, GrantError> {
        let link = Link::issued(proposal.id, proposal.capabilities)?;
        let chain = Chain::new(vec![Arc::new(link)])?;
        self.insert(GrantRecord { holder: proposal.holder, chain })
    }

    /// Makes a grant from what a grantor holds.
    ///
    /// # Errors
    /// As [`Self::check`]; nothing has changed then.
    pub fn derive(
        &mut self,
        from: &Chain,
        proposal: Proposal,
        now_unix_s: u64,
    ) -> Result<&GrantRecord, GrantError> {
        let chain = self.check(from, &proposal, now_unix_s)?;
        self.insert(GrantRecord { holder: proposal.holder, chain })
    }

    /// Tells whether [`Self::derive`] would succeed, and the chain that the grant would have.
    ///
    /// Each capability must lie within one of each link of the grantor's chain that contains the
    /// right `grant`: nobody grants more than they hold, nor what they may not pass on.
    ///
    /// # Errors
    /// [`GrantError`] with the first thing that stands against it.
    pub fn check(
        &self,
        from: &Chain,
        proposal: &Proposal,
        now_unix_s: u64,
    ) -> Result<Chain, GrantError> {
        for link in from.links() {
            if self.revoked.contains(link.id()) || !self.records.contains_key(link.account()) {
                return Err(GrantError::Ended { link: link.id().clone() });
            }
        }
        let link = Link::issued(proposal.id.clone(), proposal.capabilities.clone())?;
        for capability in link.capabilities() {
            from.links().iter().try_for_each(|link| passes_on(link, capability, now_unix_s))?;
            if capability.constraints().is_expired(now_unix_s) {
                return Err(GrantError::Expired);
            }
        }
        let chain = from.then([Arc::new(link)])?;
        self.check_room(&proposal.id, &proposal.holder, &chain)?;
        Ok(chain)
    }

    /// Puts back a record that was stored. Not checked against its grantor's: that was done when it
    /// was made, and decisions ask every link again.
    ///
    /// # Errors
    /// [`GrantError`]: there is no room, the id is taken or revoked, or its last link is not issued.
    pub fn restore(&mut self, record: GrantRecord) -> Result<(), GrantError> {
        self.insert(record).map(|_| ())
    }

    /// Ends a grant and all that derives from it, at once. Answers with the issued grants that
    /// ended, sorted.
    ///
    /// `expires_at_unix_s`: for an attenuation that was made offline, when the grant that it was made
    /// from ends; a grant that is known here knows its own end.
    ///
    /// # Errors
    /// [`RevocationsFull`]; nothing has changed then.
    pub fn revoke(
        &mut self,
        id: &GrantId,
        expires_at_unix_s: Option<u64>,
    ) -> Result<Vec<GrantId>, RevocationsFull> {
        let own_end = self.records.get(id).and_then(GrantRecord::link).map(Link::expires_at_unix_s);
        if self.records.get(id).is_some_and(|record| record.holder.is_service()) {
            self.remove(id);
            return Ok(vec![id.clone()]);
        }
        self.revoked.insert(id.clone(), own_end.unwrap_or(expires_at_unix_s))?;
        let ended: Vec<GrantId> = self.by_link.get(id).into_iter().flatten().cloned().collect();
        for id in &ended {
            if let Some(record) = self.remove(id)
                && !record.holder.is_service()
            {
                let end = record.link().and_then(Link::expires_at_unix_s);
                // Only for a better explanation: what is not in the records is refused anyway.
                let _no_room = self.revoked.insert(id.clone(), end);
            }
        }
        Ok(ended)
    }

    /// Forgets what a holder has, who is gone. Not a revocation: for services, as who bears a token of
    /// a grant that is not known is refused as well.
    pub fn forget(&mut self, holder: &Principal) -> Vec<GrantId> {
        let ids: Vec<GrantId> = self.by_holder.get(holder).into_iter().flatten().cloned().collect();
        for id in &ids {
            self.remove(id);
        }
        ids
    }

    /// Removes what is over by itself. Answers with the grants that were, for the store.
    pub fn prune(&mut self, now_unix_s: u64) -> Vec<GrantId> {
        let is_over = |record: &GrantRecord| {
            let end = record.link().and_then(Link::expires_at_unix_s);
            end.is_some_and(|at| now_unix_s >= at)
        };
        let over = self.records.iter().filter(|(_, record)| is_over(record));
        let over: Vec<GrantId> = over.map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.remove(id);
        }
        self.revoked.prune(now_unix_s);
        over
    }

    /// The grant of this id.
    #[must_use]
    pub fn get(&self, id: &GrantId) -> Option<&GrantRecord> {
        self.records.get(id)
    }

    /// All grants, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRecord)> {
        self.records.iter()
    }

    /// What a principal holds, by id.
    pub fn held_by(&self, holder: &Principal) -> impl Iterator<Item = (&GrantId, &GrantRecord)> {
        let ids = self.by_holder.get(holder).into_iter().flatten();
        ids.filter_map(|id| self.records.get_key_value(id))
    }

    /// The grants that a revocation of this id would end, itself included.
    pub fn subtree(&self, id: &GrantId) -> impl Iterator<Item = &GrantId> {
        self.by_link.get(id).into_iter().flatten()
    }

    /// What was revoked, for decisions.
    #[must_use]
    pub fn revoked(&self) -> &Revocations {
        &self.revoked
    }

    /// The chain that a token stands for: that of the grant in its first block, and its attenuations.
    ///
    /// # Errors
    /// [`Rule::Revoked`] or [`Rule::UnknownGrant`]: its grant is not, or not any more, in force.
    pub fn present(&self, token: &Token) -> Result<Chain, Rule> {
        let (first, attenuations) = token.links().split_first().ok_or(Rule::UnknownGrant)?;
        let Some(record) = self.records.get(first.id()) else {
            let is_revoked = self.revoked.contains(first.id());
            return Err(if is_revoked { Rule::Revoked } else { Rule::UnknownGrant });
        };
        // Signed by the same node as the record was written by: they cannot differ.
        if record.link().is_none_or(|link| link != first.as_ref()) {
            return Err(Rule::UnknownGrant);
        }
        record.chain.then(attenuations.iter().cloned()).map_err(|_| Rule::UnknownGrant)
    }

    /// Decides for a principal over all that they hold: by which grant they may, or how near the
    /// nearest one is.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn explain(
        &self,
        principal: &Principal,
        request: Request<'_>,
        ledger: &Ledger,
        now_unix_s: u64,
    ) -> Decision {
        let context = Context { now_unix_s, ledger, revoked: &self.revoked };
        let mut nearest = Refusal::new(Rule::NothingHeld, None, request);
        for (_, record) in self.held_by(principal) {
            match decide(&record.chain, request, context) {
                Ok(allowed) => return Ok(allowed),
                Err(refusal) if refusal.rule > nearest.rule => nearest = refusal,
                Err(_) => {}
            }
        }
        Err(nearest)
    }

    fn insert(&mut self, record: GrantRecord) -> Result<&GrantRecord, GrantError> {
        let Some(id) = record.link().filter(|l| l.is_issued()).map(|l| l.id().clone()) else {
            return Err(GrantError::NotIssued);
        };
        self.check_room(&id, &record.holder, &record.chain)?;
        self.by_holder.entry(record.holder.clone()).or_default().insert(id.clone());
        for link in record.chain.links() {
            self.by_link.entry(link.id().clone()).or_default().insert(id.clone());
        }
        Ok(self.records.entry(id).or_insert(record))
    }

    fn check_room(
        &self,
        id: &GrantId,
        holder: &Principal,
        chain: &Chain,
    ) -> Result<(), GrantError> {
        if self.records.contains_key(id) || self.revoked.contains(id) {
            return Err(GrantError::IdTaken);
        }
        if let Some(link) = chain.links().iter().find(|link| self.revoked.contains(link.id())) {
            return Err(GrantError::Ended { link: link.id().clone() });
        }
        if self.records.len() >= GRANTS_MAX {
            return Err(GrantError::Full { grants_max: GRANTS_MAX });
        }
        if self.by_holder.get(holder).is_some_and(|held| held.len() >= HELD_MAX) {
            return Err(GrantError::Full { grants_max: HELD_MAX });
        }
        Ok(())
    }

    fn remove(&mut self, id: &GrantId) -> Option<GrantRecord> {
        let record = self.records.remove(id)?;
        remove_from(&mut self.by_holder, &record.holder, id);
        for link in record.chain.links() {
            remove_from(&mut self.by_link, link.id(), id);
        }
        Some(record)
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<GrantId>>, key: &K, id: &GrantId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

/// Tells whether a link lets its holder pass `capability` on.
fn passes_on(link: &Link, capability: &Capability, now_unix_s: u64) -> Result<(), GrantError> {
    let held = || link.capabilities().iter().filter(|held| capability.is_within(held));
    let valid = || held().filter(|held| !held.constraints().is_expired(now_unix_s));
    if valid().any(|held| held.rights().contains(&Right::Grant)) {
        return Ok(());
    }
    let (id, text) = (link.id().clone(), capability.to_string());
    Err(if valid().next().is_some() {
        GrantError::NotPassedOn { link: id, capability: text }
    } else if held().next().is_some() {
        GrantError::Ended { link: id }
    } else {
        GrantError::Wider { link: id, capability: text }
    })
}
