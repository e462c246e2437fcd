//! What a cell says, taken into the state of a service; above all what is not taken.

use std::collections::BTreeMap;

use solo_types::{Digest, Limits, NodeId, RestartPolicy, ServiceKind, ServiceName, Tier};

use super::*;

const SERVICE: ServiceId = ServiceId { node: NodeId(0xbeef), number: 7 };

fn state(replicas: u32) -> State {
    let spec = ServiceSpec {
        name: ServiceName::new("worker").expect("legal"),
        tenant: "default".into(),
        digest: Digest([0; 32]),
        kind: ServiceKind::Handler,
        core_module: false,
        replicas,
        limits: Limits::default(),
        restart: RestartPolicy::default(),
        health_check: None,
        config: BTreeMap::new(),
        labels: BTreeMap::new(),
        tier: Tier::User,
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        grants: Vec::new(),
        secrets: Vec::new(),
        exports: Vec::new(),
        program: None,
        mounts: Vec::new(),
    };
    State::from_row(ServiceRow {
        id: SERVICE,
        revision: 1,
        spec,
        next_instance: 1,
        outcome: None,
        rollout: None,
        created_at: 0,
        updated_at: 0,
    })
}

fn instance(id: &str, parent: &str, state: &str) -> wire::Instance {
    wire::Instance {
        id: id.into(),
        service: SERVICE.to_string(),
        revision: 1,
        state: state.into(),
        restarts: 5,
        parent: parent.into(),
        ..wire::Instance::default()
    }
}

fn snapshot(instances: Vec<wire::Instance>, routed: &[&str]) -> wire::SnapshotResponse {
    let route = wire::Route {
        service: SERVICE.to_string(),
        name: "worker".into(),
        instances: routed.iter().map(|id| (*id).to_owned()).collect(),
    };
    wire::SnapshotResponse { instances, routes: vec![route], next: String::new() }
}

#[test]
fn numbers_are_those_of_the_services_own_instances() {
    assert_eq!(replica_number(SERVICE, "0000beef-7-3"), Some(3));
    for id in ["0000beef-7-3.1", "0000beef-7-3.1.2", "0000beef-8-3", "0000dead-7-3", "", "3"] {
        assert_eq!(replica_number(SERVICE, id), None, "{id}");
    }
}

/// Issue 3, item 7: children run a service's code, and are no replicas of it.
#[test]
fn children_are_no_replicas() {
    let mut state = state(1);
    state.adopt(
        SERVICE,
        &snapshot(
            vec![
                instance("0000beef-7-1", "", "running"),
                // Its own child, one of another service's instance, and one whose id lies.
                instance("0000beef-7-1.1", "0000beef-7-1", "failed"),
                instance("0000beef-9-1.4", "0000beef-9-1", "failed"),
                instance("0000beef-7-2", "0000beef-9-1", "failed"),
                instance("0000beef-9-1", "", "failed"),
            ],
            &["0000beef-7-1"],
        ),
    );
    assert_eq!(state.instances.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!((state.service_state(), state.restarts()), (ServiceState::Running, 5));
    assert_eq!((state.next_instance, state.ended_by_itself()), (2, None));
    assert!(state.is_settled());
}

#[test]
fn a_service_is_settled_when_nothing_is_left_to_do() {
    let hosted =
        |state: &str, routed: &[&str]| snapshot(vec![instance("0000beef-7-1", "", state)], routed);
    let check = |replicas, snapshot: &wire::SnapshotResponse, expected: bool| {
        let mut state = state(replicas);
        state.adopt(SERVICE, snapshot);
        assert_eq!(state.is_settled(), expected, "{replicas} {snapshot:?}");
    };
    check(1, &hosted("running", &["0000beef-7-1"]), true);
    check(1, &hosted("restarting", &["0000beef-7-1"]), true);
    check(1, &hosted("stopping", &["0000beef-7-1"]), false);
    check(1, &hosted("running", &[]), false);
    check(2, &hosted("running", &["0000beef-7-1"]), false);
    check(1, &snapshot(Vec::new(), &[]), false);
}

/// Calls wait for the next instances; they are not told that the service is over.
#[test]
fn between_the_instances_of_an_update_it_is_not_over() {
    use solo_rollout::{Rollout, RolloutSpec, Strategy};
    let mut state = state(1);
    state.add_starting(&[1], 1);
    state.set_state(&[1], InstanceState::Completed);
    assert_eq!(state.service_state(), ServiceState::Completed);
    let plan = RolloutSpec {
        from: 1,
        to: 2,
        replicas_from: 1,
        replicas_to: 1,
        max_surge: 1,
        max_unavailable: 0,
    };
    let rollout = Rollout::new(Strategy::Recreate, plan);
    state.rollout = Some(RolloutRow { rollout, to_spec: ServiceSpec::clone(&state.spec) });
    for over in [InstanceState::Completed, InstanceState::Failed, InstanceState::Stopping] {
        state.set_state(&[1], over);
        assert_eq!(state.service_state(), ServiceState::Starting, "{over:?}");
    }
    state.remove(&[1]);
    assert_eq!(state.service_state(), ServiceState::Starting);
}
