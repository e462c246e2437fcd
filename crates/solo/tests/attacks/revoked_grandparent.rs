//! A grant whose grandparent was revoked: whatever was made of it, by whichever hands, in whichever
//! order, is dead, cannot make anything new, and does not come back.

use super::{ask, bearing, mint, on_record, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn what_comes_from_a_revoked_grandparent() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let capability = "read,call,kill,grant service:default/mine";
    let (grandparent, id) = mint(&solo, &[capability]);
    let parent = ask(&bearing(&solo, &grandparent).await, &[capability]).await.expect("granted");
    let offline = solo.json(&["token", "attenuate", &parent, "--rights", "call,kill,grant"]);
    let offline = offline["token"].as_str().expect("a token").to_owned();
    let capability = "call,kill,grant service:default/mine";
    let child = ask(&bearing(&solo, &offline).await, &[capability]).await.expect("granted");
    let child_client = bearing(&solo, &child).await;
    assert_eq!(child_client.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
    assert_eq!(solo.json(&["token", "revoke", &id])["ended"], 3);
    for _ in 0..2 {
        for token in [&grandparent, &parent, &offline, &child] {
            let client = bearing(&solo, token).await;
            assert_eq!(refused(client.json_call("mine", "add", "[1, 2]").await), "TOKEN_REVOKED");
            assert_eq!(refused(client.kill("mine", true).await.map(drop)), "TOKEN_REVOKED");
            assert_eq!(refused(ask(&client, &[capability]).await), "TOKEN_REVOKED");
        }
        solo.kill_process("kernel").await;
    }
    assert!(on_record(&solo, "TOKEN_REVOKED") >= 24);
    assert_eq!(solo.answering().await.names().await, ["mine"]);
}
