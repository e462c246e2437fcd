//! L2, C1: tenants share nothing, see nothing of each other, and have no more than they may.

use std::path::Path;
use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, DEADLINE, Requests, Solo, deploy, eventually, guest_bytes};

/// What an agent of a tenant may do there: everything but to change the tenant.
fn everything(tenant: &str) -> Vec<String> {
    vec![
        format!("read,call,send,kill,deploy,update,grant service:{tenant}/*"),
        format!("read,write,grant secret:{tenant}/*"),
        format!("read tenant:{tenant}"),
    ]
}

/// An agent of a tenant, which is made if it is not there.
async fn agent_of(solo: &Solo, tenant: &str, quotas: &[&str]) -> Client {
    let token = token_of(solo, tenant, quotas);
    solo.answering().await.with_token(&token).expect("a token")
}

/// Its token.
pub(crate) fn token_of(solo: &Solo, tenant: &str, quotas: &[&str]) -> String {
    solo.json(&[&["tenant", "set", tenant], quotas].concat());
    let capabilities = everything(tenant);
    let each = capabilities.iter().flat_map(|capability| ["--capability", capability]);
    let arguments: Vec<&str> = ["token", "mint"].into_iter().chain(each).collect();
    solo.json(&arguments)["token"].as_str().expect("a token").to_owned()
}

/// A worker that tells who it is.
fn worker(name: &str, config: &str) -> v1::DeployRequest {
    v1::DeployRequest {
        config: [("who".to_owned(), config.to_owned())].into(),
        ..deploy(name, guest_bytes("worker"))
    }
}

async fn secret(client: &Client, name: &str, value: &str) -> Result<u64, Problem> {
    let message = v1::SetSecretRequest { name: name.to_owned(), value: value.into() };
    let answer = client.grpc().set_secret(client.request(message, DEADLINE)).await;
    answer.map(|answer| answer.into_inner().version).map_err(|s| solo_api::problem_from_status(&s))
}

async fn secrets(client: &Client) -> Vec<String> {
    let request = client.request(v1::ListSecretsRequest {}, DEADLINE);
    let answer = client.grpc().list_secrets(request).await.expect("list").into_inner();
    answer.secrets.into_iter().map(|secret| secret.name).collect()
}

async fn tenants(client: &Client) -> Vec<v1::TenantSummary> {
    let request = client.request(v1::ListTenantsRequest {}, DEADLINE);
    client.grpc().list_tenants(request).await.expect("list").into_inner().tenants
}

async fn update(client: &Client, message: v1::UpdateRequest) -> Result<(), Problem> {
    let answer = client.grpc().update(client.request(message, Duration::from_secs(60))).await;
    answer.map(drop).map_err(|status| solo_api::problem_from_status(&status))
}

async fn grant(client: &Client, service: &str) -> Result<String, Problem> {
    let (service, rights) = (service.to_owned(), vec![v1::Right::Call.into()]);
    let message = v1::GrantCapabilityRequest { service, rights, ..Default::default() };
    let answer = client.grpc().grant_capability(client.request(message, DEADLINE)).await;
    answer.map(|answer| answer.into_inner().id).map_err(|s| solo_api::problem_from_status(&s))
}

async fn watched(client: &Client, service: &str) -> Vec<v1::WatchResponse> {
    let message = v1::WatchRequest { service: service.to_owned(), ..Default::default() };
    let answer = client.grpc().watch(client.stream_request(message)).await.expect("a stream");
    let (mut stream, mut records) = (answer.into_inner(), Vec::new());
    while let Some(record) = stream.message().await.expect("no error") {
        records.push(record);
    }
    records
}

/// The same names in two tenants are two worlds.
#[tokio::test]
async fn tenants_share_nothing() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    let acme = agent_of(&solo, "acme", &[]).await;
    let globex = agent_of(&solo, "globex", &[]).await;
    owner.deploy(worker("echo", "the owner")).await.expect("deploy");
    for (client, who) in [(&acme, "acme"), (&globex, "globex")] {
        secret(client, "db", who).await.expect("set");
        let mut first = worker("echo", who);
        first.idempotency_key = "the same key".to_owned();
        first.secrets = vec![v1::SecretReference { secret: "db".into(), key: String::new() }];
        let deployed = client.deploy(first).await.expect("deploy");
        assert_eq!(deployed.service, "echo");
        // That others have the same code is not to be told by the time that it takes.
        assert!(deployed.timing.expect("timing").compile_ms > 0.0);
        // Its own services reach each other, by the names that they have at home.
        let mut caller = deploy("caller", guest_bytes("pinger"));
        caller.capabilities = vec![v1::CapabilityRequest {
            object: "service:echo".to_owned(),
            rights: vec![v1::Right::Call.into()],
        }];
        client.deploy(caller).await.expect("deploy");
    }
    assert_eq!(owner.call("echo", "config who").await.as_deref(), Ok("the owner"));
    for (client, who, other) in [(&acme, "acme", "globex"), (&globex, "globex", "acme")] {
        assert_eq!(client.call("echo", "config who").await.as_deref(), Ok(who));
        assert_eq!(client.call("echo", "secret db").await.as_deref(), Ok(who));
        assert_eq!(client.call("caller", "ask echo config who").await.as_deref(), Ok(who));
        // From outside the tenant it has two parts.
        let outside = format!("{who}/echo");
        assert_eq!(owner.call(&outside, "config who").await.as_deref(), Ok(who));
        assert_eq!(owner.status(&outside).await.expect("status").name, outside);
        assert_eq!(client.names().await, ["caller", "echo"]);
        assert_eq!(secrets(client).await, ["db"]);
        let seen = tenants(client).await;
        assert_eq!(seen.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>(), [who]);
        assert_eq!(seen[0].used.expect("used").services, Some(2));
        let status = client.status("echo").await.expect("status");
        assert_eq!(
            (status.tenant.as_str(), status.instances[0].cell.as_str()),
            (who, &*format!("wasm-{who}"))
        );
        // What another tenant has, and what nobody has, look the same.
        for there in [format!("{other}/echo"), "default/echo".to_owned()] {
            let absent = format!("{other}/none");
            let nowhere = "nowhere/echo".to_owned();
            let text = async |name: &str| {
                let problem = client.status(name).await.expect_err("refused");
                format!("{problem:?}").replace(name, "NAME")
            };
            let expected = text(&there).await;
            assert!(expected.contains("RIGHT_MISSING"), "{expected}");
            assert_eq!(text(&absent).await, expected);
            assert_eq!(text(&nowhere).await, expected);
            client.call(&there, "self").await.expect_err("refused");
            client.kill(&there, true).await.expect_err("refused");
            client.deploy(deploy(&absent, ADDER)).await.expect_err("refused");
            secret(client, &format!("{other}/db"), "x").await.expect_err("refused");
        }
        let records = watched(client, "").await;
        assert!(!records.is_empty());
        assert!(records.iter().all(|r| ["echo", "caller"].contains(&r.service.as_str())));
        assert_eq!(watched(client, "echo").await.len(), watched(client, "ech*").await.len());
        // Cursors go on where they were, and do not count what others did.
        let third = records[2].cursor;
        let message = v1::WatchRequest { cursor: third, ..Default::default() };
        let answer = client.grpc().watch(client.stream_request(message)).await.expect("a stream");
        let next = answer.into_inner().message().await.expect("no error").expect("a record");
        assert_eq!(next, records[3]);
        assert!(records.windows(2).any(|pair| pair[0].cursor > pair[1].cursor));
    }
    let mut names = owner.names().await;
    names.sort();
    assert_eq!(names, ["acme/caller", "acme/echo", "echo", "globex/caller", "globex/echo"]);
    let all = watched(&owner, "").await;
    let seen = |name: &str| all.iter().any(|record| record.service == name);
    assert!(seen("echo") && seen("acme/echo") && seen("globex/echo"));
    let some = watched(&owner, "acme/*").await;
    assert!(!some.is_empty() && some.iter().all(|record| record.service.starts_with("acme/")));
    // Figures have both parts too.
    let metrics = solo.metrics().await;
    assert!(metrics.contains("service=\"acme/echo\"") && metrics.contains("service=\"echo\""));
    let request = acme.request(v1::TreeRequest {}, DEADLINE);
    let branch = acme.grpc().tree(request).await.expect("its own branch").into_inner();
    let branch = branch.root.expect("a root");
    assert_eq!((branch.name.as_str(), branch.kind.as_str()), ("acme", "tenant"));
    assert!(
        !format!("{branch:?}").contains("globex") && !format!("{branch:?}").contains("default")
    );
    let tree = solo.cli(&["tree"]);
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("wasm-acme") && tree.contains("wasm-globex"), "{tree}");
    // A cell that dies is one tenant's.
    let before = globex.status("echo").await.expect("status");
    solo.kill_process("cells/wasm-acme").await;
    let after = globex.status("echo").await.expect("status");
    assert_eq!(after.instances[0].id, before.instances[0].id);
    assert_eq!(after.restarts, before.restarts);
    assert_eq!(acme.call("echo", "config who").await.as_deref(), Ok("acme"));
    solo.down().await;
}

/// Code is found by its digest only by whose it is.
#[tokio::test]
async fn a_digest_opens_nothing_of_others() {
    let solo = Solo::start().await;
    let acme = agent_of(&solo, "acme", &[]).await;
    let globex = agent_of(&solo, "globex", &[]).await;
    let digest = acme.deploy(deploy("one", ADDER)).await.expect("deploy").digest;
    let by_digest = |name: &str| v1::DeployRequest {
        code: Some(v1::Code { source: Some(v1::code::Source::Digest(digest.clone())), format: 0 }),
        ..deploy(name, ADDER)
    };
    acme.deploy(by_digest("two")).await.expect("its own");
    let problem = globex.deploy(by_digest("two")).await.expect_err("not its own");
    assert_eq!(problem.reason, "NO_SUCH_ARTIFACT");
    // Who uploads says whose it is, and only where they may deploy.
    let upload = async |client: &Client, tenant: &str| {
        use v1::upload_artifact_request::Part;
        let tenant = tenant.to_owned();
        let header = v1::UploadHeader { size_bytes: 3, tenant, ..Default::default() };
        let parts = [Part::Header(header), Part::Chunk(b"abc".to_vec())];
        let parts = parts.map(|part| v1::UploadArtifactRequest { part: Some(part) });
        let request = client.stream_request(tokio_stream::iter(parts));
        let answer = client.grpc().upload_artifact(request).await;
        answer.map(|a| a.into_inner().existed).map_err(|s| solo_api::problem_from_status(&s))
    };
    assert_eq!(upload(&acme, "").await, Ok(false));
    assert_eq!(upload(&acme, "acme").await, Ok(true));
    assert_eq!(upload(&globex, "").await, Ok(false), "it has it for itself");
    assert_eq!(upload(&globex, "acme").await.expect_err("refused").reason, "RIGHT_MISSING");
    assert_eq!(upload(&globex, "nowhere").await.expect_err("refused").reason, "RIGHT_MISSING");
    solo.down().await;
}

fn exceeded<T: std::fmt::Debug>(answer: Result<T, Problem>, quota: &str) {
    let problem = answer.expect_err(quota);
    assert_eq!(
        (problem.kind, problem.reason.as_str()),
        (ProblemKind::ResourceExhausted, "QUOTA_EXCEEDED"),
        "{problem:?}"
    );
    assert!(problem.details.contains(&("quota".into(), quota.into())), "{problem:?}");
    assert!(!problem.remedy.is_empty());
}

/// Every quota is exceeded once, and by no more than asking.
#[tokio::test]
async fn each_quota_holds() {
    let solo = Solo::start().await;
    let acme = agent_of(
        &solo,
        "acme",
        &["--services", "2", "--instances", "3", "--memory-bytes", "none", "--tokens", "3"],
    )
    .await;
    acme.deploy(deploy("one", ADDER)).await.expect("deploy");
    let many = v1::DeployRequest { replicas: Some(3), ..deploy("two", ADDER) };
    exceeded(acme.deploy(many).await, "instances");
    acme.deploy(deploy("two", ADDER)).await.expect("deploy");
    exceeded(acme.deploy(deploy("three", ADDER)).await, "services");
    let more = |replicas| v1::UpdateRequest {
        name: "one".to_owned(),
        replicas: Some(replicas),
        ..Default::default()
    };
    exceeded(update(&acme, more(3)).await, "instances");
    update(&acme, more(2)).await.expect("within it");
    // What is given back can be had again.
    acme.kill("two", true).await.expect("kill");
    update(&acme, more(3)).await.expect("within it");
    update(&acme, more(1)).await.expect("less");
    // Nothing of what failed is counted.
    let broken = deploy("two", b"(component (nonsense))".to_vec());
    acme.deploy(broken).await.expect_err("no code");
    let used = tenants(&acme).await[0].used.expect("used");
    assert_eq!((used.services, used.instances), (Some(1), Some(1)));
    // Tokens: the first is the agent's own.
    let first = grant(&acme, "one").await.expect("the second");
    grant(&acme, "one").await.expect("the third");
    exceeded(grant(&acme, "one").await, "tokens");
    solo.json(&["token", "revoke", &first]);
    grant(&acme, "one").await.expect("in the place of the one that is gone");

    let limited = |bytes, shares| v1::DeployRequest {
        limits: Some(v1::Limits {
            max_memory_bytes: Some(bytes),
            cpu_shares: Some(shares),
            startup_timeout_ms: Some(10_000),
            ..v1::Limits::default()
        }),
        ..deploy("small", ADDER)
    };
    let small = agent_of(
        &solo,
        "small",
        &["--memory-bytes", "1000000", "--cpu-shares", "100", "--artifact-bytes", "2000"],
    )
    .await;
    exceeded(small.deploy(limited(1_000_001, 100)).await, "memory_bytes");
    exceeded(small.deploy(limited(1_000_000, 101)).await, "cpu_shares");
    small.deploy(limited(1_000_000, 100)).await.expect("exactly so much");
    exceeded(small.deploy(deploy("large", guest_bytes("worker"))).await, "memory_bytes");
    small.kill("small", true).await.expect("kill");
    let large = v1::DeployRequest {
        name: "large".to_owned(),
        ..v1::DeployRequest {
            code: deploy("x", guest_bytes("worker")).code,
            ..limited(1_000_000, 100)
        }
    };
    exceeded(small.deploy(large).await, "artifact_bytes");

    let slow = agent_of(&solo, "slow", &["--deploys-per-minute", "3"]).await;
    slow.deploy(deploy("one", ADDER)).await.expect("the first");
    slow.deploy(v1::DeployRequest { dry_run: true, ..deploy("two", ADDER) }).await.expect("second");
    let again =
        v1::UpdateRequest { name: "one".to_owned(), replicas: Some(2), ..Default::default() };
    update(&slow, again.clone()).await.expect("the third");
    exceeded(update(&slow, again).await, "deploys_per_minute");
    exceeded(slow.deploy(deploy("two", ADDER)).await, "deploys_per_minute");
    solo.down().await;
}

/// A lowered quota ends nothing; what the books say survives the kernel.
#[tokio::test]
async fn quotas_change_and_survive() {
    let solo = Solo::start().await;
    let acme = agent_of(&solo, "acme", &["--services", "2"]).await;
    acme.deploy(deploy("one", ADDER)).await.expect("deploy");
    acme.deploy(deploy("two", ADDER)).await.expect("deploy");
    let set = solo.json(&["tenant", "set", "acme", "--services", "1"]);
    assert_eq!((&set["is_new"], &set["tenant"]["quotas"]["services"]), (&false.into(), &1.into()));
    assert_eq!(acme.json_call("two", "add", "[1, 2]").await.as_deref(), Ok("3"));
    for _ in 0..2 {
        exceeded(acme.deploy(deploy("three", ADDER)).await, "services");
        let listed = solo.json(&["tenant", "list"]);
        let acme = listed["tenants"].as_array().expect("tenants")[0].clone();
        assert_eq!(acme["used"]["services"], 2, "{listed}");
        solo.kill_process("kernel").await;
        solo.answering().await;
    }
    assert_eq!(acme.json_call("two", "add", "[1, 2]").await.as_deref(), Ok("3"));
    solo.json(&["tenant", "set", "acme", "--services", "none"]);
    acme.deploy(deploy("three", ADDER)).await.expect("no bound any more");
    // Its agents do not change it, nor make others.
    for name in ["acme", "other"] {
        let message = v1::SetTenantRequest { name: name.to_owned(), quotas: None };
        let answer = acme.grpc().set_tenant(acme.request(message, DEADLINE)).await;
        let problem = solo_api::problem_from_status(&answer.expect_err("refused"));
        assert_eq!(problem.reason, "RIGHT_MISSING", "{problem:?}");
    }
    solo.down().await;
}

/// A tenant goes when it is empty, with all that was its own; its name stays gone.
#[tokio::test]
async fn a_tenant_is_removed_for_good() {
    let solo = Solo::start().await;
    let acme = agent_of(&solo, "acme", &[]).await;
    secret(&acme, "db", "hunter2").await.expect("set");
    acme.deploy(deploy("one", ADDER)).await.expect("deploy");
    let (_, error) = solo.refused(&["tenant", "rm", "acme"]);
    assert_eq!(error["reason"], "TENANT_NOT_EMPTY");
    acme.kill("one", true).await.expect("kill");
    let pid = solo.pid("cells/wasm-acme").await;
    solo.json(&["tenant", "rm", "acme"]);
    eventually("its cell ends", || async {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
    let left = |solo: &Solo| {
        ["tenants/acme", "keys/secrets.acme.key"].iter().any(|path| solo.home().join(path).exists())
    };
    assert!(!left(&solo));
    for _ in 0..2 {
        assert_eq!(
            acme.deploy(deploy("one", ADDER)).await.expect_err("gone").reason,
            "NO_SUCH_TENANT"
        );
        assert_eq!(secret(&acme, "db", "x").await.expect_err("gone").reason, "NO_SUCH_TENANT");
        let (_, error) = solo.refused(&["tenant", "rm", "acme"]);
        assert_eq!(error["reason"], "NO_SUCH_TENANT");
        let (_, error) = solo.refused(&["tenant", "set", "acme"]);
        assert_eq!(error["reason"], "TENANT_NAME_USED");
        solo.kill_process("kernel").await;
        solo.answering().await;
        assert!(!left(&solo));
    }
    let (_, error) = solo.refused(&["tenant", "rm", "default"]);
    assert_eq!(error["reason"], "TENANT_PROTECTED");
    for name in ["Acme", "", "a/b", "../x"] {
        let (_, error) = solo.refused(&["tenant", "set", name]);
        assert_eq!(error["reason"], "INVALID_NAME", "{name}");
    }
    solo.down().await;
}
