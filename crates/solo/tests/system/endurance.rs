//! Many at once: 500 instances in one cell, and their return after the death of the cell.

use std::time::Instant;

use solo_api::v1;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

/// SPEC section 9: 500 services on one node; and all of them back after each kind of death.
#[tokio::test]
async fn five_hundred_services() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    let code = guest_bytes("counter");
    let deployments =
        (0..500).map(|n| client.deploy(deploy(&format!("counter-{n}"), code.clone())));
    // As many at once as an agent would: the rest waits in the client.
    let mut answers = tokio_stream::iter(deployments);
    let mut running = Vec::new();
    while let Some(deployment) = tokio_stream::StreamExt::next(&mut answers).await {
        running.push(deployment);
        if running.len() == 10 {
            for answer in futures_util::future::join_all(running.drain(..)).await {
                answer.expect("deploy");
            }
        }
    }
    for n in [0, 250, 499] {
        let name = format!("counter-{n}");
        assert_eq!(client.call(&name, &format!("add {n}")).await, Ok(n.to_string()));
    }
    assert_eq!(client.names().await.len(), 500);
    assert_eq!(
        std::fs::read_dir(solo.home().join("run/cells"))
            .expect("cells")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("wasm-")
                && entry.path().extension().is_some_and(|e| e == "pid"))
            .count(),
        1,
        "one cell hosts all"
    );

    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    assert_eq!(client.call("counter-250", "get").await.as_deref(), Ok("250"), "nothing was lost");

    let killed = Instant::now();
    solo.kill_process("cells/wasm-default").await;
    all_run(&client).await;
    eprintln!("500 services were back {:?} after the death of their cell", killed.elapsed());

    solo.kill_heart().await;
    let began = Instant::now();
    solo.up().await;
    let client = solo.answering().await;
    all_run(&client).await;
    eprintln!("500 services were back {:?} after the start of Solo", began.elapsed());
    assert_eq!(client.call("counter-499", "add 1").await.as_deref(), Ok("1"));
    solo.down().await;
}

async fn all_run(client: &solo_api::Client) {
    eventually("500 services run", || async {
        let request = v1::ListRequest {
            page_size: Some(1_000),
            states: vec![v1::ServiceState::Running.into()],
            ..v1::ListRequest::default()
        };
        let request = client.request(request, std::time::Duration::from_secs(10));
        let answer = client.grpc().list(request).await.ok()?;
        (answer.into_inner().services.len() == 500).then_some(())
    })
    .await;
}
