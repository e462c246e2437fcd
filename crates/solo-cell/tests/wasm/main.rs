//! The wasm cell through its socket: all of it but the sandbox, with a real client.

mod actors;
mod cell;
mod guests;
mod replaced;

use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;
use wire::call_request::Input;
use wire::call_response::Output;

use cell::{TestCell, ids, line, spec, state};

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

#[tokio::test]
async fn typed_functions_are_called_and_checked() {
    let (mut cell, spec) = typed(4).await;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let id = spec.service.as_str();
    assert_eq!(cell.call(id, "add", "[2, 40]").await.as_deref(), Ok("42"));
    let failure = cell.call(id, "add", "[2, \"x\"]").await.expect_err("wrong type");
    assert_eq!(failure.reason, "BAD_ARGUMENTS");
    assert!(failure.expected.contains("a: s32, b: s32"), "{failure:?}");
    let failure = cell.call(id, "subtract", "[]").await.expect_err("no such function");
    assert_eq!(failure.reason, "NO_SUCH_FUNCTION");
    assert!(failure.expected.contains("add"), "{failure:?}");
    let payload = Some(Input::Payload(vec![1]));
    match cell.call_with(id, "add", payload, 1_000).await {
        Output::Failure(failure) => assert_eq!(failure.reason, "BAD_ARGUMENTS"),
        other => panic!("{other:?}"),
    }
    let failure = cell.call("0000beef-9", "add", "[]").await.expect_err("no such service");
    assert_eq!(failure.reason, "NO_SUCH_SERVICE");
    let instance = &cell.instances(id).await[0];
    assert_eq!((instance.state.as_str(), instance.handled, instance.errors), ("running", 4, 3));
    assert!(instance.memory_bytes >= 65_536 && instance.cpu_us > 0, "{instance:?}");
}

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
async fn handlers_talk_to_each_other_as_granted() {
    let mut cell = TestCell::start(8).await;
    let artifact = cell.component("handler", &guests::handler(guests::INIT_OK));
    let mut alice = spec(1, "alice", Kind::Handler, artifact.clone());
    alice.grants = vec![grant("bob"), grant("ghost")];
    alice.config.insert("key".into(), "value".into());
    let mut bob = spec(2, "bob", Kind::Handler, artifact.clone());
    bob.grants = vec![grant("alice")];
    let eve = spec(3, "eve", Kind::Handler, artifact);
    for spec in [&alice, &bob, &eve] {
        assert!(cell.deploy(spec, 1).await.is_none());
    }
    let (a, b, e) = (alice.service.as_str(), bob.service.as_str(), eve.service.as_str());
    assert_eq!(cell.ask(a, b"echo").await.as_deref(), Ok("echo"));
    assert_eq!(cell.ask(a, b"gkey").await.as_deref(), Ok("value"));
    let failure = cell.ask(a, b"fail").await.expect_err("its own error");
    assert_eq!((failure.reason.as_str(), failure.message.as_str()), ("REFUSED", "fail"));
    assert_eq!(cell.ask(a, &to(b'c', "bob", b"echo")).await.as_deref(), Ok("echo"));
    // denied: not granted, and granted but not there; they look the same.
    assert_eq!(cell.ask(e, &to(b'c', "bob", b"echo")).await.as_deref(), Ok("E0"));
    assert_eq!(cell.ask(a, &to(b'c', "ghost", b"echo")).await.as_deref(), Ok("E0"));
    // failed, crashed, deadlock
    assert_eq!(cell.ask(a, &to(b'c', "bob", b"f")).await.as_deref(), Ok("E6"));
    assert_eq!(cell.ask(a, &to(b'c', "bob", b"t")).await.as_deref(), Ok("E3"));
    let cycle = to(b'c', "bob", &to(b'c', "alice", b"echo"));
    let asked = Instant::now();
    assert_eq!(cell.ask(a, &cycle).await.as_deref(), Ok("E5"));
    assert!(asked.elapsed() < Duration::from_secs(1));
    // A send is handled before what is asked afterwards.
    assert_eq!(cell.ask(b, b"n").await.as_deref(), Ok("1"));
    assert!(cell.ask(a, &to(b's', "bob", b"n")).await.is_ok());
    assert!(cell.send(b, b"n").await.is_none());
    assert_eq!(cell.ask(b, b"n").await.as_deref(), Ok("4"));
    // A timer is a message to oneself.
    assert!(cell.ask(a, b"Tn").await.is_ok());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(cell.ask(a, b"n").await.as_deref(), Ok("2"));
    let json = cell.call(a, "handle-call", "[[101]]").await;
    assert_eq!(json.as_deref(), Ok(r#"{"ok":[101]}"#));
    let failure = cell.call(a, "init", "[]").await.expect_err("not a caller's");
    assert_eq!(failure.reason, "NO_SUCH_FUNCTION");
}

#[tokio::test]
async fn two_callers_that_cross_do_not_wait_for_their_timeouts() {
    let mut cell = TestCell::start(8).await;
    let artifact = cell.component("handler", &guests::handler(guests::INIT_OK));
    let mut alice = spec(1, "alice", Kind::Handler, artifact.clone());
    alice.grants = vec![grant("bob")];
    let mut bob = spec(2, "bob", Kind::Handler, artifact);
    bob.grants = vec![grant("alice")];
    for spec in [&alice, &bob] {
        assert!(cell.deploy(spec, 1).await.is_none());
    }
    let asked = Instant::now();
    for _ in 0..200 {
        let (to_bob, to_alice) = (to(b'c', "bob", b"e"), to(b'c', "alice", b"e"));
        let (a, b) =
            tokio::join!(cell.ask(&alice.service, &to_bob), cell.ask(&bob.service, &to_alice));
        for answer in [a, b] {
            assert!(matches!(answer.as_deref(), Ok("e" | "E5")), "{answer:?}");
        }
    }
    assert!(asked.elapsed() < Duration::from_secs(4), "a call waited for its timeout");
}

#[tokio::test]
async fn a_full_mailbox_says_so_and_gone_callers_make_room() {
    let (mut cell, mut spec) = typed(4).await;
    spec.message_queue_limit = 3;
    spec.message_queue_max = 3;
    // One that hangs would be ended for it where limits kill.
    spec.limit_action = "warn".into();
    assert!(cell.deploy(&spec, 1).await.is_none());
    let id = spec.service.clone();
    let mut client = cell.client.clone();
    let request = wire::CallRequest {
        service: id.clone(),
        function: "spin".into(),
        input: None,
        timeout_ms: 60_000,
        ..Default::default()
    };
    let busy = tokio::spawn(async move { client.call(request).await });
    cell.wait_for(&id, |instance| instance.cpu_us > 5_000 && instance.mailbox_depth == 0).await;
    let add = || Some(Input::JsonArguments("[1, 2]".into()));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (mut client, service) = (cell.client.clone(), id.clone());
        waiting.spawn(async move {
            let function = "add".to_owned();
            let request = wire::CallRequest {
                service,
                function,
                input: None,
                timeout_ms: 60_000,
                ..Default::default()
            };
            client.call(request).await
        });
    }
    cell.wait_for(&id, |instance| instance.mailbox_depth == 3).await;
    match cell.call_with(&id, "add", add(), 1_000).await {
        Output::Failure(failure) => assert_eq!(failure.reason, "OVERLOADED"),
        other => panic!("{other:?}"),
    }
    waiting.shutdown().await;
    cell.wait_for(&id, |instance| instance.mailbox_depth == 0).await;
    match cell.call_with(&id, "add", add(), 30).await {
        Output::Failure(failure) => assert_eq!(failure.reason, "TIMEOUT"),
        other => panic!("{other:?}"),
    }
    cell.wait_for(&id, |instance| instance.mailbox_depth == 0).await;
    cell.stop(ids(&spec, 1), true, None).await;
    assert!(busy.await.is_ok());
}

#[tokio::test]
async fn large_results_are_answered_or_refused_to_the_caller_alone() {
    let mut cell = TestCell::start(4).await;
    let artifact = cell.component("large", guests::LARGE);
    let mut spec = spec(1, "large", Kind::Typed, artifact);
    spec.max_memory_bytes = 128 << 20;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let id = spec.service.as_str();
    // The last one is the largest that fits: 4 MiB - 1 as JSON.
    for count in [1_000_000, (2 << 20) - 1] {
        let json = cell.call(id, "zeros", &format!("[{count}]")).await.expect("it fits");
        assert_eq!(json.len(), 2 * count + 1);
    }
    for count in [2 << 20, 4_000_000] {
        let failure = cell.call(id, "zeros", &format!("[{count}]")).await.expect_err("too large");
        assert_eq!(failure.reason, "LIMIT_EXCEEDED");
        assert!(failure.message.contains("the result has more than 4 MiB"), "{failure:?}");
    }
    assert_eq!(cell.call(id, "count", "[]").await.as_deref(), Ok("4"));
    assert_eq!(cell.instances(id).await[0].restarts, 0);
    // What would take ten times the memory of the guest on the host ends it, and says why.
    let failure = cell.call(id, "zeros", "[30000000]").await.expect_err("far too large");
    assert_eq!(failure.reason, "CRASHED");
    assert!(failure.message.contains("the result has more than 4 MiB"), "{failure:?}");
    let exit = cell.wait_for(id, |i| i.last_exit.is_some()).await.last_exit.expect("an exit");
    assert_eq!(exit.reason, "limit");
}

#[tokio::test]
async fn a_mailbox_full_of_bytes_says_so() {
    let (mut cell, spec) = typed(4).await;
    assert!(cell.deploy(&spec, 1).await.is_none());
    let send = |function: &str, json: String| wire::SendRequest {
        service: spec.service.clone(),
        function: function.into(),
        input: Some(wire::send_request::Input::JsonArguments(json)),
        ..Default::default()
    };
    assert!(cell.client.send(send("spin", "[]".into())).await.is_ok());
    cell.wait_for(&spec.service, |i| i.cpu_us > 5_000 && i.mailbox_depth == 0).await;
    let large = format!("[1,{}2]", " ".repeat((4 << 20) - 16));
    let mut failure = None;
    for _ in 0..9 {
        failure =
            cell.client.send(send("add", large.clone())).await.expect("send").into_inner().failure;
    }
    let failure = failure.expect("eight of them fill it");
    assert_eq!(failure.reason, "OVERLOADED");
    assert!(failure.message.contains("together they may have 32 MiB"), "{failure:?}");
    assert!(!failure.message.contains("message_queue_limit"), "{failure:?}");
    cell.stop(ids(&spec, 1), true, None).await;
}

#[tokio::test]
async fn what_is_sent_is_checked_when_it_arrives() {
    let (mut cell, typed) = typed(8).await;
    let core = spec(2, "core", Kind::Core, cell.module("core", guests::CORE));
    let handler = cell.component("handler", &guests::handler(guests::INIT_OK));
    let handler = spec(3, "handler", Kind::Handler, handler);
    for spec in [&typed, &core, &handler] {
        assert!(cell.deploy(spec, 1).await.is_none());
    }
    for (spec, function, json, reason, expected) in [
        (&typed, "add", "[1, 2]", "", ""),
        (&typed, "add", "[1]", "BAD_ARGUMENTS", "add: func(a: s32, b: s32)"),
        (&typed, "add", "[1", "BAD_ARGUMENTS", "add: func(a: s32, b: s32)"),
        (&typed, "subtract", "[]", "NO_SUCH_FUNCTION", "add"),
        (&core, "double", "[1]", "", ""),
        (&core, "double", "[1.5]", "BAD_ARGUMENTS", "double: func(p1: i64)"),
        (&core, "triple", "[1]", "NO_SUCH_FUNCTION", "double"),
        (&handler, "handle-cast", "[[110]]", "", ""),
        (&handler, "handle-cast", "[110]", "BAD_ARGUMENTS", "payload: list<u8>"),
        (&handler, "terminate", "[\"x\"]", "NO_SUCH_FUNCTION", ""),
    ] {
        let request = wire::SendRequest {
            service: spec.service.clone(),
            function: function.into(),
            input: Some(wire::send_request::Input::JsonArguments(json.into())),
            ..Default::default()
        };
        let answer = cell.client.send(request).await.expect("send").into_inner().failure;
        let answer = answer.unwrap_or_default();
        assert_eq!(answer.reason, reason, "{function} {json}: {answer:?}");
        assert!(answer.expected.contains(expected), "{function} {json}: {answer:?}");
    }
    let request = wire::SendRequest {
        service: typed.service.clone(),
        function: "add".into(),
        input: Some(wire::send_request::Input::Payload(vec![1])),
        ..Default::default()
    };
    let failure = cell.client.send(request).await.expect("send").into_inner().failure;
    assert_eq!(failure.expect("no payload").reason, "BAD_ARGUMENTS");
    // The one that was right arrived: `n` counts up.
    assert_eq!(cell.ask(&handler.service, b"n").await.as_deref(), Ok("2"));
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
async fn core_modules_are_called_with_numbers() {
    let mut cell = TestCell::start(4).await;
    let artifact = cell.module("core", guests::CORE);
    let spec = spec(1, "core", Kind::Core, artifact);
    assert!(cell.deploy(&spec, 1).await.is_none());
    assert_eq!(cell.call(&spec.service, "double", "[21]").await.as_deref(), Ok("42"));
    let failure = cell.call(&spec.service, "double", "[1.5]").await.expect_err("no integer");
    assert_eq!(failure.reason, "BAD_ARGUMENTS");
    let failure = cell.call(&spec.service, "boom", "[]").await.expect_err("it traps");
    assert_eq!(failure.reason, "CRASHED");
    assert_eq!(cell.call(&spec.service, "double", "[-1]").await.as_deref(), Ok("-2"));
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

#[tokio::test]
async fn routes_are_replaced_at_once() {
    let (mut cell, spec) = typed(4).await;
    assert!(cell.deploy(&spec, 2).await.is_none());
    let route = |instances| wire::RouteRequest {
        service: spec.service.clone(),
        name: spec.name.clone(),
        instances,
        ..Default::default()
    };
    cell.client.route(route(vec![ids(&spec, 2)[1].clone()])).await.expect("route");
    for expected in ["1", "2", "3"] {
        assert_eq!(cell.call(&spec.service, "count", "[]").await.as_deref(), Ok(expected));
    }
    cell.client.route(route(Vec::new())).await.expect("route");
    let failure = cell.call(&spec.service, "count", "[]").await.expect_err("no route");
    assert_eq!(failure.reason, "NO_SUCH_SERVICE");
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
