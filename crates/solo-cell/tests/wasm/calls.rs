//! Calls and sends: what is asked, what is answered, who may ask whom.

use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;
use wire::call_request::Input;
use wire::call_response::Output;

use super::cell::{TestCell, ids, spec};
use super::{grant, guests, to, typed};

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
    assert!(instance.memory_bytes >= 65_536, "{instance:?}");
    // All that took less than a microsecond, it may be.
    for _ in 0..1_000 {
        assert_eq!(cell.call(id, "add", "[2, 40]").await.as_deref(), Ok("42"));
    }
    let instance = &cell.instances(id).await[0];
    assert!(instance.cpu_us > 0, "{instance:?}");
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
