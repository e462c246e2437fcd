//! A4, O1, O2, S2: logs, events, metrics, the tree, the audit log.

use std::process::{Command, Stdio};
use std::time::Duration;

use solo_api::v1;
use solo_api::v1::watch_response::Record;
use tokio_stream::StreamExt;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

async fn watch(
    client: &solo_api::Client,
    request: v1::WatchRequest,
) -> tonic::Streaming<v1::WatchResponse> {
    client.grpc().watch(client.stream_request(request)).await.expect("watch").into_inner()
}

async fn next(stream: &mut tonic::Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
    next.expect("in time").expect("a record").expect("no error")
}

fn line(response: &v1::WatchResponse) -> Option<&str> {
    match &response.record {
        Some(Record::Log(log)) => Some(&log.message),
        _ => None,
    }
}

#[tokio::test]
async fn logs_are_tailed_followed_and_resumed_across_a_kernel() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("logger", guest_bytes("logger"))).await.expect("deploy");
    client.deploy(deploy("noise", guest_bytes("counter"))).await.expect("deploy");
    for n in 0..10 {
        client.call("logger", &format!("warn line-{n}")).await.expect("log");
    }
    let logs = v1::WatchRequest {
        service: "logger".into(),
        kinds: vec![v1::RecordKind::Log.into()],
        ..v1::WatchRequest::default()
    };
    eventually("all lines are there", || async {
        let mut all = watch(&client, logs.clone()).await;
        let mut count = 0;
        while let Some(Ok(record)) = all.next().await {
            count += usize::from(line(&record).is_some_and(|text| text.contains("line-")));
        }
        (count == 10).then_some(())
    })
    .await;
    let mut tail =
        watch(&client, v1::WatchRequest { tail: Some(2), follow: true, ..logs.clone() }).await;
    let first = next(&mut tail).await;
    assert!(line(&first).is_some_and(|text| text.contains("line-8")), "{first:?}");
    let second = next(&mut tail).await;
    assert!(line(&second).is_some_and(|text| text.contains("line-9")), "{second:?}");
    client.call("logger", "error after").await.expect("log");
    let followed = next(&mut tail).await;
    assert!(line(&followed).is_some_and(|text| text.contains("after")), "{followed:?}");
    assert!(matches!(&followed.record, Some(Record::Log(log)) if log.level == "error"));
    // What is logged while no kernel is there is not lost, and the cursor goes on.
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    client.call("logger", "info later").await.expect("log");
    let request = v1::WatchRequest { cursor: second.cursor, follow: true, ..logs };
    let mut resumed = watch(&client, request).await;
    assert!(line(&next(&mut resumed).await).is_some_and(|text| text.contains("after")));
    assert!(line(&next(&mut resumed).await).is_some_and(|text| text.contains("later")));
}

/// C6: a log that was changed stops operations, says so, and leaves services alone.
#[tokio::test]
async fn a_changed_audit_log_stops_operations() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    solo.kill_heart().await;
    let segments = solo.audit_segments();
    let path = segments.last().expect("a segment");
    let text = std::fs::read_to_string(path).expect("audit log");
    std::fs::write(path, text.replace("adder", "bdder")).expect("write");
    solo.up().await;
    let client = solo.answering().await;
    assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok("3"));
    let problem = client.kill("adder", false).await.expect_err("refused");
    assert_eq!(problem.reason, "AUDIT_UNWRITABLE");
    assert_eq!(client.names().await, ["adder"]);
    let tree = solo.json(&["tree"]).to_string();
    assert!(tree.contains("\"failed\""), "{tree}");
}

/// A cursor that no record had is refused, not taken for the end of time.
#[tokio::test]
async fn a_cursor_from_another_home() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for follow in [false, true] {
        let request = v1::WatchRequest { cursor: u64::MAX, follow, ..Default::default() };
        let request = client.stream_request(request);
        let status = client.grpc().watch(request).await.expect_err("refused");
        assert_eq!(solo_api::problem_from_status(&status).reason, "INVALID_CURSOR");
    }
}

/// A4: who reads slowly is told what was missed, and slows nobody.
#[tokio::test]
async fn a_watcher_is_told_what_it_missed() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("logger", guest_bytes("logger"))).await.expect("deploy");
    client.call("logger", "info first").await.expect("log");
    let logs = v1::WatchRequest {
        service: "logger".into(),
        kinds: vec![v1::RecordKind::Log.into()],
        ..v1::WatchRequest::default()
    };
    let cursor = eventually("the first line", || async {
        let mut all = watch(&client, logs.clone()).await;
        let mut found = None;
        while let Some(Ok(record)) = all.next().await {
            if line(&record).is_some_and(|text| text.contains("first")) {
                found = Some(record.cursor);
            }
        }
        found
    })
    .await;
    for n in 0..1_500 {
        client.send("logger", &format!("info {n}")).await.expect("send");
    }
    client.call("logger", "info last").await.expect("log");
    eventually("it is told", || async {
        let mut rest = watch(&client, v1::WatchRequest { cursor, ..logs.clone() }).await;
        let first = next(&mut rest).await;
        matches!(first.record, Some(Record::Missed(missed)) if missed.count > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_tell_the_life_of_a_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("crasher", guest_bytes("crasher"))).await.expect("deploy");
    client.call("crasher", "unreachable").await.expect_err("a crash");
    eventually("it is back", || async { client.call("crasher", "ok").await.ok() }).await;
    client.kill("crasher", false).await.expect("kill");
    let request = v1::WatchRequest {
        service: "crash*".into(),
        kinds: vec![v1::RecordKind::Event.into()],
        ..v1::WatchRequest::default()
    };
    let names = eventually("all events", || async {
        let mut stream = watch(&client, request.clone()).await;
        let mut names = Vec::new();
        while let Some(Ok(record)) = stream.next().await {
            if let Some(Record::Event(event)) = record.record {
                names.push(event.name);
            }
        }
        names.contains(&"killed".to_owned()).then_some(names)
    })
    .await;
    for expected in ["deployed", "exited", "restarted", "killed"] {
        assert!(names.contains(&expected.to_owned()), "{expected} in {names:?}");
    }
    let metrics = v1::WatchRequest {
        kinds: vec![v1::RecordKind::Metric.into()],
        follow: true,
        ..Default::default()
    };
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let sample = next(&mut watch(&client, metrics).await).await;
    assert!(matches!(sample.record, Some(Record::Metric(_))), "{sample:?}");
}

/// O1: Prometheus itself accepts the text, and the names are the specification's.
#[tokio::test]
async fn metrics_pass_promtool() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    client.call("counter", "add 1").await.expect("call");
    client.call("counter", "nonsense").await.expect_err("refused");
    let address = solo.addresses()["metrics"].as_str().expect("metrics").to_owned();
    // They name all services.
    let (code, text) = crate::gateway::get(&address, "/metrics").await.expect("an answer");
    assert!(code == 401 && text.contains("TOKEN_MISSING"), "{text}");
    let weak = solo.json(&["token", "mint", "counter", "read"])["token"].clone();
    let weak = weak.as_str().expect("a token");
    let (code, _) = crate::gateway::get_as(&address, "/metrics", weak).await.expect("an answer");
    assert_eq!(code, 403);
    let text = solo.metrics().await;
    for name in [
        "solo_deployment_count{result=\"ready\"} 1",
        "solo_active_services 1",
        "solo_service_memory_bytes{service=\"counter\"}",
        "solo_service_startup_ms_bucket",
        "solo_grpc_request_duration_ms_bucket{method=\"Deploy\"",
        "solo_service_calls_total{service=\"counter\"} 2",
        "solo_service_errors_total{service=\"counter\"} 1",
        "solo_service_restarts_total{service=\"counter\"} 0",
    ] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian package prometheus)");
    std::io::Write::write_all(&mut promtool.stdin.take().expect("stdin"), text.as_bytes())
        .expect("write");
    let output = promtool.wait_with_output().expect("promtool");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // The five names of SPEC O1 carry `_count` and `_ms` against Prometheus's taste; nothing else may.
    let fixed =
        ["solo_deployment_count", "solo_service_startup_ms", "solo_grpc_request_duration_ms"];
    let complaints: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty() && !fixed.iter().any(|name| line.starts_with(name)))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// S2: the tree has the shape of the specification, and shows what lives.
#[tokio::test]
async fn the_tree_is_the_specifications() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    request.replicas = Some(2);
    client.deploy(request).await.expect("deploy");
    let tree = solo.json(&["tree"]);
    let children =
        |node: &serde_json::Value| node["children"].as_array().expect("children").clone();
    let find = |node: &serde_json::Value, name: &str| {
        children(node)
            .into_iter()
            .find(|child| child["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {node}"))
    };
    assert_eq!(
        (tree["name"].as_str(), tree["strategy"].as_str()),
        (Some("root"), Some("one_for_one"))
    );
    let system = find(&tree, "system");
    assert_eq!(system["strategy"], "rest_for_one");
    let names: Vec<_> =
        children(&system).iter().map(|c| c["name"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(names, ["audit", "registry", "monitor"]);
    for driver in ["filesystem", "network", "hardware"] {
        assert_eq!(find(&find(&tree, "drivers"), driver)["state"], "running");
    }
    let tenant = find(&find(&tree, "services"), "default");
    assert_eq!(find(&tenant, "wasm-default")["kind"], "cell");
    let adder = find(&tenant, "adder");
    assert_eq!(children(&adder).len(), 2);
    find(&tree, "api");
}

/// C6, as far as it is built: what was done and what was refused is in the hash-chained log.
#[tokio::test]
async fn operations_are_audited() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    client.deploy(deploy("../x", ADDER)).await.expect_err("refused");
    client.kill("adder", false).await.expect("kill");
    let text = solo.audit_log();
    for expected in ["\"deploy\"", "\"kill\"", "refused: INVALID_NAME"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
