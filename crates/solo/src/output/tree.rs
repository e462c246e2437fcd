//! The tree of supervisors, drawn.

use solo_gateway::json::TreeJson;

use super::text::{Style, one_line};

/// Draws a tree, one node a line.
pub(crate) fn tree_text(root: &TreeJson, style: Style) -> String {
    let mut text = String::new();
    text.push_str(&node_line(root, style));
    draw_children(root, "", style, &mut text);
    text
}

fn draw_children(node: &TreeJson, indent: &str, style: Style, text: &mut String) {
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        text.push_str(indent);
        text.push_str(if last { "└─ " } else { "├─ " });
        text.push_str(&node_line(child, style));
        let deeper = format!("{indent}{}", if last { "   " } else { "│  " });
        draw_children(child, &deeper, style, text);
    }
}

/// `NAME (KIND, STRATEGY) STATE DETAIL, N restarts`.
fn node_line(node: &TreeJson, style: Style) -> String {
    let kind = match (node.kind.as_str(), node.strategy.as_str()) {
        (kind, "") => one_line(kind),
        ("supervisor" | "group", strategy) => one_line(strategy),
        (kind, strategy) => one_line(&format!("{kind}, {strategy}")),
    };
    let mut line = format!("{} ({kind}) {}", one_line(&node.name), style.state(&node.state));
    if !node.detail.is_empty() {
        line.push_str(&format!(" {}", one_line(&node.detail)));
    }
    match node.restarts {
        0 => {}
        1 => line.push_str(", 1 restart"),
        restarts => line.push_str(&format!(", {restarts} restarts")),
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, strategy: &str, kind: &str, children: Vec<TreeJson>) -> TreeJson {
        TreeJson {
            name: name.into(),
            strategy: strategy.into(),
            state: "running".into(),
            kind: kind.into(),
            restarts: 0,
            detail: String::new(),
            children,
        }
    }

    #[test]
    fn a_tree_is_drawn() {
        let mut cell = node("wasm-default", "one_for_one", "cell", Vec::new());
        cell.detail = "pid 12".into();
        cell.restarts = 2;
        let system =
            node("system", "rest_for_one", "supervisor", vec![node("audit", "", "actor", vec![])]);
        let mut child = node("worker", "", "child", Vec::new());
        child.detail = "0000beef-1-1.1, runs parser revision 2".into();
        let group = node("group 1", "rest_for_one", "group", vec![child]);
        let instance = node("0000beef-1-1", "", "instance", vec![group]);
        let services = node("services", "one_for_one", "supervisor", vec![cell, instance]);
        let root = node("root", "one_for_one", "supervisor", vec![system, services]);
        assert_eq!(
            tree_text(&root, Style::PLAIN),
            "root (one_for_one) running\n\
             ├─ system (rest_for_one) running\n\
             │  └─ audit (actor) running\n\
             └─ services (one_for_one) running\n   \
                ├─ wasm-default (cell, one_for_one) running pid 12, 2 restarts\n   \
                └─ 0000beef-1-1 (instance) running\n      \
                   └─ group 1 (rest_for_one) running\n         \
                      └─ worker (child) running 0000beef-1-1.1, runs parser revision 2\n"
        );
    }
}
