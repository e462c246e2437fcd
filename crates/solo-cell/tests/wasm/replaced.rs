//! Messages between services while an update replaces the receiver (SPEC U2).

use std::time::Duration;

use solo_api::cell::v1 as wire;

use super::actors::{ask, deployed, guest, say, service};
use super::cell::TestCell;

const CALLEE: &str = "spare";

fn spec_of(cell: &TestCell, revision: u64) -> wire::ServiceSpec {
    wire::ServiceSpec { revision, ..guest(cell, "chain", CALLEE) }
}

fn id(number: u64) -> String {
    format!("{}-{number}", service(CALLEE))
}

async fn route(cell: &TestCell, instances: Vec<String>, replacing: bool) {
    let (service, name) = (service(CALLEE), CALLEE.to_owned());
    let request = wire::RouteRequest { service, name, instances, replacing, weights: Vec::new() };
    cell.client.clone().route(request).await.expect("route");
}

async fn start(cell: &TestCell, revision: u64) {
    let request =
        wire::StartRequest { spec: Some(spec_of(cell, revision)), instances: vec![id(revision)] };
    let failure = cell.client.clone().start(request).await.expect("start").into_inner().failure;
    assert_eq!(failure, None);
}

async fn stop(cell: &TestCell, revision: u64) {
    let request = wire::StopRequest {
        instances: vec![id(revision)],
        reason: "updated".to_owned(),
        ..Default::default()
    };
    let forced = cell.client.clone().stop(request).await.expect("stop").into_inner().forced;
    assert!(forced.is_empty(), "{forced:?}");
}

/// `chain` calls `spare` between the old instance and the new one.
#[tokio::test]
async fn a_call_waits_for_the_next_instance() {
    let cell = deployed(&["chain"]).await;
    start(&cell, 1).await;
    route(&cell, vec![id(1)], false).await;
    assert!(say(&cell, "chain", "relay spare | a").await.contains(&id(1)));

    route(&cell, Vec::new(), true).await;
    stop(&cell, 1).await;
    // A deadline holds while it waits, and a send, which waits for nothing, says what is the matter.
    let failure = ask(&cell, "chain", "relay spare@100 | b").await.expect_err("nobody is there");
    assert!(failure.message.contains("no instance at the moment"), "{failure:?}");
    let failure = ask(&cell, "chain", "pass spare | b").await.expect_err("nobody is there");
    assert!(failure.message.contains("no instance at the moment"), "{failure:?}");

    let mut waiting = std::pin::pin!(say(&cell, "chain", "relay spare | c"));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    start(&cell, 2).await;
    route(&cell, vec![id(2)], false).await;
    assert!(waiting.await.contains(&id(2)));
}

/// A service that is gone, and not replaced, is denied at once, also to one that waits for it.
#[tokio::test]
async fn a_call_does_not_wait_for_what_is_gone() {
    let cell = deployed(&["chain"]).await;
    start(&cell, 1).await;
    route(&cell, Vec::new(), true).await;
    let mut waiting = std::pin::pin!(ask(&cell, "chain", "relay spare | a"));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    route(&cell, Vec::new(), false).await;
    let failure = waiting.await.expect_err("it is gone");
    assert!(failure.message.contains("denied"), "{failure:?}");
    let failure = ask(&cell, "chain", "relay spare | b").await.expect_err("it is gone");
    assert!(failure.message.contains("denied"), "{failure:?}");
}

/// Calls and sends one after the other while the callee is replaced again and again, with and without
/// a gap: each arrives.
#[tokio::test]
async fn no_message_is_lost_to_an_update() {
    let cell = deployed(&["chain"]).await;
    start(&cell, 1).await;
    route(&cell, vec![id(1)], false).await;
    let done = std::cell::Cell::new(false);
    let calls = async {
        let mut calls = 0;
        while !done.get() {
            say(&cell, "chain", "relay spare | x").await;
            calls += 1;
        }
        calls
    };
    let updates = async {
        for revision in 2..60 {
            if revision % 2 == 0 {
                start(&cell, revision).await;
                route(&cell, vec![id(revision)], false).await;
                stop(&cell, revision - 1).await;
            } else {
                route(&cell, Vec::new(), true).await;
                stop(&cell, revision - 1).await;
                start(&cell, revision).await;
                route(&cell, vec![id(revision)], false).await;
            }
        }
        done.set(true);
    };
    let (calls, ()) = tokio::join!(calls, updates);
    assert!(calls > 10, "{calls}");
}

/// The receiver is replaced without a gap: a send that met the old one reaches the new one.
#[tokio::test]
async fn no_send_is_lost_to_a_rolling_update() {
    let cell = deployed(&["chain"]).await;
    start(&cell, 1).await;
    route(&cell, vec![id(1)], false).await;
    let done = std::cell::Cell::new(false);
    let sends = async {
        while !done.get() {
            say(&cell, "chain", "pass spare | x").await;
        }
    };
    let updates = async {
        for revision in 2..60 {
            start(&cell, revision).await;
            route(&cell, vec![id(revision)], false).await;
            stop(&cell, revision - 1).await;
        }
        done.set(true);
    };
    tokio::join!(sends, updates);
}
