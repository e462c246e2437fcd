//! Grants: nobody grants more than they hold, revocation takes the whole subtree, and reach is told.

use std::collections::BTreeSet;

use proptest::prelude::*;
use solo_types::Right;

use super::samples::*;
use crate::*;

fn principal(name: &str) -> Principal {
    Principal::new(name).expect("legal")
}

fn proposal(name: &str, holder: &str, capabilities: &[&str]) -> Proposal {
    Proposal {
        id: id(name),
        holder: principal(holder),
        capabilities: capabilities.iter().map(|text| capability(text)).collect(),
    }
}

fn issue(grants: &mut Grants, name: &str, holder: &str, capabilities: &[&str]) -> Chain {
    grants.issue(proposal(name, holder, capabilities)).expect("room").chain.clone()
}

fn derive(grants: &mut Grants, from: &Chain, name: &str, holder: &str, capability: &str) -> Chain {
    let proposal = proposal(name, holder, &[capability]);
    grants.derive(from, proposal, NOW).expect("within").chain.clone()
}

fn explain(grants: &Grants, holder: &str, right: Right, object: &Object) -> Decision {
    let request = Request { object, right };
    grants.explain(&principal(holder), request, &Ledger::new(), NOW)
}

#[test]
fn nobody_grants_more_than_they_hold() {
    let mut grants = Grants::new();
    let held = "read,call,grant service:a/x* until=1800000060 uses=5/minute";
    let from = issue(&mut grants, "root", "alice", &[held, "send service:a/x"]);
    for (wanted, reason) in [
        ("call service:a/x until=1800000060 uses=5/minute", None),
        ("call,grant service:a/xy/0000beef-1 until=1800000001 uses=1/minute,1/ever", None),
        ("call service:a/* until=1800000060 uses=5/minute", Some("GRANT_WIDER")),
        ("call service:*/x until=1800000060 uses=5/minute", Some("GRANT_WIDER")),
        ("kill service:a/x until=1800000060 uses=5/minute", Some("GRANT_WIDER")),
        ("call service:a/x uses=5/minute", Some("GRANT_WIDER")),
        ("call service:a/x until=1800000061 uses=5/minute", Some("GRANT_WIDER")),
        ("call service:a/x until=1800000060 uses=6/minute", Some("GRANT_WIDER")),
        ("call service:a/x until=1800000060", Some("GRANT_WIDER")),
        ("call service:a/x tier=system until=1800000060 uses=5/minute", Some("GRANT_WIDER")),
        ("call,send service:a/x until=1800000060 uses=5/minute", Some("GRANT_WIDER")),
        ("send service:a/x", Some("GRANT_NOT_PASSED_ON")),
        ("call service:a/x until=1800000000 uses=5/minute", Some("INVALID_TTL")),
    ] {
        let proposal = proposal("child", "bob", &[wanted]);
        let outcome = grants.check(&from, &proposal, NOW).map_err(GrantError::into_problem);
        assert_eq!(outcome.err().map(|problem| problem.reason).as_deref(), reason, "{wanted}");
    }
    let late = proposal("child", "bob", &["call service:a/x until=1800000060 uses=5/minute"]);
    let ended = grants.check(&from, &late, NOW + 60);
    assert_eq!(ended, Err(GrantError::Ended { link: id("root") }));
    // One that is too wide spoils the others.
    let two = ["call service:a/x until=1800000060 uses=5/minute", "kill service:a/x"];
    assert!(grants.derive(&from, proposal("child", "bob", &two), NOW).is_err());
    assert_eq!(grants.iter().count(), 1);
}

#[test]
fn an_attenuated_grantor_grants_only_what_is_left() {
    let mut grants = Grants::new();
    let root = issue(&mut grants, "root", "alice", &["read,call,grant service:a/*"]);
    let narrow = |name: &str, text: &str| {
        let link = Link::attenuation(id(name), id("root"), vec![capability(text)]);
        root.then([std::sync::Arc::new(link.expect("few"))]).expect("few")
    };
    let from = narrow("narrow", "call,grant service:a/x");
    let outcome = |chain: &Chain, text: &str| {
        grants.check(chain, &proposal("child", "bob", &[text]), NOW).map(|_| ())
    };
    assert_eq!(outcome(&from, "call service:a/x"), Ok(()));
    assert!(
        matches!(outcome(&from, "read service:a/x"), Err(GrantError::Wider { link, .. }) if link == id("narrow"))
    );
    let kept = narrow("kept", "call service:a/x");
    assert!(matches!(outcome(&kept, "call service:a/x"), Err(GrantError::NotPassedOn { .. })));
    // Revoking the attenuation ends what was granted by it, and nothing else.
    derive(&mut grants, &from, "child", "bob", "call service:a/x");
    derive(&mut grants, &root, "other", "carol", "call service:a/x");
    assert_eq!(grants.revoke(&id("narrow"), Some(NOW + 60)), Ok(vec![id("child")]));
    assert!(explain(&grants, "bob", Right::Call, &service("a", "x", 1)).is_err());
    assert!(explain(&grants, "carol", Right::Call, &service("a", "x", 1)).is_ok());
    let ended = grants.check(&from, &proposal("again", "bob", &["call service:a/x"]), NOW);
    assert_eq!(ended, Err(GrantError::Ended { link: id("narrow") }));
}

#[test]
fn revocation_takes_the_subtree_and_leaves_the_rest() {
    let mut grants = Grants::new();
    let all = "call,grant service:a/*";
    let root = issue(&mut grants, "root", "alice", &[all]);
    let left = derive(&mut grants, &root, "left", "bob", all);
    let leaf = derive(&mut grants, &left, "leaf", "carol", "call service:a/x");
    let right = derive(&mut grants, &root, "right", "dave", all);
    assert!(leaf.derives_from(&left) && leaf.derives_from(&root) && !leaf.derives_from(&right));
    assert!(!left.derives_from(&leaf));
    assert_eq!(grants.subtree(&id("left")).collect::<Vec<_>>(), [&id("leaf"), &id("left")]);
    assert_eq!(grants.revoke(&id("left"), None), Ok(vec![id("leaf"), id("left")]));
    let object = service("a", "x", 1);
    for (holder, allowed) in [("alice", true), ("bob", false), ("carol", false), ("dave", true)] {
        assert_eq!(explain(&grants, holder, Right::Call, &object).is_ok(), allowed, "{holder}");
    }
    // Who kept the old chain has no use of it, nor can anything be derived from it.
    let (ledger, now_unix_s) = (Ledger::new(), NOW);
    let context = Context { now_unix_s, ledger: &ledger, revoked: grants.revoked() };
    let refusal = decide(&leaf, Request { object: &object, right: Right::Call }, context);
    assert_eq!(refusal.expect_err("revoked").rule, Rule::Revoked);
    let again = grants.derive(&left, proposal("new", "bob", &[all]), NOW);
    assert!(matches!(again, Err(GrantError::Ended { .. })));
    // Nor does an id come back.
    assert_eq!(grants.issue(proposal("left", "bob", &[all])).err(), Some(GrantError::IdTaken));
    let record = GrantRecord { holder: principal("carol"), chain: leaf };
    assert!(grants.restore(record).is_err());
}

#[test]
fn an_explanation_names_the_nearest_grant() {
    let mut grants = Grants::new();
    let object = service("a", "x", 1);
    let rule = |grants: &Grants| explain(grants, "bob", Right::Kill, &object).expect_err("no").rule;
    assert_eq!(rule(&grants), Rule::NothingHeld);
    issue(&mut grants, "g1", "bob", &["kill service:b/*"]);
    assert_eq!(rule(&grants), Rule::Object);
    issue(&mut grants, "g2", "bob", &["read service:a/*"]);
    issue(&mut grants, "g3", "bob", &["kill service:c/*"]);
    assert_eq!(rule(&grants), Rule::Right);
    issue(&mut grants, "g4", "alice", &["kill service:a/*"]);
    assert_eq!(rule(&grants), Rule::Right);
    issue(&mut grants, "g5", "bob", &["kill service:a/* until=1800000000"]);
    assert_eq!(rule(&grants), Rule::Expired { at_unix_s: NOW });
    issue(&mut grants, "g6", "bob", &["kill service:a/x"]);
    let allowed = explain(&grants, "bob", Right::Kill, &object).expect("held");
    assert!(allowed.to_string().contains("grant g6"), "{allowed}");
    assert_eq!(grants.prune(NOW), [id("g5")]);
    assert_eq!(grants.held_by(&principal("bob")).count(), 4);
}

#[test]
fn what_one_principal_holds_is_bounded() {
    let mut grants = Grants::new();
    for number in 0..HELD_MAX {
        issue(&mut grants, &format!("g{number}"), "bob", &["call service:a/x"]);
    }
    let one_more = proposal("more", "bob", &["call service:a/x"]);
    let full = grants.issue(one_more.clone()).err();
    assert_eq!(full, Some(GrantError::Full { grants_max: HELD_MAX }));
    assert!(grants.issue(Proposal { holder: principal("carol"), ..one_more }).is_ok());
    assert!(grants.revoke(&id("g7"), None).is_ok());
    issue(&mut grants, "again", "bob", &["call service:a/x"]);
}

#[test]
fn revocations_are_bounded_and_pruned() {
    let mut revoked = Revocations::new();
    for number in 0..REVOCATIONS_MAX {
        revoked.insert(id(&format!("r{number}")), Some(NOW + 60)).expect("room");
    }
    assert_eq!(revoked.insert(id("more"), None), Err(RevocationsFull));
    revoked.insert(id("r1"), Some(NOW)).expect("known");
    revoked.insert(id("r2"), Some(NOW + 90)).expect("known");
    revoked.insert(id("r3"), None).expect("known");
    revoked.prune(NOW + 59);
    assert_eq!(revoked.len(), REVOCATIONS_MAX);
    revoked.prune(NOW + 60);
    assert_eq!(
        revoked.iter().collect::<Vec<_>>(),
        [(&id("r2"), Some(NOW + 90)), (&id("r3"), None)]
    );
    assert!(!revoked.is_empty() && revoked.contains(&id("r2")));
}

#[test]
fn a_dry_run_tells_what_comes_within_reach() {
    let mut grants = Grants::new();
    let objects = [
        service("a", "x", 1),
        service("a", "y", 2),
        Object::volume("a", "data").expect("legal"),
        Object::network("example.com", 443).expect("legal"),
    ];
    let root = issue(
        &mut grants,
        "root",
        "operator",
        &[
            "read,call,send,grant service:a/*",
            "read,write,grant volume:a/*",
            "connect,grant network:*/*",
        ],
    );
    // Service 1 may call service 2, which may write to the volume.
    let (one, two) = (Principal::service(service_id(1)), Principal::service(service_id(2)));
    derive(&mut grants, &root, "one", one.as_str(), "call service:a/y");
    derive(&mut grants, &root, "two", two.as_str(), "write volume:a/data");
    derive(&mut grants, &root, "before", "bob", "read service:a/*");

    let wanted = proposal("new", "bob", &["call service:a/x"]);
    let reach = grants.newly_reachable(&root, &wanted, &objects, NOW).expect("within");
    let told: Vec<String> = reach
        .reached
        .iter()
        .map(|reached| {
            let rights: Vec<&str> = reached.rights.iter().map(|r| r.as_str()).collect();
            let through = reached.through.as_ref().map(|object| format!(" through {object}"));
            format!("{} {}{}", rights.join(","), reached.object, through.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        told,
        [
            "call service:a/x/0000beef-1",
            "call service:a/y/0000beef-2 through service:a/x/0000beef-1",
            "write volume:a/data through service:a/y/0000beef-2",
        ]
    );
    assert!(reach.is_complete);
    // Nothing was granted.
    assert_eq!(grants.held_by(&principal("bob")).count(), 1);
    let now = grants.reachable(&principal("bob"), &objects, NOW);
    assert_eq!(now.reached.len(), 2);
    grants.derive(&root, wanted, NOW).expect("within");
    let again = proposal("again", "bob", &["call service:a/x"]);
    let reach = grants.newly_reachable(&root, &again, &objects, NOW).expect("within");
    assert_eq!(reach.reached, []);
    // What could be had through others, and now directly, is news.
    let direct = proposal("direct", "bob", &["call service:a/y"]);
    let reach = grants.newly_reachable(&root, &direct, &objects, NOW).expect("within");
    assert_eq!(reach.reached.len(), 1);
    assert!(reach.reached.iter().all(|reached| reached.through.is_none()));
    let wide = proposal("wide", "bob", &["kill service:a/x"]);
    assert!(grants.newly_reachable(&root, &wide, &objects, NOW).is_err());
}

#[test]
fn services_that_call_each_other_are_followed_once() {
    let mut grants = Grants::new();
    let objects = [service("a", "x", 1), service("a", "y", 2)];
    for number in [1, 2] {
        let holder = Principal::service(service_id(number));
        issue(&mut grants, &format!("g{number}"), holder.as_str(), &["call service:a/*"]);
    }
    let reach = grants.reachable(&Principal::service(service_id(1)), &objects, NOW);
    assert_eq!(reach.reached.len(), 2);
}

#[test]
fn too_much_to_look_at_is_said() {
    let mut grants = Grants::new();
    for number in 0..200 {
        issue(&mut grants, &format!("g{number}"), "bob", &["call service:b/*"]);
    }
    let objects: Vec<Object> = (0..2_000).map(|number| service("a", "x", number)).collect();
    assert!(!grants.reachable(&principal("bob"), &objects, NOW).is_complete);
}

/// What happens to the grants of a node.
#[derive(Debug, Clone)]
enum Step {
    Issue(Vec<Capability>),
    Derive(prop::sample::Index, Vec<Capability>),
    /// As `Derive`, with capabilities that are cut down to what the grantor holds.
    Fitting(prop::sample::Index, Vec<Capability>),
    Revoke(prop::sample::Index),
    Prune(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let capabilities = || prop::collection::vec(any_capability(true), 1..4);
    let index = any::<prop::sample::Index>;
    prop_oneof![
        2 => capabilities().prop_map(Step::Issue),
        2 => (index(), capabilities()).prop_map(|(at, c)| Step::Derive(at, c)),
        8 => (index(), capabilities()).prop_map(|(at, c)| Step::Fitting(at, c)),
        2 => index().prop_map(Step::Revoke),
        1 => (0_u64..5).prop_map(Step::Prune),
    ]
}

/// Capabilities that lie within those of a chain and may be passed on.
fn fitting(chain: &Chain, wanted: &[Capability]) -> Vec<Capability> {
    let held = chain.effective(1_000).unwrap_or_default();
    let passed_on = held.iter().filter(|held| held.rights().contains(&Right::Grant));
    let cut = passed_on.flat_map(|held| wanted.iter().filter_map(|c| c.intersection(held)));
    cut.take(CAPABILITIES_MAX).collect()
}

proptest! {
    #[test]
    fn grants_hold_their_invariants(steps in prop::collection::vec(step(), 1..40)) {
        let mut grants = Grants::new();
        let mut gone: BTreeSet<GrantId> = BTreeSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            let ids: Vec<GrantId> = grants.iter().map(|(id, _)| id.clone()).collect();
            let pick = |at: prop::sample::Index| (!ids.is_empty()).then(|| at.get(&ids).clone());
            let new = |capabilities| Proposal {
                id: id(&format!("g{number}")),
                holder: principal(["alice", "bob", "carol"][number % 3]),
                capabilities,
            };
            match step {
                Step::Issue(capabilities) => {
                    grants.issue(new(capabilities)).expect("room");
                }
                Step::Derive(at, capabilities) => {
                    let Some(from) = pick(at) else { continue };
                    let from = grants.get(&from).expect("picked").chain.clone();
                    let outcome = grants.derive(&from, new(capabilities.clone()), NOW).is_ok();
                    let is_within = capabilities.iter().all(|c| {
                        let passes = |link: &std::sync::Arc<Link>| {
                            let ok = |held: &Capability| {
                                c.is_within(held) && held.rights().contains(&Right::Grant)
                            };
                            link.capabilities().iter().any(ok)
                        };
                        !c.constraints().is_expired(NOW) && from.links().iter().all(passes)
                    });
                    prop_assert_eq!(outcome, is_within);
                }
                Step::Fitting(at, wanted) => {
                    let Some(from) = pick(at) else { continue };
                    let from = grants.get(&from).expect("picked").chain.clone();
                    let capabilities = fitting(&from, &wanted);
                    if capabilities.is_empty() { continue }
                    // It can have expired, or be within two capabilities together only.
                    let _ = grants.derive(&from, new(capabilities), NOW);
                }
                Step::Revoke(at) => {
                    let Some(at) = pick(at) else { continue };
                    let expected: Vec<GrantId> = grants
                        .iter()
                        .filter(|(_, r)| r.chain.links().iter().any(|l| *l.id() == at))
                        .map(|(id, _)| id.clone())
                        .collect();
                    let ended = grants.revoke(&at, None).expect("room");
                    prop_assert_eq!(&ended, &expected);
                    gone.extend(ended);
                }
                Step::Prune(ahead) => {
                    let now = NOW + ahead;
                    for id in grants.prune(now) {
                        prop_assert!(ids.contains(&id));
                    }
                    let end = |record: &GrantRecord| record.link().and_then(Link::expires_at_unix_s);
                    let is_over = grants.iter().any(|(_, r)| end(r).is_some_and(|at| at <= now));
                    prop_assert!(!is_over);
                }
            }
            for (id, record) in grants.iter() {
                prop_assert!(!gone.contains(id));
                prop_assert_eq!(record.link().map(Link::id), Some(id));
                // Each one is within all before it, and none of these was revoked.
                for (at, link) in record.chain.links().iter().enumerate() {
                    prop_assert!(!gone.contains(link.id()));
                    prop_assert!(grants.subtree(link.id()).any(|below| below == id));
                    for earlier in &record.chain.links()[..at] {
                        for own in link.capabilities() {
                            let wide = |held: &Capability| own.is_within(held);
                            prop_assert!(earlier.capabilities().iter().any(wide));
                        }
                    }
                }
                prop_assert!(grants.held_by(&record.holder).any(|(held, _)| held == id));
            }
            let held = ["alice", "bob", "carol"].map(|p| grants.held_by(&principal(p)).count());
            prop_assert_eq!(held.iter().sum::<usize>(), grants.iter().count());
        }
    }

    #[test]
    fn what_is_granted_allows_no_more_than_its_grantor(
        links in links(false), wanted in prop::collection::vec(any_capability(false), 1..4),
    ) {
        let mut grants = Grants::new();
        let mut chain = None;
        for (number, capabilities) in links.into_iter().enumerate() {
            let proposal = |capabilities| Proposal {
                id: id(&format!("g{number}")), holder: principal("bob"), capabilities,
            };
            let record = match &chain {
                None => grants.issue(proposal(capabilities)),
                Some(from) => grants.derive(from, proposal(fitting(from, &wanted)), NOW),
            };
            let Ok(record) = record else { break };
            let next = record.chain.clone();
            for object in objects() {
                for right in object.kind().rights() {
                    if allows(&next, &object, right, NOW) && let Some(from) = &chain {
                        prop_assert!(allows(from, &object, right, NOW));
                        prop_assert!(allows(from, &object, Right::Grant, NOW));
                    }
                }
            }
            chain = Some(next);
        }
    }
}
