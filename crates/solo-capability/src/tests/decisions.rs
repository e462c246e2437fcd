//! Decisions: they narrow, whatever the order; what is expired, revoked or used up never passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use solo_types::{ProblemKind, Right, Tier};

use super::samples::*;
use crate::*;

/// Decides with nothing used up and nothing revoked.
fn ask(chain: &Chain, object: &Object, right: Right) -> Decision {
    let (ledger, revoked) = (Ledger::new(), Revocations::new());
    let context = Context { now_unix_s: NOW, ledger: &ledger, revoked: &revoked };
    decide(chain, Request { object, right }, context)
}

fn chain(links: &[&[&str]]) -> Chain {
    let link = |(at, texts): (usize, &&[&str])| link(&format!("g{at}"), texts);
    Chain::new(links.iter().enumerate().map(link).collect()).expect("few")
}

#[test]
fn a_refusal_names_the_grant_the_rule_and_what_is_needed() {
    let late = NOW + 60;
    let first = format!("read,call,kill service:a/* until={late} uses=5/minute");
    for (second, object, right, rule) in [
        ("call service:b/*", service("a", "x", 1), Right::Call, Rule::Object),
        ("call service:a/x/0000beef-2", service("a", "x", 1), Right::Call, Rule::Object),
        ("read service:a/*", service("a", "x", 1), Right::Call, Rule::Right),
        ("read service:a/*", service("b", "x", 1), Right::Read, Rule::Object),
        (
            "call service:a/* until=1800000000",
            service("a", "x", 1),
            Right::Call,
            Rule::Expired { at_unix_s: NOW },
        ),
        (
            "kill service:a/*",
            Object::service("a", "x", None, Tier::System).expect("legal"),
            Right::Kill,
            Rule::Tier,
        ),
    ] {
        let chain = chain(&[&[&first], &[second]]);
        let refusal = ask(&chain, &object, right).expect_err(second);
        assert_eq!(refusal.rule, rule, "{second}");
        assert!(refusal.link.is_some() && !refusal.needed().is_empty());
        let problem = refusal.clone().into_problem();
        assert_eq!(problem.reason, rule.reason());
        assert!(problem.remedy.contains("it takes"), "{problem:?}");
    }
    let allowed = ask(&chain(&[&[&first]]), &service("a", "x", 1), Right::Call).expect("allowed");
    assert!(allowed.to_string().contains("grant g0"), "{allowed}");
}

/// Otherwise who sends requests could find out what there is.
#[test]
fn problems_do_not_tell_what_was_missing() {
    let chain = chain(&[&["call service:a/x/0000beef-1"]]);
    let existing = Object::service("a", "x", Some(service_id(1)), Tier::User).expect("legal");
    let absent = Object::service("a", "x", Some(service_id(2)), Tier::User).expect("legal");
    let reasons = [&existing, &absent].map(|object| {
        let problem = ask(&chain, object, Right::Kill).expect_err("refused").into_problem();
        (problem.kind, problem.reason)
    });
    assert_eq!(reasons[0], (ProblemKind::PermissionDenied, "RIGHT_MISSING".to_owned()));
    assert_eq!(reasons[0], reasons[1]);
}

#[test]
fn chains_and_links_are_bounded() {
    let one = capability("call service:a/x");
    let many = vec![one.clone(); CAPABILITIES_MAX + 1];
    assert_eq!(Link::issued(id("g"), many), Err(ChainError::Capabilities));
    assert_eq!(Link::issued(id("g"), Vec::new()), Err(ChainError::Capabilities));
    let link = link("g", &["call service:a/x"]);
    assert_eq!(Chain::new(Vec::new()), Err(ChainError::Links));
    let full = Chain::new(vec![Arc::clone(&link); LINKS_MAX]).expect("just fits");
    assert_eq!(full.then([link]), Err(ChainError::Links));
    for text in ["", "a b", "ä", "a\"b", &"x".repeat(129)] {
        assert!(GrantId::new(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_unbounded_is_used_first() {
    let chain = chain(&[&["call service:a/x uses=1/ever", "call service:a/*"]]);
    let allowed = ask(&chain, &service("a", "x", 1), Right::Call).expect("allowed");
    let mut ledger = Ledger::new();
    charge(&mut ledger, &allowed, NOW).expect("nothing to charge");
    assert_eq!(ledger, Ledger::new());
}

#[test]
fn a_charge_that_comes_too_late_takes_nothing() {
    let chain = chain(&[&["call service:a/x uses=9/ever"], &["call service:a/x uses=1/ever"]]);
    let object = service("a", "x", 1);
    let first = ask(&chain, &object, Right::Call).expect("allowed");
    let second = first.clone();
    let mut ledger = Ledger::new();
    charge(&mut ledger, &first, NOW).expect("the first");
    let before = ledger.clone();
    let rule = charge(&mut ledger, &second, NOW).expect_err("used up");
    assert_eq!(rule, Rule::UsedUp { per: Per::Ever, uses_max: 1, until_unix_s: None });
    assert_eq!(ledger, before);
}

#[test]
fn a_clock_that_is_set_back_frees_nothing() {
    let chain = chain(&[&["call service:a/x uses=1/minute"]]);
    let allowed = ask(&chain, &service("a", "x", 1), Right::Call).expect("allowed");
    let mut ledger = Ledger::new();
    charge(&mut ledger, &allowed, NOW).expect("the first");
    assert!(charge(&mut ledger, &allowed, NOW - 600).is_err());
    assert!(charge(&mut ledger, &allowed, NOW + 60).is_ok());
}

/// A holder makes attenuations without end, each with a bound of its own.
#[test]
fn attenuations_fill_only_their_own_account() {
    let object = service("a", "x", 1);
    let attenuated = |account: &str, number: usize, uses: &str| {
        let root = link(account, &["call service:a/*"]);
        let capabilities = vec![capability(&format!("call service:a/x uses={uses}"))];
        let id = id(&format!("{account}-{number}"));
        let own = Link::attenuation(id, root.id().clone(), capabilities).expect("few");
        Chain::new(vec![root, Arc::new(own)]).expect("few")
    };
    let mut ledger = Ledger::new();
    let mut call = |chain: &Chain, now_unix_s| {
        let revoked = Revocations::new();
        let context = Context { now_unix_s, ledger: &ledger, revoked: &revoked };
        let request = Request { object: &object, right: Right::Call };
        let allowed = decide(chain, request, context).map_err(|refusal| refusal.rule)?;
        charge(&mut ledger, &allowed, now_unix_s)
    };
    for number in 0..COUNTERS_PER_ACCOUNT_MAX {
        assert_eq!(call(&attenuated("g", number, "5/minute"), NOW), Ok(()), "{number}");
    }
    let one_more = attenuated("g", 1_000, "5/minute");
    assert_eq!(call(&one_more, NOW), Err(Rule::LedgerFull));
    // Those that are counted already go on, and so do others.
    assert_eq!(call(&attenuated("g", 0, "5/minute"), NOW), Ok(()));
    assert_eq!(call(&attenuated("h", 0, "5/minute"), NOW), Ok(()));
    // The next minute their counters are of no use any more.
    assert_eq!(call(&one_more, NOW + 60), Ok(()));
    ledger.sweep(NOW + 600);
    assert_eq!(ledger, Ledger::new());
}

#[test]
fn a_ledger_survives_being_written_down() {
    let chain =
        chain(&[&["call service:a/x uses=9/ever,3/day"], &["call service:*/* uses=2/hour"]]);
    let object = service("a", "x", 1);
    let mut ledger = Ledger::new();
    let allowed = ask(&chain, &object, Right::Call).expect("allowed");
    charge(&mut ledger, &allowed, NOW).expect("the first");
    let mut again = Ledger::new();
    for count in ledger.counts() {
        again.restore(count).expect("room");
    }
    assert_eq!(again, ledger);
    let mut count = ledger.counts().next().expect("a row");
    for number in 1..COUNTERS_PER_ACCOUNT_MAX {
        count.capability = number;
        again.restore(count.clone()).expect("room");
    }
    count.capability = 10_000;
    assert_eq!(again.restore(count), Err(Rule::LedgerFull));
    again.forget(&id("g0"));
    assert_eq!(again.counts().count(), 1);
}

proptest! {
    #[test]
    fn attenuation_never_widens(
        links in links(true), more in prop::collection::vec(any_capability(true), 1..6),
    ) {
        let before = chain_of(&links);
        let own = Link::issued(id("more"), more.clone()).expect("few");
        let after = before.then([Arc::new(own)]).expect("few");
        for object in objects() {
            for right in object.kind().rights() {
                for now in MOMENTS {
                    let by_more = allows(&chain_of(std::slice::from_ref(&more)), &object, right, now);
                    let expected = allows(&before, &object, right, now) && by_more;
                    prop_assert_eq!(allows(&after, &object, right, now), expected);
                }
            }
        }
    }

    #[test]
    fn the_order_of_links_never_matters(
        links in links(true),
        shuffle in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
        object in object(),
        used in 0..4_u64,
        now in prop::sample::select(MOMENTS.to_vec()),
        revoked in prop::option::of(0..5_usize),
    ) {
        let chain = chain_of(&links);
        let order = shuffle.iter().filter_map(|at| chain.links().get(*at).cloned());
        let shuffled = Chain::new(order.collect()).expect("few");
        let mut ledger = Ledger::new();
        for (at, link) in chain.links().iter().enumerate().filter(|_| used > 0) {
            let per = Per::ALL[at % 5];
            let count = Count {
                account: link.id().clone(),
                link: link.id().clone(),
                capability: 0,
                per,
                window: per.window(now),
                used,
                expires_at_unix_s: None,
            };
            ledger.restore(count).expect("room");
        }
        let mut revocations = Revocations::new();
        if let Some(at) = revoked {
            revocations.insert(id(&format!("g{at}")), None).expect("room");
        }
        let context = Context { now_unix_s: now, ledger: &ledger, revoked: &revocations };
        for right in object.kind().rights() {
            let request = Request { object: &object, right };
            match (decide(&chain, request, context), decide(&shuffled, request, context)) {
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                (Ok(one), Ok(other)) => {
                    let by = |allowed: &Allowed| -> BTreeMap<GrantId, usize> {
                        allowed.uses().map(|(link, at, _)| (link.id().clone(), at)).collect()
                    };
                    prop_assert_eq!(by(&one), by(&other));
                    prop_assert_eq!(one.uses().count(), chain.links().len());
                }
                (one, other) => prop_assert!(false, "{:?} and {:?}", one, other),
            }
        }
    }

    #[test]
    fn expired_and_revoked_never_pass(
        links in links(false), at: prop::sample::Index, object in object(), ahead in 0_u64..100,
    ) {
        let chain = chain_of(&links);
        let link = &chain.links()[at.index(links.len())];
        let mut revoked = Revocations::new();
        revoked.insert(link.id().clone(), Some(NOW)).expect("room");
        let (ledger, none) = (Ledger::new(), Revocations::new());
        for right in object.kind().rights() {
            let request = Request { object: &object, right };
            let context = Context { now_unix_s: NOW, ledger: &ledger, revoked: &revoked };
            let refusal = decide(&chain, request, context).expect_err("revoked");
            prop_assert_eq!(refusal.rule, Rule::Revoked);
            prop_assert_eq!(refusal.link.as_ref(), Some(link.id()));
            if let Some(end) = link.expires_at_unix_s() {
                let now_unix_s = end + ahead;
                let context = Context { now_unix_s, ledger: &ledger, revoked: &none };
                prop_assert!(decide(&chain, request, context).is_err());
            }
        }
    }

    #[test]
    fn the_effective_capabilities_allow_what_the_chain_allows(links in links(false)) {
        let chain = chain_of(&links);
        let Some(effective) = chain.effective(10_000) else { return Ok(()) };
        prop_assert!(effective.len() <= 1 || chain.effective(effective.len() - 1).is_none());
        for object in objects() {
            for right in object.kind().rights() {
                for now in MOMENTS {
                    let covers = |c: &Capability| {
                        c.covers(&object, right) && !c.constraints().is_expired(now)
                    };
                    let expected = allows(&chain, &object, right, now);
                    prop_assert_eq!(effective.iter().any(covers), expected);
                }
            }
        }
    }

    /// Against a model that remembers every use.
    #[test]
    fn uses_are_never_exceeded(
        bounds in prop::collection::vec(constraints(true), 1..4),
        steps in prop::collection::vec((0_u64..4, prop::bool::weighted(0.1)), 1..40),
    ) {
        let own = |constraints: &Constraints| {
            vec![capability("call service:a/x").with_constraints(constraints.clone())]
        };
        let chain = chain_of(&bounds.iter().map(own).collect::<Vec<_>>());
        let object = service("a", "x", 1);
        let (mut ledger, revoked, mut done) = (Ledger::new(), Revocations::new(), Vec::new());
        let mut now_unix_s = NOW;
        for (ahead, sweep) in steps {
            now_unix_s += ahead * ahead * 7;
            if sweep {
                ledger.sweep(now_unix_s);
            }
            let fits = |bound: &Constraints| {
                let used = |per: &Per| {
                    let window = per.window(now_unix_s);
                    done.iter().filter(|at| per.window(**at) == window).count() as u64
                };
                !bound.is_expired(now_unix_s)
                    && bound.uses_max().iter().all(|(per, uses_max)| used(per) < *uses_max)
            };
            let expected = bounds.iter().all(fits);
            let context = Context { now_unix_s, ledger: &ledger, revoked: &revoked };
            let decision = decide(&chain, Request { object: &object, right: Right::Call }, context);
            prop_assert_eq!(decision.is_ok(), expected);
            if let Ok(allowed) = decision {
                prop_assert_eq!(charge(&mut ledger, &allowed, now_unix_s), Ok(()));
                done.push(now_unix_s);
            }
        }
    }
}
