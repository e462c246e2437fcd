//! The wasm cell through its socket: all of it but the sandbox, with a real client.

mod actors;
mod calls;
mod cell;
mod ends;
mod guests;
mod handles;
mod replaced;
mod starts;

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;

use cell::{TestCell, spec};

/// A call of message `rest` to the service `name`, for the test handler.
fn to(op: u8, name: &str, rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    [&[op, length], name.as_bytes(), rest].concat()
}

fn grant(service: &str) -> wire::Grant {
    wire::Grant { service: service.to_owned(), call: true, send: true, execute: false }
}

async fn typed(instances: u32) -> (TestCell, wire::ServiceSpec) {
    let cell = TestCell::start(instances).await;
    let artifact = cell.component("typed", guests::TYPED);
    (cell, spec(1, "typed", Kind::Typed, artifact))
}

#[tokio::test]
async fn hello_tells_who_is_there_and_the_socket_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut cell = TestCell::start(4).await;
    let hello =
        cell.client.hello(wire::HelloRequest { protocol: 1 }).await.expect("hello").into_inner();
    assert_eq!(
        (hello.protocol, hello.cell.as_str(), hello.kind.as_str()),
        (1, "wasm-test", "wasm")
    );
    assert_eq!(hello.engine.len(), 16);
    assert!(!hello.incarnation.is_empty());
    let mode = std::fs::metadata(cell.socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
