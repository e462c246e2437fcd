//! Objects, capabilities and a key: few names, so that what is drawn often meets.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use solo_capability::{
    Authority, Capability, Chain, Constraints, Context, Ledger, Object, ObjectPattern, Per,
    Request, Revocations, Token, decide,
};
use solo_types::{NodeId, Right, Rights, ServiceId, Tier};

/// The key that signs. A fixed one, so that tokens among the seeds stay valid.
pub static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::from_private_key_bytes(&[7; 32]).expect("32 bytes"));

/// Moments that constraints end at; decisions are asked for just before each.
pub const MOMENTS: [u64; 3] = [1_800_000_000, 1_800_000_010, 1_800_000_020];

const PATTERNS: [&str; 18] = [
    "service:*/*",
    "service:a/*",
    "service:a*/x",
    "service:a/x*",
    "service:a/x",
    "service:a/x/0000beef-1",
    "service:ab/xy",
    "service:*/y",
    "network:*/443",
    "network:*.example.com/443/GET/v1/*",
    "network:a.example.com/443",
    "network:a.example.com/*/GET/*",
    "kernel:*",
    "kernel:shutdown",
    "volume:a/*",
    "secret:a/x",
    "tenant:a*",
    "device:*",
];

/// Objects that decisions are asked about.
pub static OBJECTS: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut objects = Vec::new();
    for (tenant, name) in [("a", "x"), ("a", "xy"), ("ab", "x"), ("ab", "xy"), ("b", "y")] {
        for number in [None, Some(1), Some(2)] {
            for tier in [Tier::User, Tier::System] {
                let id = number.map(|number| ServiceId { node: NodeId(0xbeef), number });
                objects.push(Object::service(tenant, name, id, tier).expect("legal"));
            }
        }
    }
    for text in [
        "network:a.example.com/443",
        "network:a.example.com/443/GET/v1/x",
        "network:a.example.com/443/POST/v1/x",
        "network:b.a.example.com/443/GET/v2",
        "network:10.0.0.1/80",
        "kernel:shutdown",
        "kernel:tree",
        "volume:a/x",
        "secret:a/x",
        "secret:a/y",
        "tenant:a",
        "tenant:ab",
        "device:gpu0",
    ] {
        objects.push(text.parse().expect("legal"));
    }
    objects
});

/// A capability as the fuzzer draws it.
#[derive(Debug, Clone, Arbitrary)]
pub struct Drawn {
    pattern: u8,
    rights: u16,
    is_of_system: bool,
    until: u8,
    uses: u8,
}

impl Drawn {
    /// What it stands for. `with_expiry`: as tokens that Solo mints need it.
    pub fn capability(&self, with_expiry: bool) -> Capability {
        let pattern = PATTERNS[usize::from(self.pattern) % PATTERNS.len()];
        let pattern: ObjectPattern = pattern.parse().expect("legal");
        let all = pattern.kind().rights();
        let is_drawn = |at: usize| self.rights >> (at % 16) & 1 == 1;
        let drawn = all.iter().enumerate().filter(|(at, _)| is_drawn(*at));
        let mut rights: Rights = drawn.map(|(_, right)| *right).collect();
        if rights.is_empty() {
            rights = all;
        }
        let mut constraints = Constraints::default();
        let until = MOMENTS.get(usize::from(self.until) % 4).copied();
        if let Some(until) = until.or(with_expiry.then_some(MOMENTS[2])) {
            constraints = constraints.until(until).expect("legal");
        }
        if let Some(per) = Per::ALL.get(usize::from(self.uses) % 16) {
            constraints = constraints.uses(u64::from(self.uses) + 1, *per).expect("legal");
        }
        let tier = if self.is_of_system { Tier::System } else { Tier::User };
        let capability = Capability::new(pattern, rights).expect("legal");
        capability.with_tier(tier).with_constraints(constraints)
    }
}

/// The chain that a token stands for.
pub fn chain(token: &Token) -> Chain {
    Chain::new(token.links().to_vec()).expect("a token has few links")
}

/// Whether a chain allows something, with nothing used up and nothing revoked.
pub fn allows(chain: &Chain, object: &Object, right: Right, now_unix_s: u64) -> bool {
    static NOTHING: LazyLock<(Ledger, Revocations)> = LazyLock::new(Default::default);
    let context = Context { now_unix_s, ledger: &NOTHING.0, revoked: &NOTHING.1 };
    decide(chain, Request { object, right }, context).is_ok()
}

/// Panics if `narrow` allows anything that none of `wide` does.
pub fn assert_never_wider(narrow: &Chain, wide: &[&Chain]) {
    for object in OBJECTS.iter() {
        for right in object.kind().rights() {
            for now in MOMENTS.map(|moment| moment - 1) {
                if allows(narrow, object, right, now) {
                    let by_one = wide.iter().any(|wide| allows(wide, object, right, now));
                    assert!(by_one, "{right:?} on {object} at {now} was widened: {narrow:?}");
                }
            }
        }
    }
}
