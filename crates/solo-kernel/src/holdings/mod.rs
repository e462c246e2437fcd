//! What was granted, and to whom: tokens in, decisions out (SPEC C1, C2).
//!
//! Keeps the grants of the node in memory, as the store has them, and the tokens whose signatures were
//! checked. Decides each time anew, so that what was revoked a moment ago allows nothing. Writes
//! nothing: who grants, revokes and pays for uses does.

mod asking;
mod counting;
mod rows;
mod services;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use solo_capability::{
    Authority, Bill, Capability, Chain, Context, Denial, GrantError, GrantId, GrantRecord, Grants,
    Ledger, Link, Minted, Object, Proposal, Refusal, Request, RevocationsFull, Rule, Token,
};
use solo_types::{Problem, Right};
use tokio::sync::watch;

use crate::clock;
use crate::store::{HeldRow, RevokedRow};
use rows::{record, row};

/// Tokens whose signatures need not be checked again. Each takes some KiB at most; beyond that all are
/// forgotten, and checked once more.
const VERIFIED_MAX: usize = 4_096;

/// Holder of the grant of everything, made at the first start.
pub(crate) const OWNER: &str = "owner";

/// Of an id, as much is shown behind a name: 64 bits, so that nobody finds a second one.
const ID_CHARS_SHOWN: usize = 16;

/// What was granted.
#[derive(Debug)]
pub(crate) struct Holdings {
    authority: Authority,
    /// Held for as long as a decision takes, microseconds.
    granted: Mutex<Granted>,
    /// By the hash of the token: a token is a secret that need not lie around.
    verified: Mutex<HashMap<[u8; 32], Arc<Token>>>,
    /// Counts revocations, for streams that were opened before.
    revoked: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Granted {
    grants: Grants,
    ledger: Ledger,
}

impl Granted {
    /// What decisions depend on.
    fn context(&self, now_unix_s: u64) -> Context<'_> {
        Context { now_unix_s, ledger: &self.ledger, revoked: self.grants.revoked() }
    }
}

impl Holdings {
    /// Nothing is granted yet.
    pub(crate) fn new(authority: Authority) -> Self {
        Self {
            authority,
            granted: Mutex::default(),
            verified: Mutex::default(),
            revoked: watch::Sender::new(0),
        }
    }

    /// Puts back what was stored. A row that cannot be is left out: what it granted is refused.
    pub(crate) fn restore(&self, held: Vec<HeldRow>, revoked: Vec<RevokedRow>) {
        let mut granted = self.granted.lock();
        for row in revoked {
            let revoke = |id: GrantId| granted.grants.revoke(&id, row.expires_at).map(drop);
            if let Err(error) = GrantId::new(&row.id).map_err(|_| RevocationsFull).and_then(revoke)
            {
                tracing::error!(id = row.id, %error, "A revocation could not be read back");
            }
        }
        for row in held {
            let id = row.id.clone();
            let restored = record(row).and_then(|record| {
                granted.grants.restore(record).map_err(|error| error.to_string())
            });
            if let Err(error) = restored {
                tracing::error!(id, error, "A grant could not be read back; it is refused");
            }
        }
    }

    /// Checks the signatures of a token, or remembers that they were.
    ///
    /// # Errors
    /// It is no token of this node.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Token>, Problem> {
        let key = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some(known) = self.verified.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let token = Arc::new(self.authority.verify_token(token).map_err(Denial::into_problem)?);
        let mut verified = self.verified.lock();
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(key, Arc::clone(&token));
        Ok(token)
    }

    /// Decides now whether a token allows `right` on `object`, and notes on the bill of the request what
    /// that costs.
    ///
    /// # Errors
    /// Why not, and what it would take.
    pub(crate) fn check(
        &self,
        token: &Token,
        bill: &mut Bill,
        object: &Object,
        right: Right,
    ) -> Result<(), Refusal> {
        let request = Request { object, right };
        let granted = self.granted.lock();
        let refuse = |rule| Refusal { rule, link: None, right, object: object.clone() };
        let chain = granted.grants.present(token).map_err(refuse)?;
        bill.decide(&chain, request, granted.context(now_unix_s())).map(drop)
    }

    /// Decides now whether a token is in force and each of its hands has left something. Narrower than
    /// that nothing is asked: for what changes nothing by itself.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub(crate) fn check_in_force(&self, token: &Token) -> Result<(), Rule> {
        let now_unix_s = now_unix_s();
        let granted = self.granted.lock();
        let chain = granted.grants.present(token)?;
        for link in chain.links() {
            if granted.grants.revoked().contains(link.id()) {
                return Err(Rule::Revoked);
            }
            let in_time = |c: &Capability| !c.constraints().is_expired(now_unix_s);
            if !link.capabilities().iter().any(in_time) {
                return Err(Rule::Expired { at_unix_s: link.expires_at_unix_s().unwrap_or(0) });
            }
        }
        Ok(())
    }

    /// Who bears a token, for the audit log: `owner`, a name that was given to the grant with the
    /// beginning of the id of its last hand, or that id. Nobody can make the name of another's.
    pub(crate) fn name_of(&self, token: &Token) -> String {
        let (Some(first), Some(last)) = (token.links().first(), token.links().last()) else {
            return "token:".to_owned();
        };
        let granted = self.granted.lock();
        let holder = granted.grants.get(first.id()).map(|record| record.holder.as_str());
        match holder {
            Some(OWNER) if token.links().len() == 1 => OWNER.to_owned(),
            Some(holder) if holder != first.id().as_str() => {
                let id: String = last.id().as_str().chars().take(ID_CHARS_SHOWN).collect();
                format!("{holder}#{id}")
            }
            _ => format!("token:{}", last.id()),
        }
    }

    /// Signs a token for `capabilities`. It allows nothing before it is [`Self::insert`]ed.
    ///
    /// # Errors
    /// They cannot be written into a token.
    pub(crate) fn mint(&self, capabilities: &[Capability]) -> Result<Minted, Problem> {
        self.authority.mint_token(capabilities).map_err(Problem::from)
    }

    /// What is to be stored for a grant that the bearer of `from` makes.
    ///
    /// # Errors
    /// `from` may not grant that, or not any more.
    pub(crate) fn propose(&self, from: &Token, proposal: &Proposal) -> Result<HeldRow, Problem> {
        let granted = self.granted.lock();
        let chain = granted
            .grants
            .present(from)
            .map_err(unknown)
            .and_then(|from| granted.grants.check(&from, proposal, now_unix_s()))
            .map_err(GrantError::into_problem)?;
        Ok(row(proposal.holder.as_str(), &chain))
    }

    /// What is to be stored for a grant that comes from nobody: the owner's.
    ///
    /// # Errors
    /// There are no capabilities, or too many.
    pub(crate) fn first(&self, id: &GrantId, all: Vec<Capability>) -> Result<HeldRow, Problem> {
        let link = Link::issued(id.clone(), all);
        let chain = link.and_then(|link| Chain::new(vec![Arc::new(link)]));
        Ok(row(OWNER, &chain.map_err(|error| GrantError::from(error).into_problem())?))
    }

    /// Puts a grant into force that is stored.
    ///
    /// # Errors
    /// What it comes from has been revoked meanwhile, or there is no room.
    pub(crate) fn insert(&self, row: HeldRow) -> Result<(), Problem> {
        let record = record(row).map_err(Problem::internal)?;
        self.granted.lock().grants.restore(record).map_err(GrantError::into_problem)
    }

    /// Whether who presents `token` may revoke the grant `id`: the token itself as they hold it, and all
    /// that derives from it.
    pub(crate) fn may_revoke(&self, token: &Token, id: &GrantId) -> bool {
        if token.links().last().is_some_and(|link| link.id() == id) {
            return true;
        }
        let granted = self.granted.lock();
        let Ok(own) = granted.grants.present(token) else { return false };
        granted.grants.get(id).is_some_and(|record| record.chain.derives_from(&own))
    }

    /// Ends a grant and all that derives from it: whatever is decided from now on is refused. Answers
    /// with what is to be stored: the id itself, and the grants that ended.
    ///
    /// # Errors
    /// There is no room for another revocation.
    pub(crate) fn revoke(&self, id: &GrantId) -> Result<Vec<RevokedRow>, Problem> {
        let mut granted = self.granted.lock();
        let end = |grants: &Grants, id: &GrantId| {
            grants.get(id).and_then(GrantRecord::link).and_then(Link::expires_at_unix_s)
        };
        let row = |grants: &Grants, id: &GrantId, ended| RevokedRow {
            id: id.to_string(),
            expires_at: end(grants, id),
            ended,
            of_service: grants
                .get(id)
                .filter(|r| r.holder.is_service())
                .map(|r| r.holder.to_string()),
        };
        let mut rows: Vec<RevokedRow> =
            granted.grants.subtree(id).map(|id| row(&granted.grants, id, true)).collect();
        if rows.iter().all(|known| known.id != id.as_str()) {
            rows.push(row(&granted.grants, id, false));
        }
        let expires_at = end(&granted.grants, id);
        let ended = granted.grants.revoke(id, expires_at).map_err(|full| {
            Problem::new(
                solo_types::ProblemKind::ResourceExhausted,
                "TOO_MANY_REVOCATIONS",
                full.to_string(),
            )
            .remedy("revoke the grant that it came from, which takes the place of all below")
        })?;
        for id in &ended {
            granted.ledger.forget(id);
        }
        drop(granted);
        self.revoked.send_modify(|count| *count += 1);
        Ok(rows)
    }

    /// Tells of revocations.
    pub(crate) fn revocations(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }

    /// Grants that are in force and of which a capability is for `object` (none: all), at most `max`.
    pub(crate) fn list(&self, object: Option<&Object>, max: usize) -> Vec<HeldRow> {
        let granted = self.granted.lock();
        let is_wanted = |record: &&GrantRecord| {
            let own = record.link().map(Link::capabilities).unwrap_or_default();
            object.is_none_or(|object| own.iter().any(|c| c.objects().matches(object)))
        };
        let records = granted.grants.iter().map(|(_, record)| record);
        records.filter(is_wanted).take(max).map(|r| row(r.holder.as_str(), &r.chain)).collect()
    }

    /// Grants that are in force for what is of `tenant` alone, beside those of services.
    pub(crate) fn held_for(&self, tenant: &str) -> usize {
        let granted = self.granted.lock();
        let is_its = |record: &GrantRecord| {
            let own = record.link().map(Link::capabilities).unwrap_or_default();
            !record.holder.is_service()
                && own.iter().any(|capability| capability.objects().tenant() == Some(tenant))
        };
        granted.grants.iter().filter(|(_, record)| is_its(record)).count()
    }

    /// Forgets what is over by itself.
    pub(crate) fn prune(&self) {
        let now_unix_s = now_unix_s();
        let mut granted = self.granted.lock();
        for id in granted.grants.prune(now_unix_s) {
            granted.ledger.forget(&id);
        }
        granted.ledger.sweep(now_unix_s);
    }
}

fn now_unix_s() -> u64 {
    clock::unix_ms() / 1_000
}

fn unknown(rule: Rule) -> GrantError {
    tracing::debug!(?rule, "A grant was asked for with a token that is not in force");
    GrantError::Expired
}
