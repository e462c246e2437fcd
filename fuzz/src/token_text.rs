//! Texts in the place of tokens.
//!
//! The seeds contain tokens of the key that is asked, so that the fuzzer changes real ones. It cannot
//! sign: whatever is taken for a token of that key has to be one of them.

use std::sync::LazyLock;

use solo_capability::{Capability, Token, attenuate, inspect};

use crate::samples::{AUTHORITY, allows, assert_never_wider, chain};

/// The tokens among the seeds (`fuzz/seeds/token_text`), which is where [`AUTHORITY`] is known to sign.
static SIGNED: LazyLock<Vec<Token>> = LazyLock::new(|| {
    let seeds = [
        include_str!("../seeds/token_text/minted"),
        include_str!("../seeds/token_text/attenuated"),
        include_str!("../seeds/token_text/sealed"),
    ];
    seeds.map(|text| AUTHORITY.verify_token(text.trim_end()).expect("a seed is a token")).to_vec()
});

/// Takes any bytes.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let text = text.trim_end();
    if let Ok(token) = AUTHORITY.verify_token(text) {
        assert!(SIGNED.contains(&token), "nobody signed this: {token:?}");
    }
    // Who looks at it or attenuates it trusts it no more than it says.
    let Ok(said) = inspect(text) else { return };
    let said = chain(&said);
    let narrower: Capability = "call service:a/x".parse().expect("legal");
    let Ok(narrowed) = attenuate(text, std::slice::from_ref(&narrower)) else { return };
    let narrowed = chain(&inspect(&narrowed.token).expect("what was just written"));
    assert!(narrowed.derives_from(&said));
    assert_never_wider(&narrowed, &[&said]);
    let object = "service:a/xy".parse().expect("legal");
    assert!(!allows(&narrowed, &object, solo_types::Right::Call, 0));
}
