//! The tree of supervisors.

use serde::Serialize;
use solo_api::v1;

/// Deepest tree that is shown. Without guests' own children it has six levels, with them at most as
/// many as a reader of protobuf takes; the bound keeps a wrong answer from using up the stack.
const DEPTH_MAX: usize = 100;

/// One node and what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeJson {
    /// Its name.
    pub name: String,
    /// `one_for_one`, `one_for_all`, `rest_for_one`; empty for a worker.
    pub strategy: String,
    /// Its state.
    pub state: String,
    /// `supervisor`, `actor`, `tenant`, `cell`, `service`, `instance`, `group` or `child`.
    pub kind: String,
    /// Starts after the first one.
    pub restarts: u64,
    /// For people.
    pub detail: String,
    /// In start order.
    pub children: Vec<TreeJson>,
}

impl From<v1::TreeNode> for TreeJson {
    fn from(node: v1::TreeNode) -> Self {
        convert(node, DEPTH_MAX)
    }
}

fn convert(node: v1::TreeNode, depth: usize) -> TreeJson {
    let children = match depth {
        0 => Vec::new(),
        _ => node.children.into_iter().map(|child| convert(child, depth - 1)).collect(),
    };
    TreeJson {
        name: node.name,
        strategy: node.strategy,
        state: node.state,
        kind: node.kind,
        restarts: node.restarts,
        detail: node.detail,
        children,
    }
}
