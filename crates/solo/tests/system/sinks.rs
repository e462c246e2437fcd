//! Sinks and retention of the audit log (C6), with real receivers that refuse, hang, lie and die.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use solo_api::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

/// A name that tries to end its line, begin another message and steer a terminal.
const HOSTILE: &str =
    "x\n<34>1 2020-01-01T00:00:00Z evil solo - - [solo@32473 seq=\"1\"] \u{1b}[2J";

/// What several tasks of a test have seen.
type Seen = Arc<Mutex<Vec<u64>>>;

fn see(seen: &Seen, numbers: impl IntoIterator<Item = u64>) {
    seen.lock().expect("nobody panicked").extend(numbers);
}

/// Every record up to what the sink says that has arrived did.
fn assert_complete(solo: &Solo, name: &str, seen: impl IntoIterator<Item = u64>) {
    let last = sink(solo, name)["delivered_seq"].as_u64().expect("a number");
    let distinct: BTreeSet<u64> = seen.into_iter().collect();
    assert!(last > 0 && (1..=last).all(|seq| distinct.contains(&seq)), "{last}: {distinct:?}");
}

/// A Solo whose kernel was started again with these settings.
async fn solo_with(settings: &str) -> Solo {
    let solo = Solo::start().await;
    set(&solo, settings).await;
    solo
}

/// Gives a kernel new settings; it reads them when it starts.
async fn set(solo: &Solo, settings: &str) {
    std::fs::write(solo.home().join("audit.toml"), settings).expect("write");
    solo.kill_process("kernel").await;
    solo.answering().await;
}

/// Does what leaves a record, several times.
async fn refused(client: &Client, name: &str, count: usize) {
    for _ in 0..count {
        client.deploy(deploy(name, ADDER)).await.expect_err("refused");
    }
}

/// How a sink is, as the command line tells it.
fn sink(solo: &Solo, name: &str) -> Value {
    let report = solo.json(&["audit", "sinks"]);
    let sinks = report["sinks"].as_array().cloned().unwrap_or_default();
    sinks.into_iter().find(|sink| sink["name"] == name).unwrap_or_default()
}

/// Waits until a sink has everything.
async fn caught_up(solo: &Solo, name: &str) {
    eventually("the sink has everything", || async {
        // The log itself: what the report says of it may be older.
        let log = solo.json(&["audit", "verify"]);
        let sink = sink(solo, name);
        let is_in_step = sink["delivered_seq"] == log["last_seq"] && log["last_seq"] != 0;
        (is_in_step && sink["state"] == "ok").then_some(())
    })
    .await;
}

async fn failing(solo: &Solo, name: &str, why: &str) {
    eventually("the sink fails", || async {
        let sink = sink(solo, name);
        let error = sink["last_error"].as_str().unwrap_or_default();
        (sink["state"] == "failing" && error.contains(why)).then_some(())
    })
    .await;
}

/// What happened, by name.
fn events(solo: &Solo) -> Vec<String> {
    let lines = solo.json_lines(&["watch", "--kind", "event"]);
    lines.iter().map(|line| line.to_string()).collect()
}

/// Numbers of the records of a log.
fn sequences(text: &str) -> Vec<u64> {
    let seq = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64();
    text.lines().map(|line| seq(line).expect("a number")).collect()
}

#[tokio::test]
async fn a_file_has_everything_in_order_over_kills_of_the_kernel() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("copy.jsonl");
    let solo = solo_with(&format!("[sinks.copy]\nto = \"file:{}\"", path.display())).await;
    for _ in 0..3 {
        let client = solo.answering().await;
        let written = || std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let before = written();
        // Those that are cut short fail too.
        let deploys = (0..4).map(|_| refused(&client, HOSTILE, 10));
        let all = futures_util::future::join_all(deploys);
        let kill = async {
            eventually("it writes", || async { (written() > before).then_some(()) }).await;
            solo.kill_process("kernel").await;
        };
        tokio::join!(all, kill);
    }
    solo.answering().await;
    eventually("the file is the log", || async {
        let copied = std::fs::read_to_string(&path).unwrap_or_default();
        (copied == solo.audit_log()).then_some(())
    })
    .await;
    // What cannot be written does not keep anybody, and is written later.
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("directory");
    let client = solo.answering().await;
    refused(&client, "../x", 1).await;
    failing(&solo, "copy", "copy.jsonl").await;
    client.deploy(deploy("adder", ADDER)).await.expect("operations go on");
    std::fs::remove_dir(&path).expect("remove");
    caught_up(&solo, "copy").await;
    let copied = sequences(&std::fs::read_to_string(&path).expect("read"));
    assert!(copied.windows(2).all(|pair| pair[1] == pair[0] + 1), "{copied:?}");
    let events = events(&solo).join("\n");
    assert!(events.contains("audit_sink_failing"), "{events}");
    assert!(events.contains("audit_sink_recovered"), "{events}");
    solo.down().await;
}

/// Reads a message as a receiver would; the number of its record.
fn checked(message: &str) -> u64 {
    assert!(!message.chars().any(char::is_control), "{message:?}");
    let mut parts = message.splitn(7, ' ');
    let mut part = || parts.next().expect("a part");
    let priority = part().strip_prefix('<').and_then(|rest| rest.strip_suffix(">1"));
    let priority: u8 = priority.expect("a priority").parse().expect("a number");
    // Facility 13, log audit; notice, or warning of what was refused.
    assert!([13 * 8 + 4, 13 * 8 + 5].contains(&priority), "{message}");
    let time = part();
    assert!(time.len() == 24 && time.ends_with('Z'), "{message}");
    let (host, app) = (part(), part());
    assert!(!host.is_empty() && app == "solo", "{message}");
    let (_node, operation) = (part(), part());
    let rest = parts.next().expect("structured data");
    let (data, json) = rest.split_once("] {").expect("structured data and a record");
    assert!(data.starts_with("[solo@"), "{message}");
    let record: Value = serde_json::from_str(&format!("{{{json}")).expect("the record");
    assert_eq!(record["operation"], operation);
    record["seq"].as_u64().expect("a number")
}

/// Takes messages in octet counting from one connection, until `enough` or its end.
async fn counted(stream: TcpStream, seen: Seen, enough: usize) {
    let mut stream = BufReader::new(stream);
    for _ in 0..enough {
        let mut length = Vec::new();
        if stream.read_until(b' ', &mut length).await.expect("reads") == 0 {
            return;
        }
        let length = String::from_utf8(length).expect("a number");
        let mut message = vec![0; length.trim().parse().expect("a number")];
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        let seq = checked(&String::from_utf8(message).expect("UTF-8"));
        see(&seen, [seq]);
    }
}

#[tokio::test]
async fn syslog_over_tcp_is_well_formed_and_survives_its_receiver() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let settings = format!("[sinks.log]\nto = \"syslog:tcp:{address}\"\nretry_max_seconds = 1");
    let solo = solo_with(&settings).await;
    let client = solo.answering().await;
    let seen = Seen::default();
    let first = seen.clone();
    // The first receiver dies in the midst of it.
    let (stream, _) = listener.accept().await.expect("a connection");
    let dying = tokio::spawn(counted(stream, first, 3));
    refused(&client, HOSTILE, 10).await;
    dying.await.expect("ends");
    let taken = seen.clone();
    let receiver = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            counted(stream, taken.clone(), usize::MAX).await;
        }
    });
    caught_up(&solo, "log").await;
    assert_complete(&solo, "log", seen.lock().expect("nobody panicked").clone());
    receiver.abort();
    solo.down().await;
}

#[tokio::test]
async fn syslog_to_a_socket_of_the_machine() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("log");
    let settings =
        format!("[sinks.log]\nto = \"syslog:unix:{}\"\nretry_max_seconds = 1", path.display());
    let solo = solo_with(&settings).await;
    let client = solo.answering().await;
    failing(&solo, "log", "cannot be reached").await;
    refused(&client, HOSTILE, 10).await;
    let socket = UnixDatagram::bind(&path).expect("bind");
    let mut seen = BTreeSet::new();
    let mut message = vec![0; 64 << 10];
    while seen.len() < 8 {
        let length = socket.recv(&mut message).await.expect("a message");
        seen.insert(checked(std::str::from_utf8(&message[..length]).expect("UTF-8")));
    }
    assert_eq!(seen, (1..=8).collect());
    solo.down().await;
}

/// What the webhook does next.
const TAKES: u8 = 0;
const REFUSES: u8 = 1;
const HANGS: u8 = 2;

/// Answers requests on one connection.
async fn hook(stream: TcpStream, mode: Arc<AtomicU8>, seen: Seen) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut is_keyed, mut token) = (0, false, String::new());
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        assert_eq!(line, "POST /audit?of=solo HTTP/1.1\r\n");
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            match name {
                "content-length" => length = value.parse().expect("a number"),
                "idempotency-key" => is_keyed = value.starts_with("solo-audit-"),
                "authorization" => value.clone_into(&mut token),
                _ => {}
            }
        }
        assert!(is_keyed && token == "Bearer of-the-test", "{token}");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let answer = match mode.load(Ordering::SeqCst) {
            TAKES => "HTTP/1.1 204 No Content\r\n\r\n",
            REFUSES => "HTTP/1.1 500 Nope\r\ncontent-length: 4\r\n\r\nnope",
            _ => {
                // Until the sink gives up.
                let _gone = stream.read_line(&mut line).await;
                return None;
            }
        };
        if mode.load(Ordering::SeqCst) == TAKES {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let records = body["records"].as_array().expect("records").clone();
            let numbers = records.iter().filter_map(|record| record["seq"].as_u64());
            see(&seen, numbers);
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn a_webhook_that_refuses_and_hangs_loses_nothing_and_delays_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (mode, seen) = (Arc::new(AtomicU8::new(TAKES)), Seen::default());
    let (modes, taken) = (Arc::clone(&mode), seen.clone());
    let receiver = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(hook(stream, Arc::clone(&modes), taken.clone()));
        }
    });
    let directory = tempfile::tempdir().expect("tempdir");
    let token = directory.path().join("token");
    std::fs::write(&token, "of-the-test\n").expect("write");
    let solo = solo_with(&format!(
        "[sinks.hook]\nto = \"http://{address}/audit?of=solo\"\ntoken_file = \"{}\"\n\
         retry_max_seconds = 1",
        token.display()
    ))
    .await;
    let client = solo.answering().await;
    caught_up(&solo, "hook").await;
    for (mode_now, why) in [(REFUSES, "answered 500"), (HANGS, "within 10 s")] {
        mode.store(mode_now, Ordering::SeqCst);
        let name = format!("adder-{mode_now}");
        client.deploy(deploy(&name, ADDER)).await.expect("operations go on");
        failing(&solo, "hook", why).await;
        client.kill(&name, false).await.expect("operations go on");
        eventually("the lag is seen", || async {
            let sink = sink(&solo, "hook");
            let is_behind = sink["lag_records"].as_u64() >= Some(2);
            (is_behind && sink["lag_ms"].as_u64() > Some(0)).then_some(())
        })
        .await;
        // Nor does a kill lose what waits.
        solo.kill_process("kernel").await;
        solo.answering().await;
        mode.store(TAKES, Ordering::SeqCst);
        caught_up(&solo, "hook").await;
    }
    assert_complete(&solo, "hook", seen.lock().expect("nobody panicked").clone());
    receiver.abort();
    solo.down().await;
}

/// Exits at once until `go` is there; then leaves processes behind, one of them in a session of its own.
const SCRIPT: &str = "
[ -e \"$1/go\" ] || exit 3
sleep 1000 & echo $! > \"$1/near\"
setsid sh -c 'echo $$ > \"$0/far\"; exec sleep 1000' \"$1\" &
echo $$ > \"$1/self\"
exec cat >> \"$1/out\"
";

/// The process whose number the script wrote, once it did.
async fn written_pid(path: &Path) -> i32 {
    eventually("the number", || async { std::fs::read_to_string(path).ok()?.trim().parse().ok() })
        .await
}

async fn ends(pid: i32) {
    eventually("the process ends", || async {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_that_exits_is_started_anew_and_ends_with_the_kernel() {
    let directory = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("script"), SCRIPT).expect("write");
    let solo = solo_with(&format!(
        "[sinks.pipe]\ncommand = [\"/bin/sh\", \"{}\", \"{}\"]\nretry_max_seconds = 1",
        at("script").display(),
        directory.path().display()
    ))
    .await;
    let client = solo.answering().await;
    failing(&solo, "pipe", "code 3").await;
    client.deploy(deploy("adder", ADDER)).await.expect("operations go on");
    eventually("it is tried again", || async {
        (sink(&solo, "pipe")["failures"].as_u64() > Some(2)).then_some(())
    })
    .await;
    std::fs::write(at("go"), "").expect("write");
    caught_up(&solo, "pipe").await;
    assert!(!std::fs::read_to_string(at("out")).expect("read").is_empty());
    let mut pids = Vec::new();
    for name in ["self", "near", "far"] {
        pids.push(written_pid(&at(name)).await);
        std::fs::remove_file(at(name)).expect("remove");
    }
    // The program dies: what it left behind does too, and another one goes on.
    crate::harness::kill(pids[0]);
    for pid in pids {
        ends(pid).await;
    }
    refused(&client, HOSTILE, 3).await;
    caught_up(&solo, "pipe").await;
    let mut pids = Vec::new();
    for name in ["self", "near", "far"] {
        pids.push(written_pid(&at(name)).await);
        std::fs::remove_file(at(name)).expect("remove");
    }
    // The kernel dies.
    solo.kill_process("kernel").await;
    for pid in pids {
        ends(pid).await;
    }
    solo.answering().await;
    refused(&client, "../x", 3).await;
    caught_up(&solo, "pipe").await;
    let out = std::fs::read_to_string(at("out")).expect("read");
    assert_complete(&solo, "pipe", sequences(&out));
    let far = written_pid(&at("far")).await;
    solo.down().await;
    ends(far).await;
}

#[tokio::test]
async fn a_command_that_does_not_read_is_seen() {
    let solo = solo_with("[sinks.deaf]\ncommand = [\"/bin/sleep\", \"1000\"]").await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("operations go on");
    eventually("the lag is seen", || async {
        (sink(&solo, "deaf")["lag_records"].as_u64() > Some(2)).then_some(())
    })
    .await;
    failing(&solo, "deaf", "does not read its input").await;
    assert_eq!(sink(&solo, "deaf")["delivered_seq"], 0);
    solo.down().await;
}

#[tokio::test]
async fn retention_removes_what_all_sinks_have() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("copy.jsonl");
    let copy = format!("[sinks.copy]\nto = \"file:{}\"", path.display());
    let bounds = "[retention]\nkeep_bytes = 1\nsegment_bytes = 65536";
    let solo = solo_with(&format!("{bounds}\n{copy}")).await;
    let client = solo.answering().await;
    let many = (0..20).map(|_| refused(&client, HOSTILE, 20));
    futures_util::future::join_all(many).await;
    let only = || solo.audit_segments().len() == 1;
    let is_first = || solo.audit_segments()[0].ends_with("audit-00000000000000000001.jsonl");
    eventually("old segments go", || async { (only() && !is_first()).then_some(()) }).await;
    assert!(solo.json(&["audit", "verify"])["first_seq"].as_u64() > Some(1));
    caught_up(&solo, "copy").await;
    let last = sink(&solo, "copy")["delivered_seq"].as_u64().expect("a number");
    let copied = sequences(&std::fs::read_to_string(&path).expect("read"));
    assert_eq!(copied[..usize::try_from(last).expect("few")], (1..=last).collect::<Vec<_>>());
    assert_eq!(sink(&solo, "copy")["lost_records"], 0);
    // The next kernel opens what is left.
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    assert_eq!(solo.json(&["audit", "verify"])["signed"], true);
    let kept = solo.json_lines(&["audit", "show"]);
    assert!(kept.iter().any(|record| record["operation"] == "audit.retention"), "{kept:?}");
    solo.down().await;
}

#[tokio::test]
async fn beyond_the_hard_bound_a_sink_is_told_what_it_lost() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("log");
    let log =
        format!("[sinks.log]\nto = \"syslog:unix:{}\"\nretry_max_seconds = 1", path.display());
    let solo = solo_with(&log).await;
    let client = solo.answering().await;
    // It knows the sink, which had something.
    let socket = UnixDatagram::bind(&path).expect("bind");
    let reader = tokio::spawn(async move {
        let mut message = vec![0; 64 << 10];
        while socket.recv(&mut message).await.is_ok() {}
    });
    caught_up(&solo, "log").await;
    reader.abort();
    std::fs::remove_file(&path).expect("remove");
    let bounds = "[retention]\nkeep_bytes = 1\nhard_bytes = 100000\nsegment_bytes = 65536";
    set(&solo, &format!("{bounds}\n{log}")).await;
    let many = (0..20).map(|_| refused(&client, HOSTILE, 20));
    futures_util::future::join_all(many).await;
    let is_first = || solo.audit_segments()[0].ends_with("audit-00000000000000000001.jsonl");
    eventually("what is beyond the bound goes", || async { (!is_first()).then_some(()) }).await;
    // What the sink has in memory is not lost, but with the kernel.
    solo.kill_process("kernel").await;
    solo.answering().await;
    eventually("it is told", || async {
        (sink(&solo, "log")["lost_records"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let events = events(&solo).join("\n");
    assert!(events.contains("audit_sink_lost_records"), "{events}");
    solo.down().await;
}

#[tokio::test]
async fn settings_that_are_wrong_are_refused_with_their_place() {
    let home = tempfile::Builder::new().prefix("solo-t").tempdir().expect("tempdir");
    let path = home.path().join("audit.toml");
    std::fs::write(&path, "[sinks.a]\nto = \"file:/x\"\nshell = true\n").expect("write");
    for further in [&[][..], &["--detach"]] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_solo"))
            .args(["--output", "json", "--home"])
            .arg(home.path())
            .args(["up", "--api", "127.0.0.1:0", "--gateway", "127.0.0.1:0"])
            .args(["--metrics", "127.0.0.1:0"])
            .args(further)
            .output()
            .expect("solo up");
        assert!(!output.status.success(), "{output:?}");
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert_eq!(error["error"]["reason"], "AUDIT_SETTINGS", "{error}");
        let cause = error["error"]["cause"].as_str().expect("a cause");
        assert!(cause.contains("audit.toml") && cause.contains("shell"), "{error}");
        assert!(error["error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
    }
    // Without settings there are no sinks, and nothing is there for them.
    let solo = Solo::start().await;
    assert_eq!(solo.json(&["audit", "sinks"])["sinks"], serde_json::json!([]));
    assert!(!solo.home().join("run/audit-sinks.json").exists());
    assert!(!solo.home().join("audit/sinks").exists());
    // Settings that became wrong keep the next kernel from starting, and nothing that runs.
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let cell = solo.pid("cells/wasm-default").await;
    std::fs::write(solo.home().join("audit.toml"), "nonsense").expect("write");
    solo.kill_process("kernel").await;
    eventually("it is said", || async {
        solo.log().contains("the audit log is not set up").then_some(())
    })
    .await;
    std::fs::remove_file(solo.home().join("audit.toml")).expect("remove");
    let client = solo.answering().await;
    assert_eq!(client.json_call("adder", "add", "[20, 22]").await.expect("call"), "42");
    assert_eq!(solo.pid("cells/wasm-default").await, cell);
    solo.down().await;
}
