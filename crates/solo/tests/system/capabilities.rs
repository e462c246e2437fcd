//! C2: tokens for services, and what they do not open.

use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

async fn grant(client: &Client, service: &str, rights: &[v1::Right], ttl: u64) -> String {
    let request = v1::GrantCapabilityRequest {
        service: service.to_owned(),
        rights: rights.iter().map(|right| (*right).into()).collect(),
        ttl_seconds: Some(ttl),
        ..v1::GrantCapabilityRequest::default()
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
        let request = v1::GrantCapabilityRequest {
            service: service.into(),
            rights,
            ttl_seconds: Some(ttl),
            ..v1::GrantCapabilityRequest::default()
        };
        let request = owner.request(request, Duration::from_secs(10));
        let answer = owner.grpc().grant_capability(request).await.expect_err("refused");
        assert_eq!(solo_api::problem_from_status(&answer).reason, reason);
    }
}

async fn revoke(client: &Client, id: &str) -> Result<u32, Problem> {
    let request = v1::RevokeCapabilityRequest { id: id.to_owned() };
    let request = client.request(request, Duration::from_secs(10));
    let answer = client.grpc().revoke_capability(request).await;
    answer.map(|answer| answer.into_inner().ended).map_err(|s| solo_api::problem_from_status(&s))
}

async fn held(client: &Client, service: &str) -> Result<Vec<v1::HeldGrant>, Problem> {
    let request = v1::ListCapabilitiesRequest { service: service.to_owned() };
    let request = client.request(request, Duration::from_secs(10));
    let answer = client.grpc().list_capabilities(request).await;
    answer.map(|answer| answer.into_inner().grants).map_err(|s| solo_api::problem_from_status(&s))
}

/// C2: a revocation takes all that was derived, at once and for good, and ends streams.
#[tokio::test]
async fn what_is_revoked_allows_nothing_any_more() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let all = [v1::Right::Call, v1::Right::Read, v1::Right::Grant];
    let grandparent = grant(&owner, "mine", &all, 600).await;
    let parent = grant(&holder(&solo, &grandparent).await, "mine", &all, 500).await;
    let child = grant(&holder(&solo, &parent).await, "mine", &all[..2], 400).await;
    let minted = solo.json(&["token", "attenuate", &child, "--rights", "call"]);
    let offline = minted["token"].as_str().expect("a token").to_owned();
    for token in [&grandparent, &parent, &child, &offline] {
        let answer = holder(&solo, token).await.json_call("mine", "add", "[1, 2]").await;
        assert_eq!(answer.as_deref(), Ok("3"));
    }
    denied(holder(&solo, &offline).await.status("mine").await.map(drop));
    let grants = held(&owner, "").await.expect("the owner sees all");
    assert_eq!(grants.len(), 4, "the owner's own too");
    assert_eq!(grants.iter().filter(|grant| grant.from.is_empty()).count(), 1);
    let id = |token: &str| {
        let links = solo.json(&["token", "inspect", token])["links"].clone();
        let last = links.as_array().and_then(|links| links.last().cloned()).expect("a link");
        last["id"].as_str().expect("an id").to_owned()
    };
    // Nobody revokes what is above them.
    let problem = denied(revoke(&holder(&solo, &child).await, &id(&parent)).await);
    assert_eq!(problem.reason, "RIGHT_MISSING");
    denied(revoke(&holder(&solo, &child).await, "0123").await);
    // A stream that was opened before.
    let reader = holder(&solo, &child).await;
    let request = v1::WatchRequest { service: "mine".into(), follow: true, ..Default::default() };
    let mut stream = reader.grpc().watch(reader.stream_request(request)).await.expect("a stream");
    assert_eq!(revoke(&holder(&solo, &grandparent).await, &id(&parent)).await, Ok(2));
    let end = loop {
        match stream.get_mut().message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break solo_api::problem_from_status(&status),
        }
    };
    assert_eq!(end.reason, "TOKEN_REVOKED");
    for restarted in [false, true] {
        for token in [&parent, &child, &offline] {
            let answer = holder(&solo, token).await.json_call("mine", "add", "[1, 2]").await;
            assert_eq!(denied(answer).reason, "TOKEN_REVOKED", "restarted: {restarted}");
        }
        let answer = holder(&solo, &grandparent).await.json_call("mine", "add", "[1, 2]").await;
        assert_eq!(answer.as_deref(), Ok("3"));
        if !restarted {
            solo.kill_process("kernel").await;
        }
    }
    let owner = solo.answering().await;
    assert_eq!(held(&owner, "mine").await.expect("grants").len(), 2, "the owner's own too");
    let audit = solo.audit_log();
    assert!(audit.contains("\"revoke\"") && audit.contains(&id(&parent)), "{audit}");
}

/// Nobody grants more than they hold, nor what they may not pass on.
#[tokio::test]
async fn grants_stay_within_what_is_held() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    owner.deploy(deploy("other", ADDER)).await.expect("deploy");
    let ask = async |token: &str, service: &str, rights: &[v1::Right], ttl: u64| {
        let client = holder(&solo, token).await;
        let request = v1::GrantCapabilityRequest {
            service: service.to_owned(),
            rights: rights.iter().map(|right| (*right).into()).collect(),
            ttl_seconds: Some(ttl),
            ..v1::GrantCapabilityRequest::default()
        };
        let request = client.request(request, Duration::from_secs(10));
        let answer = client.grpc().grant_capability(request).await;
        answer.map(drop).map_err(|status| solo_api::problem_from_status(&status))
    };
    let call_and_grant = [v1::Right::Call, v1::Right::Grant];
    let token = grant(&owner, "mine", &call_and_grant, 300).await;
    assert_eq!(ask(&token, "mine", &[v1::Right::Call], 100).await, Ok(()));
    for (service, rights, ttl) in [
        ("mine", &[v1::Right::Kill][..], 100),
        ("mine", &[v1::Right::Call], 3_000),
        ("other", &[v1::Right::Call], 100),
        ("absent", &[v1::Right::Call], 100),
    ] {
        let problem = denied(ask(&token, service, rights, ttl).await);
        assert!(["GRANT_WIDER", "RIGHT_MISSING"].contains(&problem.reason.as_str()), "{problem:?}");
    }
    // Without the right to pass on.
    let token = grant(&owner, "mine", &[v1::Right::Call], 300).await;
    assert_eq!(denied(ask(&token, "mine", &[v1::Right::Call], 100).await).reason, "RIGHT_MISSING");
    denied(held(&holder(&solo, &token).await, "mine").await);
    denied(held(&holder(&solo, &token).await, "").await);
}

/// Attenuated by hand: wider than before, of another key, without asking anybody.
#[tokio::test]
async fn attenuation_only_narrows() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let token = grant(&owner, "mine", &[v1::Right::Call], 300).await;
    let wider = solo_capability::attenuate(
        &token,
        &["read,call,send,kill,grant service:default/*".parse().expect("a capability")],
    );
    let wider = holder(&solo, &wider.expect("a token").token).await;
    assert_eq!(wider.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
    denied(wider.status("mine").await.map(drop));
    denied(wider.kill("mine", true).await.map(drop));
    // What Solo has never seen can be ended too: by who holds it, and by the owner.
    for by_owner in [false, true] {
        let made =
            solo.json(&["token", "attenuate", &token, "--ttl", if by_owner { "2m" } else { "1m" }]);
        let text = |key: &str| made[key].as_str().expect(key).to_owned();
        let narrow = holder(&solo, &text("token")).await;
        assert_eq!(narrow.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
        denied(revoke(&narrow, "0123").await);
        let who = if by_owner { &owner } else { &narrow };
        assert_eq!(revoke(who, &text("id")).await, Ok(0));
        let problem = denied(narrow.json_call("mine", "add", "[1, 2]").await);
        assert_eq!(problem.reason, "TOKEN_REVOKED");
    }
    let (code, error) = solo.refused(&["token", "attenuate", &token, "--rights", "kill"]);
    assert_eq!((code, &error["reason"]), (2, &"USAGE".into()));
    let (code, error) = solo.refused(&["token", "inspect", "nonsense"]);
    assert_eq!((code, &error["reason"]), (1, &"TOKEN_MALFORMED".into()));
    let made = solo.json(&["token", "mint", "mine", "call", "--ttl", "1h"]);
    assert_eq!(solo.json(&["token", "list", "mine"])["grants"].as_array().map(Vec::len), Some(3));
    let id = made["id"].as_str().expect("an id");
    assert_eq!(solo.json(&["token", "revoke", id])["ended"], 1);
    assert_eq!(solo.json(&["token", "revoke", id])["ended"], 0);
}

/// C2: what a service may do ends with the grant that its deployer had it from, in living instances
/// too, and does not come back with the kernel, the cell or an update.
#[tokio::test]
async fn references_die_with_the_grants_they_come_from() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("counter", crate::harness::guest_bytes("counter"))).await.expect("deploy");
    let all = "deploy,update,call,send,read,grant service:default/*";
    let made = solo.json(&["token", "mint", "--capability", all, "--for", "agent"]);
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().expect(key).to_owned();
    let agent = holder(&solo, &text(&made, "token")).await;
    let mut pinger = deploy("pinger", crate::harness::guest_bytes("pinger"));
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:counter".to_owned(),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    }];
    let mut of_owner = pinger.clone();
    of_owner.name = "pinger-two".to_owned();
    agent.deploy(pinger).await.expect("deploy");
    owner.deploy(of_owner).await.expect("deploy");
    // It goes on calling by a reference that it made once.
    owner.call("pinger", "start counter 5 get").await.expect("it calls");
    owner.call("pinger-two", "start counter 5 get").await.expect("it calls");
    let stats = async |name: &str| -> serde_json::Value {
        let stats = owner.call(name, "stats").await.expect("stats");
        serde_json::from_str(&stats).expect("JSON")
    };
    let answered = |stats: &serde_json::Value| stats["ok"].as_u64().expect("ok");
    eventually("it has called", || async { (answered(&stats("pinger").await) > 3).then_some(()) })
        .await;
    assert_eq!(owner.call("pinger", "ask counter get").await.as_deref(), Ok("0"));
    let listed = solo.json(&["token", "list"]);
    assert!(listed.to_string().contains("service:"), "{listed}");
    assert_eq!(revoke(&owner, &text(&made, "id")).await, Ok(2), "the agent's, and its service's");
    // The answer came: from now on nothing that the agent gave is worth anything.
    let then = stats("pinger").await;
    eventually("its calls are denied", || async {
        let now = stats("pinger").await;
        (now["failed"].as_u64() > then["failed"].as_u64()).then_some(())
    })
    .await;
    assert!(answered(&stats("pinger").await) <= answered(&then) + 1, "none was answered any more");
    for what in ["living", "after the kernel", "after the cell", "updated"] {
        match what {
            "after the kernel" => solo.kill_process("kernel").await,
            "after the cell" => solo.kill_process("cells/wasm-default").await,
            "updated" => {
                let code = crate::harness::guest_bytes("pinger");
                let source = Some(v1::code::Source::Inline(code));
                let code = Some(v1::Code { source, format: 0 });
                let message =
                    v1::UpdateRequest { name: "pinger".to_owned(), code, ..Default::default() };
                let owner = solo.answering().await;
                let request = owner.request(message, Duration::from_secs(30));
                owner.grpc().update(request).await.expect("updated");
            }
            _ => {}
        }
        let owner = solo.answering().await;
        let denied = async |name: &str| {
            eventually("it answers", || async {
                match owner.call(name, "ask counter get").await {
                    Ok(_) => Some(false),
                    Err(problem) => problem.cause.contains("denied").then_some(true),
                }
            })
            .await
        };
        assert!(denied("pinger").await, "{what}");
        assert!(!denied("pinger-two").await, "{what}");
    }
}
