//! Issue 3, items 4 and 7: children that guests start, as the control plane shows them, and what it
//! does not take them for.

use serde_json::Value;
use solo_api::{Client, v1};
use tokio_stream::StreamExt;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

/// A parent of four children: `a` and `b` run `worker`, `sub` runs the parent's own code and has a
/// child itself, `leaf`.
async fn family(client: &Client) {
    client.deploy(deploy("worker", guest_bytes("worker"))).await.expect("deploy");
    let mut request = deploy("parent", guest_bytes("parent"));
    request.capabilities = vec![v1::CapabilityRequest {
        object: "service:worker".into(),
        rights: vec![v1::Right::Execute.into()],
    }];
    client.deploy(request).await.expect("deploy");
    for command in [
        "open one-for-one 5 60000 never",
        "spawn 1 a worker permanent false 1000",
        "spawn 1 b worker permanent false 1000",
        "spawn 1 sub parent permanent false 1000 init=open rest-for-one 5 60000 never\n\
         spawn 1 leaf worker permanent false 1000",
    ] {
        client
            .call("parent", command)
            .await
            .unwrap_or_else(|problem| panic!("{command}: {problem}"));
    }
}

fn children(node: &Value) -> Vec<Value> {
    node["children"].as_array().cloned().unwrap_or_default()
}

fn child(node: &Value, name: &str) -> Value {
    let found = children(node).into_iter().find(|child| child["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {node}"))
}

/// The one instance of a service in the tree.
fn instance(tree: &Value, service: &str) -> Value {
    let tenant = child(&child(tree, "services"), "default");
    let instances = children(&child(&tenant, service));
    assert_eq!(instances.len(), 1, "{service} has one instance: {instances:?}");
    instances[0].clone()
}

fn check_tree(tree: &Value) {
    let parent = instance(tree, "parent");
    let group = child(&parent, "group 1");
    assert_eq!((&group["kind"], &group["strategy"]), (&"group".into(), &"one_for_one".into()));
    let names: Vec<_> = children(&group).iter().map(|node| node["name"].clone()).collect();
    assert_eq!(names, ["a", "b", "sub"], "in the order of their start");
    let a = child(&group, "a");
    assert_eq!((&a["kind"], &a["state"]), (&"child".into(), &"running".into()));
    let detail = a["detail"].as_str().expect("detail");
    let id = format!("{}.", parent["name"].as_str().expect("id"));
    assert!(detail.starts_with(&id) && detail.contains("runs worker revision 1"), "{detail}");
    let deeper = child(&child(&group, "sub"), "group 1");
    assert_eq!(deeper["strategy"], "rest_for_one");
    assert_eq!(child(&deeper, "leaf")["state"], "running");
    assert!(children(&instance(tree, "worker")).is_empty(), "children are below who started them");
}

/// A service that others run the code of is what it was.
async fn check_untouched(client: &Client, name: &str) {
    let status = client.status(name).await.expect("status");
    assert_eq!(status.state(), v1::ServiceState::Running, "{status:?}");
    assert_eq!((status.instances.len(), status.restarts, status.last_exit), (1, 0, None));
}

/// All records of a service.
async fn records(client: &Client, service: &str) -> Vec<v1::WatchResponse> {
    let request = v1::WatchRequest { service: service.into(), ..v1::WatchRequest::default() };
    let stream = client.grpc().watch(client.stream_request(request)).await.expect("watch");
    stream.into_inner().map(|record| record.expect("a record")).collect().await
}

#[tokio::test]
async fn the_tree_shows_children_as_they_live() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    family(&client).await;
    check_tree(&solo.json(&["tree"]));
    let text = solo.cli(&["tree"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("group 1 (one_for_one) running"), "{text}");
    assert!(text.contains("leaf (child) running"), "{text}");
    // The next kernel takes them over with the rest.
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    check_tree(&solo.json(&["tree"]));
    check_untouched(&client, "worker").await;
    check_untouched(&client, "parent").await;
    client.call("parent", "stop 1 sub").await.expect("stop");
    let group = child(&instance(&solo.json(&["tree"]), "parent"), "group 1");
    assert_eq!(children(&group).len(), 2, "{group}");
    // They end with their parent.
    client.kill("parent", false).await.expect("kill");
    assert!(!solo.json(&["tree"]).to_string().contains("group"));
}

#[tokio::test]
async fn a_child_that_crashes_is_its_parents_business() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    family(&client).await;
    let problem = client.call("parent", "call 1 a crash").await.expect_err("a crash");
    assert!(problem.cause.contains("crashed"), "{problem:?}");
    eventually("it is back", || async {
        let list = client.call("parent", "list 1").await.ok()?;
        let first: Value = serde_json::from_str(list.lines().next()?).ok()?;
        (first["state"] == "running" && first["restarts"] == 1).then_some(())
    })
    .await;
    // In its place lives another one of the same name.
    let group = child(&instance(&solo.json(&["tree"]), "parent"), "group 1");
    assert_eq!((&child(&group, "a")["state"], children(&group).len()), (&"running".into(), 3));
    check_untouched(&client, "worker").await;
    check_untouched(&client, "parent").await;
    // What it did is told under the service whose code it runs, by its own id.
    let parent = client.status("parent").await.expect("status").instances[0].id.clone();
    let told = eventually("its end is told", || async {
        let all = records(&client, "worker").await;
        let exited = |record: &&v1::WatchResponse| {
            matches!(&record.record, Some(v1::watch_response::Record::Event(e)) if e.name == "exited")
        };
        all.iter().find(exited).map(|record| record.instance.clone()).map(|id| (id, all))
    })
    .await;
    assert!(told.0.starts_with(&format!("{parent}.")), "{}", told.0);
    let lines = told.1.iter().filter(|record| {
        matches!(&record.record, Some(v1::watch_response::Record::Log(log))
            if log.message.contains("worker started") && record.instance == told.0)
    });
    assert!(lines.count() >= 1);
    // What children take is their parent's; what they count is nobody's else.
    let text = solo.metrics().await;
    for line in [
        "solo_service_children{service=\"parent\"} 4",
        "solo_service_children{service=\"worker\"} 0",
        "solo_service_restarts_total{service=\"worker\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// C2: `execute` is a right of its own, and the code may go while its children stay.
#[tokio::test]
async fn children_need_the_right_and_outlive_the_service_of_their_code() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    family(&client).await;
    let mut request = deploy("stranger", guest_bytes("parent"));
    request.capabilities = vec![v1::CapabilityRequest {
        object: "service:worker".into(),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    }];
    client.deploy(request).await.expect("deploy");
    client.call("stranger", "open one-for-one 5 60000 never").await.expect("open");
    for code in ["worker", "nobody"] {
        let spawn = format!("spawn 1 a {code} permanent false 1000");
        let problem = client.call("stranger", &spawn).await.expect_err("denied");
        assert!(problem.cause.contains("denied"), "{problem:?}");
    }
    client.kill("worker", false).await.expect("kill");
    assert_eq!(client.call("parent", "call 1 b echo here").await.as_deref(), Ok("here"));
    // Nor does the next kernel take them for something that no service claims.
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    assert_eq!(client.call("parent", "call 1 b echo still").await.as_deref(), Ok("still"));
}
