//! Children that guests started, as nodes of the tree below their instances.
//!
//! Pure: what a cell hosts in, nodes out. What it is told comes from a process that runs guest code:
//! it bounds the depth itself and follows no circle.

use std::collections::HashMap;

use solo_api::cell::v1 as wire;
use solo_api::v1;
use solo_types::{InstanceState, ServiceState};

/// Levels of children that are shown below an instance, each of them a group and a child. Readers of
/// protobuf give up at a hundred nested messages, and the tree above takes six.
const LEVELS_MAX: usize = 40;

/// The children of all instances, by who started them.
#[derive(Debug, Default)]
pub(super) struct Children {
    by_parent: HashMap<String, Vec<wire::Instance>>,
}

impl Children {
    /// Sorts out what a cell hosts. Instances that nobody started are left out: they are services'.
    pub(super) fn new(instances: Vec<wire::Instance>) -> Self {
        let mut by_parent = HashMap::<String, Vec<wire::Instance>>::new();
        for instance in instances.into_iter().filter(|instance| !instance.parent.is_empty()) {
            by_parent.entry(instance.parent.clone()).or_default().push(instance);
        }
        for children in by_parent.values_mut() {
            children.sort_by_cached_key(|child| (child.group, number(&child.id)));
        }
        Self { by_parent }
    }

    /// Takes the groups of an instance out, with everything below them, each child once.
    ///
    /// `name_of`: name of a service by its id, or the id.
    pub(super) fn take(
        &mut self,
        instance: &str,
        name_of: &impl Fn(&str) -> String,
    ) -> Vec<v1::TreeNode> {
        self.below(instance, name_of, LEVELS_MAX)
    }

    fn below(
        &mut self,
        parent: &str,
        name_of: &impl Fn(&str) -> String,
        levels: usize,
    ) -> Vec<v1::TreeNode> {
        let mut groups: Vec<v1::TreeNode> = Vec::new();
        let mut last_group = None;
        for child in self.by_parent.remove(parent).unwrap_or_default() {
            if last_group != Some(child.group) {
                last_group = Some(child.group);
                groups.push(v1::TreeNode {
                    name: format!("group {}", child.group),
                    strategy: child.strategy.clone(),
                    kind: "group".to_owned(),
                    ..v1::TreeNode::default()
                });
            }
            let node = self.node(&child, name_of, levels);
            if let Some(group) = groups.last_mut() {
                group.children.push(node);
            }
        }
        for group in &mut groups {
            let states =
                group.children.iter().filter_map(|child| InstanceState::from_name(&child.state));
            ServiceState::of(states).as_str().clone_into(&mut group.state);
        }
        groups
    }

    fn node(
        &mut self,
        child: &wire::Instance,
        name_of: &impl Fn(&str) -> String,
        levels: usize,
    ) -> v1::TreeNode {
        let runs = name_of(&child.service);
        let mut detail = format!("{}, runs {runs} revision {}", child.id, child.revision);
        let children = match levels.checked_sub(1) {
            Some(levels) if levels > 0 => self.below(&child.id, name_of, levels),
            _ => {
                let direct = self.by_parent.get(&child.id).map_or(0, Vec::len);
                if direct > 0 {
                    detail.push_str(&format!(", {direct} children below are not shown"));
                }
                Vec::new()
            }
        };
        v1::TreeNode {
            name: child.child_name.clone(),
            state: child.state.clone(),
            kind: "child".to_owned(),
            restarts: child.restarts,
            detail,
            children,
            ..v1::TreeNode::default()
        }
    }
}

/// The last part of an id: children are numbered in the order of their start.
fn number(id: &str) -> u64 {
    id.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(id: &str, parent: &str, group: u32, strategy: &str, state: &str) -> wire::Instance {
        wire::Instance {
            id: id.into(),
            service: "beef-2".into(),
            revision: 3,
            state: state.into(),
            restarts: 1,
            parent: parent.into(),
            child_name: format!("name-{id}"),
            group,
            strategy: strategy.into(),
            ..wire::Instance::default()
        }
    }

    fn name_of(id: &str) -> String {
        if id == "beef-2" { "worker".into() } else { id.into() }
    }

    /// Name, state and children, without the rest.
    fn draw(nodes: &[v1::TreeNode]) -> String {
        let draw_one = |node: &v1::TreeNode| {
            let strategy = if node.strategy.is_empty() { "" } else { node.strategy.as_str() };
            format!("{}{strategy}:{}[{}]", node.name, node.state, draw(&node.children))
        };
        nodes.iter().map(draw_one).collect::<Vec<_>>().join(" ")
    }

    /// Issue 3, item 7: guests' own children as they live, in their groups, at any depth.
    #[test]
    fn children_nest_below_who_started_them() {
        let (one, rest) = ("one_for_one", "rest_for_one");
        let mut children = Children::new(vec![
            child("r.10", "r", 1, one, "running"),
            child("r.9", "r", 1, one, "restarting"),
            child("r.3", "r", 2, rest, "running"),
            child("r.9.1", "r.9", 1, one, "failed"),
            child("other.1", "other", 1, one, "running"),
            wire::Instance { id: "r".into(), ..wire::Instance::default() },
        ]);
        let nodes = children.take("r", &name_of);
        assert_eq!(
            draw(&nodes),
            "group 1one_for_one:degraded[name-r.9:restarting[group 1one_for_one:failed\
             [name-r.9.1:failed[]]] name-r.10:running[]] group 2rest_for_one:running[name-r.3:running[]]"
        );
        let first = &nodes[0].children[0];
        assert_eq!((first.kind.as_str(), first.restarts), ("child", 1));
        assert_eq!(first.detail, "r.9, runs worker revision 3");
        assert_eq!(nodes[0].kind, "group");
        assert!(children.take("r", &name_of).is_empty(), "each is shown once");
    }

    #[test]
    fn a_circle_and_a_well_without_ground_end() {
        let mut circle = Children::new(vec![
            child("a", "b", 1, "", "running"),
            child("b", "a", 1, "", "running"),
        ]);
        let shown = circle.take("a", &name_of);
        assert_eq!(
            draw(&shown),
            "group 1:running[name-b:running[group 1:running[name-a:running[]]]]"
        );

        let mut id = "r".to_owned();
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            let below = format!("{}1", id.chars().take(8).collect::<String>());
            let next = format!("{below}-{}", deep.len());
            deep.push(child(&next, &id, 1, "", "running"));
            id = next;
        }
        let nodes = Children::new(deep).take("r", &name_of);
        let mut depth = 0;
        let mut node = nodes.first();
        let mut last = String::new();
        while let Some(found) = node {
            depth += 1;
            last.clone_from(&found.detail);
            node = found.children.first();
        }
        assert_eq!(depth, 2 * LEVELS_MAX);
        assert!(last.ends_with("1 children below are not shown"), "{last}");
        // The whole tree has to pass a reader that takes a hundred nested messages.
        let mut root = v1::TreeNode { children: nodes, ..v1::TreeNode::default() };
        for _ in 0..6 {
            root = v1::TreeNode { children: vec![root], ..v1::TreeNode::default() };
        }
        use prost::Message as _;
        let bytes = v1::TreeResponse { root: Some(root) }.encode_to_vec();
        v1::TreeResponse::decode(bytes.as_slice()).expect("readable");
    }
}
