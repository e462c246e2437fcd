//! A token changed by hand: each part of it flipped, cut and extended, blocks that claim more appended.

use super::{bearing, mint, on_record, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn a_token_that_was_changed_by_hand() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let (token, _) = mint(&solo, &["call service:default/mine"]);
    let mut changed = Vec::new();
    for at in (0..token.len()).step_by(token.len() / 40) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        changed.push(String::from_utf8(bytes).expect("ASCII"));
        changed.push(token[..at].to_owned());
    }
    changed.extend([format!("{token}AAAA"), format!("{token}{token}"), token.to_uppercase()]);
    let before = on_record(&solo, "TOKEN_FORGED") + on_record(&solo, "TOKEN_MALFORMED");
    let mut count = 0;
    // Without the padding at its end it is the same token.
    let bare = |text: &str| text.trim_end_matches('=').to_owned();
    for text in changed.iter().filter(|text| bare(text) != bare(&token)) {
        let client = bearing(&solo, text).await;
        let reason = refused(client.kill("mine", true).await.map(drop));
        assert!(["TOKEN_FORGED", "TOKEN_MALFORMED"].contains(&reason.as_str()), "{reason}: {text}");
        count += 1;
    }
    let after = on_record(&solo, "TOKEN_FORGED") + on_record(&solo, "TOKEN_MALFORMED");
    // A flood of strangers is counted in the next record rather than written one by one.
    assert!(after > before && after - before <= count, "{before} {after} {count}");
    // Blocks that claim more change nothing.
    for wider in [
        "read,call,send,kill,deploy,update,grant service:default/*",
        "kill service:default/mine tier=system",
        "execute kernel:shutdown tier=system",
        "call service:default/mine until=253402300799",
    ] {
        let capability = wider.parse().expect("a capability");
        let wider = solo_capability::attenuate(&token, &[capability]).expect("a token");
        let client = bearing(&solo, &wider.token).await;
        assert_eq!(refused(client.kill("mine", true).await.map(drop)), "RIGHT_MISSING");
        assert_eq!(refused(client.status("mine").await.map(drop)), "RIGHT_MISSING");
        assert_eq!(refused(client.deploy(deploy("new", ADDER)).await.map(drop)), "RIGHT_MISSING");
    }
    assert!(on_record(&solo, "RIGHT_MISSING") >= 12);
    assert_eq!(owner.names().await, ["mine"]);
}
