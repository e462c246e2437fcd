//! Those who look: lists, statuses, trees and watches. They change nothing and must cost nothing.

use std::time::Duration;

use solo_api::v1;

use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

impl Household {
    /// A list, a status or the tree.
    pub(super) async fn look(&mut self) -> Outcome {
        self.link.count("looks", 1);
        let glob = format!("{}-*", self.driver);
        match self.random.between(1, 3) {
            1 => match self.link.list(&glob).await? {
                Ok(services) if services.len() == Role::ALL.len() => Ok(()),
                other => {
                    let other = other.map(|services| services.len());
                    Err(self.link.broken(&glob, format!("a list has {other:?} services")))
                }
            },
            2 => match self.link.status(&self.name(Role::Many)).await? {
                Ok(status) if status.instances.len() == self.replicas(Role::Many) as usize => {
                    Ok(())
                }
                other => Err(self.broken(Role::Many, format!("its status is {other:?}"))),
            },
            _ => match self.link.tree().await? {
                Ok(tree) if count(&tree, "service") >= Role::ALL.len() => Ok(()),
                other => Err(self.link.broken("", format!("the tree is {other:?}"))),
            },
        }
    }

    /// Someone reads along for a while.
    pub(super) async fn records(&mut self) -> Outcome {
        let glob = format!("{}-*", self.driver);
        let time = Duration::from_millis(self.random.between(1, 100));
        match self.link.watch(&glob, time).await? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.link.broken(&glob, format!("watch: {refusal}"))),
        }
    }

    /// More lines than are kept.
    pub(super) async fn lines(&mut self) -> Outcome {
        let count = self.random.between(10, 2_000);
        self.link.count("lines", count);
        self.expect(Role::Worker, &format!("log {count}"), "logged").await
    }
}

/// Nodes of a kind.
pub(crate) fn count(tree: &v1::TreeResponse, kind: &str) -> usize {
    let mut count = 0;
    let mut left: Vec<&v1::TreeNode> = tree.root.iter().collect();
    while let Some(node) = left.pop() {
        count += usize::from(node.kind == kind);
        left.extend(&node.children);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_by_kind() {
        let node = |kind: &str, children: Vec<v1::TreeNode>| v1::TreeNode {
            kind: kind.to_owned(),
            children,
            ..v1::TreeNode::default()
        };
        let service = node("service", vec![node("instance", vec![]), node("instance", vec![])]);
        let tree = v1::TreeResponse { root: Some(node("supervisor", vec![service])) };
        assert_eq!((count(&tree, "instance"), count(&tree, "service")), (2, 1));
        assert_eq!(count(&tree, "child"), 0);
    }
}
