//! What the cell should host when nothing is under way, and how that differs from what it hosts.
//! Pure.

use std::collections::BTreeMap;

use solo_api::cell::v1 as cell;

/// Differences that are told; more say nothing new.
const TOLD_MAX: usize = 20;

/// One service as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) replicas: u32,
    /// Of all its instances together, since each was first started.
    pub(crate) restarts: u64,
}

/// All services of one owner, by name.
pub(crate) type Model = BTreeMap<String, Expected>;

/// One instance as the cell shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Name of the service; its id where no route names it.
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) state: String,
    pub(crate) is_child: bool,
    pub(crate) restarts: u64,
    pub(crate) mailbox_depth: u64,
}

/// What a cell's snapshot says.
pub(crate) fn observed(snapshot: &cell::SnapshotResponse) -> Vec<Observed> {
    let names: BTreeMap<&str, &str> =
        snapshot.routes.iter().map(|route| (route.service.as_str(), route.name.as_str())).collect();
    let one = |instance: &cell::Instance| Observed {
        service: names.get(instance.service.as_str()).unwrap_or(&&*instance.service).to_string(),
        instance: instance.id.clone(),
        state: instance.state.clone(),
        is_child: !instance.parent.is_empty(),
        restarts: instance.restarts,
        mailbox_depth: instance.mailbox_depth,
    };
    snapshot.instances.iter().map(one).collect()
}

/// How what is there differs from what should be there, a sentence each. None: it does not.
pub(crate) fn differences(model: &Model, observed: &[Observed]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, expected) in model {
        let own: Vec<&Observed> =
            observed.iter().filter(|one| one.service == *name && !one.is_child).collect();
        let replicas = own.len();
        if replicas != expected.replicas as usize {
            found.push(format!("{name} has {replicas} instances, not {}", expected.replicas));
            continue;
        }
        let restarts: u64 = own.iter().map(|one| one.restarts).sum();
        if restarts != expected.restarts {
            found.push(format!("{name} was restarted {restarts} times, not {}", expected.restarts));
        }
    }
    for one in observed {
        let Observed { service, instance, state, mailbox_depth, .. } = one;
        if one.is_child {
            found.push(format!("{instance} of {service} is a child that should be gone: {state}"));
        } else if !model.contains_key(service) {
            found.push(format!("{instance} of {service} should be gone: {state}"));
        } else if state != "running" {
            found.push(format!("{instance} of {service} is {state}, not running"));
        } else if *mailbox_depth > 0 {
            found.push(format!("{mailbox_depth} messages wait in {instance} of {service}"));
        }
    }
    let left = found.len().saturating_sub(TOLD_MAX);
    if left > 0 {
        found.truncate(TOLD_MAX);
        found.push(format!("and {left} more"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(service: &str, restarts: u64) -> Observed {
        Observed {
            service: service.to_owned(),
            instance: format!("n1-1-{service}"),
            state: "running".to_owned(),
            is_child: false,
            restarts,
            mailbox_depth: 0,
        }
    }

    fn check(observed: &[Observed], expected: &[&str]) {
        let model = [
            ("a".to_owned(), Expected { replicas: 1, restarts: 2 }),
            ("b".to_owned(), Expected { replicas: 2, restarts: 0 }),
        ];
        assert_eq!(differences(&model.into_iter().collect(), observed), expected);
    }

    #[test]
    fn what_should_be_is_no_difference() {
        check(&[one("a", 2), one("b", 0), one("b", 0)], &[]);
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let all = || vec![one("a", 2), one("b", 0), one("b", 0)];
        check(&all()[..2], &["b has 1 instances, not 2"]);
        check(&[one("a", 3), one("b", 0), one("b", 0)], &["a was restarted 3 times, not 2"]);
        let mut more = all();
        more.push(one("c", 0));
        check(&more, &["n1-1-c of c should be gone: running"]);
        let mut child = all();
        child.push(Observed { is_child: true, ..one("a", 0) });
        check(&child, &["n1-1-a of a is a child that should be gone: running"]);
        let mut stuck = all();
        stuck[0].mailbox_depth = 3;
        stuck[1].state = "restarting".to_owned();
        check(
            &stuck,
            &["3 messages wait in n1-1-a of a", "n1-1-b of b is restarting, not running"],
        );
    }

    #[test]
    fn services_are_named_by_their_routes() {
        let instance = |service: &str, parent: &str| cell::Instance {
            service: service.to_owned(),
            parent: parent.to_owned(),
            ..cell::Instance::default()
        };
        let snapshot = cell::SnapshotResponse {
            instances: vec![instance("n1-1", ""), instance("n1-2", "n1-1-1")],
            routes: vec![cell::Route {
                service: "n1-1".to_owned(),
                name: "a".to_owned(),
                instances: Vec::new(),
            }],
            next: String::new(),
        };
        let observed = observed(&snapshot);
        assert_eq!((observed[0].service.as_str(), observed[0].is_child), ("a", false));
        assert_eq!((observed[1].service.as_str(), observed[1].is_child), ("n1-2", true));
    }
}
