//! C2: every operation with every kind of token, and exactly the expected answer.

use std::collections::BTreeSet;
use std::time::Duration;

use solo_api::{Client, Endpoint, v1};
use solo_capability::{Authority, Capability, attenuate};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// An operation, and the least that it takes.
pub(crate) const OPERATIONS: [(&str, &str); 24] = [
    ("Deploy", "deploy service:default/fresh"),
    ("Status", "read service:default/mine"),
    ("Watch", "read service:default/mine"),
    ("List", "read service:default/mine"),
    ("Update", "update service:default/mine"),
    ("Call", "call service:default/mine"),
    ("Send", "send service:default/mine"),
    ("UploadArtifact", "deploy service:default/fresh"),
    ("Tree", "read kernel:tree"),
    ("GrantCapability", "call,grant service:default/mine"),
    ("ListCapabilities", "grant service:default/mine"),
    ("RevokeCapability", "call service:default/mine"),
    ("ExplainCapability", "read kernel:grants"),
    ("SetSecret", "write secret:default/key"),
    ("ListSecrets", "read secret:default/key"),
    ("RemoveSecret", "write secret:default/key"),
    ("ListVolumes", "read volume:default/key"),
    ("RemoveVolume", "write volume:default/key"),
    ("SetTenant", "deploy tenant:acme"),
    ("ListTenants", "read tenant:acme"),
    ("RemoveTenant", "kill tenant:acme"),
    ("Rollback", "update service:default/mine"),
    ("Kill", "kill service:default/fresh"),
    ("Shutdown", "execute kernel:shutdown tier=system"),
];

/// Runs one operation and forgets what it answered.
pub(crate) async fn run(client: &Client, operation: &str) -> Result<(), Problem> {
    run_in(client, "", operation).await
}

/// The same, about what is of the tenant that `prefix` names (`TENANT/`; empty: the token's).
async fn run_in(client: &Client, prefix: &str, operation: &str) -> Result<(), Problem> {
    let grpc = || client.grpc();
    let named = |name: &str| format!("{prefix}{name}");
    let service = || named("mine");
    macro_rules! ask {
        ($method:ident, $message:expr) => {
            grpc().$method(client.request($message, PATIENCE)).await.map(|_| ())
        };
    }
    let answer = match operation {
        "Deploy" => ask!(deploy, deploy(&named("fresh"), ADDER)),
        "Status" => ask!(status, v1::StatusRequest { name: service() }),
        "Watch" => {
            ask!(watch, v1::WatchRequest { service: service(), ..Default::default() })
        }
        "List" => ask!(list, v1::ListRequest::default()),
        "Update" => {
            ask!(
                update,
                v1::UpdateRequest { name: service(), replicas: Some(1), ..Default::default() }
            )
        }
        "Call" => {
            let input = v1::call_request::Input::JsonArguments("[1, 2]".to_owned());
            let (function, input) = ("add".to_owned(), Some(input));
            ask!(
                call,
                v1::CallRequest { service: service(), function, input, ..Default::default() }
            )
        }
        "Send" => {
            let input = v1::send_request::Input::JsonArguments("[1, 2]".to_owned());
            let (function, input) = ("add".to_owned(), Some(input));
            ask!(
                send,
                v1::SendRequest { service: service(), function, input, ..Default::default() }
            )
        }
        "UploadArtifact" => {
            use v1::upload_artifact_request::Part;
            let header = v1::UploadHeader {
                size_bytes: 3,
                tenant: prefix.trim_end_matches('/').to_owned(),
                ..Default::default()
            };
            let parts = [Part::Header(header), Part::Chunk(b"abc".to_vec())];
            let parts = parts.map(|part| v1::UploadArtifactRequest { part: Some(part) });
            let request = client.stream_request(tokio_stream::iter(parts));
            grpc().upload_artifact(request).await.map(|_| ())
        }
        "Tree" => ask!(tree, v1::TreeRequest {}),
        "GrantCapability" => {
            let rights = vec![v1::Right::Call.into()];
            ask!(
                grant_capability,
                v1::GrantCapabilityRequest { service: service(), rights, ..Default::default() }
            )
        }
        "ListCapabilities" => {
            ask!(list_capabilities, v1::ListCapabilitiesRequest { service: service() })
        }
        "ExplainCapability" => {
            let [principal, right, object] = ["owner", "call", "service:default/mine"];
            let (principal, right) = (principal.to_owned(), right.to_owned());
            let object = object.to_owned();
            ask!(explain_capability, v1::ExplainCapabilityRequest { principal, right, object })
        }
        // Its own, which it always may: see below.
        "RevokeCapability" => {
            ask!(revoke_capability, v1::RevokeCapabilityRequest { id: "0".into() })
        }
        "SetSecret" => {
            ask!(set_secret, v1::SetSecretRequest { name: named("key"), value: vec![1] })
        }
        "ListSecrets" => ask!(list_secrets, v1::ListSecretsRequest {}),
        "RemoveSecret" => ask!(remove_secret, v1::RemoveSecretRequest { name: named("key") }),
        "ListVolumes" => ask!(list_volumes, v1::ListVolumesRequest {}),
        "RemoveVolume" => ask!(remove_volume, v1::RemoveVolumeRequest { name: named("key") }),
        "SetTenant" => {
            ask!(set_tenant, v1::SetTenantRequest { name: "acme".into(), quotas: None })
        }
        "ListTenants" => ask!(list_tenants, v1::ListTenantsRequest {}),
        "RemoveTenant" => ask!(remove_tenant, v1::RemoveTenantRequest { name: "acme".into() }),
        "Rollback" => ask!(rollback, v1::RollbackRequest { name: service() }),
        "Kill" => ask!(kill, v1::KillRequest { name: named("fresh"), force: true }),
        "Shutdown" => ask!(shutdown, v1::ShutdownRequest { timeout_ms: Some(0) }),
        other => panic!("no such operation: {other}"),
    };
    answer.map_err(|status| solo_api::problem_from_status(&status))
}

pub(crate) async fn bearing(solo: &Solo, token: &str) -> Client {
    solo.answering().await.with_token(token).expect("a token")
}

fn capability(text: &str) -> Capability {
    text.parse().expect("a capability")
}

/// A token of this Solo for one capability.
fn minted(solo: &Solo, capability: &str, ttl: &str) -> (String, String) {
    let made = solo.json(&["token", "mint", "--capability", capability, "--ttl", ttl]);
    let text = |key: &str| made[key].as_str().expect(key).to_owned();
    (text("token"), text("id"))
}

#[tokio::test]
async fn every_operation_with_every_kind_of_token() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    std::fs::create_dir_all(solo.home().join("tenants/default/volumes/key")).expect("made");
    let everything = "read,call,send,kill,deploy,update,grant service:default/*";
    let forged = Authority::generate()
        .mint_token(&[capability(&format!("{everything} until=99999999999"))])
        .expect("signed by somebody");
    // With the node's own key, but never granted.
    let key = std::fs::read(solo.home().join("keys/root.key")).expect("the key");
    let stray = Authority::from_private_key_bytes(&key)
        .expect("a key")
        .mint_token(&[capability(&format!("{everything} until=99999999999"))])
        .expect("signed");
    let (revoked, id) = minted(&solo, everything, "1h");
    assert_eq!(solo.json(&["token", "revoke", &id])["ended"], 1);
    let (expired, _) = minted(&solo, everything, "1s");
    let (weak, _) =
        minted(&solo, "read,call,send,kill,deploy,update,grant service:default/other", "1h");
    let expired = bearing(&solo, &expired).await;
    eventually("it has expired", || async {
        run(&expired, "Tree").await.err().filter(|p| p.reason == "TOKEN_EXPIRED")
    })
    .await;
    let socket = Endpoint::Unix(solo.home().join("run/api.sock"));
    let none = Client::connect(&socket).await.expect("a connection");
    let forged = bearing(&solo, &forged.token).await;
    let stray = bearing(&solo, &stray.token).await;
    let revoked = bearing(&solo, &revoked).await;
    let weak = bearing(&solo, &weak).await;
    let other = bearing(&solo, &crate::tenants::token_of(&solo, "other", &[])).await;
    for (number, (operation, _)) in OPERATIONS.into_iter().enumerate() {
        if number % 10 == 9 {
            // Of strangers a hundred refusals a second are on record, each by itself.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for (client, reason) in [
            (&none, "TOKEN_MISSING"),
            (&forged, "TOKEN_FORGED"),
            (&stray, "TOKEN_UNKNOWN"),
            (&expired, "TOKEN_EXPIRED"),
            (&revoked, "TOKEN_REVOKED"),
        ] {
            let problem = run(client, operation).await.expect_err(operation);
            let found = (problem.kind, problem.reason.as_str());
            assert_eq!(found, (ProblemKind::Unauthenticated, reason), "{operation}: {problem:?}");
            assert!(!problem.remedy.is_empty(), "{operation}: {problem:?}");
        }
        match (operation, run(&weak, operation).await) {
            // Shows what may be read, and stores what may be deployed: nothing of others.
            ("List" | "ListSecrets" | "ListVolumes" | "ListTenants" | "UploadArtifact", answer) => {
                answer.expect(operation)
            }
            ("Rollback", answer) => {
                assert_eq!(answer.expect_err("not built").kind, ProblemKind::Unimplemented);
            }
            (_, answer) => {
                let problem = answer.expect_err(operation);
                let found = (problem.kind, problem.reason.as_str());
                let expected = (ProblemKind::PermissionDenied, "RIGHT_MISSING");
                assert_eq!(found, expected, "{operation}: {problem:?}");
            }
        }
    }
    // Everything in one tenant is nothing in another.
    for (operation, _) in OPERATIONS {
        match (operation, run_in(&other, "default/", operation).await) {
            // Of its own: nothing is there; the branch of the tenant.
            ("List" | "ListSecrets" | "ListVolumes" | "ListTenants" | "Tree", answer) => {
                answer.expect(operation)
            }
            ("Rollback", answer) => {
                assert_eq!(answer.expect_err("not built").kind, ProblemKind::Unimplemented);
            }
            (_, answer) => {
                let problem = answer.expect_err(operation);
                assert_eq!(problem.reason, "RIGHT_MISSING", "{operation}: {problem:?}");
            }
        }
    }
    assert_eq!(other.names().await, Vec::<String>::new());
    assert_eq!(weak.names().await, Vec::<String>::new());
    assert_eq!(owner.names().await, ["mine"], "nothing was done");
    // What was refused is on record: everybody, for each operation.
    let audit = solo.audit_log();
    for reason in ["TOKEN_MISSING", "TOKEN_FORGED", "TOKEN_EXPIRED", "TOKEN_REVOKED"] {
        let refused = format!("\"refused: {reason}\"");
        let lines: Vec<_> = audit.lines().filter(|line| line.contains(&refused)).collect();
        let operations: BTreeSet<_> = OPERATIONS
            .iter()
            .filter(|(operation, _)| {
                lines.iter().any(|line| line.contains(&format!("\"operation\":\"{operation}\"")))
            })
            .collect();
        assert_eq!(operations.len(), OPERATIONS.len(), "{reason}: {operations:?}");
    }
    // Just enough, narrowed from the owner's without asking; then the owner's own.
    let admin = solo.admin_token();
    for (operation, needed) in OPERATIONS {
        let enough = attenuate(&admin, &[capability(needed)]).expect("a token");
        let enough = bearing(&solo, &enough.token).await;
        match (operation, run(&enough, operation).await) {
            ("Rollback", answer) => {
                assert_eq!(answer.expect_err("not built").kind, ProblemKind::Unimplemented);
            }
            // Nothing derives from it that could be revoked.
            ("RevokeCapability", answer) => {
                assert_eq!(answer.expect_err("not its own").reason, "RIGHT_MISSING");
            }
            ("Shutdown", answer) => {
                answer.expect(operation);
                return;
            }
            (_, answer) => answer.expect(operation),
        }
        if !["Deploy", "Kill", "RemoveSecret", "RemoveVolume", "RemoveTenant"].contains(&operation)
        {
            let answer = run(&owner, operation).await;
            assert!(
                answer.is_ok() || ["Rollback", "RevokeCapability"].contains(&operation),
                "{operation}: {answer:?}"
            );
        }
    }
}

/// A token for a part of the names: its bearer runs what it likes there, and sees nothing else.
#[tokio::test]
async fn an_agent_with_names_of_its_own() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let (token, _) =
        minted(&solo, "read,call,send,kill,deploy,update,grant service:default/ci-*", "1h");
    let agent = bearing(&solo, &token).await;
    agent.deploy(deploy("ci-one", ADDER)).await.expect("its own");
    let denied = |answer: Result<(), Problem>| {
        let problem = answer.expect_err("denied");
        assert_eq!(problem.kind, ProblemKind::PermissionDenied, "{problem:?}");
        problem.reason
    };
    assert_eq!(denied(agent.deploy(deploy("other", ADDER)).await.map(drop)), "RIGHT_MISSING");
    let mut system = deploy("ci-core", ADDER);
    system.tier = v1::Tier::System.into();
    assert_eq!(denied(agent.deploy(system.clone()).await.map(drop)), "SYSTEM_TIER");
    // What it deploys gets no more than it has.
    let mut reaching = deploy("ci-two", ADDER);
    reaching.capabilities = vec![v1::CapabilityRequest {
        object: "service:mine".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    assert_eq!(denied(agent.deploy(reaching.clone()).await.map(drop)), "RIGHT_MISSING");
    reaching.capabilities[0].object = "service:ci-one".to_owned();
    agent.deploy(reaching).await.expect("its own");
    // A service of the system tier below its names.
    owner.deploy(system).await.expect("the owner may");
    assert_eq!(denied(agent.kill("ci-core", true).await.map(drop)), "SYSTEM_TIER");
    assert_eq!(denied(run_update(&agent, "ci-core").await), "SYSTEM_TIER");
    assert_eq!(agent.json_call("ci-core", "add", "[1, 2]").await.as_deref(), Ok("3"));
    assert_eq!(agent.names().await, ["ci-core", "ci-one", "ci-two"]);
    // A watch of everything shows what it may read about, and nothing of the node.
    let request =
        v1::WatchRequest { kinds: vec![v1::RecordKind::Event.into()], ..Default::default() };
    let answer = agent.grpc().watch(agent.stream_request(request)).await.expect("a stream");
    let mut stream = answer.into_inner();
    let mut seen = BTreeSet::new();
    while let Some(record) = stream.message().await.expect("no error") {
        seen.insert(record.service);
    }
    let seen: Vec<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen, ["ci-core", "ci-one", "ci-two"]);
    // Who holds the right on a name learns that there is nothing.
    let problem = agent.status("ci-none").await.expect_err("not there");
    assert_eq!(problem.reason, "NO_SUCH_SERVICE");
    agent.kill("ci-one", true).await.expect("its own");
    let audit = solo.audit_log();
    assert!(audit.contains("\"deploy\"") && audit.contains("SYSTEM_TIER"), "{audit}");
}

async fn run_update(client: &Client, name: &str) -> Result<(), Problem> {
    let message =
        v1::UpdateRequest { name: name.to_owned(), replicas: Some(2), ..Default::default() };
    let answer = client.grpc().update(client.request(message, PATIENCE)).await;
    answer.map(drop).map_err(|status| solo_api::problem_from_status(&status))
}

/// The audit log tells holders apart, and nobody can take the owner's name.
#[tokio::test]
async fn holders_have_names() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let capability = "call,grant,read service:default/mine";
    let made = solo.json(&["token", "mint", "--capability", capability, "--for", "agent-7"]);
    let (token, id) = (made["token"].as_str().expect("token"), made["id"].as_str().expect("id"));
    let agent = bearing(&solo, token).await;
    agent.kill("mine", true).await.expect_err("denied");
    let principal = format!("\"principal\":\"agent-7#{}\"", &id[..16]);
    assert!(solo.audit_log().contains(&principal), "{principal} in {}", solo.audit_log());
    let narrower = solo.json(&["token", "attenuate", token, "--rights", "read"]);
    let child = bearing(&solo, narrower["token"].as_str().expect("token")).await;
    child.kill("mine", true).await.expect_err("denied");
    let child_id = narrower["id"].as_str().expect("id");
    assert!(solo.audit_log().contains(&format!("\"agent-7#{}\"", &child_id[..16])));
    let listed = solo.json(&["token", "list", "mine"]);
    let holders: Vec<_> =
        listed["grants"].as_array().expect("grants").iter().map(|g| g["holder"].clone()).collect();
    assert!(holders.contains(&"agent-7".into()) && holders.contains(&"owner".into()), "{listed}");
    for name in ["owner", "token:1", "service:1-1", "a b", &"x".repeat(65)] {
        let arguments = ["token", "mint", "--capability", capability, "--for", name];
        let (_, error) = solo.refused(&arguments);
        assert_eq!(error["reason"], "INVALID_HOLDER", "{name}");
    }
    for text in ["fly service:default/mine", "call service:default/Mine", "call", ""] {
        let (_, error) = solo.refused(&["token", "mint", "--capability", text]);
        assert_eq!(error["reason"], "INVALID_CAPABILITY", "{text}: {error}");
    }
}

/// Why somebody may do something, and what a grant would open, also through services.
#[tokio::test]
async fn grants_explain_themselves() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let code = crate::harness::guest_bytes("pinger");
    let mut pinger = deploy("pinger", code);
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:mine".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    owner.deploy(pinger).await.expect("deploy");
    let asked = |principal: &str, right: &str, object: &str| {
        solo.json(&["explain", principal, right, object])
    };
    let owners = asked("owner", "execute", "kernel:shutdown");
    assert_eq!(owners["allowed"], true, "{owners}");
    let services = asked("service:pinger", "call", "service:default/mine");
    assert_eq!(services["allowed"], true, "{services}");
    let words = services["because"].as_str().expect("words");
    assert!(words.contains("call service:default/mine") && words.contains("service:"), "{words}");
    for (principal, right, object) in [
        ("service:pinger", "send", "service:default/mine"),
        ("service:mine", "call", "service:default/pinger"),
        ("nobody", "call", "service:default/mine"),
    ] {
        let answer = asked(principal, right, object);
        assert_eq!(answer["allowed"], false, "{answer}");
        assert!(answer["needed"].as_str().is_some_and(|needed| needed.contains(right)), "{answer}");
    }
    // A dry run tells what can be had through a service too, and grants nothing.
    let before = solo.json(&["token", "list"]);
    let dry = ["token", "mint", "pinger", "call", "--for", "agent", "--dry-run"];
    let dry = solo.json(&dry);
    let reached: Vec<(String, bool)> = dry["newly_reachable"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| (r["object"].as_str().expect("object").to_owned(), r["through"].is_string()))
        .collect();
    let has = |name: &str, through: bool| {
        let begins = format!("service:default/{name}/");
        reached.iter().any(|(object, by)| object.starts_with(&begins) && *by == through)
    };
    assert!(has("pinger", false) && has("mine", true) && !has("mine", false), "{dry}");
    assert_eq!(solo.json(&["token", "list"]), before);
    let (_, error) = solo.refused(&["explain", "owner", "fly", "service:default/mine"]);
    assert_eq!(error["reason"], "INVALID_QUESTION");
    let (_, error) = solo.refused(&["explain", "owner", "connect", "service:default/mine"]);
    assert_eq!(error["reason"], "INVALID_QUESTION");
}
