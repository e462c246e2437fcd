//! SPEC section 5, C6: limits as they are stated, kept, changed and shown, and what is told of those
//! that were exceeded.

use std::time::Duration;

use solo_api::{Client, v1};
use tokio_stream::StreamExt;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

/// Changes the limits of a service and nothing else.
async fn change(client: &solo_api::Client, limits: v1::Limits) -> v1::Limits {
    let request = v1::UpdateRequest {
        name: "adder".into(),
        limits: Some(limits),
        ..v1::UpdateRequest::default()
    };
    let request = client.request(request, Duration::from_secs(60));
    client.grpc().update(request).await.expect("update");
    client.status("adder").await.expect("status").limits.expect("limits")
}

#[tokio::test]
async fn limits_are_kept_over_updates_and_restarts() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    let limits = request.limits.as_mut().expect("limits");
    limits.cpu_quota_percent = Some(50);
    limits.message_queue_limit = Some(100);
    limits.limit_exceeded_action = v1::LimitAction::Throttle.into();
    client.deploy(request).await.expect("deploy");
    let limits = client.status("adder").await.expect("status").limits.expect("limits");
    assert_eq!((limits.cpu_quota_percent, limits.message_queue_max), (Some(50), Some(200)));
    assert_eq!(limits.limit_exceeded_action(), v1::LimitAction::Throttle);
    // What is not named stays, the hard bound goes with the alert, and a quota can be taken away.
    let alert = v1::Limits { message_queue_limit: Some(300), ..v1::Limits::default() };
    let limits = change(&client, alert).await;
    assert_eq!((limits.cpu_quota_percent, limits.message_queue_max), (Some(50), Some(600)));
    assert_eq!(limits.limit_exceeded_action(), v1::LimitAction::Throttle);
    let bound = v1::Limits {
        message_queue_max: Some(301),
        cpu_quota_percent: Some(0),
        limit_exceeded_action: v1::LimitAction::Warn.into(),
        ..v1::Limits::default()
    };
    let changed = change(&client, bound).await;
    assert_eq!((changed.cpu_quota_percent, changed.message_queue_max), (None, Some(301)));
    assert_eq!(changed.limit_exceeded_action(), v1::LimitAction::Warn);
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    let status = client.status("adder").await.expect("status");
    assert_eq!(status.limits, Some(changed));
    assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// The same from the command line, in both of its forms.
#[tokio::test]
async fn limits_from_the_command_line() {
    let solo = Solo::start().await;
    let code = solo.home().join("adder.wat");
    std::fs::write(&code, ADDER).expect("write");
    let code = code.display().to_string();
    let flags =
        ["--startup-timeout", "10s", "--cpu-quota", "25", "--queue", "5", "--queue-max", "7"];
    let more = ["--on-limit", "warn", "--tier", "system", "--allow", "execute=service:worker"];
    let arguments = [&["deploy", "adder", &code][..], &flags, &more].concat();
    solo.json(&arguments);
    let status = solo.json(&["status", "adder"]);
    let limits = &status["limits"];
    assert_eq!(
        (&limits["cpu_quota_percent"], &limits["message_queue_max"]),
        (&25.into(), &7.into())
    );
    assert_eq!(
        (&limits["limit_exceeded_action"], &status["tier"]),
        (&"warn".into(), &"system".into())
    );
    assert_eq!(status["capabilities"][0]["rights"][0], "execute");
    assert_eq!(status["instances"][0]["violations"].as_array().map(Vec::len), Some(0));
    let text = solo.cli(&["status", "adder"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("5 messages (at most 7), CPU 25 %; warn"), "{text}");
    assert!(text.contains("execute service:worker"), "{text}");
}

/// A deployment of a guest with limits.
fn limited(
    name: &str,
    guest: &str,
    action: v1::LimitAction,
    limit: impl FnOnce(&mut v1::Limits),
) -> v1::DeployRequest {
    let mut request = deploy(name, guest_bytes(guest));
    let limits = request.limits.as_mut().expect("limits");
    limits.limit_exceeded_action = action.into();
    limit(limits);
    request
}

/// The event of a limit that was exceeded.
async fn event(client: &Client, service: &str, limit: &str) -> Option<v1::Event> {
    let request = v1::WatchRequest {
        service: service.into(),
        kinds: vec![v1::RecordKind::Event.into()],
        ..v1::WatchRequest::default()
    };
    let stream = client.grpc().watch(client.stream_request(request)).await.ok()?;
    let mut stream = stream.into_inner();
    while let Some(Ok(response)) = stream.next().await {
        if let Some(v1::watch_response::Record::Event(event)) = response.record
            && event.name == "limit_exceeded"
            && event.details.get("limit").is_some_and(|found| found == limit)
        {
            return Some(event);
        }
    }
    None
}

/// Waits until an exceeded limit is seen as event, metric and audit record; each names the action.
async fn told(solo: &Solo, client: &Client, service: &str, limit: &str, action: &str) {
    let what = format!("{service}: {limit} {action}");
    let event = eventually(&what, || event(client, service, limit)).await;
    assert_eq!(event.details["action"], action, "{event:?}");
    assert!(event.message.contains(limit) && event.message.contains(action), "{event:?}");
    let record = eventually(&what, || async {
        let text = solo.audit_log();
        let records =
            text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let mut found = records.filter(|record| {
            record["operation"] == "limit_exceeded"
                && record["object"] == service
                && record["details"]["limit"] == limit
        });
        found.next()
    })
    .await;
    assert_eq!(record["outcome"], action, "{record}");
    assert!(record["details"]["instance"].as_str().is_some_and(|id| id.contains('-')), "{record}");
    let line = format!(
        "solo_limit_violations_total{{action=\"{action}\",limit=\"{limit}\",service=\"{service}\"}}"
    );
    if client.status(service).await.is_ok() {
        let text = solo.metrics().await;
        assert!(text.contains(&line), "{line} in {text}");
    }
}

/// The violation of a limit in the status of the only instance.
async fn shown(client: &Client, service: &str, limit: &str) -> Option<v1::LimitViolation> {
    let status = client.status(service).await.ok()?;
    let violations = status.instances.first()?.violations.clone();
    violations.into_iter().find(|violation| violation.limit == limit)
}

/// L1: memory, with each of the three actions.
#[tokio::test]
async fn memory_is_killed_throttled_or_warned_of() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let memory = |limits: &mut v1::Limits| limits.max_memory_bytes = Some(16 << 20);
    for (name, action) in [
        ("kill", v1::LimitAction::Kill),
        ("throttle", v1::LimitAction::Throttle),
        ("warn", v1::LimitAction::Warn),
    ] {
        client.deploy(limited(name, "memory-hog", action, memory)).await.expect("deploy");
        let answer = client.call(name, "grow 32").await;
        match action {
            v1::LimitAction::Kill => {
                assert_eq!(answer.expect_err("ended").reason, "CRASHED");
            }
            v1::LimitAction::Throttle => {
                assert_eq!(answer.expect_err("refused memory").reason, "REFUSED");
            }
            _ => assert_eq!(answer.as_deref(), Ok("32")),
        }
        let violation = eventually(name, || shown(&client, name, "max_memory_bytes")).await;
        assert_eq!(violation.action(), action, "{violation:?}");
        assert!(violation.count >= 1 && violation.last_message.contains("max_memory_bytes"));
        told(&solo, &client, name, "max_memory_bytes", name).await;
        let killed = u64::from(action == v1::LimitAction::Kill);
        let status = eventually("it runs", || async {
            let status = client.status(name).await.ok()?;
            (status.restarts == killed && status.state() == v1::ServiceState::Running)
                .then_some(status)
        })
        .await;
        let reason = status.last_exit.map(|exit| exit.reason);
        assert_eq!(reason.as_deref(), (killed == 1).then_some("limit"));
    }
    let text = solo.cli(&["status", "warn"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("LIMIT EXCEEDED") && text.contains("max_memory_bytes  warn"), "{text}");
    let json = solo.json(&["status", "warn"]);
    assert_eq!(json["instances"][0]["violations"][0]["action"], "warn", "{json}");
}

/// `message_queue_limit` alerts, `message_queue_max` refuses.
#[tokio::test]
async fn a_mailbox_alerts_before_it_is_full() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let queue = |limits: &mut v1::Limits| limits.message_queue_limit = Some(5);
    client.deploy(limited("hog", "cpu-hog", v1::LimitAction::Warn, queue)).await.expect("deploy");
    let busy = client.clone();
    let busy = tokio::spawn(async move { busy.call("hog", "spin forever").await });
    eventually("it is busy", || async {
        let status = client.status("hog").await.expect("status");
        (status.instances[0].cpu_us > 20_000).then_some(())
    })
    .await;
    for n in 1..=10 {
        client.send("hog", "spin 1").await.unwrap_or_else(|problem| panic!("{n}: {problem}"));
    }
    assert_eq!(client.send("hog", "spin 1").await.expect_err("full").reason, "OVERLOADED");
    told(&solo, &client, "hog", "message_queue_limit", "warn").await;
    let instance = client.status("hog").await.expect("status").instances[0].clone();
    assert_eq!(instance.mailbox_depth, 10);
    assert!(instance.mailbox_bytes > 0 && instance.mailbox_bytes < instance.memory_bytes);
    client.kill("hog", true).await.expect("kill");
    busy.await.expect("no panic").expect_err("killed");
}

#[tokio::test]
async fn a_quota_of_cpu_time_throttles() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let quota = |limits: &mut v1::Limits| limits.cpu_quota_percent = Some(20);
    let request = limited("hog", "cpu-hog", v1::LimitAction::Throttle, quota);
    client.deploy(request).await.expect("deploy");
    let busy = client.clone();
    let busy = tokio::spawn(async move { busy.call("hog", "spin forever").await });
    told(&solo, &client, "hog", "cpu_quota_percent", "throttle").await;
    eventually("it is held back", || async {
        let instance = client.status("hog").await.ok()?.instances[0].clone();
        (instance.throttled_us > instance.cpu_us).then_some(())
    })
    .await;
    let text = solo.cli(&["status", "hog"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("for its CPU quota"), "{text:?}");
    client.kill("hog", true).await.expect("kill");
    busy.await.expect("no panic").expect_err("killed");
}

#[tokio::test]
async fn children_beyond_the_limit_are_refused() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let processes = |limits: &mut v1::Limits| limits.max_processes = Some(2);
    let request = limited("parent", "parent", v1::LimitAction::Throttle, processes);
    client.deploy(request).await.expect("deploy");
    client.call("parent", "open one-for-one 5 60000 never").await.expect("open");
    for name in ["a", "b"] {
        let spawn = format!("spawn 1 {name} parent permanent false 1000");
        client.call("parent", &spawn).await.expect("spawn");
    }
    let spawn = "spawn 1 c parent permanent false 1000";
    let problem = client.call("parent", spawn).await.expect_err("one too many");
    assert!(problem.cause.contains("limit"), "{problem:?}");
    told(&solo, &client, "parent", "max_processes", "throttle").await;
    client.call("parent", "stop 1 a").await.expect("stop");
    client.call("parent", spawn).await.expect("there is room again");
}

/// A start that takes too long is told of also where it leaves no service behind.
#[tokio::test]
async fn a_start_that_takes_too_long_is_audited() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let startup = |limits: &mut v1::Limits| limits.startup_timeout_ms = Some(200);
    let request = limited("late", "hang-on-init", v1::LimitAction::Kill, startup);
    assert_eq!(client.deploy(request).await.expect_err("late").reason, "STARTUP_TIMEOUT");
    told(&solo, &client, "late", "startup_timeout_ms", "kill").await;
}
