//! What is looked at again and again: orphans in cells, actors that got lost, rows and files that have
//! had their time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;

use crate::actors::SERVICES;
use crate::kernel::Kernel;
use crate::service::Service;
use crate::tenants::{Tenant, of_label};
use crate::{clock, state, store};

/// Between two sweeps of the registry: how long an orphan in a cell may live.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Between two looks at the disk for artifacts that nothing refers to.
const ARTIFACT_SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// Registry: ends what no service claims, starts actors that got lost with their supervisor,
/// forgets what has had its time.
pub(crate) async fn sweep(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        let forgotten = kernel.store.run(|t| store::forget_old(t, clock::unix_ms())).await;
        for service in forgotten.map_err(|error| error.to_string())? {
            kernel.monitor.forget_service(&service.to_string());
        }
        kernel.holdings.prune();
        for tenant in kernel.tenants.all() {
            end_orphans(&kernel, &tenant).await;
        }
        for tenant in kernel.tenants.all() {
            // One that is there stays; its supervisor may have been lost with the one above.
            if let Err(problem) = kernel.add_tenant(&tenant).await {
                tracing::error!(%problem, tenant = %tenant.name, "Failed to start a tenant");
            }
        }
        let running = actors_of_services(&kernel);
        for service in kernel.registry.all() {
            if !running.contains(&service.id.to_string()) {
                kernel.add_actor(&service).await;
            }
        }
        kernel.violations.retain(|label| {
            let (tenant, name) = of_label(label);
            kernel.registry.find(tenant, name).is_some()
        });
        let count = i64::try_from(kernel.registry.count()).unwrap_or(i64::MAX);
        kernel.metrics.active_services.set(count);
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}

/// Names of the actors that are in the tree: one look instead of a question per service.
fn actors_of_services(kernel: &Kernel) -> HashSet<String> {
    let Some(tree) = kernel.tree.get() else { return HashSet::new() };
    let services = tree.snapshot().children.into_iter().filter(|child| child.name == SERVICES);
    let tenants = services.flat_map(|services| services.children);
    tenants.flat_map(|tenant| tenant.children).map(|actor| actor.name).collect()
}

/// Ends instances and routes of services that are not there: of deployments that a dead kernel never
/// finished, and of operations that a kill cut short.
async fn end_orphans(kernel: &Kernel, tenant: &Arc<Tenant>) {
    let Some(cell) = tenant.host.current() else { return };
    // A deployment under way has instances that the registry does not know yet.
    if kernel.registry.deploying() {
        return;
    }
    let Ok(snapshot) = cell.snapshot("").await else { return };
    let is_own = |service: Arc<Service>| Arc::ptr_eq(&service.tenant, tenant);
    let is_service = |id: &str| kernel.registry.find_id(id).is_some_and(is_own);
    let orphans = || {
        let routes = snapshot.routes.iter().map(|route| &route.service);
        let routes: Vec<String> = routes.filter(|id| !is_service(id)).cloned().collect();
        (unclaimed(&snapshot.instances, is_service), routes)
    };
    // One may have begun and ended meanwhile: the registry is asked again behind the second look.
    let is_nothing =
        |(instances, routes): (Vec<_>, Vec<_>)| instances.is_empty() && routes.is_empty();
    if is_nothing(orphans()) || kernel.registry.deploying() {
        return;
    }
    let (orphans, routes) = orphans();
    for service in routes {
        tracing::warn!(service, "Removing a route that no service claims");
        if let Err(problem) = cell.unroute(service).await {
            tracing::warn!(%problem, "Failed to remove a route");
        }
    }
    if orphans.is_empty() {
        return;
    }
    tracing::warn!(count = orphans.len(), "Ending instances that no service claims");
    if let Err(problem) = cell.stop(orphans, true, None, 0, "stopped").await {
        tracing::warn!(%problem, "Failed to end orphans");
    }
}

/// Ids of instances whose service is not there. Children live and end with their parents, also when
/// the service of their code is gone.
fn unclaimed(instances: &[wire::Instance], is_service: impl Fn(&str) -> bool) -> Vec<String> {
    let unclaimed =
        |instance: &&wire::Instance| instance.parent.is_empty() && !is_service(&instance.service);
    instances.iter().filter(unclaimed).map(|instance| instance.id.clone()).collect()
}

/// Filesystem: removes artifacts that nothing refers to.
pub(crate) async fn sweep_artifacts(kernel: Arc<Kernel>) -> Result<(), String> {
    loop {
        for tenant in kernel.tenants.all() {
            let name = tenant.name.to_string();
            let referenced = kernel.store.run(move |t| store::referenced_digests(t, &name)).await;
            state::sweep(&kernel, &tenant).await;
            let referenced: HashSet<String> =
                referenced.map_err(|error| error.to_string())?.into_iter().collect();
            let removed = tenant.artifacts.sweep(&referenced).map_err(|error| error.to_string())?;
            if removed > 0 {
                tracing::info!(removed, tenant = %tenant.name, "Removed artifacts that nothing refers to");
            }
        }
        tokio::time::sleep(ARTIFACT_SWEEP_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_no_orphans() {
        let instance = |id: &str, service: &str, parent: &str| wire::Instance {
            id: id.into(),
            service: service.into(),
            parent: parent.into(),
            ..wire::Instance::default()
        };
        let hosted = [
            instance("0000beef-1-1", "0000beef-1", ""),
            instance("0000beef-2-1", "0000beef-2", ""),
            // The service of its code was killed; its parent lives.
            instance("0000beef-1-1.1", "0000beef-2", "0000beef-1-1"),
        ];
        assert_eq!(unclaimed(&hosted, |id| id == "0000beef-1"), ["0000beef-2-1"]);
    }
}
