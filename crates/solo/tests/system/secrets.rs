//! C5: secrets: given by reference, bound to their place, bounded, on disk, and shown nowhere.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, DEADLINE, Requests, Solo, deploy, eventually, guest_bytes};

/// What a worker answers for a secret that it was not given.
const ABSENT: &str = "no such secret";

async fn set(client: &Client, name: &str, value: impl Into<Vec<u8>>) -> Result<u64, Problem> {
    let message = v1::SetSecretRequest { name: name.to_owned(), value: value.into() };
    let answer = client.grpc().set_secret(client.request(message, DEADLINE)).await;
    answer.map(|answer| answer.into_inner().version).map_err(|s| solo_api::problem_from_status(&s))
}

async fn remove(client: &Client, name: &str) -> Result<Vec<String>, Problem> {
    let message = v1::RemoveSecretRequest { name: name.to_owned() };
    let answer = client.grpc().remove_secret(client.request(message, DEADLINE)).await;
    answer.map(|answer| answer.into_inner().services).map_err(|s| solo_api::problem_from_status(&s))
}

async fn list(client: &Client) -> Vec<(String, u64, u64)> {
    let request = client.request(v1::ListSecretsRequest {}, DEADLINE);
    let answer = client.grpc().list_secrets(request).await.expect("list").into_inner();
    answer.secrets.into_iter().map(|s| (s.name, s.version, s.size_bytes)).collect()
}

/// A worker that is given secrets, as `KEY=NAME`.
fn worker(name: &str, references: &[&str]) -> v1::DeployRequest {
    v1::DeployRequest { secrets: references_of(references), ..deploy(name, guest_bytes("worker")) }
}

fn references_of(references: &[&str]) -> Vec<v1::SecretReference> {
    let reference = |text: &&str| {
        let (key, secret) = text.split_once('=').unwrap_or(("", text));
        v1::SecretReference { secret: secret.to_owned(), key: key.to_owned() }
    };
    references.iter().map(reference).collect()
}

async fn update(client: &Client, name: &str, secrets: Option<&[&str]>) -> Result<(), Problem> {
    let secrets =
        secrets.map(|secrets| v1::SecretReferences { references: references_of(secrets) });
    let message = v1::UpdateRequest { name: name.to_owned(), secrets, ..Default::default() };
    let answer = client.grpc().update(client.request(message, Duration::from_secs(120))).await;
    answer.map(drop).map_err(|status| solo_api::problem_from_status(&status))
}

/// What a service finds under `key`.
async fn reads(client: &Client, service: &str, key: &str) -> String {
    client.call(service, &format!("secret {key}")).await.unwrap_or_else(|problem| {
        assert!(problem.cause.contains(ABSENT), "{problem:?}");
        ABSENT.to_owned()
    })
}

#[tokio::test]
async fn a_service_reads_what_it_was_given_and_nothing_else() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    assert_eq!(set(&client, "db", "hunter2").await, Ok(1));
    assert_eq!(set(&client, "other", "not for you").await, Ok(1));
    client.deploy(worker("two", &["password=db", "db"])).await.expect("deploy");
    client.deploy(worker("none", &[])).await.expect("deploy");
    client.deploy(worker("one", &["other"])).await.expect("deploy");
    for (service, key, expected) in [
        ("two", "password", "hunter2"),
        ("two", "db", "hunter2"),
        ("two", "other", ABSENT),
        ("two", "", ABSENT),
        ("none", "db", ABSENT),
        ("none", "absent", ABSENT),
        ("one", "db", ABSENT),
        ("one", "other", "not for you"),
    ] {
        assert_eq!(reads(&client, service, key).await, expected, "{service} {key}");
    }
    // What was not granted looks as what is not there.
    let there = client.call("none", "secret db").await.expect_err("not granted");
    let absent = client.call("none", "secret nobody").await.expect_err("not there");
    assert_eq!((there.reason, there.cause), (absent.reason, absent.cause));
    let status = client.status("two").await.expect("status");
    assert_eq!(status.secrets, references_of(&["password=db", "db=db"]));
    let sizes = list(&client).await;
    assert_eq!(sizes, [("db".to_owned(), 1, 7), ("other".to_owned(), 1, 11)]);
    // An update takes them away, or leaves them.
    update(&client, "two", None).await.expect("as before");
    assert_eq!(reads(&client, "two", "password").await, "hunter2");
    update(&client, "two", Some(&[])).await.expect("none any more");
    assert_eq!(reads(&client, "two", "password").await, ABSENT);
}

#[tokio::test]
async fn a_changed_secret_reaches_what_starts_afterwards() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    set(&client, "db", "old").await.expect("set");
    client.deploy(worker("app", &["db"])).await.expect("deploy");
    assert_eq!(set(&client, "db", "new").await, Ok(2));
    // Neither what runs nor what its cell restarts: all instances of a revision see the same.
    assert_eq!(reads(&client, "app", "db").await, "old");
    client.call("app", "crash").await.expect_err("a trap");
    assert_eq!(reads(&client, "app", "db").await, "old");
    client.deploy(worker("later", &["db"])).await.expect("deploy");
    assert_eq!(reads(&client, "later", "db").await, "new");
    update(&client, "app", None).await.expect("updated");
    assert_eq!(reads(&client, "app", "db").await, "new");
    assert_eq!(set(&client, "db", "newest").await, Ok(3));
    solo.kill_process("cells/wasm-default").await;
    for service in ["app", "later"] {
        eventually("it is back", || async {
            (client.call(service, "secret db").await.as_deref() == Ok("newest")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_names_a_missing_secret_does_not_start() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let refused = |problem: Problem| {
        let kind = problem.kind;
        assert_eq!(
            (problem.reason.as_str(), kind),
            ("SECRET_MISSING", ProblemKind::FailedPrecondition)
        );
        assert!(problem.cause.contains("db") && problem.remedy.contains("solo secret set db"));
    };
    for dry_run in [false, true] {
        let request = v1::DeployRequest { dry_run, ..worker("app", &["db"]) };
        refused(client.deploy(request).await.expect_err("missing"));
    }
    assert!(client.names().await.is_empty());
    client.deploy(worker("app", &[])).await.expect("deploy");
    client.call("app", "hold 7").await.expect("hold");
    refused(update(&client, "app", Some(&["db"])).await.expect_err("missing"));
    assert_eq!(client.call("app", "hold").await.as_deref(), Ok("7"), "untouched");
    set(&client, "db", "hunter2").await.expect("set");
    update(&client, "app", Some(&["db"])).await.expect("now it is there");
    // Removed: what runs goes on, what is to start does not.
    assert_eq!(remove(&client, "db").await, Ok(vec!["app".to_owned()]));
    assert_eq!(remove(&client, "db").await.expect_err("gone").reason, "NO_SUCH_SECRET");
    assert!(list(&client).await.is_empty());
    assert_eq!(reads(&client, "app", "db").await, "hunter2");
    refused(update(&client, "app", None).await.expect_err("missing"));
    solo.kill_process("cells/wasm-default").await;
    let failed = eventually("it has failed", || async {
        let status = client.status("app").await.ok()?;
        (status.state() == v1::ServiceState::Failed).then_some(status)
    })
    .await;
    let why = failed.last_exit.expect("an exit").message;
    assert!(why.contains("there is no secret db"), "{why}");
    assert_eq!(set(&client, "db", "again").await, Ok(1));
    update(&client, "app", None).await.expect("it lives again");
    assert_eq!(reads(&client, "app", "db").await, "again");
}

#[tokio::test]
async fn secrets_that_are_wrong() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let largest = vec![b'x'; 64 << 10];
    assert_eq!(set(&client, "largest", largest.clone()).await, Ok(1));
    client.deploy(worker("app", &["largest"])).await.expect("deploy");
    assert_eq!(reads(&client, "app", "largest").await.len(), 64 << 10);
    let too_large = [largest, vec![b'x']].concat();
    for (name, value, reason) in [
        ("large", too_large, "SECRET_TOO_LARGE"),
        ("empty", Vec::new(), "INVALID_SECRET"),
        ("", vec![1], "INVALID_NAME"),
        ("../x", vec![1], "INVALID_NAME"),
        ("Upper", vec![1], "INVALID_NAME"),
        ("k\u{f6}nig", vec![1], "INVALID_NAME"),
        (&"x".repeat(64), vec![1], "INVALID_NAME"),
    ] {
        let problem = set(&client, name, value).await.expect_err(reason);
        let kind = problem.kind;
        assert_eq!((problem.reason.as_str(), kind), (reason, ProblemKind::InvalidArgument));
    }
    let many: Vec<String> = (0..33).map(|n| format!("k{n}=largest")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (references, reason) in [
        (&many[..], "TOO_MANY_SECRETS"),
        (&["a=largest", "a=largest"], "INVALID_SECRET_KEY"),
        (&["a=../x"], "INVALID_NAME"),
    ] {
        let problem = client.deploy(worker("wrong", references)).await.expect_err(reason);
        assert_eq!(problem.reason, reason);
    }
    // As many as there can be, together as large as they can be.
    client.deploy(worker("full", &many[..32])).await.expect("deploy");
    assert_eq!(reads(&client, "full", "k31").await.len(), 64 << 10);
}

/// The bound of a tenant, which 999 rows that a test writes itself take to its edge.
#[tokio::test]
async fn a_tenant_has_so_many_secrets_and_no_more() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let database = database(&solo);
    let insert = "INSERT INTO secrets SELECT 'default', 'filler' || value, 1, x'00', 1, 1
                  FROM json_each((SELECT json_group_array(n) FROM
                  (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 999)
                   SELECT n FROM c)))";
    assert_eq!(database.execute(insert, []).expect("rows"), 999);
    assert_eq!(set(&client, "last", "1").await, Ok(1));
    let problem = set(&client, "beyond", "1").await.expect_err("too many");
    let kind = problem.kind;
    assert_eq!(
        (problem.reason.as_str(), kind),
        ("TOO_MANY_SECRETS", ProblemKind::ResourceExhausted)
    );
    // What is there can be changed, and one that goes makes room.
    assert_eq!(set(&client, "last", "2").await, Ok(2));
    assert_eq!(remove(&client, "filler7").await, Ok(Vec::new()));
    assert_eq!(set(&client, "beyond", "1").await, Ok(1));
    assert_eq!(list(&client).await.len(), 1_000);
}

fn database(solo: &Solo) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(solo.home().join("solo.db")).expect("open");
    database.busy_timeout(Duration::from_secs(10)).expect("timeout");
    database
}

/// Who can write the database cannot give one secret in the place of another, nor make one.
#[tokio::test]
async fn rows_that_were_swapped_or_changed_do_not_open() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    set(&client, "mine", "worthless").await.expect("set");
    set(&client, "yours", "precious").await.expect("set");
    set(&client, "yours", "precious again").await.expect("set");
    let database = database(&solo);
    let execute = |sql: &str| database.execute(sql, []).expect("SQL");
    execute("CREATE TABLE kept AS SELECT * FROM secrets");
    for change in [
        "UPDATE secrets SET sealed = (SELECT sealed FROM kept WHERE name = 'yours'), version = 2
         WHERE name = 'mine'",
        "UPDATE secrets SET version = 7 WHERE name = 'mine'",
        "UPDATE secrets SET sealed = x'00' WHERE name = 'mine'",
        "UPDATE secrets SET sealed = zeroblob(49) WHERE name = 'mine'",
    ] {
        execute(change);
        let problem = client.deploy(worker("app", &["mine"])).await.expect_err(change);
        let kind = problem.kind;
        assert_eq!(
            (problem.reason.as_str(), kind),
            ("SECRET_UNREADABLE", ProblemKind::FailedPrecondition),
            "{change}"
        );
        execute("DELETE FROM secrets");
        execute("INSERT INTO secrets SELECT * FROM kept");
    }
    client.deploy(worker("app", &["mine"])).await.expect("as it was");
    // Set anew, it is right again.
    execute("UPDATE secrets SET sealed = x'00' WHERE name = 'mine'");
    assert_eq!(set(&client, "mine", "new").await, Ok(2));
    update(&client, "app", None).await.expect("updated");
    assert_eq!(reads(&client, "app", "mine").await, "new");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_kernel() {
    let solo = Solo::start().await;
    for round in 1..=5_u64 {
        let client = solo.answering().await;
        assert_eq!(set(&client, "db", format!("value {round}")).await, Ok(round));
        solo.kill_process("kernel").await;
        let client = solo.answering().await;
        assert_eq!(list(&client).await, [("db".to_owned(), round, 7)]);
        let service = format!("app-{round}");
        client.deploy(worker(&service, &["db"])).await.expect("deploy");
        assert_eq!(reads(&client, &service, "db").await, format!("value {round}"));
    }
    remove(&solo.answering().await, "db").await.expect("removed");
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    assert!(list(&client).await.is_empty());
    // What runs was taken over with what it was given.
    assert_eq!(reads(&client, "app-1", "db").await, "value 1");
}

#[tokio::test]
async fn a_token_opens_no_secrets() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    set(&owner, "db", "hunter2").await.expect("set");
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let bearing = async |capabilities: &[&str]| {
        let each = capabilities.iter().flat_map(|capability| ["--capability", capability]);
        let arguments: Vec<&str> = ["token", "mint"].into_iter().chain(each).collect();
        let token = solo.json(&arguments)["token"].as_str().expect("a token").to_owned();
        solo.answering().await.with_token(&token).expect("a token")
    };
    let refused = |outcome: Result<(), Problem>| {
        let problem = outcome.expect_err("refused");
        assert_eq!(problem.kind, ProblemKind::PermissionDenied, "{problem:?}");
        assert_eq!(problem.reason, "RIGHT_MISSING", "{problem:?}");
    };
    let services = "read,call,deploy,update,grant service:default/*";
    let holder = bearing(&[services]).await;
    // That there is one, and that there is none, look the same.
    assert!(list(&holder).await.is_empty());
    refused(set(&holder, "db", "mine").await.map(drop));
    refused(remove(&holder, "db").await.map(drop));
    refused(remove(&holder, "absent").await.map(drop));
    refused(holder.deploy(worker("app", &["db"])).await.map(drop));
    refused(holder.deploy(worker("app", &["absent"])).await.map(drop));
    refused(update(&holder, "mine", Some(&["db"])).await);
    let audit = solo.audit_log();
    for operation in ["set_secret", "remove_secret", "deploy", "update"] {
        let refused =
            |line: &str| line.contains(operation) && line.contains("refused: RIGHT_MISSING");
        assert!(audit.lines().any(refused), "{operation}: {audit}");
    }
    // Who may read it may give it, and neither change it nor see the others.
    set(&owner, "other", "not for you").await.expect("set");
    let giver = bearing(&[services, "read secret:default/db"]).await;
    assert_eq!(list(&giver).await, [("db".to_owned(), 1, 7)]);
    giver.deploy(worker("app", &["db"])).await.expect("deploy");
    refused(giver.deploy(worker("app2", &["other"])).await.map(drop));
    refused(set(&giver, "db", "mine").await.map(drop));
    refused(remove(&giver, "db").await.map(drop));
    // Who sets it learns of the services that they may read about.
    let setter = bearing(&["write secret:default/db"]).await;
    let message = v1::SetSecretRequest { name: "db".into(), value: b"new".to_vec() };
    let answer = setter.grpc().set_secret(setter.request(message, DEADLINE)).await;
    assert!(answer.expect("set").into_inner().services.is_empty());
    assert_eq!(remove(&owner, "db").await, Ok(vec!["app".to_owned()]));
}

/// Runs the command line with `input` on its standard input.
fn cli_with(solo: &Solo, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_solo"))
        .args(["--output", "json", "--home"])
        .arg(solo.home())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("solo");
    let mut stdin = child.stdin.take().expect("stdin");
    // It may not want to read all of it.
    let _closed = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("an end")
}

#[tokio::test]
async fn the_command_line_of_secrets() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let output = cli_with(&solo, &["secret", "set", "db"], b"hunter2\n");
    assert!(output.status.success(), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer, serde_json::json!({ "name": "db", "version": 1, "services": [] }));
    let file = solo.home().join("value");
    std::fs::write(&file, b"from a file\n").expect("write");
    solo.json(&["secret", "set", "api", "--file", &file.display().to_string()]);
    let guest = crate::harness::guest("worker").display().to_string();
    solo.json(&[
        "deploy",
        "app",
        &guest,
        "--startup-timeout",
        "10s",
        "--secret",
        "password=db",
        "--secret",
        "api",
    ]);
    // Less the line break that a terminal adds; a file is taken as it is.
    assert_eq!(reads(&client, "app", "password").await, "hunter2");
    assert_eq!(reads(&client, "app", "api").await, "from a file\n");
    let listed = solo.json(&["secret", "list"]);
    assert_eq!(listed["secrets"][1]["name"], "db");
    assert_eq!(listed["secrets"][1]["size_bytes"], 7);
    let keys: Vec<&String> = listed["secrets"][1].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["created_at", "name", "size_bytes", "updated_at", "version"]);
    let given = serde_json::json!([
        { "key": "password", "secret": "db" }, { "key": "api", "secret": "api" }
    ]);
    assert_eq!(solo.json(&["status", "app"])["secrets"], given);
    let output = cli_with(&solo, &["secret", "set", "db"], b"hunter3");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer, serde_json::json!({ "name": "db", "version": 2, "services": ["app"] }));
    let text = solo.cli(&["secret", "list"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("db"), "{text:?}");
    solo.json(&["update", "app", "--secret", "api"]);
    assert_eq!(reads(&client, "app", "password").await, ABSENT);
    solo.json(&["update", "app", "--no-secrets"]);
    assert_eq!(solo.json(&["secret", "rm", "api"])["services"], serde_json::json!([]));
    for (arguments, code, reason) in [
        (&["secret", "rm", "api"][..], 1, "NO_SUCH_SECRET"),
        (&["secret", "set", "empty"], 1, "INVALID_SECRET"),
        (&["secret", "set", "db", "hunter2"], 2, "USAGE"),
        (&["secret", "set", "db", "--file", "/nowhere"], 1, "FILE_UNREADABLE"),
        (&["update", "app", "--secret", "api", "--no-secrets"], 2, "USAGE"),
    ] {
        let (found, error) = solo.refused(arguments);
        assert_eq!((found, &error["reason"]), (code, &reason.into()), "{arguments:?}");
    }
    let large = cli_with(&solo, &["secret", "set", "large"], &vec![b'x'; 1 << 20]);
    assert_eq!(large.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&large.stderr).contains("SECRET_TOO_LARGE"), "{large:?}");
}

/// Forms in which a value could lie around: as it is, in hexadecimal digits, as Rust and JSON show
/// bytes, in base64 from each offset.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = value.iter().map(u8::to_string).collect();
    let mut forms = vec![value.to_vec(), hex.to_uppercase().into(), hex.into()];
    forms.extend([numbers.join(", ").into(), numbers.join(",").into()]);
    for offset in 0..3 {
        // Whole groups only: what the neighbours change is left out.
        let whole = &value[offset..offset + (value.len() - offset) / 3 * 3];
        forms.push(base64(whole).into());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    bytes
        .chunks_exact(3)
        .flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]
        })
        .collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// All files below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The value of a secret is in no answer, no record, no log, no metric and no file of Solo.
#[tokio::test]
async fn a_secret_is_shown_nowhere() {
    let filter = "info,solo_kernel=trace,solo_cell=trace,solo_api=trace,solo_audit=trace,\
                  tonic=trace,tower=trace,h2=debug,hyper=trace";
    let mut solo = Solo::start_logging(filter).await;
    let client = solo.answering().await;
    let marker = format!("MARKER-{:032x}-q7", unique());
    set(&client, "db", "an older value").await.expect("set");
    set(&client, "db", marker.as_bytes()).await.expect("set");
    // As its own name by mistake, and with names that are refused.
    for name in [marker.as_str(), "", "x y"] {
        set(&client, name, marker.as_bytes()).await.expect_err("no name");
    }
    let mut request = worker("app", &["password=db"]);
    request.idempotency_key = "key".to_owned();
    client.deploy(request).await.expect("deploy");
    assert_eq!(reads(&client, "app", "password").await, marker);
    client.call("app", "crash").await.expect_err("a trap");
    update(&client, "app", None).await.expect("updated");
    client.deploy(worker("missing", &["password=absent"])).await.expect_err("missing");
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    solo.kill_process("cells/wasm-default").await;
    eventually("it is back", || async {
        (client.call("app", "secret password").await.as_deref() == Ok(marker.as_str()))
            .then_some(())
    })
    .await;
    let mut shown = Vec::new();
    for arguments in [
        &["status", "app"][..],
        &["list"],
        &["tree"],
        &["watch", "--kind", "log", "--kind", "event"],
        &["logs", "app"],
        &["secret", "list"],
        &["audit", "show"],
        &["audit", "export"],
        &["--output", "json", "status", "app"],
        &["--output", "json", "secret", "list"],
        &["doctor"],
    ] {
        let output = solo.cli(arguments);
        assert!(!output.stdout.is_empty(), "{arguments:?}: {output:?}");
        shown.push((format!("{arguments:?}"), [output.stdout, output.stderr].concat()));
    }
    let metrics = solo.metrics().await;
    assert!(metrics.contains("solo_"), "no metrics");
    shown.push(("metrics".to_owned(), metrics.into_bytes()));
    // While it runs (with the write-ahead log), and after its end.
    for path in files(solo.home()) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        shown.push((path.display().to_string(), bytes));
    }
    assert!(shown.iter().any(|(place, _)| place.ends_with("solo.db-wal")));
    solo.kill_heart().await;
    for path in files(solo.home()) {
        shown.push((format!("{} at the end", path.display()), std::fs::read(&path).expect("read")));
    }
    for (place, bytes) in &shown {
        for form in forms(marker.as_bytes()) {
            assert!(
                !contains(bytes, &form),
                "{place} has it as {}",
                String::from_utf8_lossy(&form)
            );
        }
    }
    // The search finds what is there.
    assert!(solo.log().contains("TRACE") && solo.audit_log().contains("set_secret"));
    assert!(contains(&solo.audit_log().into_bytes(), b"\"version\":\"2\""));
    assert!(forms(b"abcdef").iter().any(|form| form == b"YWJjZGVm"));
}

/// A number that no other run has.
fn unique() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    now.as_nanos().wrapping_mul(u128::from(std::process::id())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
