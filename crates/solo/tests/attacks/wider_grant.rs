//! Grants beyond one's own: other objects, more rights, a longer life, another tier, the kernel; by one
//! capability, or hidden among legal ones.

use super::{ask, ask_for, bearing, mint, on_record, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn a_grant_beyond_ones_own() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("ci-one", ADDER)).await.expect("deploy");
    owner.deploy(deploy("other", ADDER)).await.expect("deploy");
    let (token, _) =
        mint(&solo, &["read,call,grant service:default/ci-*", "kill service:default/ci-one"]);
    let agent = bearing(&solo, &token).await;
    let legal = "call service:default/ci-one";
    ask(&agent, &[legal]).await.expect("its own");
    for wider in [
        "call service:default/other",
        "call service:default/*",
        "call service:other/ci-one",
        "call service:*/ci-one",
        "read,call,send service:default/ci-one",
        "deploy service:default/ci-two",
        // Held, but not to be passed on.
        "kill service:default/ci-one",
        "call service:default/ci-one tier=system",
        "execute kernel:shutdown",
        "execute kernel:shutdown tier=system",
        "read kernel:*",
        "grant kernel:grants",
        "read tenant:default",
        "read secret:default/key",
        "connect network:*/443",
        "write artifact:*",
    ] {
        for capabilities in [&[wider][..], &[legal, wider]] {
            let reason = refused(ask(&agent, capabilities).await);
            assert!(reason.starts_with("GRANT_") || reason == "RIGHT_MISSING", "{wider}: {reason}");
        }
    }
    // Longer than one's own half an hour.
    let reason = refused(ask_for(&agent, &[legal], 3_600).await);
    assert!(reason.starts_with("GRANT_"), "{reason}");
    assert!(
        solo.audit_log().matches("\"refused: GRANT_").count() + on_record(&solo, "RIGHT_MISSING")
            >= 32
    );
}
