//! Ids of services and instances, guessed or copied from a log, where a name or a reference is wanted:
//! from outside, and from inside a service.

use solo_api::v1;

use super::{bearing, mint, refused};
use crate::harness::{Requests, Solo, deploy, guest_bytes};

#[tokio::test]
async fn an_id_is_no_way_to_a_service() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    owner.deploy(deploy("other", guest_bytes("counter"))).await.expect("deploy");
    let mut pinger = deploy("pinger", guest_bytes("pinger"));
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:other".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    owner.deploy(pinger).await.expect("deploy");
    let id = owner.status("counter").await.expect("status").id;
    let (weak, _) = mint(&solo, &["read,call service:default/pinger"]);
    let weak = bearing(&solo, &weak).await;
    for guess in [id.clone(), format!("{id}-1"), format!("counter-{id}"), format!("default/{id}")] {
        // From outside.
        weak.status(&guess).await.expect_err("no name of a service");
        weak.call(&guess, "get").await.expect_err("no name of a service");
        owner.call(&guess, "get").await.expect_err("no name of a service");
        // From inside: by name, and by what stands for a reference in memory (a small number).
        let asked = owner.call("pinger", &format!("ask {guess} get")).await;
        assert!(asked.expect_err("denied").cause.contains("denied"), "{guess}");
    }
    for command in ["use get", "kept get", "kept-send add 1"] {
        let problem = owner.call("pinger", command).await.expect_err("it has none");
        assert!(problem.cause.contains("nothing was passed"), "{problem:?}");
    }
    // What was granted is called, and not the neighbour.
    assert_eq!(owner.call("pinger", "ask other add 3").await.as_deref(), Ok("3"));
    assert_eq!(owner.call("counter", "get").await.as_deref(), Ok("0"));
    assert_eq!(refused(weak.status("counter").await.map(drop)), "RIGHT_MISSING");
}
