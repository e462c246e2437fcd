//! Somebody who can write the database while Solo is down: rows of grants made wider, revocations taken
//! away, holders renamed. The tokens themselves are signed, so that no row gives one more than it says.

use super::{bearing, mint, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn rows_that_were_changed() {
    let mut solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let (weak, weak_id) = mint(&solo, &["call service:default/mine"]);
    let (dead, dead_id) = mint(&solo, &["call,kill service:default/mine"]);
    assert_eq!(solo.json(&["token", "revoke", &dead_id])["ended"], 1);
    solo.kill_heart().await;
    {
        let database =
            rusqlite::Connection::open(solo.home().join("solo.db")).expect("the database");
        let widened = database.execute(
            "UPDATE grants SET links = replace(links, 'call service:default/mine', \
             'call,kill,read,grant service:default/*') WHERE id = ?1",
            [&weak_id],
        );
        assert_eq!(widened.expect("written"), 1);
        assert_eq!(database.execute("DELETE FROM revoked", []).expect("written"), 1);
    }
    solo.up().await;
    let owner = solo.answering().await;
    for token in [weak, dead] {
        let client = bearing(&solo, &token).await;
        assert_eq!(refused(client.kill("mine", true).await.map(drop)), "TOKEN_UNKNOWN");
        assert_eq!(refused(client.json_call("mine", "add", "[1, 2]").await), "TOKEN_UNKNOWN");
    }
    assert_eq!(owner.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// Rotation of the root key, as docs/security.md describes it, after somebody had read it.
#[tokio::test]
async fn a_root_key_that_was_read_is_replaced() {
    let mut solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let (token, _) = mint(&solo, &["call service:default/mine"]);
    let old = [solo.admin_token(), token];
    solo.kill_heart().await;
    std::fs::remove_file(solo.home().join("keys/root.key")).expect("removed");
    solo.up().await;
    for token in &old {
        let client = bearing(&solo, token).await;
        assert_eq!(refused(client.json_call("mine", "add", "[1, 2]").await), "TOKEN_FORGED");
    }
    assert_ne!(solo.admin_token(), old[0]);
    let owner = solo.answering().await;
    assert_eq!(owner.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}
