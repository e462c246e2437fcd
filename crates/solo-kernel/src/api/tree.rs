//! Tree: supervisors and actors of the kernel, cells, services, instances and guests' own children,
//! as they are now.

use std::sync::Arc;
use std::time::Duration;

use solo_api::v1;
use solo_supervisor::{Node, NodeKind, Strategy};
use solo_types::{Problem, Right};

use super::access::{Operation, Principal};
use super::children::Children;
use crate::actors::SERVICES;
use crate::kernel::Kernel;
use crate::service::Service;
use crate::tenants::Tenant;

/// A cell tells of its children within this time, or the tree is shown without them: who looks at it
/// may look for a cell that hangs.
const CHILDREN_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn tree(
    kernel: Arc<Kernel>,
    principal: Principal,
    _request: v1::TreeRequest,
) -> Result<v1::TreeResponse, Problem> {
    let own = match principal.ask(&kernel, Operation::Tree) {
        Ok(()) => None,
        // Who may read about their tenant sees that branch.
        Err(problem) => {
            let tenant = principal.tenant();
            let may_read = principal.may_tenant(&kernel, tenant, Right::Read).is_ok();
            Some(kernel.tenants.find(tenant).filter(|_| may_read).ok_or(problem)?)
        }
    };
    let tree = kernel
        .tree
        .get()
        .ok_or_else(|| Problem::internal("the tree of actors is not there yet"))?;
    let snapshot = tree.snapshot();
    let top = match &own {
        None => Some(&snapshot),
        Some(tenant) => child(&snapshot, SERVICES).and_then(|all| child(all, tenant.name.as_str())),
    };
    let top = top.ok_or_else(|| Problem::internal("the tenant is being started"))?;
    let mut children = children(&kernel).await;
    Ok(v1::TreeResponse { root: Some(node(&kernel, top, own.as_ref(), &mut children)) })
}

fn child<'a>(of: &'a Node, name: &str) -> Option<&'a Node> {
    of.children.iter().find(|child| child.name == name)
}

/// What guests started; nothing of those whose cell is away.
async fn children(kernel: &Kernel) -> Children {
    let tenants = kernel.tenants.all();
    let asking = tenants.iter().map(|tenant| async move {
        let Some(cell) = tenant.host.current() else { return Vec::new() };
        match tokio::time::timeout(CHILDREN_TIMEOUT, cell.snapshot("")).await {
            Ok(Ok(snapshot)) => snapshot.instances,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    });
    let instances = futures_util::future::join_all(asking).await;
    Children::new(instances.into_iter().flatten().collect())
}

/// `over`: the tenant that the node belongs to.
fn node(
    kernel: &Kernel,
    from: &Node,
    over: Option<&Arc<Tenant>>,
    below: &mut Children,
) -> v1::TreeNode {
    let is_services = from.kind == NodeKind::Supervisor && from.name == SERVICES;
    let plain = v1::TreeNode {
        name: from.name.clone(),
        strategy: from.strategy.map_or("", strategy).to_owned(),
        state: from.state.as_str().to_owned(),
        kind: match from.kind {
            NodeKind::Supervisor if over.is_some() => "tenant",
            NodeKind::Supervisor => "supervisor",
            NodeKind::Actor => "actor",
        }
        .to_owned(),
        restarts: from.restarts,
        detail: from.last_error.clone().unwrap_or_default(),
        children: Vec::new(),
    };
    if from.kind == NodeKind::Actor {
        if let Some(tenant) = over.filter(|tenant| tenant.host.cell() == from.name) {
            return cell(tenant, plain);
        }
        if let Some(found) = kernel.registry.find_id(&from.name) {
            return of_service(kernel, &found, below);
        }
        if from.name == "audit"
            && let Some(trouble) = kernel.audit.trouble()
        {
            // The actor lives; what it is for does not.
            return v1::TreeNode { state: "failed".to_owned(), detail: trouble, ..plain };
        }
        return plain;
    }
    let mut children = Vec::with_capacity(from.children.len());
    for child in &from.children {
        let tenant = if is_services { kernel.tenants.find(&child.name) } else { None };
        children.push(node(kernel, child, tenant.as_ref().or(over), below));
    }
    if from.name == "drivers" {
        // Compilers belong to no tenant.
        children.extend(compilers(kernel));
    }
    v1::TreeNode { children, ..plain }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one_for_one",
        Strategy::OneForAll => "one_for_all",
        Strategy::RestForOne => "rest_for_one",
    }
}

fn cell(tenant: &Tenant, plain: v1::TreeNode) -> v1::TreeNode {
    let (state, detail) = match tenant.host.current() {
        Some(handle) => ("running", format!("pid {}", handle.pid)),
        None => ("restarting", String::new()),
    };
    v1::TreeNode { kind: "cell".to_owned(), state: state.to_owned(), detail, ..plain }
}

fn compilers(kernel: &Kernel) -> Vec<v1::TreeNode> {
    kernel
        .heart
        .living()
        .into_iter()
        .filter(|(cell, _)| cell.starts_with("compiler-"))
        .map(|(cell, pid)| v1::TreeNode {
            name: cell,
            state: "running".to_owned(),
            kind: "cell".to_owned(),
            detail: format!("pid {pid}"),
            ..v1::TreeNode::default()
        })
        .collect()
}

fn of_service(kernel: &Kernel, service: &Service, below: &mut Children) -> v1::TreeNode {
    let name_of = |id: &str| kernel.monitor.name_of(id).unwrap_or_else(|| id.to_owned());
    let state = service.state.lock();
    let children = state
        .instances
        .iter()
        .map(|(number, view)| v1::TreeNode {
            name: service.instance_id(*number),
            children: below.take(&service.instance_id(*number), &name_of),
            state: view.state.as_str().to_owned(),
            kind: "instance".to_owned(),
            restarts: view.restarts + view.restarts_before,
            detail: format!("revision {}", view.revision),
            ..v1::TreeNode::default()
        })
        .collect();
    v1::TreeNode {
        name: service.name.to_string(),
        strategy: strategy(Strategy::OneForOne).to_owned(),
        state: state.service_state().as_str().to_owned(),
        kind: "service".to_owned(),
        restarts: state.restarts(),
        detail: format!("revision {}", state.revision),
        children,
    }
}
