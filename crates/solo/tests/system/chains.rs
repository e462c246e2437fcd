//! Chains of calls: every call has a name that its caller, its logs and its errors agree on.

use std::time::Duration;

use solo_api::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Calls `adder` in a chain that the message and the metadata name.
async fn call(
    client: &solo_api::Client,
    trace_id: &str,
    traceparent: Option<&str>,
) -> Result<v1::CallResponse, solo_types::Problem> {
    let message = v1::CallRequest {
        service: "adder".into(),
        function: "add".into(),
        input: Some(v1::call_request::Input::JsonArguments("[1, 2]".into())),
        trace_id: trace_id.to_owned(),
        ..v1::CallRequest::default()
    };
    let mut request = client.request(message, Duration::from_secs(30));
    if let Some(value) = traceparent {
        request.metadata_mut().insert("traceparent", value.parse().expect("a header"));
    }
    match client.grpc().call(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(solo_api::problem_from_status(&status)),
    }
}

#[tokio::test]
async fn a_call_has_a_chain() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let header = format!("00-{ID}-00f067aa0ba902b7-01");
    for (field, metadata) in [(ID, None), (&*header, None), ("", Some(&*header))] {
        assert_eq!(call(&client, field, metadata).await.expect("call").trace_id, ID);
    }
    let drawn = call(&client, "", None).await.expect("call").trace_id;
    assert!(drawn.len() == 32 && drawn != ID, "{drawn}");
    for (field, metadata, blamed) in [
        ("nonsense", None, "trace_id"),
        ("00000000000000000000000000000000", None, "trace_id"),
        ("", Some("00-nonsense"), "traceparent"),
    ] {
        let problem = call(&client, field, metadata).await.expect_err("refused");
        assert_eq!(
            (problem.reason.as_str(), problem.kind),
            ("INVALID_TRACE", solo_types::ProblemKind::InvalidArgument)
        );
        assert_eq!(problem.fields[0].field, blamed);
        assert!(!problem.remedy.is_empty());
    }
}

/// Who is told of an error can look for its lines in the logs.
#[tokio::test]
async fn an_error_names_its_chain() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    let message = v1::SendRequest {
        service: "counter".into(),
        input: Some(v1::send_request::Input::Payload(b"add 1".to_vec())),
        trace_id: ID.into(),
        ..v1::SendRequest::default()
    };
    let sent = client.grpc().send(client.request(message, Duration::from_secs(30))).await;
    assert_eq!(sent.expect("send").into_inner().trace_id, ID);
    let (code, error) = solo.refused(&["call", "counter", "dance", "--trace", ID]);
    assert_eq!((code, &error["reason"]), (1, &"REFUSED".into()));
    assert_eq!(error["details"]["trace_id"], ID);
    let sent = solo.json(&["send", "counter", "add 1", "--trace", ID]);
    assert_eq!(sent["trace_id"], ID);
    let (_, error) = solo.refused(&["call", "counter", "get", "--trace", "x"]);
    assert_eq!(error["fields"][0]["field"], "trace_id");
}

/// What services see of the chain that a call from outside begins: its name, and how long they have.
#[tokio::test]
async fn services_see_the_chain_and_the_smaller_deadline() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("last", guest_bytes("chain"))).await.expect("deploy");
    let mut request = deploy("first", guest_bytes("chain"));
    request.capabilities = vec![v1::CapabilityRequest {
        object: "service:last".into(),
        rights: vec![v1::Right::Call.into()],
    }];
    client.deploy(request).await.expect("deploy");
    for (timeout_ms, grpc_ms) in [(20_000, 60_000), (600_000, 20_000)] {
        let message = v1::CallRequest {
            service: "first".into(),
            input: Some(v1::call_request::Input::Payload(b"relay last | hello".to_vec())),
            timeout_ms: Some(timeout_ms),
            trace_id: ID.into(),
            ..v1::CallRequest::default()
        };
        let request = client.request(message, Duration::from_millis(grpc_ms));
        let answer = client.grpc().call(request).await.expect("call").into_inner();
        let Some(v1::call_response::Output::Payload(payload)) = answer.output else {
            panic!("no payload")
        };
        let text = String::from_utf8(payload).expect("UTF-8");
        let seen: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(seen.len(), 2, "{text}");
        for context in &seen {
            assert_eq!(context["trace_id"], ID, "{text}");
            let remaining_ms = context["remaining_ms"].as_u64().expect("a deadline");
            assert!(remaining_ms <= timeout_ms.min(grpc_ms), "{text}");
        }
    }
}

/// A line that was written in a chain names it.
#[tokio::test]
async fn log_lines_name_their_chain() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("logger", guest_bytes("logger"))).await.expect("deploy");
    solo.cli(&["call", "logger", "warn in-a-chain", "--trace", ID]);
    let line = eventually("the line is there", || async {
        let lines = solo.json_lines(&["logs", "logger"]);
        lines.into_iter().find(|line| line["message"].to_string().contains("in-a-chain"))
    })
    .await;
    assert_eq!(line["trace_id"], ID, "{line}");
    let text = solo.cli(&["logs", "logger"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.lines().any(|l| l.contains("in-a-chain") && l.ends_with(&format!("trace={ID}"))),
        "{text}"
    );
}

/// Over HTTP the chain is a header, in both directions.
#[tokio::test]
async fn a_chain_over_http() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let address = solo.addresses()["gateway"].as_str().expect("gateway").to_owned();
    let token = solo.admin_token();
    let ask = async |headers: &str| {
        let request = format!(
            "POST /v1/services/adder/call/add HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 6\r\n{headers}\r\n[1, 2]"
        );
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    };
    let header = format!("traceparent: 00-{ID}-00f067aa0ba902b7-01");
    let answer = ask(&format!("{header}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("x-solo-trace: {ID}\r\n")), "{answer}");
    assert!(answer.contains(&format!("{header}\r\n")), "{answer}");
    let answer = ask("").await;
    assert!(answer.contains("x-solo-trace: ") && answer.contains("traceparent: 00-"), "{answer}");
    let answer = ask("traceparent: 1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("INVALID_TRACE"), "{answer}");
}
