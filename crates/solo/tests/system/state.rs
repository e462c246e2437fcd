//! S5: what services keep: through restarts, updates and `kill -9` of anything, their own alone, and gone with
//! them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::Problem;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

/// Calls a function of a keeper; what it answers, or its error as text.
async fn ask(
    client: &Client,
    name: &str,
    function: &str,
    arguments: &str,
) -> Result<String, Problem> {
    client.json_call(name, function, arguments).await
}

async fn ok(client: &Client, name: &str, function: &str, arguments: &str) -> String {
    let answer = ask(client, name, function, arguments).await.expect("an answer");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let value = answer.get("ok").unwrap_or_else(|| panic!("{function}{arguments}: {answer}"));
    value.to_string()
}

async fn error(client: &Client, name: &str, function: &str, arguments: &str) -> String {
    let answer = ask(client, name, function, arguments).await.expect("an answer");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    answer["err"].as_str().unwrap_or_else(|| panic!("{function}{arguments}: {answer}")).to_owned()
}

fn files(solo: &Solo, tenant: &str) -> Vec<PathBuf> {
    let directory = solo.home().join("tenants").join(tenant).join("state");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// As a component means it that was written for either draft.
#[tokio::test]
async fn components_of_both_drafts_keep_values() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for name in ["keeper", "keeper-draft"] {
        client.deploy(deploy(name, guest_bytes(name))).await.expect("deployed");
        assert_eq!(ok(&client, name, "get", r#"["a"]"#).await, "null");
        assert_eq!(ok(&client, name, "keys", "[]").await, "[]");
        ok(&client, name, "set", r#"["a", "ä"]"#).await;
        assert_eq!(ok(&client, name, "get", r#"["a"]"#).await, "\"ä\"");
        assert_eq!(ok(&client, name, "exists", r#"["a"]"#).await, "true");
        assert_eq!(ok(&client, name, "add", r#"["n", 5]"#).await, "5");
        assert_eq!(ok(&client, name, "add", r#"["n", 2]"#).await, "7");
        assert_eq!(ok(&client, name, "get", r#"["n"]"#).await, "\"7\"");
        assert_eq!(ok(&client, name, "keys", "[]").await, r#"["a","n"]"#);
        ok(&client, name, "delete", r#"["a"]"#).await;
        assert_eq!(ok(&client, name, "exists", r#"["a"]"#).await, "false");
        // More than a page has.
        assert_eq!(ok(&client, name, "fill", "[2500]").await, "2500");
        let keys = ok(&client, name, "keys", "[]").await;
        let keys: Vec<String> = serde_json::from_str(&keys).expect("a list");
        assert_eq!(keys.len(), 2_501);
        ok(&client, name, "clear", "[2500]").await;
        assert_eq!(ok(&client, name, "keys", "[]").await, r#"["n"]"#);

        assert!(error(&client, name, "add", r#"["", 1]"#).await.starts_with("INVALID_KEY"));
        ok(&client, name, "set", r#"["x", "one"]"#).await;
        assert!(error(&client, name, "add", r#"["x", 1]"#).await.starts_with("NOT_A_NUMBER"));
        ok(&client, name, "set-large", r#"["l", 4194304]"#).await;
        let large = error(&client, name, "set-large", r#"["l", 4194305]"#).await;
        assert!(large.starts_with("INVALID_VALUE"), "{large}");
        ok(&client, name, "open", r#"["default"]"#).await;
        ok(&client, name, "open", r#"[""]"#).await;
        for other in ["other", "../default", "keeper", "Default"] {
            let arguments = serde_json::json!([other]).to_string();
            assert_eq!(error(&client, name, "open", &arguments).await, "no such store");
        }
    }
    let raced = ok(&client, "keeper", "race", r#"["r", "mine"]"#).await;
    assert_eq!(raced, "\"somebody else's\"");
    assert_eq!(ok(&client, "keeper", "get", r#"["r"]"#).await, "\"mine\"");
}

/// A component that hoards what the host has to remember ends, and nobody else notices.
#[tokio::test]
async fn open_buckets_are_bounded() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for name in ["hoarder", "other"] {
        client.deploy(deploy(name, guest_bytes("keeper"))).await.expect("deployed");
        ok(&client, name, "set", r#"["a", "b"]"#).await;
    }
    ok(&client, "hoarder", "hoard", "[5000]").await;
    ask(&client, "hoarder", "hoard", "[5001]").await.expect_err("it ended");
    assert_eq!(ok(&client, "other", "get", r#"["a"]"#).await, "\"b\"");
    let kept = eventually("it was restarted", || async {
        ask(&client, "hoarder", "get", r#"["a"]"#).await.ok()
    });
    assert_eq!(kept.await, r#"{"ok":"b"}"#);
}

/// S5, U1: instances come and go, the service keeps.
#[tokio::test]
async fn restarts_updates_and_the_end_of_solo_change_nothing() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    let keeper = deploy("keeper", guest_bytes("keeper"));
    client.deploy(v1::DeployRequest { replicas: Some(2), ..keeper }).await.expect("deployed");
    ok(&client, "keeper", "set", r#"["a", "kept"]"#).await;
    let kept = |client: Client| async move {
        eventually("it answers", || async { ask(&client, "keeper", "get", r#"["a"]"#).await.ok() })
            .await
    };
    // Whichever replica answers.
    for _ in 0..4 {
        assert_eq!(kept(client.clone()).await, r#"{"ok":"kept"}"#);
    }
    let source = v1::code::Source::Inline(guest_bytes("keeper-draft"));
    let code = Some(v1::Code { source: Some(source), format: 0 });
    let update = v1::UpdateRequest { name: "keeper".into(), code, ..Default::default() };
    let update = client.request(update, Duration::from_secs(120));
    client.grpc().update(update).await.expect("updated");
    assert_eq!(kept(client.clone()).await, r#"{"ok":"kept"}"#);
    solo.kill_process("cells/wasm-default").await;
    assert_eq!(kept(client.clone()).await, r#"{"ok":"kept"}"#);
    solo.kill_process("kernel").await;
    assert_eq!(kept(solo.answering().await).await, r#"{"ok":"kept"}"#);
    solo.kill_heart().await;
    solo.up().await;
    assert_eq!(kept(solo.answering().await).await, r#"{"ok":"kept"}"#);
}

/// C1: two services share nothing, whatever they are called, and two tenants neither; what was killed leaves
/// nothing, also for who has its name next.
#[tokio::test]
async fn a_service_keeps_for_itself_and_takes_it_along() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let tenant = crate::tenants::token_of(&solo, "t1", &[]);
    let other = client.clone().with_token(&tenant).expect("a client");
    for (client, name) in [(&client, "one"), (&client, "two"), (&other, "one")] {
        client.deploy(deploy(name, guest_bytes("keeper"))).await.expect("deployed");
    }
    ok(&client, "one", "set", r#"["a", "mine"]"#).await;
    for (client, name) in [(&client, "two"), (&other, "one")] {
        assert_eq!(ok(client, name, "get", r#"["a"]"#).await, "null");
        assert_eq!(ok(client, name, "keys", "[]").await, "[]");
    }
    ok(&other, "one", "set", r#"["a", "theirs"]"#).await;
    assert_eq!(ok(&client, "one", "get", r#"["a"]"#).await, "\"mine\"");
    assert!(!files(&solo, "default").is_empty() && !files(&solo, "t1").is_empty());
    client.kill("one", false).await.expect("killed");
    assert_eq!(files(&solo, "default"), Vec::<PathBuf>::new());
    client.deploy(deploy("one", guest_bytes("keeper"))).await.expect("deployed");
    assert_eq!(ok(&client, "one", "get", r#"["a"]"#).await, "null");
    assert_eq!(ok(&other, "one", "get", r#"["a"]"#).await, "\"theirs\"");
}

/// What a kill did not remove, as its kernel died, the next kernel does.
#[tokio::test]
async fn what_was_left_behind_is_swept() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("keeper", guest_bytes("keeper"))).await.expect("deployed");
    ok(&client, "keeper", "set", r#"["a", "kept"]"#).await;
    let own = files(&solo, "default");
    let state = solo.home().join("tenants/default/state");
    for name in ["0000beef-7.db", "0000beef-7.db-wal", "0000beef-7.db-shm"] {
        std::fs::write(state.join(name), b"left behind").expect("written");
    }
    solo.kill_heart().await;
    solo.up().await;
    let client = solo.answering().await;
    eventually("it was removed", || async {
        files(&solo, "default")
            .iter()
            .all(|path| !path.to_string_lossy().contains("beef-7"))
            .then_some(())
    })
    .await;
    assert!(own.iter().any(|path| path.exists()));
    assert_eq!(ok(&client, "keeper", "get", r#"["a"]"#).await, "\"kept\"");
}

/// Nothing lost: what was answered is there, whenever the cell dies.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_the_cell() {
    let solo = Arc::new(Solo::start().await);
    let client = solo.answering().await;
    client.deploy(deploy("keeper", guest_bytes("keeper"))).await.expect("deployed");
    ok(&client, "keeper", "add", r#"["n", 0]"#).await;
    let (answered, asked, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let shared = Arc::new((answered, asked, over));
    let adding: Vec<_> = (0..4)
        .map(|_| {
            let (client, shared) = (client.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                while !shared.2.load(Ordering::Relaxed) {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    let answer = ask(&client, "keeper", "add", r#"["n", 1]"#).await;
                    if answer.is_ok_and(|answer| answer.starts_with(r#"{"ok":"#)) {
                        shared.0.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            })
        })
        .collect();
    for round in 1..6_u64 {
        let before = shared.0.load(Ordering::Relaxed);
        eventually("some more were answered", || async {
            (shared.0.load(Ordering::Relaxed) >= before + 20 * round).then_some(())
        })
        .await;
        solo.kill_process("cells/wasm-default").await;
    }
    shared.2.store(true, Ordering::Relaxed);
    for one in adding {
        one.await.expect("no panic");
    }
    let sum = eventually("it answers", || async {
        ask(&client, "keeper", "add", r#"["n", 0]"#).await.ok()
    });
    let sum: serde_json::Value = serde_json::from_str(&sum.await).expect("JSON");
    let sum = sum["ok"].as_u64().expect("a number");
    let (answered, asked) = (shared.0.load(Ordering::Relaxed), shared.1.load(Ordering::Relaxed));
    assert!((answered..=asked).contains(&sum), "{answered} of {asked} were answered: {sum}");
}
