//! Objects, patterns, constraints and capabilities: their texts, and that intersections narrow.

use proptest::prelude::*;
use solo_types::{Digest, Right, Rights, Tier};

use super::samples::*;
use crate::*;

#[test]
fn objects_survive_their_text_form() {
    let mut all = objects();
    all.extend([
        Object::tenant("acme").expect("legal"),
        Object::artifact(&Digest([7; 32])).expect("legal"),
        Object::secret("acme", "db-password").expect("legal"),
        Object::device("nvidia0").expect("legal"),
        Object::http("[::1]", 80, "GET", "/a/b/").expect("legal"),
    ]);
    for object in all.iter().filter(|object| object.tier() == Tier::User) {
        assert_eq!(object.to_string().parse(), Ok(object.clone()), "{object}");
        let pattern = ObjectPattern::exactly(object);
        assert!(pattern.matches(object), "{pattern}");
        assert_eq!(pattern.to_string().parse(), Ok(pattern), "{object}");
    }
    let kernel = Object::kernel("shutdown").expect("legal");
    assert_eq!((kernel.tier(), kernel.to_string().parse()), (Tier::System, Ok(kernel)));
}

#[test]
fn what_has_two_names_is_refused() {
    for text in [
        "",
        ":",
        "service",
        "service:",
        "service:default",
        "service:default/",
        "service:Default/x",
        "service:default/x/",
        "service:default/x/0000beef-07",
        "service:default/x/0000beef-+7",
        "service:default/x/0000beef-7/8",
        "service:../x",
        "service:default/x ",
        "service:default/*",
        "Service:default/x",
        "tenant:a/b",
        "artifact:00",
        "network:example.com",
        "network:Example.com/443",
        "network:example.com./443",
        "network:example..com/443",
        "network:::1/443",
        "network:[0::1]/443",
        "network:[::1/443",
        "network:example.com/0443",
        "network:example.com/0",
        "network:example.com/65536",
        "network:example.com/443/GET",
        "network:example.com/443/get/x",
        "network:example.com/443/GET/a//b",
        "network:example.com/443/GET/a/../b",
        "network:example.com/443/GET/a/..;x/b",
        "network:example.com/443/GET/a/./b",
        "network:example.com/443/GET/a/%2e%2e/b",
        "network:example.com/443/GET/a%2Fb",
        "network:example.com/443/GET/a%5cb",
        "network:example.com/443/GET/a%252fb",
        "network:example.com/443/GET/a%00",
        "network:example.com/443/GET/a%",
        "network:example.com/443/GET/a%+2",
        "network:example.com/443/GET/a?b",
        "network:example.com/443/GET/a\\b",
        "network:example.com/443/GET/ä",
        "device:..",
        "device:a/b",
        "kernel:",
        "other:x",
        &format!("device:{}", "x".repeat(64)),
        &format!("network:example.com/443/GET/{}", "x".repeat(1_025)),
        &format!("network:{}/443", "x.".repeat(200)),
        &"service:".repeat(1_000),
    ] {
        assert!(text.parse::<Object>().is_err(), "{text}");
    }
    assert!(Object::http("example.com", 443, "GET", "v1").is_err());
    assert!(Object::network("example.com", 0).is_err());
}

#[test]
fn wildcards_stand_where_they_can_be_compared() {
    for (text, expected) in [
        ("service:default/*", true),
        ("service:*/*/*", true),
        ("service:default/ci-*/0000beef-7", true),
        ("service:default/*-ci", false),
        ("service:default/a*b", false),
        ("service:default/**", false),
        ("service:default/X*", false),
        ("service:default/x/0000beef-*", false),
        ("service:*", false),
        ("network:*.example.com/443", true),
        ("network:*example.com/443", false),
        ("network:example.*/443", false),
        ("network:*/44*", false),
        ("network:*/*/G*", false),
        ("network:*/*/GET/v1/*", true),
        ("network:*/*/GET/*.png", false),
        ("artifact:*", true),
        ("artifact:00*", false),
        ("*", false),
        ("*:x", false),
    ] {
        assert_eq!(text.parse::<ObjectPattern>().is_ok(), expected, "{text}");
    }
    let pattern: ObjectPattern = "network:*.example.com/443/GET/v1/*".parse().expect("legal");
    let http = |host, path| Object::http(host, 443, "GET", path).expect("legal");
    assert!(pattern.matches(&http("a.example.com", "/v1/x")));
    for other in [
        http("example.com", "/v1/x"),
        http("evil-example.com", "/v1/x"),
        http("a.example.com.evil.org", "/v1/x"),
        http("a.example.com", "/v2/x"),
        Object::http("a.example.com", 80, "GET", "/v1/x").expect("legal"),
        Object::http("a.example.com", 443, "POST", "/v1/x").expect("legal"),
        // Whoever may only ask for some paths may not open a connection to say what they like.
        Object::network("a.example.com", 443).expect("legal"),
    ] {
        assert!(!pattern.matches(&other), "{other}");
    }
}

#[test]
fn capabilities_are_read_strictly() {
    for text in [
        "",
        " ",
        "call",
        "call ",
        "call  service:a/x",
        " call service:a/x",
        "call service:a/x ",
        "call, service:a/x",
        "Call service:a/x",
        "rule service:a/x",
        "connect service:a/x",
        "call kernel:shutdown",
        "call service:a/x tier=owner",
        "call service:a/x tier=user tier=system",
        "call service:a/x until=",
        "call service:a/x until=+1",
        "call service:a/x until=99999999999999999999",
        "call service:a/x until=253402300800",
        "call service:a/x uses=5",
        "call service:a/x uses=0/ever",
        "call service:a/x uses=-1/ever",
        "call service:a/x uses=1000000000001/ever",
        "call service:a/x uses=5/year",
        "call service:a/x uses=5/ever,6/ever",
        "call service:a/x uses=5/ever,",
        "call service:a/x uses=5/ever uses=5/ever",
        "call service:a/x uses=5/1hour",
        "call service:a/x uses=5/2h",
        "call service:a/x uses=5/hour,6/1h",
        "call service:a/x until=1 until=2",
        "call service:a/x because=1",
        "call service:a/x until",
        "call service:a/x\n",
        &format!("call service:a/x until=1{}", " ".repeat(5_000)),
    ] {
        assert!(text.parse::<Capability>().is_err(), "{text:?}");
    }
    let text = "read,call service:a/x* tier=system until=1800000000 uses=10/second,500/ever";
    assert_eq!(capability(text).to_string(), text);
    assert_eq!(capability("call,read service:a/x/*").to_string(), "read,call service:a/x");
    let short = capability("call service:a/x uses=4/1d,1/1s,3/1h,2/1m,5/ever");
    let long = "call service:a/x uses=1/second,2/minute,3/hour,4/day,5/ever";
    assert_eq!(short.to_string(), long);
    assert_eq!(
        Capability::new(ObjectPattern::any(ObjectKind::Volume), Rights::new()),
        Err(ModelError::NoRights)
    );
    let problem = "call service:a".parse::<Capability>().expect_err("short").into_problem("x");
    assert_eq!(
        (problem.reason.as_str(), problem.fields[0].field.as_str()),
        ("INVALID_CAPABILITY", "x")
    );
}

#[test]
fn constraints_only_ever_get_narrower() {
    let both = Constraints::default()
        .until(20)
        .and_then(|c| c.until(10))
        .and_then(|c| c.until(30))
        .and_then(|c| c.uses(5, Per::Day))
        .and_then(|c| c.uses(9, Per::Day))
        .expect("legal");
    assert_eq!((both.expires_at_unix_s(), both.uses_max().get(&Per::Day)), (Some(10), Some(&5)));
    assert!(!both.is_expired(9) && both.is_expired(10));
    assert!(both.is_within(&Constraints::default()) && !Constraints::default().is_within(&both));
    assert_eq!(Constraints::default().until(u64::MAX), Err(ModelError::Expiry));
    assert_eq!(Constraints::default().uses(0, Per::Ever), Err(ModelError::Uses));
    assert_eq!(Constraints::default().uses(u64::MAX, Per::Ever), Err(ModelError::Uses));
}

#[test]
fn the_system_tier_is_kept_from_user_capabilities() {
    let system = Object::service("a", "x", Some(service_id(1)), Tier::System).expect("legal");
    let all = "read,call,send,kill,execute,deploy,update,grant service:*/*";
    let (user, operator) = (capability(all), capability(&format!("{all} tier=system")));
    for right in ObjectKind::Service.rights() {
        let open = matches!(right, Right::Read | Right::Call | Right::Send | Right::Grant);
        assert_eq!(user.covers(&system, right), open, "{right:?}");
        assert!(operator.covers(&system, right), "{right:?}");
    }
    let shutdown = Object::kernel("shutdown").expect("legal");
    assert!(!capability("execute kernel:*").covers(&shutdown, Right::Execute));
    assert!(capability("execute kernel:* tier=system").covers(&shutdown, Right::Execute));
    assert!(!operator.is_within(&user) && user.is_within(&operator));
    assert_eq!(user.intersection(&operator), Some(user));
}

#[test]
fn each_right_belongs_to_some_kind_of_object() {
    let all: Rights = ObjectKind::ALL.into_iter().flat_map(ObjectKind::rights).collect();
    assert_eq!(all, Right::ALL.into_iter().collect());
    for kind in ObjectKind::ALL {
        let any = ObjectPattern::any(kind);
        assert_eq!(any.to_string().parse(), Ok(any));
    }
}

proptest! {
    #[test]
    fn texts_survive(pattern in pattern(), capability in any_capability(true)) {
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
        prop_assert_eq!(capability.to_string().parse(), Ok(capability));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}", end in "[a-z0-9*./:=,%\\[\\] -]{0,60}") {
        for text in [text, format!("call service:{end}"), format!("connect network:{end}")] {
            let _ = text.parse::<Object>();
            let _ = text.parse::<ObjectPattern>();
            if let Ok(capability) = text.parse::<Capability>() {
                prop_assert_eq!(capability.to_string().parse(), Ok(capability));
            }
        }
    }

    #[test]
    fn patterns_intersect_exactly(a in pattern(), b in pattern(), c in pattern()) {
        let both = a.intersection(&b);
        prop_assert_eq!(&both, &b.intersection(&a));
        prop_assert_eq!(a.intersection(&a), Some(a.clone()));
        let left = both.as_ref().and_then(|both| both.intersection(&c));
        prop_assert_eq!(left, b.intersection(&c).and_then(|other| a.intersection(&other)));
        if let Some(both) = &both {
            prop_assert!(both.is_within(&a) && both.is_within(&b));
        }
        for object in objects() {
            let matched = both.as_ref().is_some_and(|both| both.matches(&object));
            prop_assert_eq!(matched, a.matches(&object) && b.matches(&object), "{}", object);
            if a.is_within(&b) && a.matches(&object) {
                prop_assert!(b.matches(&object), "{}", object);
            }
        }
    }

    #[test]
    fn capabilities_intersect_exactly(a in any_capability(true), b in any_capability(true)) {
        let both = a.intersection(&b);
        prop_assert_eq!(&both, &b.intersection(&a));
        if let Some(both) = &both {
            prop_assert!(both.is_within(&a) && both.is_within(&b));
        }
        prop_assert_eq!(a.is_within(&b), both.as_ref() == Some(&a));
        let allows = |c: &Capability, object: &Object, right, now| {
            c.covers(object, right) && !c.constraints().is_expired(now)
        };
        for object in objects() {
            for right in object.kind().rights() {
                for now in MOMENTS {
                    let by_both = both.as_ref().is_some_and(|c| allows(c, &object, right, now));
                    let by_each = allows(&a, &object, right, now) && allows(&b, &object, right, now);
                    prop_assert_eq!(by_both, by_each, "{:?} {}", right, object);
                }
            }
        }
    }
}
