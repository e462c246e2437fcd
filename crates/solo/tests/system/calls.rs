//! S4, S6: calls and sends, typed and in bytes, in two languages.

use std::time::Duration;

use solo_api::v1;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

/// The same typed behaviour, whatever the language.
async fn check_calculator(client: &solo_api::Client, name: &str) {
    for (function, arguments, expected) in [
        ("add", "[2, 40]", "42"),
        ("add", "[-2147483648, 0]", "-2147483648"),
        ("divide", "[1, 4]", r#"{"ok":0.25}"#),
        ("sum", "[[1, 2, 3]]", "6"),
        ("sum", "[[]]", "0"),
        ("examples:calculator/ops@0.1.0#add", "[1, 1]", "2"),
    ] {
        let answer = client.json_call(name, function, arguments).await;
        assert_eq!(answer.as_deref(), Ok(expected), "{name} {function}{arguments}");
    }
    let answer = client.json_call(name, "divide", "[1, 0]").await.expect("divide");
    assert!(answer.starts_with(r#"{"err":"#), "{answer}");
    let answer = client.json_call(name, "statistics", "[[1, 2, 6]]").await.expect("statistics");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["mean"], 3.0);
    assert_eq!(answer["count"], 3);
    let problem = client.json_call(name, "add", r#"["two", 40]"#).await.expect_err("refused");
    let expected = problem.details.iter().find(|(key, _)| key == "expected").expect("expected");
    assert!(expected.1.contains("s32"), "{problem:?}");
}

#[tokio::test]
async fn typed_calls_in_two_languages() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for name in ["calculator", "calculator-js"] {
        let deployed = client.deploy(deploy(name, guest_bytes(name))).await.expect("deploy");
        assert_eq!(deployed.kind(), v1::ServiceKind::Typed);
        assert!(deployed.exports.iter().any(|export| export.signature.contains("s32")));
        check_calculator(&client, name).await;
    }
}

#[tokio::test]
async fn an_actor_keeps_its_state_in_two_languages() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for name in ["counter", "counter-js"] {
        let deployed = client.deploy(deploy(name, guest_bytes(name))).await.expect("deploy");
        assert_eq!(deployed.kind(), v1::ServiceKind::Handler);
        assert_eq!(client.call(name, "add 3").await.as_deref(), Ok("3"));
        client.send(name, "add 4").await.expect("send");
        // Order is kept: the call is behind the send.
        assert_eq!(client.call(name, "get").await.as_deref(), Ok("7"));
        let problem = client.call(name, "dance").await.expect_err("refused by the service");
        assert_eq!(problem.reason, "REFUSED");
        assert_eq!(client.call(name, "get").await.as_deref(), Ok("7"));
    }
}

#[tokio::test]
async fn core_modules_and_programs() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let core = include_str!("../../../../examples/hello-core.wat");
    let deployed = client.deploy(deploy("core", core)).await.expect("deploy");
    assert_eq!(deployed.kind(), v1::ServiceKind::Core);
    assert!(!deployed.exports.is_empty());
    for guest in ["hello-command", "hello-preview1"] {
        for (code, state) in [("0", v1::ServiceState::Completed), ("3", v1::ServiceState::Failed)] {
            let name = format!("{guest}-{code}");
            let mut request = deploy(&name, guest_bytes(guest));
            request.arguments = vec![code.to_owned(), "second".to_owned()];
            request.environment.insert("GREETING".into(), "good day".into());
            request.restart =
                Some(v1::RestartPolicy { max_restarts: Some(1), ..v1::RestartPolicy::default() });
            client.deploy(request).await.expect("deploy");
            let status = eventually("it has ended", || async {
                let status = client.status(&name).await.expect("status");
                (status.state() == state).then_some(status)
            })
            .await;
            let output = solo.json_lines(&["logs", &name]);
            let text: Vec<_> = output.iter().map(|l| l["message"].to_string()).collect();
            assert!(text.iter().any(|line| line.contains("good day")), "{name}: {text:?}");
            assert!(text.iter().any(|line| line.contains("second")), "{name}: {text:?}");
            if code == "3" {
                assert_eq!(status.last_exit.expect("exit").reason, "exit_code");
                assert_eq!(status.restarts, 1, "a program that fails is tried again");
            }
            let problem = client.json_call(&name, "run", "[]").await.expect_err("not callable");
            assert!(!problem.remedy.is_empty(), "{problem:?}");
        }
    }
}

/// S4: a caller learns of a crash at once, and of nothing else's.
#[tokio::test]
async fn a_crash_is_told_at_once_and_the_service_comes_back() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("crasher", guest_bytes("crasher"))).await.expect("deploy");
    let calls = ["panic", "unreachable", "divide", "overflow-stack"];
    for (n, how) in calls.iter().enumerate() {
        let answer =
            tokio::time::timeout(Duration::from_secs(10), client.call("crasher", how)).await;
        let problem = answer.expect("at once").expect_err("a crash");
        assert_eq!(problem.reason, "CRASHED", "{how}: {problem:?}");
        assert_eq!(client.call("crasher", "ok").await.as_deref(), Ok("ok"), "after {how}");
        let status = client.status("crasher").await.expect("status");
        assert_eq!(status.restarts, n as u64 + 1);
        let exit = status.last_exit.expect("an exit");
        assert_eq!(exit.reason, "trap", "{how}: {exit:?}");
        assert!(!exit.backtrace.is_empty(), "{how}: {exit:?}");
    }
}

/// S4: what a service was not given, it does not reach, and does not learn whether it exists.
#[tokio::test]
async fn services_reach_what_they_were_given_and_nothing_else() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    client.deploy(deploy("secret", guest_bytes("counter"))).await.expect("deploy");
    let mut request = deploy("pinger", guest_bytes("pinger"));
    request.capabilities = vec![v1::CapabilityRequest {
        object: "service:counter".into(),
        rights: vec![v1::Right::Call.into()],
    }];
    client.deploy(request).await.expect("deploy");
    assert_eq!(client.call("pinger", "ask counter get").await.as_deref(), Ok("0"));
    let there = client.call("pinger", "ask secret get").await.expect_err("denied");
    let absent = client.call("pinger", "ask nobody get").await.expect_err("denied");
    assert!(there.cause.contains("denied"), "{there:?}");
    assert_eq!(there.cause.replace("secret", "X"), absent.cause.replace("nobody", "X"));
}

#[tokio::test]
async fn a_mailbox_is_bounded() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("hog", guest_bytes("cpu-hog"));
    let limits = request.limits.as_mut().expect("limits");
    limits.message_queue_limit = Some(10);
    limits.message_queue_max = Some(10);
    client.deploy(request).await.expect("deploy");
    let busy = client.clone();
    let busy = tokio::spawn(async move { busy.call("hog", "spin forever").await });
    eventually("it is busy", || async {
        let status = client.status("hog").await.expect("status");
        (status.instances[0].cpu_us > 20_000).then_some(())
    })
    .await;
    let mut overloaded = 0;
    for _ in 0..20 {
        if let Err(problem) = client.send("hog", "spin 1").await {
            assert_eq!(problem.reason, "OVERLOADED");
            overloaded += 1;
        }
    }
    assert_eq!(overloaded, 10);
    let status = client.status("hog").await.expect("status");
    assert_eq!(status.instances[0].mailbox_depth, 10);
    client.kill("hog", true).await.expect("kill");
    busy.await.expect("no panic").expect_err("killed");
}

#[tokio::test]
async fn a_call_gives_up_at_its_deadline() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("hog", guest_bytes("cpu-hog"))).await.expect("deploy");
    let request = v1::CallRequest {
        service: "hog".into(),
        input: Some(v1::call_request::Input::Payload(b"spin forever".to_vec())),
        timeout_ms: Some(200),
        ..v1::CallRequest::default()
    };
    let answer = client.grpc().call(client.request(request, Duration::from_secs(30))).await;
    let problem = solo_api::problem_from_status(&answer.expect_err("too late"));
    assert_eq!(problem.reason, "TIMEOUT");
}

/// C4: nothing of the host is given, and each attempt is answered.
#[tokio::test]
async fn a_guest_reaches_nothing_of_the_host() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let api = solo.addresses()["api"].as_str().expect("an address").to_owned();
    let (_, port) = api.rsplit_once(':').expect("a port");
    // Somebody listens there.
    tokio::net::TcpStream::connect(&api).await.expect("it can be reached");
    let mut request = deploy("reacher", guest_bytes("reacher"));
    request.arguments = vec![port.to_owned()];
    client.deploy(request).await.expect("deploy");
    let said: Vec<String> = eventually("it has tried everything", || async {
        let lines = solo.json_lines(&["logs", "reacher"]);
        let said = lines.iter().filter_map(|line| line["message"].as_str().map(str::to_owned));
        let said: Vec<String> = said.collect();
        said.iter().any(|line| line.starts_with("http: ")).then_some(said)
    })
    .await;
    for what in
        ["files", "environment", "input", "connect", "listen", "datagram", "resolve", "http"]
    {
        let line = said.iter().find(|line| line.starts_with(&format!("{what}: ")));
        let line = line.unwrap_or_else(|| panic!("nothing about {what}: {said:?}"));
        assert!(!line.ends_with(": reached"), "{line}");
    }
}
