//! Tokens of another installation, which has a service of the same name: even its owner's.

use super::{bearing, mint, on_record, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn a_token_of_another_installation() {
    let (solo, other) = (Solo::start().await, Solo::start().await);
    for here in [&solo, &other] {
        here.answering().await.deploy(deploy("mine", ADDER)).await.expect("deploy");
    }
    let (foreign, _) = mint(&other, &["call,read service:default/mine"]);
    for token in [foreign, other.admin_token()] {
        let client = bearing(&solo, &token).await;
        let before = on_record(&solo, "TOKEN_FORGED");
        assert_eq!(refused(client.json_call("mine", "add", "[1, 2]").await), "TOKEN_FORGED");
        assert_eq!(refused(client.kill("mine", true).await.map(drop)), "TOKEN_FORGED");
        assert_eq!(on_record(&solo, "TOKEN_FORGED"), before + 2);
    }
    assert_eq!(solo.answering().await.names().await, ["mine"]);
}
