//! Tokens of 16 KiB and of 10 MB, to the API and to the gateway: refused, and everybody else is served.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{bearing, refused};
use crate::harness::{ADDER, Requests, Solo, deploy};

#[tokio::test]
async fn a_token_that_is_too_large() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("mine", ADDER)).await.expect("deploy");
    let long = bearing(&solo, &"A".repeat((16 << 10) + 1)).await;
    // Whether the transport refuses so long a header already or the kernel does.
    long.json_call("mine", "add", "[1, 2]").await.expect_err("refused");
    let legal = bearing(&solo, &"A".repeat(4 << 10)).await;
    assert_eq!(refused(legal.json_call("mine", "add", "[1, 2]").await), "TOKEN_MALFORMED");
    let huge = bearing(&solo, &"A".repeat(10 << 20)).await;
    huge.json_call("mine", "add", "[1, 2]").await.expect_err("refused");
    for port in ["api", "gateway", "metrics"] {
        let address = solo.addresses()[port].as_str().expect("an address").to_owned();
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connect");
        let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ";
        stream.write_all(head.as_bytes()).await.expect("write");
        // The other side may have had enough long before the end.
        for _ in 0..10 {
            if stream.write_all(&vec![b'A'; 1 << 20]).await.is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{port}: {answer}");
    }
    assert_eq!(owner.json_call("mine", "add", "[1, 2]").await.as_deref(), Ok("3"));
}
