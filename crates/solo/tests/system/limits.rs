//! SPEC section 5: limits as they are stated, kept, changed and shown.

use std::time::Duration;

use solo_api::v1;

use crate::harness::{ADDER, Requests, Solo, deploy};

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
