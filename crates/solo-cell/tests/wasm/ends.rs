//! Ends: crashes, limits, kills and graceful stops.

use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;
use wire::call_response::Output;

use super::cell;
use super::cell::{TestCell, ids, line, spec, state};
use super::{guests, typed};

#[tokio::test]
async fn a_crash_is_answered_at_once_and_mended() {
    let (mut cell, spec) = typed(4).await;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let id = spec.service.as_str();
    assert_eq!(cell.call(id, "count", "[]").await.as_deref(), Ok("1"));
    assert_eq!(cell.call(id, "count", "[]").await.as_deref(), Ok("2"));
    let asked = Instant::now();
    let failure = cell.call(id, "trap", "[]").await.expect_err("it traps");
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(failure.reason, "CRASHED");
    assert!(failure.message.contains("unreachable"), "{failure:?}");
    assert!(failure.backtrace[0].contains("inner"), "{failure:?}");
    // The mailbox survived; the state did not.
    assert_eq!(cell.call(id, "count", "[]").await.as_deref(), Ok("1"));
    let instance = &cell.instances(id).await[0];
    assert_eq!((instance.state.as_str(), instance.restarts), ("running", 1));
    assert_eq!(instance.last_exit.as_ref().map(|exit| exit.reason.as_str()), Some("trap"));
}

#[tokio::test]
async fn it_gives_up_when_the_intensity_is_exceeded() {
    let (mut cell, mut spec) = typed(4).await;
    spec.max_restarts = 2;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let id = spec.service.as_str();
    for _ in 0..3 {
        let failure = cell.call(id, "trap", "[]").await.expect_err("it traps");
        assert_eq!(failure.reason, "CRASHED");
    }
    let instance = cell.wait_for(id, |instance| instance.state == "failed").await;
    assert_eq!(instance.restarts, 2);
    let failure = cell.call(id, "add", "[1, 2]").await.expect_err("it is down");
    assert_eq!(failure.reason, "UNAVAILABLE");
    assert!(failure.message.contains("unreachable"), "{failure:?}");
    let failure = cell.deploy(&spec, 1).await.expect("it is still down");
    assert_eq!(failure.reason, "UNAVAILABLE");
    assert!(cell.stop(ids(&spec, 1), false, None).await.is_empty());
    assert!(cell.instances(id).await.is_empty());
    assert!(cell.deploy(&spec, 1).await.is_none());
}

#[tokio::test]
async fn an_endless_loop_is_killed_while_others_answer() {
    let (mut cell, spec_loop) = typed(8).await;
    let mut spec_other = spec_loop.clone();
    spec_other.service = "0000beef-2".into();
    spec_other.name = "other".into();
    assert!(cell.deploy(&spec_loop, 4).await.is_none());
    assert!(cell.deploy(&spec_other, 1).await.is_none());
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (mut client, service) = (cell.client.clone(), spec_loop.service.clone());
        loops.spawn(async move {
            let function = "spin".to_owned();
            let request = wire::CallRequest {
                service,
                function,
                input: None,
                timeout_ms: 60_000,
                ..Default::default()
            };
            client.call(request).await.expect("call").into_inner().output
        });
    }
    // Of two that are drawn both may be busy: not each instance has a loop.
    let loops_run = |instances: &[wire::Instance]| {
        instances.iter().filter(|instance| instance.cpu_us >= 20_000).count() >= 2
    };
    while !loops_run(&cell.instances(&spec_loop.service).await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        assert_eq!(cell.call(&spec_other.service, "add", "[1, 2]").await.as_deref(), Ok("3"));
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let killed = Instant::now();
    assert!(cell.stop(ids(&spec_loop, 4), true, None).await.is_empty());
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(100), "{took:?}");
    while let Some(output) = loops.join_next().await {
        match output.expect("a task") {
            // `UNAVAILABLE`: it waited behind another one.
            Some(Output::Failure(failure)) => {
                assert!(["CRASHED", "UNAVAILABLE"].contains(&failure.reason.as_str()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(cell.instances(&spec_loop.service).await.is_empty());
}

#[tokio::test]
async fn memory_is_limited() {
    let (mut cell, mut spec) = typed(4).await;
    spec.max_memory_bytes = 8 << 20;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let failure = cell.call(&spec.service, "hog", "[]").await.expect_err("too much");
    assert_eq!(failure.reason, "CRASHED");
    assert!(failure.message.contains("max_memory_bytes = 8388608"), "{failure:?}");
    let exit =
        cell.wait_for(&spec.service, |i| i.last_exit.is_some()).await.last_exit.expect("an exit");
    assert_eq!(exit.reason, "limit");
    let artifact = cell.component("large", &guests::starting_with(200, ""));
    let mut large = cell::spec(2, "large", Kind::Typed, artifact);
    large.max_memory_bytes = 8 << 20;
    cell.deploy_fails(&large, "LIMIT_EXCEEDED").await;
}

#[tokio::test]
async fn a_program_is_stopped_at_once() {
    let mut cell = TestCell::start(4).await;
    let mut spec =
        spec(1, "endless", Kind::Command, cell.module("endless", guests::ENDLESS_COMMAND));
    spec.core_module = true;
    assert!(cell.deploy(&spec, 1).await.is_none());
    cell.wait_for(&spec.service, |instance| instance.cpu_us > 1_000).await;
    let asked = Instant::now();
    assert!(cell.stop(ids(&spec, 1), false, None).await.is_empty());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(cell.instances(&spec.service).await.is_empty());
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_waits() {
    let mut cell = TestCell::start(4).await;
    let artifact = cell.component("handler", &guests::handler(guests::INIT_OK));
    let spec = spec(1, "alice", Kind::Handler, artifact);
    assert!(cell.deploy(&spec, 1).await.is_none());
    for _ in 0..500 {
        assert!(cell.send(&spec.service, b"n").await.is_none());
    }
    assert!(cell.stop(ids(&spec, 1), false, None).await.is_empty());
    assert!(cell.instances(&spec.service).await.is_empty());
    let failure = cell.ask(&spec.service, b"e").await.expect_err("it is gone");
    assert_eq!(failure.reason, "REPLACED");
    let reports =
        cell.reports_until(0, |report| state(report) == Some(("completed", "killed"))).await;
    assert!(reports.iter().any(|report| line(report) == Some(("killed", "log"))), "{reports:?}");
}

#[tokio::test]
async fn who_does_not_stop_in_time_is_forced() {
    let (mut cell, spec) = typed(4).await;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let (mut client, service) = (cell.client.clone(), spec.service.clone());
    let busy = tokio::spawn(async move {
        let function = "spin".to_owned();
        let request = wire::CallRequest {
            service,
            function,
            input: None,
            timeout_ms: 60_000,
            ..Default::default()
        };
        client.call(request).await
    });
    cell.wait_for(&spec.service, |instance| instance.cpu_us > 5_000).await;
    let asked = Instant::now();
    assert_eq!(cell.stop(ids(&spec, 1), false, Some(50)).await, ids(&spec, 1));
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(busy.await.is_ok());
    assert!(cell.stop(ids(&spec, 1), false, None).await.is_empty());
}

#[tokio::test]
async fn an_unhealthy_instance_is_ended() {
    let (mut cell, mut spec) = typed(4).await;
    let check = |function: &str| wire::HealthCheck {
        function: function.to_owned(),
        interval_ms: 20,
        timeout_ms: 50,
        failures_max: 2,
    };
    spec.max_restarts = 1_000;
    spec.health_check = Some(check("sick"));
    assert!(cell.deploy(&spec, 1).await.is_none());
    let ended = cell.wait_for(&spec.service, |instance| instance.restarts > 0).await;
    assert_eq!(ended.last_exit.map(|exit| exit.reason).as_deref(), Some("unhealthy"));
    cell.stop(ids(&spec, 1), true, None).await;
    // Healthy, but stuck in a message.
    spec.health_check = Some(check("count"));
    assert!(cell.deploy(&spec, 1).await.is_none());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cell.instances(&spec.service).await[0].restarts, 0);
    let failure = cell.call(&spec.service, "spin", "[]").await.expect_err("it is stuck");
    assert_eq!(failure.reason, "CRASHED");
    assert!(failure.message.contains("health"), "{failure:?}");
    spec.service = "0000beef-2".into();
    spec.health_check = Some(check("no-such"));
    cell.deploy_fails(&spec, "NO_SUCH_FUNCTION").await;
}
