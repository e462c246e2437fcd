//! Attacks on tokens for one service: forged, old, narrowed, widened, broken, huge. The model and the
//! tokens that carry capabilities are attacked in the modules below.

mod bills;
mod bounds;
mod decisions;
mod grants;
mod model;
mod samples;
mod tokens;

use std::collections::BTreeSet;

use biscuit_auth::builder::BlockBuilder;
use biscuit_auth::{KeyPair, UnverifiedBiscuit};
use proptest::prelude::*;
use solo_types::{NodeId, ProblemKind, Right, Rights, ServiceId};

use super::*;

const NOW: u64 = 1_800_000_000;

fn service(number: u64) -> ServiceId {
    ServiceId { node: NodeId(0xbeef), number }
}

fn grant(rights: &[Right]) -> TokenGrant {
    TokenGrant {
        service: service(7),
        rights: rights.iter().copied().collect(),
        expires_at_unix_s: NOW + 60,
    }
}

fn mint(authority: &Authority, rights: &[Right]) -> Minted {
    authority.mint(&grant(rights)).expect("can be minted")
}

/// What a holder does, offline and without the key.
fn append(token: &str, code: &str) -> String {
    let block = BlockBuilder::new().code(code).expect("the test's own code");
    let token = UnverifiedBiscuit::from_base64(token).expect("a token");
    token.append(block).expect("appends").to_base64().expect("encodes")
}

/// Asks for `right` on service 7 with a token to which `code` was appended.
fn ask(code: &str, right: Right) -> Result<(), Denial> {
    let authority = Authority::generate();
    let minted = mint(&authority, &[Right::Call, Right::Read]);
    let token = append(&minted.token, code);
    authority.verify(&token, NOW)?.allows(service(7), right)
}

#[test]
fn a_token_allows_what_was_granted_and_nothing_else() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[Right::Call, Right::Read]);
    let access = authority.verify(&minted.token, NOW).expect("valid");
    assert_eq!(access.allows(service(7), Right::Call), Ok(()));
    assert_eq!(access.allows(service(7), Right::Read), Ok(()));
    let missing = access.allows(service(7), Right::Kill).expect_err("not granted");
    assert_eq!(missing, Denial::RightMissing { right: Right::Kill });
    let wrong = access.allows(service(8), Right::Call).expect_err("another service");
    assert_eq!(wrong, Denial::WrongService { granted: service(7) });
    assert_eq!(access.id(), minted.id);
    assert_eq!(access.grant().rights, [Right::Call, Right::Read].into_iter().collect());
    assert!(minted.token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
    assert!(!format!("{minted:?}").contains(&minted.token));
}

#[test]
fn the_key_survives_its_bytes() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[Right::Call]);
    let bytes = authority.private_key_bytes();
    let again = Authority::from_private_key_bytes(&bytes).expect("its own bytes");
    assert!(again.verify(&minted.token, NOW).is_ok());
    assert!(Authority::from_private_key_bytes(&bytes[1..]).is_err());
}

#[test]
fn a_token_of_another_key_is_forged() {
    let minted = mint(&Authority::generate(), &[Right::Call]);
    let denial = Authority::generate().verify(&minted.token, NOW).expect_err("other key");
    assert_eq!(denial, Denial::Forged);
    let problem = denial.into_problem();
    assert_eq!(
        (problem.kind, problem.reason.as_str()),
        (ProblemKind::Unauthenticated, "TOKEN_FORGED")
    );
    assert!(!problem.remedy.is_empty());
}

#[test]
fn a_token_ends_with_its_time() {
    let authority = Authority::generate();
    let token = mint(&authority, &[Right::Call]).token;
    let last = authority.verify(&token, NOW + 59).expect("valid");
    assert_eq!(last.allows(service(7), Right::Call), Ok(()));
    let denial = authority.verify(&token, NOW + 60).expect_err("expired");
    assert_eq!(denial, Denial::Expired { seconds: 0 });
}

#[test]
fn a_revoked_token_ends_with_all_that_derives_from_it() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[Right::Call]);
    let narrowed = append(&minted.token, r#"check if right("call")"#);
    let revoked = BTreeSet::from([minted.id.clone()]);
    for token in [&minted.token, &narrowed] {
        let denial = authority.verify_not_revoked(token, NOW, &revoked).expect_err("revoked");
        assert_eq!(denial, Denial::Revoked { id: minted.id.clone() });
    }
    let other = mint(&authority, &[Right::Call]);
    assert!(authority.verify_not_revoked(&other.token, NOW, &revoked).is_ok());
}

#[test]
fn a_holder_can_narrow_offline() {
    for (code, right, expected) in [
        (r#"check if right("call")"#, Right::Call, Ok(())),
        (r#"check if right("call")"#, Right::Read, Err(Denial::Narrowed)),
        (r#"check if right("call") or right("read")"#, Right::Read, Ok(())),
        (r#"check if service("0000beef-7")"#, Right::Call, Ok(())),
        (r#"check if service("0000beef-8")"#, Right::Call, Err(Denial::Narrowed)),
        ("check if time($t), $t < 2100-01-01T00:00:00Z", Right::Call, Ok(())),
        ("check if time($t), $t < 2001-01-01T00:00:00Z", Right::Call, Err(Denial::Narrowed)),
        (r#"check if right($r), $r == "call" || $r == "send""#, Right::Call, Ok(())),
        (r#"check if right($r), ["send"].contains($r)"#, Right::Call, Err(Denial::Narrowed)),
        (r#"reject if right("call")"#, Right::Call, Err(Denial::Narrowed)),
        // A check about something that no request has.
        (r#"check if color("blue")"#, Right::Call, Err(Denial::Narrowed)),
    ] {
        assert_eq!(ask(code, right), expected, "{code} for {right:?}");
    }
}

#[test]
fn narrowing_twice_takes_both() {
    let authority = Authority::generate();
    let minted = mint(&authority, &Right::ALL);
    let once = append(&minted.token, r#"check if right("call") or right("read")"#);
    let twice = append(&once, r#"check if right("call") or right("kill")"#);
    let access = authority.verify(&twice, NOW).expect("valid");
    let allowed: Vec<Right> =
        Right::ALL.into_iter().filter(|right| access.allows(service(7), *right).is_ok()).collect();
    assert_eq!(allowed, [Right::Call]);
}

#[test]
fn an_appended_block_cannot_widen() {
    for code in [
        r#"granted_right("kill")"#,
        r#"granted_right("kill"); granted_service("0000beef-7")"#,
        r#"granted_right("kill") <- granted_right("call")"#,
        "granted_until(2100-01-01T00:00:00Z)",
        r#"right("kill")"#,
        r#"granted_right("call")"#,
    ] {
        let denial = ask(code, Right::Kill).expect_err(code);
        assert!(matches!(denial, Denial::TooComplex { .. }), "{code}: {denial:?}");
        assert!(ask(code, Right::Call).is_err(), "{code}");
    }
}

#[test]
fn a_third_party_block_is_refused() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[Right::Call]);
    let token = UnverifiedBiscuit::from_base64(&minted.token).expect("a token");
    let third_party = KeyPair::new();
    let block = token
        .third_party_request()
        .expect("a request")
        .create_block(
            &third_party.private(),
            BlockBuilder::new().code(r#"granted_right("kill")"#).expect("the test's own code"),
        )
        .expect("signs");
    let token = token.append_third_party(&block.serialize().expect("encodes")).expect("appends");
    let denial = authority.verify(&token.to_base64().expect("encodes"), NOW).expect_err("refused");
    assert_eq!(denial.reason(), "TOKEN_TOO_COMPLEX");
}

#[test]
fn costly_checks_are_refused_unevaluated() {
    let many = (0..200).map(|_| r#"check if right("call");"#).collect::<String>();
    for code in [
        r#"check if right($r), $r.matches("(a{500}){500}")"#,
        "check if right($a), right($b), right($c), right($d)",
        "check if [1, 2].all($a -> [1, 2].all($b -> true))",
        "check if right($r), $r.extern::f()",
        "check if 1 + 1 == 2",
        &many,
    ] {
        let denial = ask(code, Right::Call).expect_err(code);
        assert_eq!(denial.reason(), "TOKEN_TOO_COMPLEX", "{code}");
    }
    let authority = Authority::generate();
    let mut token = mint(&authority, &[Right::Call]).token;
    for _ in 0..40 {
        token = append(&token, "check if true");
    }
    assert_eq!(authority.verify(&token, NOW).expect_err("long").reason(), "TOKEN_TOO_COMPLEX");
}

#[test]
fn what_is_no_token_is_refused() {
    let authority = Authority::generate();
    let token = mint(&authority, &[Right::Call]).token;
    let half = &token[..token.len() / 2];
    for text in ["", "x", "Bearer abc", "ä", half, &"A".repeat(1_000), &"A".repeat(10 << 20)] {
        let denial = authority.verify(text, NOW).expect_err("no token");
        assert_eq!(denial.reason(), "TOKEN_MALFORMED", "{} characters", text.len());
    }
}

#[test]
fn a_grant_that_cannot_be_written_is_refused() {
    let authority = Authority::generate();
    assert_eq!(authority.mint(&grant(&[])).expect_err("no rights"), MintError::NoRights);
    let late = TokenGrant { expires_at_unix_s: u64::MAX, ..grant(&[Right::Call]) };
    assert_eq!(authority.mint(&late).expect_err("too late"), MintError::ExpiryTooLate);
}

fn check_code() -> impl Strategy<Value = String> {
    let right = prop::sample::select(vec!["read", "call", "send", "kill", "other"]);
    let query = prop_oneof![
        right.clone().prop_map(|r| format!(r#"right("{r}")"#)),
        right.prop_map(|r| format!(r#"right($r), $r != "{r}""#)),
        (6_u64..9).prop_map(|n| format!(r#"service("0000beef-{n}")"#)),
        Just("time($t), $t < 2027-06-01T00:00:00Z".to_owned()),
        Just("time($t), $t > 2020-06-01T00:00:00Z".to_owned()),
        Just("true".to_owned()),
        Just(r#"granted_right($r), right($r)"#.to_owned()),
    ];
    let kind = prop::sample::select(vec!["check if", "check all", "reject if"]);
    let check = (kind, prop::collection::vec(query, 1..3))
        .prop_map(|(kind, queries)| format!("{kind} {};", queries.join(" or ")));
    let statement = prop_oneof![
        8 => check,
        1 => Just(r#"granted_right("kill");"#.to_owned()),
        1 => Just(r#"right("kill");"#.to_owned()),
        1 => Just(r#"granted_right($r) <- right($r);"#.to_owned()),
    ];
    prop::collection::vec(statement, 0..4).prop_map(|statements| statements.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attenuation_never_widens(
        rights in prop::collection::btree_set(prop::sample::select(Right::ALL.to_vec()), 1..4),
        blocks in prop::collection::vec(check_code(), 1..4),
    ) {
        let authority = Authority::generate();
        let rights: Rights = rights;
        let minted = authority.mint(&TokenGrant { rights, ..grant(&[]) }).expect("can be minted");
        let allows = |token: &str, number, right, now| {
            authority.verify(token, now).and_then(|access| access.allows(service(number), right))
        };
        let mut before = minted.token;
        for code in blocks {
            let after = append(&before, &code);
            for number in [6, 7, 8] {
                for right in Right::ALL {
                    for now in [0, NOW, NOW + 59, NOW + 60, NOW + 10_000_000] {
                        if allows(&after, number, right, now).is_ok() {
                            prop_assert_eq!(allows(&before, number, right, now), Ok(()));
                        }
                    }
                }
            }
            before = after;
        }
    }

    #[test]
    fn a_changed_token_is_refused(at: prop::sample::Index, character in "[A-Za-z0-9_=-]") {
        let authority = Authority::generate();
        let token = append(&mint(&authority, &[Right::Call]).token, "check if true");
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &character);
        if authority.verify(&changed, NOW).is_ok() {
            prop_assert_eq!(changed.trim_end_matches('='), token.trim_end_matches('='));
        }
        // Without its padding a token still says the same.
        let cut = &token[..at.min(token.trim_end_matches('=').len() - 1)];
        prop_assert!(authority.verify(cut, NOW).is_err());
    }

    #[test]
    fn any_text_is_refused(text in "[A-Za-z0-9_=-]{0,400}") {
        prop_assert!(Authority::generate().verify(&text, NOW).is_err());
    }
}

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
