//! The front door, as far as it is built: calls over HTTP, and what it refuses.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

/// Sends one raw HTTP/1.1 request; status code and body. None: no connection.
async fn http(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())?;
    Some((code, body))
}

pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    http(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
        .await
}

/// The same with a token.
pub(crate) async fn get_as(address: &str, path: &str, token: &str) -> Option<(u16, String)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    http(address, &request).await
}

async fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n\r\n{body}"
    );
    http(address, &request).await.expect("an answer")
}

const JSON: &str = "host: localhost\r\ncontent-type: application/json";

#[tokio::test]
async fn calls_over_http() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    let address = solo.addresses()["gateway"].as_str().expect("gateway").to_owned();
    eventually("the gateway is healthy", || async {
        get(&address, "/healthz").await.filter(|(code, _)| *code == 200)
    })
    .await;
    let token = solo.admin_token();
    let bearer = format!("authorization: Bearer {token}");
    let json = format!("{JSON}\r\n{bearer}");
    let (code, body) = post(&address, "/v1/services/adder/call/add", &json, "[20, 22]").await;
    assert_eq!((code, body.trim()), (200, "42"));
    let bytes = format!("host: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n{bearer}");
    let (code, body) = post(&address, "/v1/services/counter/call", &bytes, "add 5").await;
    assert_eq!((code, body.as_str()), (200, "5"));
    let (code, body) = get_as(&address, "/v1/services", &token).await.expect("an answer");
    assert_eq!(code, 200);
    assert!(body.contains("adder") && body.contains("counter"), "{body}");
    let (code, body) = get_as(&address, "/v1/services/adder", &token).await.expect("an answer");
    assert!(code == 200 && body.contains("running"), "{body}");
    // The gateway has no authority of its own.
    for path in ["/v1/services", "/v1/services/adder"] {
        let (code, body) = get(&address, path).await.expect("an answer");
        assert!(code == 401 && body.contains("TOKEN_MISSING"), "{body}");
    }
}

#[tokio::test]
async fn what_the_gateway_refuses() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let address = solo.addresses()["gateway"].as_str().expect("gateway").to_owned();
    let add = "/v1/services/adder/call/add";
    let json = "content-type: application/json";
    let owner = format!("{JSON}\r\nauthorization: Bearer {}", solo.admin_token());
    let owner = owner.as_str();
    for (path, headers, body, expected, reason) in [
        (add, owner, "[1]", 400, "BAD_ARGUMENTS"),
        ("/v1/services/nobody/call/add", owner, "[]", 404, "NO_SUCH_SERVICE"),
        ("/v1/services/adder/call/nothing", owner, "[]", 404, "NO_SUCH_FUNCTION"),
        (add, JSON, "[1, 2]", 401, "TOKEN_MISSING"),
        ("/v2/other", JSON, "[]", 404, ""),
        // A page of another site, by its own name or by a name that it made point here.
        (add, &format!("host: evil.example\r\n{json}"), "[1, 2]", 403, ""),
        (
            add,
            &format!("host: localhost\r\norigin: https://evil.example\r\n{json}"),
            "[1, 2]",
            403,
            "",
        ),
        (add, "host: localhost\r\ncontent-type: text/plain", "[1, 2]", 415, ""),
        (add, &format!("{JSON}\r\nauthorization: Bearer forged"), "[1, 2]", 401, "TOKEN_MALFORMED"),
    ] {
        let (code, answer) = post(&address, path, headers, body).await;
        assert_eq!(code, expected, "{path} {headers}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["error"]["remedy"].is_string(), "{answer}");
        assert!(
            answer["error"]["reason"].as_str().is_some_and(|r| r.starts_with(reason)),
            "{answer}"
        );
    }
    let (code, _) = post(&address, add, JSON, &"[".repeat(5 << 20)).await;
    assert_eq!(code, 413);
}
