//! Starts: what comes up, what does not and why, and what the cell reports of it.

use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;

use super::cell::{TestCell, ids, line, spec, state};
use super::{guests, typed};

#[tokio::test]
async fn starting_again_is_no_error_but_another_revision_is() {
    let (mut cell, mut spec) = typed(4).await;
    assert!(cell.deploy(&spec, 2).await.is_none());
    let first = cell.call(&spec.service, "count", "[]").await;
    assert_eq!(first.as_deref(), Ok("1"));
    assert!(cell.deploy(&spec, 2).await.is_none());
    assert_eq!(cell.instances(&spec.service).await.len(), 2);
    spec.revision = 2;
    let request = wire::StartRequest { instances: ids(&spec, 1), spec: Some(spec.clone()) };
    let status = cell.client.start(request).await.expect_err("another revision");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    let request = wire::StartRequest { instances: vec!["0000beef-7-1".into()], spec: Some(spec) };
    let status = cell.client.start(request).await.expect_err("an id of another service");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn starts_that_fail_say_why_and_leave_nothing() {
    let mut cell = TestCell::start(8).await;
    let artifact = cell.component("trap", &guests::starting_with(1, "unreachable"));
    let failure = cell.deploy_fails(&spec(1, "trap", Kind::Typed, artifact), "CRASHED").await;
    assert!(!failure.backtrace.is_empty());
    let artifact = cell.component("endless", &guests::starting_with(1, "(loop $l (br $l))"));
    let mut endless = spec(2, "endless", Kind::Typed, artifact);
    endless.startup_timeout_ms = 50;
    cell.deploy_fails(&endless, "STARTUP_TIMEOUT").await;
    let artifact = cell.component("permanent", &guests::handler(guests::INIT_PERMANENT));
    let failure =
        cell.deploy_fails(&spec(3, "no", Kind::Handler, artifact.clone()), "INIT_FAILED").await;
    assert!(failure.message.contains("nope"), "{failure:?}");
    let artifact = cell.component("unknown", guests::UNKNOWN_IMPORT);
    let failure =
        cell.deploy_fails(&spec(4, "rocket", Kind::Typed, artifact), "UNKNOWN_IMPORT").await;
    assert!(failure.message.contains("acme:rocket/launch"), "{failure:?}");
    let artifact = cell.write("garbage", b"not compiled by anyone");
    cell.deploy_fails(&spec(5, "garbage", Kind::Typed, artifact), "ARTIFACT_UNUSABLE").await;
    let artifact = cell.component("typed", guests::TYPED);
    cell.deploy_fails(&spec(6, "no-handler", Kind::Handler, artifact), "ARTIFACT_UNUSABLE").await;
}

#[tokio::test]
async fn one_failed_start_takes_the_request_back() {
    // Room for three, five wanted.
    let (mut cell, spec) = typed(3).await;
    let failure = cell.deploy(&spec, 5).await.expect("there is no room");
    assert_eq!(failure.reason, "CELL_FULL", "{failure:?}");
    assert!(cell.instances(&spec.service).await.is_empty());
    assert!(cell.deploy(&spec, 3).await.is_none());
    // The request that failed has told all that there is to tell.
    cell.stop(ids(&spec, 1), false, None).await;
    let first_end = |report: &wire::ReportsResponse| state(report) == Some(("completed", "killed"));
    let reports = cell.reports_until(0, first_end).await;
    let ends = |(state, _): &(&str, &str)| matches!(*state, "failed" | "completed");
    assert_eq!(reports.iter().filter_map(state).filter(ends).count(), 1, "{reports:?}");
}

#[tokio::test]
async fn programs_run_to_completion() {
    let mut cell = TestCell::start(8).await;
    let run = |number, name, artifact, core_module| {
        let mut spec = spec(number, name, Kind::Command, artifact);
        spec.restart_mode = "temporary".into();
        spec.core_module = core_module;
        spec
    };
    let good = run(1, "good", cell.component("good", &guests::command(0)), false);
    assert!(cell.deploy(&good, 1).await.is_none());
    let done = cell.wait_for(&good.service, |instance| instance.state == "completed").await;
    assert_eq!(done.last_exit.map(|exit| exit.reason).as_deref(), Some("normal"));
    let failure = cell.ask(&good.service, b"x").await.expect_err("it takes no messages");
    assert_eq!(failure.reason, "COMPLETED");
    let bad = run(2, "bad", cell.component("bad", &guests::command(1)), false);
    assert!(cell.deploy(&bad, 1).await.is_none());
    cell.wait_for(&bad.service, |instance| instance.state == "failed").await;
    let three = run(3, "three", cell.module("three", guests::CORE_COMMAND), true);
    assert!(cell.deploy(&three, 1).await.is_none());
    let failed = cell.wait_for(&three.service, |instance| instance.state == "failed").await;
    let exit = failed.last_exit.expect("an exit");
    assert_eq!((exit.reason.as_str(), exit.message.contains("code 3")), ("exit_code", true));
    let is_end = |report: &wire::ReportsResponse| {
        report.service == three.service && state(report) == Some(("failed", "exit_code"))
    };
    let reports = cell.reports_until(0, is_end).await;
    let lines: Vec<_> =
        reports.iter().filter(|r| r.service == three.service).filter_map(line).collect();
    assert_eq!(lines, [("first", "stdout"), ("second\\u{1b}", "stdout")]);
}

#[tokio::test]
async fn five_hundred_instances_live_in_one_cell() {
    let mut cell = TestCell::start(520).await;
    let artifact = cell.component("handler", &guests::handler(guests::INIT_OK));
    let mut spec = spec(1, "many", Kind::Handler, artifact);
    spec.startup_timeout_ms = 100;
    let started = Instant::now();
    assert!(cell.deploy(&spec, 500).await.is_none());
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let instances = cell.instances(&spec.service).await;
    assert_eq!(instances.iter().filter(|instance| instance.state == "running").count(), 500);
    for _ in 0..100 {
        assert_eq!(cell.ask(&spec.service, b"e").await.as_deref(), Ok("e"));
    }
    assert!(cell.stop(ids(&spec, 500), false, None).await.is_empty());
    assert!(cell.instances(&spec.service).await.is_empty());
}
#[tokio::test]
async fn reports_resume_where_the_reader_was() {
    let mut cell = TestCell::start(4).await;
    let artifact = cell.component("handler", &guests::handler(guests::INIT_OK));
    let spec = spec(1, "alice", Kind::Handler, artifact);
    assert!(cell.deploy(&spec, 1).await.is_none());
    assert!(cell.ask(&spec.service, b"pone").await.is_ok());
    let first =
        cell.reports_until(0, |report| line(report).is_some_and(|(text, _)| text == "one")).await;
    let states: Vec<_> = first.iter().filter_map(state).map(|(state, _)| state).collect();
    assert_eq!(states, ["starting", "running"]);
    // Nobody reads meanwhile.
    assert!(cell.ask(&spec.service, b"ptwo").await.is_ok());
    assert!(cell.ask(&spec.service, b"t").await.is_err());
    assert!(cell.ask(&spec.service, b"pthree").await.is_ok());
    let after = first.last().expect("a report").sequence;
    let rest = cell
        .reports_until(after, |report| line(report).is_some_and(|(text, _)| text == "three"))
        .await;
    let sequences: Vec<u64> = rest.iter().map(|report| report.sequence).collect();
    assert_eq!(sequences, (after + 1..=after + rest.len() as u64).collect::<Vec<_>>());
    assert_eq!(line(&rest[0]), Some(("two", "log")));
    let states: Vec<_> = rest.iter().filter_map(state).collect();
    assert_eq!(states, [("restarting", "trap"), ("starting", ""), ("running", "")]);
}
