//! Bills: one request takes one use of each capability, however often it is decided on.

use std::sync::Arc;

use solo_types::Right;

use super::samples::*;
use crate::*;

/// What requests are decided by.
struct Node {
    ledger: Ledger,
    revoked: Revocations,
}

impl Node {
    fn new() -> Self {
        Self { ledger: Ledger::new(), revoked: Revocations::new() }
    }

    fn context(&self) -> Context<'_> {
        Context { now_unix_s: NOW, ledger: &self.ledger, revoked: &self.revoked }
    }

    fn ask(&self, bill: &mut Bill, chain: &Chain, name: &str, right: Right) -> Result<(), Rule> {
        let object = service("a", name, 1);
        let request = Request { object: &object, right };
        bill.decide(chain, request, self.context()).map(drop).map_err(|refusal| refusal.rule)
    }

    /// A whole request, for one object.
    fn call(&mut self, chain: &Chain, name: &str) -> Result<(), Rule> {
        let mut bill = Bill::new();
        self.ask(&mut bill, chain, name, Right::Call)?;
        self.ledger.charge(&mut bill, NOW).map(drop).map_err(|overdrawn| overdrawn.rule)
    }
}

fn one(capabilities: &[&str]) -> Chain {
    Chain::new(vec![link("g", capabilities)]).expect("one")
}

fn used_up(uses_max: u64) -> Rule {
    Rule::UsedUp { per: Per::Ever, uses_max, until_unix_s: None }
}

#[test]
fn many_decisions_of_a_request_take_one_use() {
    let mut node = Node::new();
    let chain = one(&["read,call service:a/x* uses=2/ever"]);
    let mut bill = Bill::new();
    for (name, right) in [("x", Right::Read), ("x", Right::Call), ("xy", Right::Read)] {
        assert_eq!(node.ask(&mut bill, &chain, name, right), Ok(()));
    }
    let rows = node.ledger.charge(&mut bill, NOW).expect("two are left");
    assert_eq!(rows.iter().map(|row| row.used).collect::<Vec<_>>(), [1]);
    assert_eq!(rows, node.ledger.counts().collect::<Vec<_>>());
    // Charged again it costs nothing more.
    assert_eq!(node.ledger.charge(&mut bill, NOW), Ok(Vec::new()));
    assert_eq!(node.call(&chain, "x"), Ok(()));
    assert_eq!(node.call(&chain, "x"), Err(used_up(2)));
}

/// A stream asks again and again; what it was opened by stays open to it, and nothing else.
#[test]
fn what_is_paid_stays_open_and_nothing_else_opens() {
    let mut node = Node::new();
    let chain = one(&["read service:a/x uses=1/ever", "read service:a/y uses=9/ever"]);
    let mut bill = Bill::new();
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Ok(()));
    node.ledger.charge(&mut bill, NOW).expect("the first");
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Ok(()));
    assert_eq!(node.ask(&mut bill, &chain, "y", Right::Read), Err(Rule::Counted));
    assert_eq!(bill.uses().count(), 1);
    node.revoked.insert(id("g"), None).expect("room");
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Err(Rule::Revoked));
}

#[test]
fn what_was_not_paid_does_not_open() {
    let mut node = Node::new();
    let chain = one(&["read,call service:a/x uses=1/ever"]);
    let mut bill = Bill::new();
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Ok(()));
    assert_eq!(node.call(&chain, "x"), Ok(()));
    let overdrawn = node.ledger.charge(&mut bill, NOW).expect_err("somebody was faster");
    assert_eq!((overdrawn.rule, &overdrawn.link), (used_up(1), &id("g")));
    let problem = overdrawn.into_problem();
    assert_eq!(problem.reason, "USES_EXCEEDED");
    assert!(problem.cause.contains("1 in all") && problem.remedy.contains("uses=1/ever"));
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Err(Rule::Counted));
    assert_eq!(node.ask(&mut Bill::closed(), &chain, "x", Right::Read), Err(Rule::Counted));
    let free = one(&["read service:a/x", "read service:a/x uses=1/ever"]);
    assert_eq!(node.ask(&mut Bill::closed(), &free, "x", Right::Read), Ok(()));
}

/// Another one that fits is not used while one is on the bill.
#[test]
fn what_is_on_the_bill_goes_before_what_is_not() {
    let node = Node::new();
    let chain = one(&["read service:a/x uses=9/ever", "call,read service:a/* uses=9/ever"]);
    let mut bill = Bill::new();
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Call), Ok(()));
    assert_eq!(node.ask(&mut bill, &chain, "x", Right::Read), Ok(()));
    assert_eq!(bill.uses().map(|(_, at, _)| at).collect::<Vec<_>>(), [1]);
}

/// Children share what their parent has, whoever made them.
#[test]
fn children_share_the_bound_of_their_parent() {
    let mut node = Node::new();
    let root = one(&["call service:a/* uses=3/ever"]);
    let child = |name: &str, uses: &str| {
        let capabilities = vec![capability(&format!("call service:a/x uses={uses}"))];
        let own = Link::attenuation(id(name), id("g"), capabilities).expect("few");
        root.then([Arc::new(own)]).expect("few")
    };
    let (one, other) = (child("one", "1/ever"), child("other", "9/ever"));
    assert_eq!(node.call(&one, "x"), Ok(()));
    assert_eq!(node.call(&one, "x"), Err(used_up(1)));
    assert_eq!(node.call(&other, "x"), Ok(()));
    assert_eq!(node.call(&root, "y"), Ok(()));
    assert_eq!(node.call(&other, "x"), Err(used_up(3)));
}

#[test]
fn what_no_object_stands_for_counts_what_it_is_told_to() {
    let mut node = Node::new();
    let chain = one(&["deploy service:a/x uses=1/ever", "write artifact:* uses=1/ever"]);
    let is = |right: Right| move |capability: &Capability| capability.rights().contains(&right);
    let mut bill = Bill::new();
    let asked = bill.decide_any(&chain, node.context(), is(Right::Deploy), |_| false);
    assert_eq!((asked, bill.uses().count()), (Ok(()), 0));
    let asked = bill.decide_any(&chain, node.context(), is(Right::Write), |_| true);
    assert_eq!((asked, bill.uses().count()), (Ok(()), 1));
    node.ledger.charge(&mut bill, NOW).expect("the first");
    let mut next = Bill::new();
    let asked = next.decide_any(&chain, node.context(), is(Right::Write), |_| true);
    assert_eq!(asked, Err(used_up(1)));
    let asked = next.decide_any(&chain, node.context(), is(Right::Kill), |_| true);
    assert_eq!(asked, Err(Rule::Object));
    // Of many, those that have uses left.
    let mut each = Bill::new();
    each.add_each(&chain, node.context(), |_| true);
    assert_eq!(each.uses().map(|(_, at, _)| at).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_refusal_tells_the_bound_and_the_end_of_the_window() {
    let mut node = Node::new();
    let chain = one(&["call service:a/x uses=1/minute,1/hour"]);
    assert_eq!(node.call(&chain, "x"), Ok(()));
    let object = service("a", "x", 1);
    let request = Request { object: &object, right: Right::Call };
    let refusal = decide(&chain, request, node.context()).expect_err("used up");
    // The longer of both: before that there is nothing to be had.
    let until = (NOW / 3_600 + 1) * 3_600;
    let rule = Rule::UsedUp { per: Per::Hour, uses_max: 1, until_unix_s: Some(until) };
    assert_eq!(refusal.rule, rule);
    let problem = refusal.into_problem();
    let until = until.to_string();
    assert!(problem.cause.contains("1 per hour") && problem.cause.contains(&until), "{problem:?}");
    assert!(problem.remedy.contains(&until), "{problem:?}");
}

#[test]
fn a_row_ends_with_its_window_or_with_the_capability() {
    let mut node = Node::new();
    let until = NOW + 60;
    let text = format!("call service:a/x uses=9/second,9/minute,9/hour,9/day,9/ever until={until}");
    assert_eq!(node.call(&one(&[&text]), "x"), Ok(()));
    let ends: Vec<_> = node.ledger.counts().map(|row| row.ends_at_unix_s()).collect();
    assert_eq!(ends, [NOW + 1, NOW + 60, until, until, until].map(Some));
    let mut node = Node::new();
    assert_eq!(node.call(&one(&["call service:a/x uses=9/ever"]), "x"), Ok(()));
    assert_eq!(node.ledger.counts().next().and_then(|row| row.ends_at_unix_s()), None);
}
