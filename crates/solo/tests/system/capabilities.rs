//! C2, as far as it is built: tokens for one service, and what they do not open.

use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

async fn grant(client: &Client, service: &str, rights: &[v1::Right], ttl: u64) -> String {
    let request = v1::GrantCapabilityRequest {
        service: service.to_owned(),
        rights: rights.iter().map(|right| (*right).into()).collect(),
        ttl_seconds: Some(ttl),
    };
    let request = client.request(request, Duration::from_secs(10));
    client.grpc().grant_capability(request).await.expect("grant").into_inner().token
}

async fn holder(solo: &Solo, token: &str) -> Client {
    solo.answering().await.with_token(token).expect("token")
}

fn denied<T: std::fmt::Debug>(answer: Result<T, Problem>) -> Problem {
    let problem = answer.expect_err("must be denied");
    assert!(
        matches!(problem.kind, ProblemKind::PermissionDenied | ProblemKind::Unauthenticated),
        "{problem:?}"
    );
    assert!(!problem.remedy.is_empty(), "{problem:?}");
    problem
}

#[tokio::test]
async fn a_token_opens_what_it_names_and_nothing_else() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    owner.deploy(deploy("other", ADDER)).await.expect("deploy");
    let token = grant(&owner, "mine", &[v1::Right::Call], 60).await;
    let holder_of_call = holder(&solo, &token).await;
    assert_eq!(holder_of_call.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
    for problem in [
        denied(holder_of_call.json_call("other", "add", "[1, 2]").await),
        denied(holder_of_call.json_call("absent", "add", "[1, 2]").await),
        denied(holder_of_call.status("mine").await.map(|_| ())),
        denied(holder_of_call.kill("mine", true).await.map(|_| ())),
        denied(holder_of_call.deploy(deploy("new", ADDER)).await.map(|_| ())),
    ] {
        assert_eq!(problem.reason, "RIGHT_MISSING");
    }
    assert_eq!(holder_of_call.names().await, Vec::<String>::new(), "a list shows what may be read");
    let reader = holder(&solo, &grant(&owner, "mine", &[v1::Right::Read], 60).await).await;
    assert_eq!(reader.names().await, ["mine"]);
    assert_eq!(reader.status("mine").await.expect("status").name, "mine");
    denied(reader.json_call("mine", "add", "[1, 2]").await);
    let killer = holder(&solo, &grant(&owner, "mine", &[v1::Right::Kill], 60).await).await;
    killer.kill("mine", false).await.expect("kill");
    assert_eq!(owner.names().await, ["other"]);
    // The token was for that service, not for its name.
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    denied(holder_of_call.json_call("mine", "add", "[1, 2]").await);
}

#[tokio::test]
async fn tokens_that_are_none() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let good = grant(&owner, "mine", &[v1::Right::Call], 60).await;
    let other_solo = Solo::start().await;
    let other_owner = other_solo.answering().await;
    other_owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let foreign = grant(&other_owner, "mine", &[v1::Right::Call], 60).await;
    let mut changed = good.clone().into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    for token in ["", "x", &good[..good.len() - 10], &changed, &foreign] {
        let problem = denied(holder(&solo, token).await.json_call("mine", "add", "[1, 2]").await);
        assert!(problem.reason.starts_with("TOKEN_"), "{token}: {problem:?}");
    }
}

#[tokio::test]
async fn a_token_expires_and_survives_a_restart_until_then() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let short = holder(&solo, &grant(&owner, "mine", &[v1::Right::Call], 1).await).await;
    let long = grant(&owner, "mine", &[v1::Right::Call], 600).await;
    let expired = eventually("it has expired", || async {
        short.json_call("mine", "add", "[1, 2]").await.err()
    })
    .await;
    assert_eq!(expired.reason, "TOKEN_EXPIRED");
    solo.kill_process("kernel").await;
    let long = holder(&solo, &long).await;
    assert_eq!(long.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// S1: a token never ends a service of the system tier.
#[tokio::test]
async fn the_system_tier_is_the_owners() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    let mut request = deploy("core", ADDER);
    request.tier = v1::Tier::System.into();
    owner.deploy(request).await.expect("deploy");
    let token = grant(&owner, "core", &[v1::Right::Kill], 60).await;
    let problem = denied(holder(&solo, &token).await.kill("core", true).await.map(|_| ()));
    assert_eq!(problem.reason, "SYSTEM_TIER");
    owner.kill("core", true).await.expect("the owner may");
}

#[tokio::test]
async fn grants_that_are_wrong() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    for (service, rights, ttl, reason) in [
        ("absent", vec![v1::Right::Call.into()], 60, "NO_SUCH_SERVICE"),
        ("mine", vec![], 60, "INVALID_RIGHT"),
        ("mine", vec![99], 60, "INVALID_RIGHT"),
        ("mine", vec![v1::Right::Call.into()], 0, "INVALID_TTL"),
        ("mine", vec![v1::Right::Call.into()], u64::MAX, "INVALID_TTL"),
    ] {
        let request =
            v1::GrantCapabilityRequest { service: service.into(), rights, ttl_seconds: Some(ttl) };
        let request = owner.request(request, Duration::from_secs(10));
        let answer = owner.grpc().grant_capability(request).await.expect_err("refused");
        assert_eq!(solo_api::problem_from_status(&answer).reason, reason);
    }
}
