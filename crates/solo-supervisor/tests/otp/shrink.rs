//! Makes a script in which the two supervisors differ as small as it gets, by leaving things out.

use crate::erlang::Erlang;
use crate::script::{Kind, Node, Outcome, Script, Step};
use crate::simulation;

/// Leaves out whatever is not needed for the difference, and describes what is left.
pub(crate) fn describe(script: Script, erlang: &mut Erlang) -> String {
    let mut smallest = script;
    'smaller: loop {
        for candidate in candidates(&smallest) {
            if simulation::run(&candidate) != erlang.run(&candidate) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        break;
    }
    let (ours, theirs) = (simulation::run(&smallest), erlang.run(&smallest));
    format!("the traces differ\n{smallest}--- Solo\n{ours}--- Erlang\n{theirs}")
}

/// The scripts that lack one thing.
fn candidates(script: &Script) -> Vec<Script> {
    let mut found = Vec::new();
    // The last step stops the tree.
    for index in 0..script.steps.len().saturating_sub(1) {
        let mut smaller = script.clone();
        smaller.steps.remove(index);
        found.push(smaller);
    }
    for (index, step) in script.steps.iter().enumerate() {
        let mut replace = |step| {
            let mut smaller = script.clone();
            smaller.steps[index] = step;
            found.push(smaller);
        };
        match step {
            Step::Burst(supervisor, crashes) => {
                for (name, reason) in crashes {
                    replace(Step::Crash(name.clone(), *reason));
                }
                for at in 0..crashes.len() {
                    let mut fewer = crashes.clone();
                    fewer.remove(at);
                    replace(Step::Burst(supervisor.clone(), fewer));
                }
            }
            Step::Start(supervisor, child) => {
                for smaller in smaller_nodes(child) {
                    replace(Step::Start(supervisor.clone(), smaller));
                }
            }
            _ => {}
        }
    }
    let trees = smaller_nodes(&script.tree).into_iter();
    found.extend(trees.map(|tree| Script { tree, steps: script.steps.clone() }));
    found
}

fn smaller_nodes(node: &Node) -> Vec<Node> {
    let with = |kind| Node { kind, ..node.clone() };
    match &node.kind {
        Kind::Worker { outcomes } => {
            let fewer = |outcomes: &[Outcome]| with(Kind::Worker { outcomes: outcomes.to_vec() });
            outcomes
                .split_last()
                .map(|(_, fewer_outcomes)| fewer(fewer_outcomes))
                .into_iter()
                .collect()
        }
        Kind::Supervisor { strategy, max_restarts, auto_shutdown, children } => {
            let mut lists = Vec::new();
            for (index, child) in children.iter().enumerate() {
                let mut fewer = children.clone();
                fewer.remove(index);
                lists.push(fewer);
                for smaller in smaller_nodes(child) {
                    let mut replaced = children.clone();
                    replaced[index] = smaller;
                    lists.push(replaced);
                }
            }
            let supervisor = |children| Kind::Supervisor {
                strategy: *strategy,
                max_restarts: *max_restarts,
                auto_shutdown: *auto_shutdown,
                children,
            };
            lists.into_iter().map(|children| with(supervisor(children))).collect()
        }
    }
}
