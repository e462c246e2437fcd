//! Reach: what a principal can get at, itself and through the services that it can make act.
//!
//! A service acts with its own grants, never with its caller's. So whoever may call it, send to it or
//! replace its code has a way to what it holds. That is no right, and no decision looks at it; but who
//! is about to grant something wants to know. For explanations and dry runs, not for requests.
//!
//! Uses are not looked at: what is used up today is still within reach.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use solo_types::{Right, Rights};

use crate::{
    Chain, Context, GrantError, Grants, Ledger, Object, Principal, Proposal, Request, decide,
};

/// Links that one question may look at: a fraction of a second's work. What is beyond is left out,
/// and the answer says so.
const LINKS_LOOKED_AT_MAX: usize = 2_000_000;

/// Something that is within reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// What.
    pub object: Object,
    /// What can be done with it.
    pub rights: Rights,
    /// The service that would have to be made to do it, the nearest one of the way; `None`: the
    /// principal can do it itself.
    pub through: Option<Object>,
}

/// What is within reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What the principal can do itself first, then by the number of services in between.
    pub reached: Vec<Reached>,
    /// False: there was too much to look at, and there may be more.
    pub is_complete: bool,
}

/// What can be done with which object, and through which one; all by their places in a list.
struct Found {
    /// In order of distance.
    ways: Vec<(usize, Right, Option<usize>)>,
    is_complete: bool,
}

impl Grants {
    /// Tells what of `objects` a principal can get at.
    #[must_use]
    pub fn reachable(&self, principal: &Principal, objects: &[Object], now_unix_s: u64) -> Reach {
        self.find(principal, None, objects, now_unix_s).reach(objects, |_| true)
    }

    /// Tells what of `objects` the holder of a proposed grant could get at by it and cannot now. The
    /// dry run of [`Grants::derive`]: it changes nothing.
    ///
    /// # Errors
    /// As [`Grants::check`]: the grant would be refused.
    pub fn newly_reachable(
        &self,
        from: &Chain,
        proposal: &Proposal,
        objects: &[Object],
        now_unix_s: u64,
    ) -> Result<Reach, GrantError> {
        let chain = self.check(from, proposal, now_unix_s)?;
        let before = self.find(&proposal.holder, None, objects, now_unix_s);
        let after = self.find(&proposal.holder, Some(&chain), objects, now_unix_s);
        // What can be had directly by now is news also to who could get at it through others.
        let old: BTreeSet<(usize, Right, bool)> =
            before.ways.iter().map(|(at, right, by)| (*at, *right, by.is_none())).collect();
        let is_new = |(at, right, through): &(usize, Right, Option<usize>)| {
            !old.contains(&(*at, *right, true))
                && (through.is_none() || !old.contains(&(*at, *right, false)))
        };
        let mut reach = after.reach(objects, is_new);
        reach.is_complete &= before.is_complete;
        Ok(reach)
    }

    fn find(
        &self,
        principal: &Principal,
        extra: Option<&Chain>,
        objects: &[Object],
        now_unix_s: u64,
    ) -> Found {
        let ledger = Ledger::new();
        let context = Context { now_unix_s, ledger: &ledger, revoked: self.revoked() };
        let mut found = Found { ways: Vec::new(), is_complete: true };
        let mut known: BTreeSet<(usize, Right)> = BTreeSet::new();
        let mut asked = BTreeSet::from([principal.clone()]);
        let mut to_ask = VecDeque::from([(principal.clone(), None)]);
        let mut links_left = LINKS_LOOKED_AT_MAX;
        while let Some((principal, through)) = to_ask.pop_front() {
            let extra = extra.filter(|_| through.is_none());
            let held = self.held_by(&principal).map(|(_, record)| &record.chain).chain(extra);
            for chain in held {
                for (at, object) in objects.iter().enumerate() {
                    for right in object.kind().rights() {
                        let is_known = known.contains(&(at, right));
                        let cost = if is_known { 1 } else { chain.links().len() };
                        let Some(left) = links_left.checked_sub(cost) else {
                            found.is_complete = false;
                            return found;
                        };
                        links_left = left;
                        if is_known {
                            continue;
                        }
                        if decide(chain, Request { object, right }, context).is_err() {
                            continue;
                        }
                        known.insert((at, right));
                        found.ways.push((at, right, through));
                        if let Some(next) = acts_for(object, right)
                            && asked.insert(next.clone())
                        {
                            to_ask.push_back((next, Some(at)));
                        }
                    }
                }
            }
        }
        found
    }
}

impl Found {
    fn reach(
        self,
        objects: &[Object],
        is_wanted: impl Fn(&(usize, Right, Option<usize>)) -> bool,
    ) -> Reach {
        let mut reached: Vec<Reached> = Vec::new();
        let mut places: BTreeMap<(usize, Option<usize>), usize> = BTreeMap::new();
        for way in self.ways.iter().filter(|way| is_wanted(way)) {
            let (at, right, through) = *way;
            let Some(object) = objects.get(at) else { continue };
            let place = *places.entry((at, through)).or_insert(reached.len());
            if place == reached.len() {
                let through = through.and_then(|at| objects.get(at)).cloned();
                reached.push(Reached { object: object.clone(), rights: Rights::new(), through });
            }
            if let Some(reached) = reached.get_mut(place) {
                reached.rights.insert(right);
            }
        }
        Reach { reached, is_complete: self.is_complete }
    }
}

/// The principal that somebody with this right on this object can make act.
fn acts_for(object: &Object, right: Right) -> Option<Principal> {
    let makes_act = matches!(right, Right::Call | Right::Send | Right::Update);
    let id = object.service_id().filter(|_| makes_act)?;
    Some(Principal::service(id.parse().ok()?))
}
