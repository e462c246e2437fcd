//! Attacks on the model and on tokens: forged, narrowed, widened, broken, huge.

mod bounds;
mod decisions;
mod grants;
mod model;
mod samples;
mod tokens;

use super::*;

/// Which tenant a pattern is for can be told, and that it may be for one.
#[test]
fn patterns_tell_their_tenant() {
    let pattern = |text: &str| text.parse::<ObjectPattern>().expect("legal");
    for (text, tenant, may_be) in [
        ("service:acme/*", Some("acme"), true),
        ("service:acme/echo", Some("acme"), true),
        ("secret:acme/db", Some("acme"), true),
        ("volume:acme/*", Some("acme"), true),
        ("tenant:acme", Some("acme"), true),
        ("service:*/echo", None, true),
        ("service:ac*/echo", None, true),
        ("tenant:*", None, true),
        ("service:globex/echo", Some("globex"), false),
        ("kernel:tree", None, false),
        ("network:example.com/443", None, false),
        ("device:acme", None, false),
    ] {
        let pattern = pattern(text);
        assert_eq!(pattern.tenant(), tenant, "{text}");
        assert_eq!(pattern.may_be_of("acme"), may_be, "{text}");
    }
}
