//! The ledger: how much of its bounds on uses each grant has used up.
//!
//! A plain value that the caller keeps, hands to decisions and charges for what is to be done. It reads
//! no clock and does no I/O; what [`Ledger::charge`] answers with and [`Ledger::restore`] are for who
//! writes it down.
//!
//! Who holds a token can attenuate it as often as they like, each time with bounds of its own. So
//! the number of counters is bounded for each grant that Solo issued, and such a holder only gets in
//! the way of themselves.

use std::collections::BTreeMap;

use crate::constraint::min_of;
use crate::decision::Rule;
use crate::{Bill, Capability, GrantId, Link, Overdrawn, Per};

/// Capabilities with bounds on uses that are counted for one issued grant at a time.
pub const COUNTERS_PER_ACCOUNT_MAX: usize = 64;

/// Issued grants that something is counted for: ten for each of ten thousand services.
pub const ACCOUNTS_MAX: usize = 100_000;

/// A link and the place of a capability in it.
type Key = (GrantId, usize);

/// Uses in the newest window of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Counter {
    windows: BTreeMap<Per, Window>,
    /// When the capability expires; from then on the counter is of no use.
    expires_at_unix_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    number: u64,
    used: u64,
}

impl Counter {
    /// Uses in the window of now. A clock that was set back does not begin a new one.
    fn used(&self, per: Per, now_unix_s: u64) -> u64 {
        let current = |window: &&Window| window.number >= per.window(now_unix_s);
        self.windows.get(&per).filter(current).map_or(0, |window| window.used)
    }

    fn is_stale(&self, now_unix_s: u64) -> bool {
        self.expires_at_unix_s.is_some_and(|at| now_unix_s >= at)
            || self.windows.keys().all(|per| self.used(*per, now_unix_s) == 0)
    }
}

/// One row of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The issued grant that it counts for.
    pub account: GrantId,
    /// The link.
    pub link: GrantId,
    /// Place of the capability in the link.
    pub capability: usize,
    /// What is counted.
    pub per: Per,
    /// Number of the window: whole seconds, minutes, hours or days since 1970; 0 for ever.
    pub window: u64,
    /// Uses in it.
    pub used: u64,
    /// When the capability expires; `None`: never.
    pub expires_at_unix_s: Option<u64>,
}

impl Count {
    /// First second from which on the row is of no use: its window or the capability is over; `None`:
    /// neither ends.
    #[must_use]
    pub fn ends_at_unix_s(&self) -> Option<u64> {
        min_of(self.per.end_of(self.window), self.expires_at_unix_s)
    }
}

/// How much is used up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    accounts: BTreeMap<GrantId, BTreeMap<Key, Counter>>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Charges one use of each capability that is on a bill, and closes it. Either all are charged or
    /// none. Answers with the rows that changed, to be written down before anything is done.
    ///
    /// # Errors
    /// [`Overdrawn`]: what was left at the decision is used up by now. Nothing must be done then.
    pub fn charge(&mut self, bill: &mut Bill, now_unix_s: u64) -> Result<Vec<Count>, Overdrawn> {
        let charged = self.charge_all(bill, now_unix_s);
        bill.close(charged.is_ok());
        charged
    }

    fn charge_all(&mut self, bill: &Bill, now_unix_s: u64) -> Result<Vec<Count>, Overdrawn> {
        if bill.is_closed() {
            return Ok(Vec::new());
        }
        let overdrawn = |rule, link: &Link, capability: &Capability| Overdrawn {
            rule,
            link: link.id().clone(),
            capability: capability.to_string(),
        };
        let mut new_counters: BTreeMap<&GrantId, usize> = BTreeMap::new();
        for (link, at, capability) in bill.uses() {
            self.check(link, at, capability, now_unix_s)
                .map_err(|rule| overdrawn(rule, link, capability))?;
            if self.counter(link, at, now_unix_s).is_none() {
                *new_counters.entry(link.account()).or_default() += 1;
            }
        }
        let new_accounts = new_counters.keys().filter(|id| !self.accounts.contains_key(**id));
        let is_full = self.accounts.len() + new_accounts.count() > ACCOUNTS_MAX
            || !new_counters.iter().all(|(id, new)| self.has_room(id, *new, now_unix_s));
        let is_new = |link: &Link| new_counters.contains_key(link.account());
        if is_full && let Some((link, _, capability)) = bill.uses().find(|(link, ..)| is_new(link))
        {
            return Err(overdrawn(Rule::LedgerFull, link, capability));
        }
        for account in new_counters.keys() {
            if let Some(counters) = self.accounts.get_mut(*account) {
                counters.retain(|_, counter| !counter.is_stale(now_unix_s));
            }
        }
        let mut changed = Vec::new();
        for (link, at, capability) in bill.uses() {
            let account = self.accounts.entry(link.account().clone()).or_default();
            let counter = account.entry((link.id().clone(), at)).or_default();
            counter.expires_at_unix_s = capability.constraints().expires_at_unix_s();
            for per in capability.constraints().uses_max().keys() {
                let used = counter.used(*per, now_unix_s).saturating_add(1);
                let before = counter.windows.get(per).map_or(0, |window| window.number);
                let number = per.window(now_unix_s).max(before);
                counter.windows.insert(*per, Window { number, used });
                changed.push(Count {
                    account: link.account().clone(),
                    link: link.id().clone(),
                    capability: at,
                    per: *per,
                    window: number,
                    used,
                    expires_at_unix_s: counter.expires_at_unix_s,
                });
            }
        }
        Ok(changed)
    }

    /// Forgets all that was counted for an issued grant: it was revoked or is expired.
    pub fn forget(&mut self, account: &GrantId) {
        self.accounts.remove(account);
    }

    /// Drops the counters that cannot matter any more. For now and then.
    pub fn sweep(&mut self, now_unix_s: u64) {
        self.accounts.retain(|_, counters| {
            counters.retain(|_, counter| !counter.is_stale(now_unix_s));
            !counters.is_empty()
        });
    }

    /// All rows, to be written down.
    pub fn counts(&self) -> impl Iterator<Item = Count> {
        let counters = self.accounts.iter().flat_map(|(account, counters)| {
            counters.iter().map(move |(key, counter)| (account, key, counter))
        });
        counters.flat_map(|(account, (link, capability), counter)| {
            counter.windows.iter().map(move |(per, window)| Count {
                account: account.clone(),
                link: link.clone(),
                capability: *capability,
                per: *per,
                window: window.number,
                used: window.used,
                expires_at_unix_s: counter.expires_at_unix_s,
            })
        })
    }

    /// Puts back a row that was written down.
    ///
    /// # Errors
    /// [`Rule::LedgerFull`]: there is no room for it.
    pub fn restore(&mut self, count: Count) -> Result<(), Rule> {
        let key = (count.link, count.capability);
        let is_new = self.accounts.get(&count.account).is_none_or(|all| !all.contains_key(&key));
        // As of the beginning of time nothing is stale.
        if is_new && !self.has_room(&count.account, 1, 0) {
            return Err(Rule::LedgerFull);
        }
        let counter = self.accounts.entry(count.account).or_default().entry(key).or_default();
        counter.expires_at_unix_s = count.expires_at_unix_s;
        counter.windows.insert(count.per, Window { number: count.window, used: count.used });
        Ok(())
    }

    /// Tells whether one more use of a capability is within its bounds.
    pub(crate) fn check(
        &self,
        link: &Link,
        at: usize,
        capability: &Capability,
        now_unix_s: u64,
    ) -> Result<(), Rule> {
        let bounds = capability.constraints().uses_max();
        if bounds.is_empty() {
            return Ok(());
        }
        let Some(counter) = self.counter(link, at, now_unix_s) else {
            let has_room = self.has_room(link.account(), 1, now_unix_s);
            return if has_room { Ok(()) } else { Err(Rule::LedgerFull) };
        };
        // The longest window first: that is how long there is to wait.
        for (per, uses_max) in bounds.iter().rev() {
            if counter.used(*per, now_unix_s) >= *uses_max {
                let window = counter.windows.get(per).map_or(0, |window| window.number);
                let until_unix_s = per.end_of(window);
                return Err(Rule::UsedUp { per: *per, uses_max: *uses_max, until_unix_s });
            }
        }
        Ok(())
    }

    /// The counter of a capability, unless nothing in it counts any more.
    fn counter(&self, link: &Link, at: usize, now_unix_s: u64) -> Option<&Counter> {
        let counters = self.accounts.get(link.account())?;
        // Few: cheaper than to make a key that owns its id.
        let own = |((id, place), _): &(&Key, &Counter)| id == link.id() && *place == at;
        let (_, counter) = counters.iter().find(own)?;
        (!counter.is_stale(now_unix_s)).then_some(counter)
    }

    fn has_room(&self, account: &GrantId, new_counters: usize, now_unix_s: u64) -> bool {
        let Some(counters) = self.accounts.get(account) else {
            return self.accounts.len() < ACCOUNTS_MAX && new_counters <= COUNTERS_PER_ACCOUNT_MAX;
        };
        let live = counters.values().filter(|counter| !counter.is_stale(now_unix_s)).count();
        live + new_counters <= COUNTERS_PER_ACCOUNT_MAX
    }
}
