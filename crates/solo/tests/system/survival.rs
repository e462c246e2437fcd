//! P1, R1, R2: killing any process of Solo, and what the others notice of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};
use solo_api::v1;

async fn ping_counter(solo: &Solo) -> solo_api::Client {
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy counter");
    let mut pinger = deploy("pinger", guest_bytes("pinger"));
    pinger.capabilities = vec![v1::CapabilityRequest {
        object: "service:counter".into(),
        rights: vec![v1::Right::Call.into()],
    }];
    client.deploy(pinger).await.expect("deploy pinger");
    client
}

async fn pings(client: &solo_api::Client) -> Value {
    let text = client.call("pinger", "stats").await.expect("stats");
    serde_json::from_str(&text).expect("JSON")
}

/// Ten kills in a row under 100 calls per second between two services: no service restarts, no call
/// between them fails, the API answers again each time, and what was acknowledged is there.
#[tokio::test]
async fn services_do_not_notice_the_death_of_the_kernel() {
    let solo = Solo::start().await;
    let client = ping_counter(&solo).await;
    client.call("counter", "add 7").await.expect("add");
    client.call("pinger", "start counter 10 get").await.expect("start");
    for round in 0..10 {
        let name = format!("round-{round}");
        let client = solo.answering().await;
        client.deploy(deploy(&name, crate::harness::ADDER)).await.expect("deploy");
        let before = pings(&client).await["ok"].as_u64().expect("ok");
        solo.kill_process("kernel").await;
        let client = solo.answering().await;
        assert!(client.names().await.contains(&name), "{name} was acknowledged");
        assert_eq!(client.json_call(&name, "add", "[1, 2]").await.as_deref(), Ok("3"));
        let stats = eventually("calls went on", || async {
            let stats = pings(&client).await;
            (stats["ok"].as_u64() > Some(before)).then_some(stats)
        })
        .await;
        assert_eq!(stats["failed"], 0, "round {round}: {stats}");
    }
    let client = solo.answering().await;
    for name in ["counter", "pinger", "round-0"] {
        let status = client.status(name).await.expect("status");
        assert_eq!(status.restarts, 0, "{name}: {status:?}");
    }
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("7"));
    solo.down().await;
}

/// R2: what ended by itself while no kernel was there is known to the next one.
#[tokio::test]
async fn a_new_kernel_learns_what_happened_meanwhile() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("crasher", guest_bytes("crasher"))).await.expect("deploy");
    let problem = client.call("crasher", "unreachable").await.expect_err("a crash");
    assert_eq!(problem.reason, "CRASHED");
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    let status = client.status("crasher").await.expect("status");
    assert_eq!(status.restarts, 1, "{status:?}");
    assert_eq!(client.call("crasher", "ok").await.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn services_come_back_after_the_death_of_their_cell() {
    let solo = Solo::start().await;
    let client = ping_counter(&solo).await;
    client.call("counter", "add 7").await.expect("add");
    let killed = Instant::now();
    solo.kill_process("cells/wasm-default").await;
    // State in memory went with the cell; the service is the same.
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("0"));
    eprintln!("back {:?} after the death of the cell", killed.elapsed());
    let status = client.status("counter").await.expect("status");
    assert_eq!(status.last_exit.expect("an exit").reason, "cell_lost");
    assert_eq!(status.restarts, 1);
    eventually("the pinger is back", || async {
        client.call("pinger", "ask counter get").await.is_ok().then_some(())
    })
    .await;
    assert_eq!(client.names().await, ["counter", "pinger"]);
}

#[tokio::test]
async fn nothing_outlives_the_heart_and_everything_comes_back_with_the_next() {
    let mut solo = Solo::start().await;
    let client = ping_counter(&solo).await;
    client.kill("pinger", false).await.expect("kill");
    client.deploy(deploy("adder", crate::harness::ADDER)).await.expect("deploy");
    assert!(solo.processes().len() >= 5, "heart, kernel, gateway and cells");
    solo.kill_heart().await;
    assert_eq!(solo.processes(), Vec::<i32>::new());
    solo.up().await;
    let client = solo.answering().await;
    assert_eq!(client.names().await, ["adder", "counter"]);
    assert_eq!(client.json_call("adder", "add", "[20, 22]").await.as_deref(), Ok("42"));
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("0"));
    solo.down().await;
}

#[tokio::test]
async fn the_gateway_comes_back() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", crate::harness::ADDER)).await.expect("deploy");
    solo.kill_process("gateway").await;
    let address = solo.addresses()["gateway"].as_str().expect("gateway").to_owned();
    eventually("the gateway answers", || async {
        crate::gateway::get(&address, "/healthz").await.filter(|(code, _)| *code == 200)
    })
    .await;
}

/// SIGHUP restarts the kernel from the program on disk, under running services.
#[tokio::test]
async fn the_kernel_is_replaced_under_running_services() {
    let solo = Solo::start().await;
    let client = ping_counter(&solo).await;
    client.call("counter", "add 5").await.expect("add");
    let old = solo.pid("kernel").await;
    let heart = nix::unistd::Pid::from_raw(solo.heart_pid());
    nix::sys::signal::kill(heart, nix::sys::signal::Signal::SIGHUP).expect("signal");
    eventually("another kernel", || async { (solo.pid("kernel").await != old).then_some(()) })
        .await;
    let client = solo.answering().await;
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("5"));
}

/// P1: a kernel that hangs is replaced like one that died.
#[tokio::test]
async fn a_kernel_that_hangs_is_replaced() {
    let solo = Solo::start().await;
    let client = ping_counter(&solo).await;
    client.call("counter", "add 3").await.expect("add");
    let old = solo.pid("kernel").await;
    let stopped = nix::unistd::Pid::from_raw(old);
    nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGSTOP).expect("signal");
    eventually("another kernel", || async { (solo.pid("kernel").await != old).then_some(()) })
        .await;
    let client = solo.answering().await;
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("3"));
}

/// A heart that holds the home is not disturbed by a second one.
#[tokio::test]
async fn a_home_has_one_heart() {
    let solo = Solo::start().await;
    let output = solo.cli(&[
        "up",
        "--api",
        "127.0.0.1:0",
        "--gateway",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&solo.heart_pid().to_string()), "{text}");
    tokio::time::sleep(Duration::ZERO).await;
    assert_eq!(solo.answering().await.names().await, Vec::<String>::new());
}
