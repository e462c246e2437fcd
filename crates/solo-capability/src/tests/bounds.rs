//! Bounds that are exceeded, and records that no honest caller makes.

use std::sync::Arc;

use solo_types::Right;

use super::samples::*;
use crate::*;

fn grant(name: &str, holder: &str) -> Proposal {
    let holder = Principal::new(holder).expect("legal");
    Proposal { id: id(name), holder, capabilities: vec![capability("call,grant service:a/*")] }
}

#[test]
fn grants_of_a_node_are_bounded() {
    let mut grants = Grants::new();
    for number in 0..GRANTS_MAX {
        let holder = format!("p{}", number / HELD_MAX);
        grants.issue(grant(&format!("g{number}"), &holder)).expect("room");
    }
    let full = Some(GrantError::Full { grants_max: GRANTS_MAX });
    assert_eq!(grants.issue(grant("more", "other")).err(), full);
    assert!(grants.revoke(&id("g7"), Some(NOW)).is_ok());
    assert!(grants.issue(grant("more", "other")).is_ok());
}

#[test]
fn a_ledger_is_bounded() {
    let mut ledger = Ledger::new();
    let count = |account: &str| Count {
        account: id(account),
        link: id(account),
        capability: 0,
        per: Per::Ever,
        window: 0,
        used: 1,
        expires_at_unix_s: None,
    };
    for number in 0..ACCOUNTS_MAX {
        ledger.restore(count(&format!("g{number}"))).expect("room");
    }
    assert_eq!(ledger.restore(count("more")), Err(Rule::LedgerFull));
    let link = link("more", &["call service:a/x uses=1/ever"]);
    let chain = Chain::new(vec![link]).expect("one");
    let object = service("a", "x", 1);
    let request = Request { object: &object, right: Right::Call };
    let revoked = Revocations::new();
    let context = Context { now_unix_s: NOW, ledger: &ledger, revoked: &revoked };
    assert_eq!(decide(&chain, request, context).expect_err("full").rule, Rule::LedgerFull);
    let empty = Ledger::new();
    let allowed = decide(&chain, request, Context { ledger: &empty, ..context }).expect("allowed");
    assert_eq!(charge(&mut ledger, &allowed, NOW), Err(Rule::LedgerFull));
    ledger.forget(&id("g7"));
    assert_eq!(charge(&mut ledger, &allowed, NOW), Ok(()));
}

/// A chain may bring more than one new counter to an account.
#[test]
fn new_counters_of_one_chain_are_counted_together() {
    let capabilities = || vec![capability("call service:a/x uses=9/ever")];
    let attenuation = |name: &str| {
        Arc::new(Link::attenuation(id(name), id("root"), capabilities()).expect("few"))
    };
    let mut ledger = Ledger::new();
    for number in 1..COUNTERS_PER_ACCOUNT_MAX {
        let count = Count {
            account: id("root"),
            link: id(&format!("a{number}")),
            capability: 0,
            per: Per::Ever,
            window: 0,
            used: 1,
            expires_at_unix_s: None,
        };
        ledger.restore(count).expect("room");
    }
    let root = Chain::new(vec![link("root", &["call service:a/*"])]).expect("one");
    let object = service("a", "x", 1);
    let allowed = |links: Vec<Arc<Link>>| {
        let (empty, revoked) = (Ledger::new(), Revocations::new());
        let context = Context { now_unix_s: NOW, ledger: &empty, revoked: &revoked };
        let chain = root.then(links).expect("few");
        decide(&chain, Request { object: &object, right: Right::Call }, context).expect("allowed")
    };
    let two = allowed(vec![attenuation("b1"), attenuation("b2")]);
    assert_eq!(charge(&mut ledger, &two, NOW), Err(Rule::LedgerFull));
    assert_eq!(charge(&mut ledger, &allowed(vec![attenuation("b1")]), NOW), Ok(()));
}

#[test]
fn texts_are_bounded() {
    let long = |chars_max| ModelError::TooLong { chars_max };
    let spaces = format!("call service:a/x{}", " ".repeat(5_000));
    assert_eq!(spaces.parse::<Capability>(), Err(long(2_560)));
    let parts = "network:".to_owned() + &"a/".repeat(2_000);
    assert_eq!(parts.parse::<Object>(), Err(long(2_048)));
    assert_eq!(parts.parse::<ObjectPattern>(), Err(long(2_048)));
    for name in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(129)] {
        assert!(Principal::new(name).is_err(), "{name}");
    }
}

#[test]
fn what_was_never_issued_grants_nothing() {
    let mut grants = Grants::new();
    let ghost = Chain::new(vec![link("ghost", &["call,grant service:a/*"])]).expect("one");
    let ended = Err(GrantError::Ended { link: id("ghost") });
    assert_eq!(grants.check(&ghost, &grant("child", "bob"), NOW), ended);
    let root = grants.issue(grant("root", "alice")).expect("room").chain.clone();
    let own = Link::attenuation(id("own"), id("root"), vec![capability("call service:a/x")]);
    let chain = root.then([Arc::new(own.expect("few"))]).expect("few");
    let holder = Principal::new("bob").expect("legal");
    assert_eq!(grants.restore(GrantRecord { holder, chain }), Err(GrantError::NotIssued));
    assert_eq!(grants.issue(grant("root", "bob")).err(), Some(GrantError::IdTaken));
    for error in [GrantError::NotIssued, GrantError::IdTaken, GrantError::Expired] {
        assert!(!error.into_problem().remedy.is_empty());
    }
}

/// The record of a grant and its token are written by one node; if they differ, one is not right.
#[test]
fn a_token_that_differs_from_its_record_is_unknown() {
    let authority = Authority::generate();
    let minted = authority.mint_token(&[capability("call,kill service:a/* until=1800000060")]);
    let minted = minted.expect("can be minted");
    let token = authority.verify_token(&minted.token).expect("ours");
    let mut grants = Grants::new();
    grants.issue(grant(&minted.id, "alice")).expect("room");
    assert_eq!(grants.present(&token), Err(Rule::UnknownGrant));
}
