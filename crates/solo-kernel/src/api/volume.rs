//! ListVolumes, RemoveVolume. Volumes are made by deployments.

use std::sync::Arc;

use solo_api::v1;
use solo_types::{Problem, ProblemKind, Right, ServiceSpec, VolumeName};

use super::access::Principal;
use super::to_the_end;
use crate::audit::Entry;
use crate::kernel::Kernel;
use crate::service::Registry;

/// Of a name that is none, as much reaches the audit log.
const CLIP_CHARS: usize = 80;

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    _request: v1::ListVolumesRequest,
) -> Result<v1::ListVolumesResponse, Problem> {
    kernel.check_open()?;
    let mut volumes = Vec::new();
    for tenant in kernel.tenants.all() {
        let own = tenant.name.as_str();
        for listed in kernel.programs.volumes(&tenant).await? {
            // A list shows what may be read.
            if principal.may_volume(&kernel, own, &listed.name, Right::Read).is_err() {
                continue;
            }
            let mut users = volume_users(&kernel.registry, own, &listed.name);
            users.retain(|service| principal.may_read_name(&kernel, own, service));
            volumes.push(v1::VolumeSummary {
                name: principal.shown(own, listed.name.as_str()),
                services: users.iter().map(|service| principal.shown(own, service)).collect(),
                of_machine: listed.size.is_none(),
                used_bytes: listed.size.map_or(0, |size| size.bytes),
                counted: listed.size.is_some_and(|size| size.complete),
            });
        }
    }
    Ok(v1::ListVolumesResponse { volumes })
}

pub(super) async fn remove(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::RemoveVolumeRequest,
) -> Result<v1::RemoveVolumeResponse, Problem> {
    let name: String = request.name.chars().take(CLIP_CHARS).collect();
    let entry = principal.entry("remove_volume", &principal.label(&name));
    let outcome = end(Arc::clone(&kernel), principal, entry.clone(), request.name).await;
    if let Err(problem) = &outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
    outcome
}

async fn end(
    kernel: Arc<Kernel>,
    principal: Principal,
    entry: Entry,
    name: String,
) -> Result<v1::RemoveVolumeResponse, Problem> {
    kernel.check_open()?;
    let (tenant, name) = principal.place(&name);
    let name = VolumeName::new(name)?;
    principal.may_volume(&kernel, tenant, &name, Right::Write)?;
    let tenant = kernel.tenants.named(tenant)?;
    principal.pay(&kernel).await?;
    to_the_end(async move {
        // What is being deployed may be about to use it.
        let Ok(_alone) = tenant.volumes.try_write() else {
            let cause = "a deployment or an update with volumes is under way in this tenant";
            return Err(Problem::new(ProblemKind::Unavailable, "VOLUME_IN_USE", cause)
                .remedy("try again when it is done"));
        };
        let users = volume_users(&kernel.registry, tenant.name.as_str(), &name);
        if !users.is_empty() {
            // Who may remove it may know who is in the way.
            let cause = format!("volume {name} is given to: {}", users.join(", "));
            return Err(Problem::new(ProblemKind::FailedPrecondition, "VOLUME_IN_USE", cause)
                .remedy("kill or update these services first"));
        }
        kernel.audit.append(entry).await?;
        kernel.programs.remove_volume(&tenant, name).await?;
        Ok(v1::RemoveVolumeResponse {})
    })
    .await
}

/// Names of the services that are given a volume, or will be by the update that is under way.
fn volume_users(registry: &Registry, tenant: &str, volume: &VolumeName) -> Vec<String> {
    let names = |spec: &ServiceSpec| spec.mounts.iter().any(|one| one.volume() == Some(volume));
    let services = registry.all();
    let users = services.iter().filter(|service| {
        let state = service.state.lock();
        let next = state.rollout.as_ref().map(|row| &row.to_spec);
        service.tenant.name.as_str() == tenant && (names(&state.spec) || next.is_some_and(names))
    });
    users.map(|service| service.name.to_string()).collect()
}
