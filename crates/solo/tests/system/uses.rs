//! C2: tokens that bound their uses. One use is one request that was let through; what was acknowledged
//! stays counted, also over the death of the kernel at any instruction.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::gateway::get_as;
use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};
use crate::matrix::{OPERATIONS, bearing, run};

/// A token of the owner's for some capabilities.
fn mint(solo: &Solo, capabilities: &[&str]) -> String {
    let mut arguments = vec!["token", "mint"];
    arguments.extend(capabilities.iter().flat_map(|text| ["--capability", text]));
    text(&solo.json(&arguments), "token")
}

fn attenuate(solo: &Solo, token: &str, capability: &str) -> String {
    text(&solo.json(&["token", "attenuate", token, "--capability", capability]), "token")
}

fn text(value: &serde_json::Value, key: &str) -> String {
    value[key].as_str().expect(key).to_owned()
}

async fn add(client: &Client) -> Result<String, Problem> {
    client.call("counter", "add 1").await
}

fn exceeded<T: std::fmt::Debug>(answer: Result<T, Problem>) -> Problem {
    let problem = answer.expect_err("used up");
    assert_eq!(problem.reason, "USES_EXCEEDED", "{problem:?}");
    assert_eq!(problem.kind, ProblemKind::ResourceExhausted);
    assert!(!problem.remedy.is_empty(), "{problem:?}");
    problem
}

async fn with_counter() -> (Solo, Client) {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    (solo, owner)
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Counts to the last one, tells the bound, and goes on where it was after the kernel was killed.
#[tokio::test]
async fn as_many_as_it_says_over_deaths_of_the_kernel() {
    let (solo, _) = with_counter().await;
    let capability = "call service:default/counter uses=5/ever";
    let made = solo.json(&["token", "mint", "--capability", capability, "--for", "agent"]);
    let token = text(&made, "token");
    for uses in [2, 2, 1] {
        let agent = bearing(&solo, &token).await;
        for _ in 0..uses {
            add(&agent).await.expect("within its bound");
        }
        solo.kill_process("kernel").await;
        solo.answering().await;
    }
    for _ in 0..2 {
        let problem = exceeded(add(&bearing(&solo, &token).await).await);
        assert!(problem.cause.contains("5 in all"), "{problem:?}");
        solo.kill_process("kernel").await;
        solo.answering().await;
    }
    let why = solo.json(&["explain", "agent", "call", "service:default/counter"]);
    assert_eq!(why["allowed"], false, "{why}");
    assert!(why["because"].as_str().is_some_and(|because| because.contains("5 in all")), "{why}");
    assert!(why["needed"].as_str().is_some_and(|needed| needed.contains("new grant")), "{why}");
    let owner = solo.answering().await;
    assert_eq!(owner.call("counter", "get").await.as_deref(), Ok("5"));
}

/// As people write it, as it is shown, and as it is refused.
#[tokio::test]
async fn the_bound_and_its_end_are_told() {
    let (solo, owner) = with_counter().await;
    let short = "call service:default/counter uses=1/1d";
    let made = solo.json(&["token", "mint", "--capability", short, "--for", "agent"]);
    let token = text(&made, "token");
    let links = solo.json(&["token", "inspect", &token])["links"].clone();
    let shown = links[0]["capabilities"][0].as_str().expect("text").to_owned();
    assert!(shown.ends_with(" uses=1/day"), "{shown}");
    assert!(solo.json(&["token", "list", "counter"]).to_string().contains("uses=1/day"));
    let hours = attenuate(&solo, &token, "call service:default/counter uses=3/1h");
    let links = solo.json(&["token", "inspect", &hours])["links"].clone();
    assert_eq!(links[1]["capabilities"][0], "call service:default/counter uses=3/hour");
    let before = unix_s() / 86_400;
    add(&bearing(&solo, &token).await).await.expect("the first");
    let problem = exceeded(add(&bearing(&solo, &hours).await).await);
    if unix_s() / 86_400 == before {
        let until = ((before + 1) * 86_400).to_string();
        assert!(problem.cause.contains("1 per day"), "{problem:?}");
        assert!(problem.cause.contains(&until) && problem.remedy.contains(&until), "{problem:?}");
        let why = solo.json(&["explain", "agent", "call", "service:default/counter"]);
        assert!(why.to_string().contains(&until), "{why}");
    }
    for wrong in ["uses=0/day", "uses=3/week", "uses=3", "uses=3/2h", "uses=-1/ever"] {
        let capability = format!("call service:default/counter {wrong}");
        let (_, error) = solo.refused(&["token", "mint", "--capability", &capability]);
        assert_eq!(error["reason"], "INVALID_CAPABILITY", "{wrong}: {error}");
        let (code, _) = solo.refused(&["token", "attenuate", &token, "--capability", &capability]);
        assert_eq!(code, 2, "{wrong}");
    }
    assert_eq!(owner.call("counter", "get").await.as_deref(), Ok("1"));
}

#[tokio::test]
async fn a_new_window_brings_new_uses() {
    let (solo, owner) = with_counter().await;
    let token = mint(&solo, &["call service:default/counter uses=2/second"]);
    let agent = bearing(&solo, &token).await;
    let began = unix_s();
    let (mut done, mut refused) = (0, 0);
    while refused < 3 || unix_s() < began + 3 {
        match add(&agent).await {
            Ok(_) => done += 1,
            answer => {
                exceeded(answer);
                refused += 1;
            }
        }
    }
    let windows = unix_s() - began + 1;
    assert!((2..=2 * windows).contains(&done), "{done} in {windows} windows");
    assert!(done > 2, "more than one window was used");
    assert_eq!(owner.call("counter", "get").await, Ok(done.to_string()));
}

/// What races for the last use gets it once, by whichever token it comes.
#[tokio::test]
async fn fifty_clients_race_for_the_last_uses() {
    let (solo, owner) = with_counter().await;
    let token = mint(&solo, &["call service:default/counter uses=7/ever"]);
    let mut clients = Vec::new();
    for number in 0..50 {
        let own = match number % 2 {
            0 => token.clone(),
            _ => {
                let all = "call service:default/counter".parse().expect("a capability");
                solo_capability::attenuate(&token, &[all]).expect("a token").token
            }
        };
        clients.push(bearing(&solo, &own).await);
    }
    let answers = join_all(clients.iter().map(add)).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 7, "{refused:?}");
    refused.into_iter().for_each(|answer| drop(exceeded(answer)));
    assert_eq!(owner.call("counter", "get").await.as_deref(), Ok("7"));
}

/// Killed again and again in the middle of it: what the service did stays within the bound, and what was
/// acknowledged was done.
#[tokio::test]
async fn a_kernel_that_is_killed_under_load_gives_no_use_away() {
    const USES: u64 = 150;
    let (solo, _) = with_counter().await;
    let token = mint(&solo, &["call service:default/counter uses=150/ever"]);
    let call = async || {
        let mut acknowledged = 0;
        let mut client = bearing(&solo, &token).await;
        loop {
            match add(&client).await {
                Ok(_) => acknowledged += 1,
                Err(problem) if problem.reason == "USES_EXCEEDED" => return acknowledged,
                // The kernel went away under it.
                Err(_) => client = bearing(&solo, &token).await,
            }
        }
    };
    let kill = async || {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            solo.kill_process("kernel").await;
            solo.answering().await;
        }
    };
    let calls = join_all((0..8).map(|_| call()));
    let (acknowledged, ()) = tokio::join!(calls, kill());
    let owner = solo.answering().await;
    let acknowledged: u64 = acknowledged.into_iter().sum();
    let done: u64 =
        owner.call("counter", "get").await.expect("it answers").parse().expect("a number");
    assert!(acknowledged <= done && done <= USES, "{acknowledged} of {done} of {USES}");
    assert!(done > 0);
}

/// Children, made online or offline, share what their parent has, and can have less.
#[tokio::test]
async fn children_share_their_parents_bound() {
    let (solo, _) = with_counter().await;
    let parent = mint(&solo, &["call,grant service:default/counter uses=4/ever"]);
    let by_parent = |capability: &str| {
        let arguments = ["--token", &parent, "token", "mint", "--ttl", "10m", "--capability"];
        [arguments.as_slice(), &[capability]].concat().iter().map(ToString::to_string).collect()
    };
    let run_as: Vec<String> = by_parent("call service:default/counter uses=3/ever");
    let run_as: Vec<&str> = run_as.iter().map(String::as_str).collect();
    let child = text(&solo.json(&run_as), "token");
    for wider in ["call service:default/counter", "call service:default/counter uses=5/ever"] {
        let arguments: Vec<String> = by_parent(wider);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, error) = solo.refused(&arguments);
        assert_eq!(error["reason"], "GRANT_WIDER", "{error}");
    }
    let offline = attenuate(&solo, &parent, "call service:default/counter uses=2/ever");
    for (token, uses) in [(&child, 3), (&offline, 1)] {
        let holder = bearing(&solo, token).await;
        for _ in 0..uses {
            add(&holder).await.expect("within both bounds");
        }
        exceeded(add(&holder).await);
    }
    for killed in [false, true] {
        if killed {
            solo.kill_process("kernel").await;
            solo.answering().await;
        }
        for token in [&parent, &child, &offline] {
            exceeded(add(&bearing(&solo, token).await).await);
        }
    }
    let owner = solo.answering().await;
    assert_eq!(owner.call("counter", "get").await.as_deref(), Ok("4"));
}

/// Whatever it is, and however much is asked about on the way: a request is one use.
#[tokio::test]
async fn every_operation_takes_one_use() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let admin = solo.admin_token();
    let counted = async |needed: &str| {
        let capability = format!("{needed} uses=1/ever").parse().expect("a capability");
        let token = solo_capability::attenuate(&admin, &[capability]).expect("a token");
        bearing(&solo, &token.token).await
    };
    std::fs::create_dir_all(solo.home().join("tenants/default/volumes/key")).expect("made");
    for (operation, needed) in OPERATIONS {
        let client = counted(needed).await;
        match operation {
            // Not built; only for what derives from the token; ends Solo.
            "Rollback" | "RevokeCapability" | "Shutdown" => {}
            // What is handed on has the bound too, or is wider.
            "GrantCapability" => {
                let problem = run(&client, operation).await.expect_err("wider");
                assert_eq!(problem.reason, "GRANT_WIDER", "{problem:?}");
            }
            // Takes no use of the right to deploy, but one must be left.
            "UploadArtifact" => {
                for _ in 0..3 {
                    run(&client, operation).await.expect(operation);
                }
                let problem = client.deploy(deploy("fresh", ADDER)).await.expect_err("is there");
                assert_eq!(problem.reason, "NAME_IN_USE", "{problem:?}");
                exceeded(run(&client, operation).await);
            }
            // Show what is left to see: nothing.
            "List" => {
                assert_eq!(client.names().await, ["mine"]);
                assert_eq!(client.names().await, Vec::<String>::new());
            }
            "ListSecrets" => {
                let list = async || {
                    let request =
                        client.request(v1::ListSecretsRequest {}, Duration::from_secs(20));
                    client.grpc().list_secrets(request).await.expect("a list").into_inner()
                };
                assert_eq!(list().await.secrets.len(), 1);
                assert_eq!(list().await.secrets.len(), 0);
            }
            "ListVolumes" => {
                let list = async || {
                    let request =
                        client.request(v1::ListVolumesRequest {}, Duration::from_secs(20));
                    client.grpc().list_volumes(request).await.expect("a list").into_inner()
                };
                assert_eq!(list().await.volumes.len(), 1);
                assert_eq!(list().await.volumes.len(), 0);
            }
            "ListTenants" => {
                let list = async || {
                    let request =
                        client.request(v1::ListTenantsRequest {}, Duration::from_secs(20));
                    client.grpc().list_tenants(request).await.expect("a list").into_inner()
                };
                assert_eq!(list().await.tenants.len(), 1);
                assert_eq!(list().await.tenants.len(), 0);
            }
            // There it takes another right.
            "SetTenant" => {
                run(&client, operation).await.expect(operation);
                let problem = run(&client, operation).await.expect_err("is there");
                assert_eq!(problem.reason, "RIGHT_MISSING", "{problem:?}");
                let client = counted("update tenant:acme").await;
                run(&client, operation).await.expect(operation);
                exceeded(run(&client, operation).await);
            }
            _ => {
                run(&client, operation).await.expect(operation);
                exceeded(run(&client, operation).await);
            }
        }
    }
    let capability = "read kernel:metrics uses=1/ever".parse().expect("a capability");
    let token = solo_capability::attenuate(&admin, &[capability]).expect("a token").token;
    let address = solo.addresses()["metrics"].as_str().expect("metrics").to_owned();
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(get_as(&address, "/metrics", &token).await.expect("an answer").0);
    }
    assert_eq!(codes, [200, 429]);
    // What does not exist is an answer as well.
    let prober = counted("read service:default/*").await;
    let problem = prober.status("absent").await.expect_err("absent");
    assert_eq!(problem.reason, "NO_SUCH_SERVICE");
    exceeded(prober.status("mine").await);
    // What was refused took none.
    let caller = counted("call service:default/mine").await;
    caller.status("mine").await.expect_err("no right to read");
    assert_eq!(caller.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// A stream is one request; it shows by what it was opened, and nothing that it did not pay for.
#[tokio::test]
async fn a_stream_takes_one_use_and_goes_on() {
    let (solo, owner) = with_counter().await;
    owner.deploy(deploy("other", guest_bytes("counter"))).await.expect("deploy");
    let token = mint(
        &solo,
        &["read service:default/counter uses=2/ever", "read service:default/other uses=1/ever"],
    );
    let reader = bearing(&solo, &token).await;
    reader.status("other").await.expect("the only use");
    let request = v1::WatchRequest { service: "*".into(), follow: true, ..Default::default() };
    let open = async || reader.grpc().watch(reader.stream_request(request.clone())).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(open().await.expect("a stream").into_inner());
    }
    exceeded(reader.status("counter").await);
    // Both look at the token twice a second and go on.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for name in ["other", "counter"] {
        owner.call(name, "reset").await.expect("reset");
        owner.kill(name, false).await.expect("killed");
    }
    for stream in &mut streams {
        loop {
            let record = stream.message().await.expect("it goes on").expect("it goes on");
            assert_eq!(record.service, "counter", "{record:?}");
            if let Some(v1::watch_response::Record::Event(event)) = record.record
                && event.name.contains("kill")
            {
                break;
            }
        }
    }
}

/// Messages between services pass no kernel that counts: what is counted cannot be given to one.
#[tokio::test]
async fn what_is_counted_is_not_given_to_services() {
    let (solo, owner) = with_counter().await;
    let deploys = "deploy service:default/*";
    let counted = mint(&solo, &[deploys, "call,grant service:default/counter uses=5/ever"]);
    let free =
        mint(&solo, &["deploy service:default/* uses=1/ever", "call,grant service:default/*"]);
    let mut pinger = deploy("pinger", guest_bytes("pinger"));
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:counter".to_owned(),
        rights: vec![v1::Right::Call.into()],
    }];
    let agent = bearing(&solo, &counted).await;
    let problem = agent.deploy(pinger.clone()).await.expect_err("counted");
    assert_eq!(
        (problem.kind, problem.reason.as_str()),
        (ProblemKind::PermissionDenied, "USES_COUNTED")
    );
    assert_eq!(owner.names().await, ["counter"]);
    let agent = bearing(&solo, &free).await;
    agent.deploy(pinger.clone()).await.expect("the right to call is not counted");
    assert_eq!(owner.call("pinger", "ask counter get").await.as_deref(), Ok("0"));
    pinger.name = "pinger-two".to_owned();
    exceeded(agent.deploy(pinger).await);
}

/// Windows that are over and grants that have ended leave no rows, and what was counted for them is no
/// hindrance.
#[tokio::test]
async fn what_is_over_is_forgotten() {
    let (solo, _) = with_counter().await;
    let seconds = mint(&solo, &["call service:default/counter uses=9/second"]);
    let made =
        solo.json(&["token", "mint", "--capability", "call service:default/counter uses=9/ever"]);
    for token in [&seconds, &text(&made, "token")] {
        add(&bearing(&solo, token).await).await.expect("within its bound");
    }
    let rows = || {
        let database = rusqlite::Connection::open(solo.home().join("solo.db")).expect("database");
        let rows = database.query_row("SELECT group_concat(per) FROM uses", [], |row| {
            row.get::<_, Option<String>>(0)
        });
        rows.expect("a table")
    };
    eventually("the second is over", || async {
        (rows().as_deref() == Some("ever")).then_some(())
    })
    .await;
    assert_eq!(solo.json(&["token", "revoke", &text(&made, "id")])["ended"], 1);
    assert_eq!(rows(), None);
    add(&bearing(&solo, &seconds).await).await.expect("another second");
}
