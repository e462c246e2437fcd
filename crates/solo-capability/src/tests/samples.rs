//! Samples for property tests: few names, so that what is drawn often meets.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use solo_types::{NodeId, Right, Rights, ServiceId, Tier};

use crate::{
    Allowed, Bill, Capability, Chain, Constraints, Context, GrantId, Ledger, Link, Object,
    ObjectPattern, Per, Request, Revocations,
};

pub(super) const NOW: u64 = 1_800_000_000;

/// Moments around which constraints are drawn.
pub(super) const MOMENTS: [u64; 4] = [NOW, NOW + 9, NOW + 10, NOW + 20];

pub(super) fn service_id(number: u64) -> ServiceId {
    ServiceId { node: NodeId(0xbeef), number }
}

pub(super) fn service(tenant: &str, name: &str, number: u64) -> Object {
    Object::service(tenant, name, Some(service_id(number)), Tier::User).expect("legal")
}

pub(super) fn capability(text: &str) -> Capability {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn id(text: &str) -> GrantId {
    GrantId::new(text).expect("legal")
}

pub(super) fn link(name: &str, capabilities: &[&str]) -> Arc<Link> {
    let capabilities = capabilities.iter().map(|text| capability(text)).collect();
    Arc::new(Link::issued(id(name), capabilities).expect("few"))
}

/// A chain with the links `g0`, `g1`, ... of these capabilities.
pub(super) fn chain_of(links: &[Vec<Capability>]) -> Chain {
    let link = |(at, capabilities): (usize, &Vec<Capability>)| {
        Arc::new(Link::issued(id(&format!("g{at}")), capabilities.clone()).expect("few"))
    };
    Chain::new(links.iter().enumerate().map(link).collect()).expect("few")
}

/// Whether a chain allows something, with nothing used up and nothing revoked.
pub(super) fn allows(chain: &Chain, object: &Object, right: Right, now_unix_s: u64) -> bool {
    let (ledger, revoked) = (Ledger::new(), Revocations::new());
    let context = Context { now_unix_s, ledger: &ledger, revoked: &revoked };
    crate::decide(chain, Request { object, right }, context).is_ok()
}

/// Charges what was allowed to a request of its own.
pub(super) fn charge(
    ledger: &mut Ledger,
    allowed: &Allowed,
    now_unix_s: u64,
) -> Result<(), crate::Rule> {
    let mut bill = Bill::new();
    bill.add(allowed, |_| true);
    ledger.charge(&mut bill, now_unix_s).map(drop).map_err(|overdrawn| overdrawn.rule)
}

/// Every object of the samples.
pub(super) fn objects() -> Vec<Object> {
    let mut objects = Vec::new();
    for tenant in ["a", "ab"] {
        for name in ["x", "xy", "y"] {
            for number in [None, Some(1), Some(2)] {
                for tier in [Tier::User, Tier::System] {
                    let object = Object::service(tenant, name, number.map(service_id), tier);
                    objects.push(object.expect("legal"));
                }
            }
        }
    }
    for host in ["a.example.com", "b.a.example.com", "example.com", "10.0.0.1"] {
        objects.push(Object::network(host, 443).expect("legal"));
        for (method, path) in [("GET", "/"), ("GET", "/v1/x"), ("POST", "/v1/xy"), ("GET", "/v2")] {
            objects.push(Object::http(host, 443, method, path).expect("legal"));
        }
    }
    objects.push(Object::kernel("shutdown").expect("legal"));
    objects.push(Object::volume("a", "x").expect("legal"));
    objects
}

pub(super) fn object() -> impl Strategy<Value = Object> {
    select(objects())
}

pub(super) fn pattern() -> impl Strategy<Value = ObjectPattern> {
    let tenant = select(vec!["*", "a", "a*", "ab", "b*"]);
    let name = select(vec!["*", "x", "x*", "xy*", "y"]);
    let number = select(vec!["", "/*", "/0000beef-1", "/0000beef-2"]);
    let service = (tenant, name, number).prop_map(|(t, n, i)| format!("service:{t}/{n}{i}"));
    let host = select(vec!["*", "*.example.com", "*.a.example.com", "a.example.com", "10.0.0.1"]);
    let rest = select(vec!["*", "443", "80", "443/GET", "*/GET/v1/*", "443/*/v1/x*", "443/GET/"]);
    let network = (host, rest).prop_map(|(host, rest)| format!("network:{host}/{rest}"));
    let other = select(vec!["kernel:*", "kernel:shutdown", "volume:a/*", "volume:*/x"]);
    let text = prop_oneof![4 => service, 2 => network, 1 => other.prop_map(str::to_owned)];
    text.prop_map(|text| text.parse().expect("legal"))
}

pub(super) fn constraints(with_uses: bool) -> impl Strategy<Value = Constraints> {
    let until = prop::option::of(select(MOMENTS.to_vec()));
    let uses = prop::collection::btree_map(select(Per::ALL.to_vec()), 1_u64..4, 0..3);
    (until, uses).prop_map(move |(until, uses)| {
        let mut constraints = Constraints::default();
        if let Some(until) = until {
            constraints = constraints.until(until).expect("legal");
        }
        for (per, uses_max) in uses.into_iter().filter(|_| with_uses) {
            constraints = constraints.uses(uses_max, per).expect("legal");
        }
        constraints
    })
}

pub(super) fn any_capability(with_uses: bool) -> impl Strategy<Value = Capability> {
    let rights = |pattern: &ObjectPattern| {
        let all: Vec<Right> = pattern.kind().rights().into_iter().collect();
        let count = all.len();
        subsequence(all, 1..=count).prop_map(|rights| rights.into_iter().collect::<Rights>())
    };
    let tier = select(vec![Tier::User, Tier::System]);
    let subject = pattern().prop_flat_map(move |p| (Just(p.clone()), rights(&p)));
    (subject, tier, constraints(with_uses)).prop_map(|((pattern, rights), tier, constraints)| {
        let capability = Capability::new(pattern, rights).expect("legal");
        capability.with_tier(tier).with_constraints(constraints)
    })
}

/// Links that often let something through.
pub(super) fn links(with_uses: bool) -> impl Strategy<Value = Vec<Vec<Capability>>> {
    prop::collection::vec(prop::collection::vec(any_capability(with_uses), 1..6), 1..5)
}
