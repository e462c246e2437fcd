//! The actor model with real guests: monitors, children, call chains, limits (SPEC S3, S4, section 5).

use serde_json::Value;
use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;
use wire::reports_response::Report;

use super::cell::{TestCell, ids, line, spec};

const NUMBERS: [(&str, u32); 6] =
    [("worker", 1), ("watcher", 2), ("parent", 3), ("chain", 4), ("order", 5), ("spare", 6)];

pub(crate) fn service(name: &str) -> String {
    let number = NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    format!("0000beef-{}", number.expect("a known name"))
}

/// May do everything to all of these services.
fn grants() -> Vec<wire::Grant> {
    let grant = |(name, _): &(&str, u32)| wire::Grant {
        service: (*name).to_owned(),
        call: true,
        send: true,
        execute: true,
    };
    NUMBERS.iter().map(grant).collect()
}

pub(crate) fn guest(cell: &TestCell, code: &str, name: &str) -> wire::ServiceSpec {
    let number = NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let artifact = cell.guest(code);
    let spec = spec(number.expect("a known name"), name, Kind::Handler, artifact);
    wire::ServiceSpec { grants: grants(), max_restarts: 100, ..spec }
}

pub(crate) async fn deployed(guests: &[&str]) -> TestCell {
    let mut cell = TestCell::start(64).await;
    for name in guests {
        let spec = guest(&cell, name, name);
        assert!(cell.deploy(&spec, 1).await.is_none(), "{name}");
    }
    cell
}

pub(crate) async fn ask(
    cell: &TestCell,
    name: &str,
    command: &str,
) -> Result<String, wire::Failure> {
    cell.ask(&service(name), command.as_bytes()).await
}

pub(crate) async fn say(cell: &TestCell, name: &str, command: &str) -> String {
    match ask(cell, name, command).await {
        Ok(answer) => answer,
        Err(failure) => panic!("{name} {command}: {failure:?}"),
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Asks until the answer is like this.
async fn until(
    cell: &TestCell,
    name: &str,
    command: &str,
    wanted: impl Fn(&str) -> bool,
) -> String {
    for _ in 0..2_000 {
        if let Ok(answer) = ask(cell, name, command).await
            && wanted(&answer)
        {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{name} {command}: it does not come: {:?}", ask(cell, name, command).await)
}

/// S4: a `down` message when a watched service ends.
#[tokio::test]
async fn a_watcher_learns_of_each_kind_of_end() {
    let cell = deployed(&["worker", "watcher"]).await;
    assert_eq!(say(&cell, "watcher", "watch worker").await, "1");
    let failure = ask(&cell, "worker", "crash").await.expect_err("it traps");
    assert_eq!(failure.reason, "CRASHED");
    let downs = until(&cell, "watcher", "downs", |downs| !downs.is_empty()).await;
    let down = &lines(&downs)[0];
    assert_eq!((&down["monitor"], &down["reason"]), (&1.into(), &"trap".into()), "{downs}");
    assert_eq!((&down["service"], &down["restarts"]), (&"worker".into(), &true.into()));
    assert_eq!(down["instance"], format!("{}-1", service("worker")));

    // One message per watch; the second is a new one, and a watch that was ended says nothing.
    assert_eq!(say(&cell, "watcher", "watch worker").await, "2");
    assert_eq!(say(&cell, "watcher", "watch worker").await, "3");
    assert_eq!(say(&cell, "watcher", "unwatch 2").await, "true");
    assert_eq!(say(&cell, "watcher", "unwatch 2").await, "false");
    cell.stop(vec![format!("{}-1", service("worker"))], true, None).await;
    let downs = until(&cell, "watcher", "downs", |downs| downs.lines().count() == 2).await;
    let down = &lines(&downs)[1];
    assert_eq!((&down["monitor"], &down["reason"]), (&3.into(), &"killed".into()), "{downs}");
    assert_eq!(down["restarts"], false);

    // Nobody is there: at once.
    assert_eq!(say(&cell, "watcher", "watch worker").await, "4");
    let downs = until(&cell, "watcher", "downs", |downs| downs.lines().count() == 3).await;
    assert_eq!(lines(&downs)[2]["reason"], "no_instance");
    let stats = say(&cell, "watcher", "stats").await;
    assert_eq!(lines(&stats)[0]["strays"], 0, "{stats}");
}

/// S3: children with OTP's strategies, and the end of a group.
#[tokio::test]
async fn a_guest_supervises_children_of_its_own() {
    let cell = deployed(&["worker", "parent"]).await;
    assert_eq!(say(&cell, "parent", "open one-for-all 3 60000 never").await, "1");
    for name in ["a", "b"] {
        let spawn = format!("spawn 1 {name} worker permanent false 1000 who={name}");
        assert_eq!(say(&cell, "parent", &spawn).await, "spawned");
    }
    let again = "spawn 1 a worker permanent false 1000";
    let failure = ask(&cell, "parent", again).await.expect_err("the name is taken");
    assert!(failure.message.contains("exists"), "{failure:?}");
    assert_eq!(say(&cell, "parent", "call 1 a config who").await, "a");
    assert_eq!(say(&cell, "parent", "call 1 b count").await, "1");

    // They show as what they are, and the service whose code they run is not touched.
    let instances = cell.instances("").await;
    let child = instances.iter().find(|i| i.child_name == "a").expect("in the snapshot");
    let parent = format!("{}-1", service("parent"));
    assert_eq!((&child.parent, child.group, child.strategy.as_str()), (&parent, 1, "one_for_all"));
    assert_eq!((&child.id, &child.service), (&format!("{parent}.1"), &service("worker")));

    // One crashes, both are new; references follow.
    let failure = ask(&cell, "parent", "call 1 a crash").await.expect_err("it traps");
    assert!(failure.message.contains("crashed"), "{failure:?}");
    let restarted = |list: &str| {
        lines(list).iter().all(|child| child["restarts"] == 1 && child["state"] == "running")
    };
    until(&cell, "parent", "list 1", restarted).await;
    assert_eq!(say(&cell, "parent", "call 1 b hold").await, "0");

    // Ending one forgets it.
    assert_eq!(say(&cell, "parent", "stop 1 a").await, "stopped");
    let failure = ask(&cell, "parent", "stop 1 a").await.expect_err("it is gone");
    assert!(failure.message.contains("unknown"), "{failure:?}");
    assert_eq!(lines(&say(&cell, "parent", "list 1").await).len(), 1);
    assert_eq!(say(&cell, "parent", "drop 1").await, "dropped");
    for _ in 0..2_000 {
        if cell.instances("").await.iter().all(|instance| instance.parent.is_empty()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("children outlive their group: {:?}", cell.instances("").await);
}

/// S3: too many restarts end the group and with it the parent, whose supervisor restarts it.
#[tokio::test]
async fn a_group_that_gives_up_takes_its_parent_along() {
    let cell = deployed(&["worker", "parent"]).await;
    say(&cell, "parent", "open one-for-one 0 60000 never").await;
    say(&cell, "parent", "spawn 1 a worker permanent false 0").await;
    // Children of children.
    say(&cell, "parent", "spawn 1 nested parent permanent false 1000").await;
    say(&cell, "parent", "call 1 nested open one-for-one 3 60000 never").await;
    say(&cell, "parent", "call 1 nested spawn 1 deep worker permanent false 0").await;
    let deep = cell.instances("").await.into_iter().find(|i| i.child_name == "deep");
    let deep = deep.expect("a child of a child");
    assert_eq!(deep.id, format!("{}-1.2.1", service("parent")));
    let _ = ask(&cell, "parent", "call 1 a crash").await;
    let ended = |instance: &wire::Instance| {
        instance.restarts == 1 && instance.state == "running" && instance.parent.is_empty()
    };
    let parent = cell.wait_for(&service("parent"), ended).await;
    assert_eq!(parent.last_exit.map(|exit| exit.reason), Some("children_failed".into()));
    let left = cell.instances("").await;
    assert!(left.iter().all(|instance| instance.parent.is_empty()), "{left:?}");
}

/// Default deny: without `execute` no code is run.
#[tokio::test]
async fn code_that_was_not_granted_is_denied() {
    let mut cell = deployed(&["worker"]).await;
    let grants = vec![wire::Grant { execute: false, ..grants()[0].clone() }];
    let spec = wire::ServiceSpec { grants, ..guest(&cell, "parent", "parent") };
    assert!(cell.deploy(&spec, 1).await.is_none());
    say(&cell, "parent", "open one-for-one 3 60000 never").await;
    for code in ["worker", "watcher", "no-such"] {
        let spawn = format!("spawn 1 a {code} permanent false 0");
        let failure = ask(&cell, "parent", &spawn).await.expect_err("denied");
        assert!(failure.message.contains("denied"), "{failure:?}");
    }
}

/// Calls inherit the smaller deadline and the name of the chain.
#[tokio::test]
async fn a_chain_has_one_name_and_its_deadline_only_shrinks() {
    let mut cell = deployed(&["chain"]).await;
    for name in ["spare", "worker"] {
        let spec = guest(&cell, "chain", name);
        assert!(cell.deploy(&spec, 1).await.is_none());
    }
    let answer = say(&cell, "chain", "relay spare@60000 worker@60000 | x").await;
    let contexts = lines(&answer);
    assert_eq!(contexts.len(), 3, "{answer}");
    let trace = contexts[0]["trace_id"].as_str().expect("a name");
    assert_eq!(trace.len(), 32);
    assert!(contexts.iter().all(|context| context["trace_id"] == trace), "{answer}");
    let left: Vec<u64> = contexts.iter().filter_map(|c| c["remaining_ms"].as_u64()).collect();
    assert_eq!(left.len(), 3);
    // The call from outside had 20 s; none below has more, whatever it asked for.
    assert!(left.iter().all(|ms| *ms <= 20_000) && left[0] <= left[2], "{left:?}");

    let failure = ask(&cell, "chain", "slow-timeout spare 10000 50").await.expect_err("too slow");
    assert!(failure.message.contains("timeout"), "{failure:?}");
}

/// S4: who calls while it ends is told so, and is not waited for.
#[tokio::test]
async fn a_call_in_terminate_fails_clearly() {
    let mut cell = deployed(&["worker"]).await;
    let spare = guest(&cell, "worker", "spare");
    assert!(cell.deploy(&spare, 1).await.is_none());
    say(&cell, "worker", "terminate-call spare").await;
    let forced = cell.stop(vec![format!("{}-1", service("worker"))], false, Some(10_000)).await;
    assert!(forced.is_empty());
    let is_told = |report: &wire::ReportsResponse| {
        line(report).is_some_and(|(text, _)| text.starts_with("call in terminate"))
    };
    let reports = cell.reports_until(0, is_told).await;
    let told = reports.iter().rev().find_map(|report| line(report)).expect("a line");
    assert!(told.0.contains("unavailable") && told.0.contains("ending"), "{told:?}");
}

/// S4: order is kept per pair, between calls and sends too.
#[tokio::test]
async fn order_is_kept_under_load() {
    let mut cell = deployed(&["order"]).await;
    for name in ["spare", "worker"] {
        let spec = guest(&cell, "order", name);
        assert!(cell.deploy(&spec, 1).await.is_none());
    }
    for _ in 0..5 {
        let (one, two) =
            (say(&cell, "spare", "mix order 2000"), say(&cell, "worker", "mix order 2000"));
        tokio::join!(one, two);
    }
    assert_eq!(
        say(&cell, "order", "violations").await,
        "0",
        "{}",
        say(&cell, "order", "report").await
    );
    assert_eq!(say(&cell, "order", "received").await, "20000");
}

/// What the snapshot and the reports say of one limit.
async fn violated(cell: &TestCell, name: &str, limit: &str) -> wire::Violation {
    let shows = |instance: &wire::Instance| instance.violations.iter().any(|v| v.limit == limit);
    let instance = cell.wait_for(&service(name), shows).await;
    let is_told = |report: &wire::ReportsResponse| matches!(&report.report, Some(Report::Violation(told)) if told.limit == limit && told.count > 0);
    cell.reports_until(0, is_told).await;
    instance.violations.into_iter().find(|v| v.limit == limit).expect("just seen")
}

async fn limited(change: impl FnOnce(&mut wire::ServiceSpec)) -> TestCell {
    let mut cell = deployed(&["parent"]).await;
    let mut spec = guest(&cell, "worker", "worker");
    change(&mut spec);
    assert!(cell.deploy(&spec, 1).await.is_none());
    cell
}

/// L1: max_memory_bytes.
#[tokio::test]
async fn memory_kills_throttles_or_warns() {
    let with = |action: &'static str| {
        move |spec: &mut wire::ServiceSpec| {
            spec.max_memory_bytes = 8 << 20;
            spec.limit_action = action.to_owned();
        }
    };
    let grow = "grow 16777216";
    let cell = limited(with("kill")).await;
    let failure = ask(&cell, "worker", grow).await.expect_err("it is ended");
    assert!(failure.message.contains("max_memory_bytes"), "{failure:?}");
    assert_eq!(violated(&cell, "worker", "max_memory_bytes").await.action, "kill");
    until(&cell, "worker", "hold", |held| held == "0").await;

    let cell = limited(with("throttle")).await;
    assert_eq!(say(&cell, "worker", grow).await, "refused");
    assert_eq!(violated(&cell, "worker", "max_memory_bytes").await.action, "throttle");

    let cell = limited(with("warn")).await;
    assert_eq!(say(&cell, "worker", grow).await, "16777216");
    assert_eq!(violated(&cell, "worker", "max_memory_bytes").await.action, "warn");
    let instance = cell.wait_for(&service("worker"), |_| true).await;
    assert!(instance.memory_bytes > 16 << 20, "{instance:?}");
    assert_eq!(instance.restarts, 0);
}

/// L1: message_queue_limit and message_queue_max; what waits counts as memory.
#[tokio::test]
async fn a_full_mailbox_is_an_alert_and_then_a_bound() {
    let with = |action: &'static str| {
        move |spec: &mut wire::ServiceSpec| {
            spec.message_queue_limit = 10;
            spec.message_queue_max = 30;
            spec.limit_action = action.to_owned();
        }
    };
    for (action, accepted) in [("throttle", 10), ("warn", 30)] {
        let cell = limited(with(action)).await;
        assert!(cell.send(&service("worker"), b"spin 60000").await.is_none());
        cell.wait_for(&service("worker"), |instance| instance.mailbox_depth == 0).await;
        let mut refused = None;
        let mut sent = 0;
        while refused.is_none() && sent < 100 {
            refused = cell.send(&service("worker"), &[b'x'; 1_000]).await;
            sent += 1;
        }
        assert_eq!(refused.map(|failure| failure.reason), Some("OVERLOADED".into()));
        assert_eq!(sent - 1, accepted, "{action}");
        let alert = violated(&cell, "worker", "message_queue_limit").await;
        assert_eq!(alert.action, action, "{alert:?}");
        let instance = cell.wait_for(&service("worker"), |_| true).await;
        assert!(instance.mailbox_bytes > 1_000 * accepted, "{instance:?}");
        assert!(instance.memory_bytes > instance.mailbox_bytes);
        cell.stop(ids(&guest(&cell, "worker", "worker"), 1), true, None).await;
    }

    // Where limits kill, one that hangs with a full mailbox is ended; what waits is not lost.
    let cell = limited(with("kill")).await;
    assert!(cell.send(&service("worker"), b"spin 60000").await.is_none());
    cell.wait_for(&service("worker"), |instance| instance.mailbox_depth == 0).await;
    let mut exit = None;
    for _ in 0..4_000 {
        let _ = cell.send(&service("worker"), b"hold 7").await;
        exit = cell.wait_for(&service("worker"), |_| true).await.last_exit;
        if exit.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let exit = exit.expect("it hangs on");
    assert_eq!(exit.reason, "limit");
    assert!(exit.message.contains("message_queue_max"), "{exit:?}");
    // The last one that is told of: the mailbox may be full for the next incarnation as well, which does
    // not hang.
    let violation = violated(&cell, "worker", "message_queue_max").await;
    assert!(["kill", "throttle"].contains(&violation.action.as_str()), "{violation:?}");
    until(&cell, "worker", "hold", |held| held == "7").await;
}

/// L1: the hard quota of processor time.
#[tokio::test]
async fn a_quota_kills_throttles_or_warns() {
    let with = |action: &'static str| {
        move |spec: &mut wire::ServiceSpec| {
            spec.cpu_quota_percent = 10;
            spec.limit_action = action.to_owned();
        }
    };
    let cell = limited(with("throttle")).await;
    say(&cell, "worker", "spin 1000").await;
    let instance = cell.wait_for(&service("worker"), |_| true).await;
    // Ten percent of a second on the clock, and what one slice and the start of a period add. How much of
    // the rest the quota took depends on what else the machine does.
    assert!(instance.cpu_us < 400_000 && instance.throttled_us > 0, "{instance:?}");
    assert_eq!(violated(&cell, "worker", "cpu_quota_percent").await.action, "throttle");

    let cell = limited(with("warn")).await;
    say(&cell, "worker", "spin 500").await;
    let violation = violated(&cell, "worker", "cpu_quota_percent").await;
    assert_eq!(violation.action, "warn");
    assert_eq!(cell.wait_for(&service("worker"), |_| true).await.throttled_us, 0);

    let cell = limited(with("kill")).await;
    let failure = ask(&cell, "worker", "spin 15000").await.expect_err("it is ended");
    assert!(failure.message.contains("cpu_quota_percent"), "{failure:?}");
    assert_eq!(violated(&cell, "worker", "cpu_quota_percent").await.action, "kill");
}

/// L1: max_processes.
#[tokio::test]
async fn children_are_limited() {
    for action in ["kill", "throttle", "warn"] {
        let mut cell = deployed(&["worker"]).await;
        let spec = wire::ServiceSpec {
            max_processes: 2,
            limit_action: action.to_owned(),
            ..guest(&cell, "parent", "parent")
        };
        assert!(cell.deploy(&spec, 1).await.is_none());
        say(&cell, "parent", "open one-for-one 3 60000 never").await;
        for name in ["a", "b"] {
            let spawn = format!("spawn 1 {name} worker temporary false 0");
            assert_eq!(say(&cell, "parent", &spawn).await, "spawned");
        }
        let third = ask(&cell, "parent", "spawn 1 c worker temporary false 0").await;
        match action {
            "warn" => assert_eq!(third.as_deref(), Ok("spawned")),
            "throttle" => {
                let failure = third.expect_err("refused");
                assert!(failure.message.contains("limit: max_processes"), "{failure:?}");
                // What ended makes room.
                say(&cell, "parent", "stop 1 a").await;
                say(&cell, "parent", "spawn 1 d worker temporary false 0").await;
            }
            _ => {
                cell.wait_for(&service("parent"), |parent| parent.restarts == 1).await;
            }
        }
        assert_eq!(violated(&cell, "parent", "max_processes").await.action, action);
    }
}

/// L1: startup_timeout_ms and shutdown_timeout_ms.
#[tokio::test]
async fn slow_starts_fail_or_are_reported() {
    let mut cell = TestCell::start(8).await;
    let slow = |cell: &TestCell, action: &str| {
        let mut spec = guest(cell, "worker", "worker");
        spec.startup_timeout_ms = 50;
        spec.limit_action = action.to_owned();
        spec.config.insert("init".into(), "sleep 300".into());
        spec
    };
    let failing = slow(&cell, "kill");
    cell.deploy_fails(&failing, "STARTUP_TIMEOUT").await;
    for action in ["throttle", "warn"] {
        let spec = slow(&cell, action);
        assert!(cell.deploy(&spec, 1).await.is_none());
        assert_eq!(violated(&cell, "worker", "startup_timeout_ms").await.action, action);
        cell.stop(ids(&spec, 1), true, None).await;
    }
    let spec = guest(&cell, "worker", "worker");
    assert!(cell.deploy(&spec, 1).await.is_none());
    say(&cell, "worker", "terminate-sleep 60000").await;
    let forced = cell.stop(ids(&spec, 1), false, Some(50)).await;
    assert_eq!(forced, ids(&spec, 1));
    let is_told = |report: &wire::ReportsResponse| matches!(&report.report, Some(Report::Violation(told)) if told.limit == "shutdown_timeout_ms");
    cell.reports_until(0, is_told).await;
}

/// Weights of a route decide who gets how much.
#[tokio::test]
async fn messages_follow_the_weights_of_a_route() {
    let mut cell = TestCell::start(8).await;
    let spec = guest(&cell, "worker", "worker");
    assert!(cell.deploy(&spec, 2).await.is_none());
    let route = |weights: Vec<u32>| wire::RouteRequest {
        service: spec.service.clone(),
        name: spec.name.clone(),
        instances: ids(&spec, 2),
        weights,
        ..Default::default()
    };
    let mut client = cell.client.clone();
    client.route(route(vec![9, 1])).await.expect("route");
    for _ in 0..200 {
        say(&cell, "worker", "count").await;
    }
    let handled: Vec<u64> = cell.instances(&spec.service).await.iter().map(|i| i.handled).collect();
    assert!(handled[0] > 140 && handled[1] > 0, "{handled:?}");
    client.route(route(vec![0, 1])).await.expect("route");
    let before = handled[0];
    for _ in 0..50 {
        say(&cell, "worker", "count").await;
    }
    assert_eq!(cell.instances(&spec.service).await[0].handled, before);
}
