//! Attacks on tokens that carry capabilities.

use biscuit_auth::builder::{Algorithm, BlockBuilder, fact, string};
use biscuit_auth::{Biscuit, KeyPair, PrivateKey, UnverifiedBiscuit};
use proptest::prelude::*;
use solo_types::Right;

use super::samples::*;
use crate::*;

const GRANT: &str = "read,call,grant service:a/* until=1800000060";

fn capabilities(texts: &[&str]) -> Vec<Capability> {
    texts.iter().map(|text| capability(text)).collect()
}

fn mint(authority: &Authority, texts: &[&str]) -> Minted {
    authority.mint_token(&capabilities(texts)).expect("can be minted")
}

fn narrow(token: &str, texts: &[&str]) -> Minted {
    attenuate(token, &capabilities(texts)).expect("can be attenuated")
}

/// What a holder with any library for Biscuits can append.
fn append(token: &str, block: BlockBuilder) -> String {
    let token = UnverifiedBiscuit::from_base64(token).expect("a token");
    token.append(block).expect("appends").to_base64().expect("encodes")
}

fn code(code: &str) -> BlockBuilder {
    BlockBuilder::new().code(code).expect("the test's own code")
}

fn chain(token: &Token) -> Chain {
    Chain::new(token.links().to_vec()).expect("few")
}

#[test]
fn a_token_says_what_was_minted_and_appended() {
    let authority = Authority::generate();
    let minted =
        mint(&authority, &[GRANT, "connect network:*.example.com/443/GET/v1/* until=1800000060"]);
    let narrowed = narrow(&minted.token, &["call service:a/x uses=5/minute,9/ever"]);
    let token = authority.verify_token(&narrowed.token).expect("ours");
    let [first, second] = token.links() else { panic!("two links: {token:?}") };
    assert_eq!((first.id().as_str(), first.is_issued()), (minted.id.as_str(), true));
    assert_eq!((second.id().as_str(), second.is_issued()), (narrowed.id.as_str(), false));
    assert_eq!(second.account(), first.id());
    assert_eq!(first.capabilities().len(), 2);
    assert_eq!(second.capabilities(), capabilities(&["call service:a/x uses=5/minute,9/ever"]));
    assert_eq!(inspect(&narrowed.token), Ok(token.clone()));
    let chain = chain(&token);
    assert!(allows(&chain, &service("a", "x", 1), Right::Call, NOW));
    assert!(!allows(&chain, &service("a", "x", 1), Right::Call, NOW + 60));
    assert!(!allows(&chain, &service("a", "x", 1), Right::Read, NOW));
    assert!(!allows(&chain, &service("a", "y", 1), Right::Call, NOW));
    assert!(!format!("{minted:?}").contains(&minted.token));
}

#[test]
fn an_appended_block_cannot_widen() {
    let authority = Authority::generate();
    let minted = mint(&authority, &["call service:a/x until=1800000060"]);
    let all = "read,call,kill,grant service:*/* tier=system";
    let token = authority.verify_token(&narrow(&minted.token, &[all]).token).expect("ours");
    let effective = chain(&token).effective(10).expect("few");
    assert_eq!(effective, capabilities(&["call service:a/x until=1800000060"]));
    // A quote in a text makes one fact look like two. They are still in a block of its own.
    let quoted = format!("read service:b/*\");\ncapability(\"{all}");
    let block = BlockBuilder::new().fact(fact("capability", &[string(&quoted)])).expect("a fact");
    let token = authority.verify_token(&append(&minted.token, block)).expect("ours");
    assert_eq!(chain(&token).effective(10).expect("few"), effective);
}

#[test]
fn what_is_no_capability_is_refused() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[GRANT]);
    let text =
        |text: &str| BlockBuilder::new().fact(fact("capability", &[string(text)])).expect("a fact");
    let seventeen = (0..17).map(|n| format!("capability(\"call service:a/x{n}\");"));
    for block in [
        BlockBuilder::new(),
        code(r#"check if right("call")"#),
        code(r#"capability("call service:a/x"); check if right("call")"#),
        code("reject if true"),
        code("capability($x) <- capability($x)"),
        code(r#"capability("call service:a/x", "kill")"#),
        code("capability(1)"),
        code(r#"capability(["call service:a/x"])"#),
        code(r#"other("call service:a/x")"#),
        code(r#"granted_right("kill")"#),
        code(&seventeen.collect::<String>()),
        text(""),
        text("rule service:a/x"),
        text("call service:a"),
        text("call service:a/x until=never"),
        text("call service:a/x\");\ncheck if true;\ncapability(\"call service:a/x"),
        text("call service:a/x\r"),
    ] {
        let shown = format!("{block:?}");
        let denial = authority.verify_token(&append(&minted.token, block)).expect_err(&shown);
        assert_eq!(denial.reason(), "TOKEN_NOT_CAPABILITIES", "{shown}");
        assert!(!denial.into_problem().remedy.is_empty());
    }
}

#[test]
fn a_block_of_a_third_party_is_refused() {
    let authority = Authority::generate();
    let minted = mint(&authority, &[GRANT]);
    let token = UnverifiedBiscuit::from_base64(&minted.token).expect("a token");
    let block = token
        .third_party_request()
        .expect("a request")
        .create_block(&KeyPair::new().private(), code(r#"capability("call service:a/x")"#))
        .expect("signs");
    let token = token.append_third_party(&block.serialize().expect("encodes")).expect("appends");
    let denial = authority.verify_token(&token.to_base64().expect("encodes"));
    assert_eq!(denial.expect_err("refused").reason(), "TOKEN_TOO_COMPLEX");
}

/// Signatures of other algorithms can be changed by whoever sees them, and with them the ids.
#[test]
fn only_ed25519_signs_blocks() {
    let authority = Authority::generate();
    let bytes = authority.private_key_bytes();
    let root = KeyPair::from(&PrivateKey::from_bytes(&bytes, Algorithm::Ed25519).expect("a key"));
    let next = KeyPair::new_with_algorithm(Algorithm::Secp256r1);
    let first = Biscuit::builder().merge(code(&format!("capability(\"{GRANT}\")"))).build(&root);
    let first = UnverifiedBiscuit::from_base64(first.expect("signs").to_base64().expect("encodes"));
    let first = first.expect("a token");
    let narrow = || code(r#"capability("call service:a/x")"#);
    let second = first.append_with_keypair(&next, narrow()).expect("appends");
    // The second block was still signed with Ed25519, whatever key comes after it.
    let token = second.to_base64().expect("encodes");
    assert!(authority.verify_token(&token).is_ok());
    let denial = authority.verify_token(&append(&token, narrow())).expect_err("refused");
    assert_eq!(denial.reason(), "TOKEN_NOT_CAPABILITIES");
}

#[test]
fn what_is_no_token_is_refused() {
    let authority = Authority::generate();
    let token = mint(&authority, &[GRANT]).token;
    let half = &token[..token.len() / 2];
    for text in ["", "x", "Bearer abc", "\u{e4}", half, &"A".repeat(1_000), &"A".repeat(10 << 20)] {
        let denial = authority.verify_token(text).expect_err("no token");
        assert_eq!(denial.reason(), "TOKEN_MALFORMED", "{} characters", text.len());
    }
}

#[test]
fn a_token_of_another_key_is_forged() {
    let minted = mint(&Authority::generate(), &[GRANT]);
    assert_eq!(Authority::generate().verify_token(&minted.token), Err(Denial::Forged));
    assert!(inspect(&minted.token).is_ok());
}

#[test]
fn what_cannot_be_written_is_refused() {
    let authority = Authority::generate();
    let refused = |texts: &[&str]| authority.mint_token(&capabilities(texts)).expect_err("refused");
    assert_eq!(refused(&[]), TokenError::Capabilities);
    assert_eq!(refused(&[GRANT; 17]), TokenError::Capabilities);
    assert_eq!(refused(&[GRANT, "call service:a/x"]), TokenError::NoExpiry);
    let long = |n: usize| format!("connect network:a/{n}/GET/{} until=9", "x".repeat(1_000));
    let many: Vec<String> = (1..17).map(long).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused(&many), TokenError::TooLong);
    let mut token = mint(&authority, &[GRANT]).token;
    for _ in 1..32 {
        token = narrow(&token, &["call service:a/x"]).token;
    }
    assert_eq!(authority.verify_token(&token).expect("just fits").links().len(), 32);
    let one = capabilities(&["call service:a/x"]);
    assert_eq!(attenuate(&token, &one), Err(TokenError::TooLong));
    let more = append(&token, code(r#"capability("call service:a/x")"#));
    assert!(authority.verify_token(&more).is_err() && inspect(&more).is_err());
    assert_eq!(attenuate(&token, &[]), Err(TokenError::Capabilities));
    for text in ["", "x", "ä", &"A".repeat(1_000), &"A".repeat(10 << 20)] {
        assert!(matches!(attenuate(text, &one), Err(TokenError::NotAttenuable(_))));
        assert!(inspect(text).is_err() && authority.verify_token(text).is_err());
    }
    let sealed =
        UnverifiedBiscuit::from_base64(&mint(&authority, &[GRANT]).token).expect("a token");
    let sealed = sealed.seal().expect("seals").to_base64().expect("encodes");
    assert!(authority.verify_token(&sealed).is_ok());
    assert!(matches!(attenuate(&sealed, &one), Err(TokenError::NotAttenuable(_))));
    for error in [TokenError::Capabilities, TokenError::NoExpiry, TokenError::TooLong] {
        assert!(!solo_types::Problem::from(error).remedy.is_empty());
    }
}

#[test]
fn a_token_stands_for_the_chain_of_its_grant() {
    let authority = Authority::generate();
    let mut grants = Grants::new();
    let holder = Principal::new("alice").expect("legal");
    let root = Proposal {
        id: id("root"),
        holder: holder.clone(),
        capabilities: capabilities(&["call,grant service:a/* uses=1/ever until=1800000060"]),
    };
    let root = grants.issue(root).expect("room").chain.clone();
    let texts = ["call service:a/x uses=1/ever until=1800000060"];
    let minted = mint(&authority, &texts);
    let token = authority.verify_token(&narrow(&minted.token, &["call service:*/*"]).token);
    let token = token.expect("ours");
    assert_eq!(grants.present(&token), Err(Rule::UnknownGrant));
    let id = GrantId::new(&minted.id).expect("legal");
    let proposal = Proposal { id: id.clone(), holder, capabilities: capabilities(&texts) };
    grants.derive(&root, proposal, NOW).expect("within");
    let presented = grants.present(&token).expect("known");
    assert_eq!(presented.links().len(), 3);
    // What is used by the token counts for the grant that it came from.
    let (mut ledger, object) = (Ledger::new(), service("a", "x", 1));
    let request = Request { object: &object, right: Right::Call };
    let ask = |chain: &Chain, ledger: &Ledger| {
        let context = Context { now_unix_s: NOW, ledger, revoked: grants.revoked() };
        decide(chain, request, context)
    };
    let allowed = ask(&presented, &ledger).expect("within");
    charge(&mut ledger, &allowed, NOW).expect("the first");
    assert!(matches!(ask(&root, &ledger), Err(Refusal { rule: Rule::UsedUp { .. }, .. })));
    grants.revoke(&self::id("root"), None).expect("room");
    assert_eq!(grants.present(&token), Err(Rule::Revoked));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attenuation_of_a_token_never_widens(
        first in prop::collection::vec(any_capability(true), 1..6),
        blocks in prop::collection::vec(prop::collection::vec(any_capability(true), 1..6), 1..4),
    ) {
        let authority = Authority::generate();
        let until = |c: &Capability| {
            let constraints = c.constraints().clone().until(NOW + 20).expect("legal");
            c.clone().with_constraints(constraints)
        };
        let first: Vec<Capability> = first.iter().map(until).collect();
        let mut before = authority.mint_token(&first).expect("can be minted");
        for block in blocks {
            let after = attenuate(&before.token, &block).expect("can be attenuated");
            let wide = chain(&authority.verify_token(&before.token).expect("ours"));
            let narrow = chain(&authority.verify_token(&after.token).expect("ours"));
            prop_assert!(narrow.derives_from(&wide) && !wide.derives_from(&narrow));
            for object in objects() {
                for right in object.kind().rights() {
                    for now in MOMENTS {
                        let by_block = allows(&chain_of(std::slice::from_ref(&block)), &object, right, now);
                        let expected = allows(&wide, &object, right, now) && by_block;
                        prop_assert_eq!(allows(&narrow, &object, right, now), expected);
                    }
                }
            }
            before = after;
        }
    }

    #[test]
    fn a_changed_token_is_refused(at: prop::sample::Index, character in "[A-Za-z0-9_=-]") {
        let authority = Authority::generate();
        let token = narrow(&mint(&authority, &[GRANT]).token, &["call service:a/x"]).token;
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &character);
        if authority.verify_token(&changed).is_ok() {
            prop_assert_eq!(changed.trim_end_matches('='), token.trim_end_matches('='));
        }
        let cut = &token[..at.min(token.trim_end_matches('=').len() - 1)];
        prop_assert!(authority.verify_token(cut).is_err());
        // Neither makes who only looks at it, or attenuates it, stumble.
        let _ = (inspect(&changed), attenuate(&changed, &capabilities(&["call service:a/x"])));
    }

    #[test]
    fn any_text_is_refused(text in "[A-Za-z0-9_=-]{0,400}") {
        prop_assert!(Authority::generate().verify_token(&text).is_err());
    }
}
