//! Uses that are counted: what a request is to be charged, and what was charged before the last start.
//!
//! Charges in memory, under the lock that decisions take, so that of those who race for the last use one
//! gets it. Who asks writes the rows down and goes on only when they are on disk.

use solo_capability::{Bill, Capability, Count, GrantId, Overdrawn, Rule, Token};
use solo_types::{Problem, ProblemKind};

use super::{Holdings, now_unix_s};
use crate::store::UsesRow;

impl Holdings {
    /// Puts back what was charged. An attenuation or a grant of which something cannot be is refused.
    pub(crate) fn restore_uses(&self, rows: Vec<UsesRow>) {
        let mut granted = self.granted.lock();
        for UsesRow { link, count } in rows {
            let restored = count.map(|count| granted.ledger.restore(count));
            if matches!(restored, Some(Ok(()))) {
                continue;
            }
            tracing::error!(link, "Uses could not be read back; what they were of is refused");
            // What is no id is in no token.
            let Ok(id) = GrantId::new(&link) else { continue };
            if let Err(error) = granted.grants.revoke(&id, None) {
                tracing::error!(link, %error, "It could not be refused");
            }
        }
    }

    /// Charges what a request owes, and closes its bill. The rows are to be on disk before anything is
    /// done for the request; if they do not get there, or it ends before that, the uses are lost.
    ///
    /// # Errors
    /// Others used up what was left at the decision, or revoked the grant.
    pub(crate) fn charge(&self, bill: &mut Bill) -> Result<Vec<Count>, Problem> {
        if bill.is_closed() {
            return Ok(Vec::new());
        }
        let mut granted = self.granted.lock();
        // A counter of a grant that is gone would never end.
        if bill.uses().any(|(link, ..)| granted.grants.get(link.account()).is_none()) {
            *bill = Bill::closed();
            let (kind, reason) = (ProblemKind::Unauthenticated, Rule::Revoked.reason());
            return Err(Problem::new(kind, reason, "the token is not in force")
                .remedy("ask for a new token (GrantCapability)"));
        }
        granted.ledger.charge(bill, now_unix_s()).map_err(Overdrawn::into_problem)
    }

    /// Decides now whether each hand of a token has left something that is `wanted`; of what is
    /// `counted` as well it notes a use.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub(crate) fn check_any(
        &self,
        token: &Token,
        bill: &mut Bill,
        wanted: impl Fn(&Capability) -> bool,
        counted: impl Fn(&Capability) -> bool,
    ) -> Result<(), Rule> {
        let granted = self.granted.lock();
        let chain = granted.grants.present(token)?;
        bill.decide_any(&chain, granted.context(now_unix_s()), wanted, counted)
    }

    /// Notes a use of everything `wanted` that a token has left, for a stream that asks later.
    pub(crate) fn note_each(
        &self,
        token: &Token,
        bill: &mut Bill,
        wanted: impl Fn(&Capability) -> bool,
    ) {
        let granted = self.granted.lock();
        // What is not in force opens nothing later either.
        if let Ok(chain) = granted.grants.present(token) {
            bill.add_each(&chain, granted.context(now_unix_s()), wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use solo_capability::{Authority, Object};
    use solo_types::{Right, Tier};

    use super::*;

    struct Fixture {
        holdings: Holdings,
        token: Arc<Token>,
        /// Of the grant.
        id: GrantId,
    }

    fn holding(key: &[u8], capabilities: &[&str]) -> Fixture {
        let holdings = Holdings::new(Authority::from_private_key_bytes(key).expect("a key"));
        let read = |text: &&str| format!("{text} until=99999999999").parse().expect("legal");
        let all: Vec<Capability> = capabilities.iter().map(read).collect();
        let minted = holdings.mint(&all).expect("signed");
        let id = GrantId::new(&minted.id).expect("an id");
        holdings.insert(holdings.first(&id, all).expect("a row")).expect("room");
        let token = holdings.verify(&minted.token).expect("signed here");
        Fixture { holdings, token, id }
    }

    fn key() -> Vec<u8> {
        Authority::generate().private_key_bytes()
    }

    impl Fixture {
        fn ask(&self, bill: &mut Bill) -> Result<(), Rule> {
            let object = Object::service("default", "x", None, Tier::User).expect("legal");
            self.holdings
                .check(&self.token, bill, &object, Right::Call)
                .map_err(|refusal| refusal.rule)
        }

        /// A whole request.
        fn call(&self) -> Option<Vec<Count>> {
            let mut bill = Bill::new();
            self.ask(&mut bill).ok()?;
            self.holdings.charge(&mut bill).ok()
        }

        fn counted(&self) -> usize {
            self.holdings.granted.lock().ledger.counts().count()
        }
    }

    #[test]
    fn those_who_race_share_what_there_is() {
        let held = holding(&key(), &["call service:default/x uses=100/ever"]);
        let done: usize = std::thread::scope(|scope| {
            let many = || (0..50).filter(|_| held.call().is_some()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(many)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(done, 100);
    }

    #[test]
    fn what_is_not_counted_is_not_charged() {
        let held =
            holding(&key(), &["call service:default/x uses=1/ever", "call service:default/*"]);
        assert!((0..3).all(|_| held.call() == Some(Vec::new())));
        assert_eq!(held.counted(), 0);
    }

    /// The count of a grant that is gone would never end.
    #[test]
    fn a_grant_that_was_revoked_since_the_decision_is_not_charged() {
        let held = holding(&key(), &["call service:default/x uses=9/ever"]);
        let mut bill = Bill::new();
        assert_eq!(held.ask(&mut bill), Ok(()));
        held.holdings.revoke(&held.id).expect("room");
        assert_eq!(held.holdings.charge(&mut bill).expect_err("revoked").reason, "TOKEN_REVOKED");
        assert_eq!((held.counted(), bill.uses().count()), (0, 0));
    }

    #[test]
    fn what_was_charged_is_charged_after_a_start() {
        let key = key();
        let start = || holding(&key, &["call service:default/x uses=2/ever"]);
        let first = start();
        let counts = first.call().expect("within its bound");
        for uses in 0..=2 {
            let next = start();
            let mut count = counts[0].clone();
            (count.account, count.link, count.used) = (next.id.clone(), next.id.clone(), uses);
            let row = UsesRow { link: next.id.to_string(), count: Some(count) };
            next.holdings.restore_uses(vec![row]);
            let left = (0..5).filter(|_| next.call().is_some()).count();
            assert_eq!(left as u64, 2 - uses);
        }
        // One that cannot be read is never taken for none.
        let next = start();
        let unreadable = |link: &str| UsesRow { link: link.to_owned(), count: None };
        next.holdings.restore_uses(vec![unreadable("no id"), unreadable(next.id.as_str())]);
        assert_eq!(next.ask(&mut Bill::new()), Err(Rule::Revoked));
    }
}
