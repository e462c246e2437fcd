//! U1, U2, U4, as far as they are built: rolling and recreate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::Problem;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

/// `add` that answers one more.
fn other_adder() -> String {
    let other = ADDER.replace("i32.add", "i32.add i32.const 1 i32.add");
    assert_ne!(other, ADDER);
    other
}

async fn update(
    client: &Client,
    name: &str,
    code: impl Into<Vec<u8>>,
    strategy: v1::UpdateStrategy,
) -> Result<v1::UpdateResponse, Problem> {
    let request = v1::UpdateRequest {
        name: name.to_owned(),
        code: Some(v1::Code { source: Some(v1::code::Source::Inline(code.into())), format: 0 }),
        strategy: strategy.into(),
        ..v1::UpdateRequest::default()
    };
    let request = client.request(request, Duration::from_secs(120));
    let answer = client.grpc().update(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| solo_api::problem_from_status(&status))
}

/// U2: no request is lost by a rolling update, and the new revision serves afterwards.
#[tokio::test]
async fn a_rolling_update_loses_nothing() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    request.replicas = Some(3);
    client.deploy(request).await.expect("deploy");
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answers.push(client.json_call("adder", "add", "[1, 2]").await);
                }
                answers
            })
        })
        .collect();
    for round in 0..6_u64 {
        let code = if round % 2 == 0 { other_adder() } else { ADDER.to_owned() };
        let updated =
            update(&client, "adder", code, v1::UpdateStrategy::Rolling).await.expect("update");
        assert_eq!((updated.previous_revision, updated.revision), (round + 1, round + 2));
        let expected = if round % 2 == 0 { "4" } else { "3" };
        assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok(expected));
    }
    stop.store(true, Ordering::Relaxed);
    let mut count = 0;
    for caller in callers {
        for answer in caller.await.expect("no panic") {
            let answer = answer.expect("no request is lost");
            assert!(answer == "3" || answer == "4", "{answer}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} calls during six updates");
    let status = client.status("adder").await.expect("status");
    assert_eq!((status.revision, status.instances.len()), (7, 3));
    assert!(status.instances.iter().all(|instance| instance.revision == 7));
}

#[tokio::test]
async fn recreate_replaces_all() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let updated = update(&client, "adder", other_adder(), v1::UpdateStrategy::Recreate).await;
    assert_eq!(updated.expect("update").revision, 2);
    assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok("4"));
    assert_eq!(client.status("adder").await.expect("status").instances.len(), 1);
}

/// A new revision that does not start leaves the old one serving.
#[tokio::test]
async fn an_update_that_fails_changes_nothing() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("counter", guest_bytes("counter"));
    request.replicas = Some(2);
    client.deploy(request).await.expect("deploy");
    for strategy in [v1::UpdateStrategy::Rolling, v1::UpdateStrategy::Recreate] {
        for (code, reason) in
            [(guest_bytes("refuse-on-init"), "INIT_FAILED"), (b"nonsense".to_vec(), "NOT_WASM")]
        {
            let problem = update(&client, "counter", code, strategy).await.expect_err("fails");
            assert_eq!(problem.reason, reason, "{problem:?}");
            let status = eventually("the old revision serves", || async {
                let status = client.status("counter").await.expect("status");
                (status.state() == v1::ServiceState::Running).then_some(status)
            })
            .await;
            assert_eq!((status.revision, status.instances.len()), (1, 2), "{status:?}");
            assert!(client.call("counter", "get").await.is_ok());
        }
    }
    let problem = update(&client, "nobody", ADDER, v1::UpdateStrategy::Rolling).await;
    assert_eq!(problem.expect_err("nobody").reason, "NO_SUCH_SERVICE");
}

#[tokio::test]
async fn replicas_limits_and_configuration_change_without_new_code() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    for replicas in [4_u32, 2] {
        let request = v1::UpdateRequest {
            name: "adder".into(),
            replicas: Some(replicas),
            limits: Some(v1::Limits { max_memory_bytes: Some(8 << 20), ..Default::default() }),
            ..v1::UpdateRequest::default()
        };
        client
            .grpc()
            .update(client.request(request, Duration::from_secs(60)))
            .await
            .expect("update");
        let status = client.status("adder").await.expect("status");
        assert_eq!((status.replicas, status.instances.len()), (replicas, replicas as usize));
        let limits = status.limits.expect("limits");
        // What the update did not name stays as the deployment had it.
        assert_eq!(limits.max_memory_bytes, Some(8 << 20));
        assert_eq!(limits.startup_timeout_ms, Some(10_000));
    }
    let request = v1::UpdateRequest {
        name: "adder".into(),
        limits: Some(v1::Limits { max_memory_bytes: Some(1), ..Default::default() }),
        ..v1::UpdateRequest::default()
    };
    let request = client.request(request, Duration::from_secs(10));
    let status = client.grpc().update(request).await.expect_err("refused");
    assert_eq!(solo_api::problem_from_status(&status).reason, "INVALID_LIMIT");
}

/// U4: an update goes on, or goes back, when the kernel dies in the middle; it never stays half.
#[tokio::test]
async fn an_update_survives_the_death_of_the_kernel() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    request.replicas = Some(8);
    client.deploy(request).await.expect("deploy");
    for round in 0..5_u64 {
        let client = solo.answering().await;
        let code = if round % 2 == 0 { other_adder() } else { ADDER.to_owned() };
        let updating = {
            let client = client.clone();
            tokio::spawn(async move {
                update(&client, "adder", code, v1::UpdateStrategy::Rolling).await
            })
        };
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        solo.kill_process("kernel").await;
        let answer = updating.await.expect("no panic");
        let client = solo.answering().await;
        let status = eventually("one revision serves", || async {
            let status = client.status("adder").await.expect("status");
            let whole = status.instances.len() == 8
                && status.state() == v1::ServiceState::Running
                && status.instances.iter().all(|i| i.revision == status.revision);
            whole.then_some(status)
        })
        .await;
        if let Ok(updated) = answer {
            assert_eq!(status.revision, updated.revision, "an acknowledged update stays");
        }
        assert!(client.json_call("adder", "add", "[1, 2]").await.is_ok());
    }
}

/// A kill does not wait for an update that hangs.
#[tokio::test]
async fn a_kill_ends_an_update() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("service", guest_bytes("counter"));
    request.limits.as_mut().expect("limits").startup_timeout_ms = Some(60_000);
    client.deploy(request).await.expect("deploy");
    let updating = {
        let client = client.clone();
        tokio::spawn(async move {
            update(&client, "service", guest_bytes("hang-on-init"), v1::UpdateStrategy::Rolling)
                .await
        })
    };
    eventually("the new revision is being started", || async {
        let status = client.status("service").await.expect("status");
        (status.instances.len() == 2).then_some(())
    })
    .await;
    let killed = tokio::time::timeout(Duration::from_secs(10), client.kill("service", true)).await;
    killed.expect("in time").expect("kill");
    let problem = updating.await.expect("no panic").expect_err("ended");
    assert_eq!(problem.reason, "SERVICE_ENDED");
    assert_eq!(client.names().await, Vec::<String>::new());
}
