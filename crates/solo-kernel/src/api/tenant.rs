//! SetTenant, ListTenants, RemoveTenant (SPEC L2). What is acknowledged is on disk.

use std::sync::Arc;

use solo_api::v1;
use solo_types::{Problem, ProblemKind, Quotas, Right, TenantName};

use super::access::Principal;
use super::to_the_end;
use crate::audit::Entry;
use crate::clock;
use crate::kernel::Kernel;
use crate::programs::has_volumes;
use crate::store::{self, TenantRow};
use crate::tenants::Tenant;

/// Of a name that was not checked yet, as much is audited.
const CLIP_CHARS: usize = 80;

pub(super) async fn set(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::SetTenantRequest,
) -> Result<v1::SetTenantResponse, Problem> {
    let entry = principal.entry("set_tenant", &clip(&request.name));
    let outcome = put(Arc::clone(&kernel), principal, entry.clone(), request).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn put(
    kernel: Arc<Kernel>,
    principal: Principal,
    entry: Entry,
    request: v1::SetTenantRequest,
) -> Result<v1::SetTenantResponse, Problem> {
    kernel.check_open()?;
    let name = TenantName::new(&request.name)?;
    // In a task of its own: the tenant is made known after it is on disk, whoever waits for it.
    to_the_end(async move {
        let _change = kernel.tenants.changing.lock().await;
        let there = kernel.tenants.find(name.as_str());
        let right = if there.is_some() { Right::Update } else { Right::Deploy };
        principal.may_tenant(&kernel, name.as_str(), right)?;
        principal.pay(&kernel).await?;
        let before = there.as_ref().map_or(Quotas::OF_A_NEW_TENANT, |tenant| tenant.quotas());
        let quotas = solo_api::quotas_after(before, request.quotas.unwrap_or_default());
        let entry = solo_api::quotas_details(&quotas)
            .into_iter()
            .fold(entry, |entry, (name, value)| entry.detail(name, value));
        let created_at = there.as_ref().map_or_else(clock::unix_ms, |tenant| tenant.created_at);
        let row = TenantRow { name, quotas, created_at };
        let tenant = match there {
            Some(tenant) => {
                kernel.audit.append(entry).await?;
                kernel.store.run(move |t| store::put_tenant(t, &row)).await?;
                tenant.set_quotas(quotas);
                return Ok(response(&kernel, &tenant, false));
            }
            None => {
                let wanted = row.name.clone();
                if kernel.store.run(move |t| store::was_tenant(t, &wanted)).await? {
                    return Err(used(&row.name));
                }
                let tenant = kernel.tenants.prepare(row.clone())?;
                kernel.audit.append(entry).await?;
                kernel.store.run(move |t| store::put_tenant(t, &row)).await?;
                tenant
            }
        };
        kernel.tenants.insert(&tenant);
        kernel.add_tenant(&tenant).await?;
        Ok(response(&kernel, &tenant, true))
    })
    .await
}

fn used(name: &TenantName) -> Problem {
    let cause = format!("there was a tenant {name} before");
    Problem::new(ProblemKind::AlreadyExists, "TENANT_NAME_USED", cause)
        .remedy("choose another name: records of the old one are still there")
        .field("name")
}

fn response(kernel: &Kernel, tenant: &Tenant, is_new: bool) -> v1::SetTenantResponse {
    v1::SetTenantResponse { tenant: Some(summary(kernel, tenant)), is_new }
}

fn summary(kernel: &Kernel, tenant: &Tenant) -> v1::TenantSummary {
    let used = tenant.used();
    let tokens = kernel.holdings.held_for(tenant.name.as_str());
    v1::TenantSummary {
        name: tenant.name.to_string(),
        quotas: Some(solo_api::quotas_message(&tenant.quotas())),
        used: Some(v1::Quotas {
            services: Some(used.services),
            instances: Some(used.instances),
            memory_bytes: Some(used.memory_bytes),
            cpu_shares: Some(used.cpu_shares),
            artifact_bytes: Some(tenant.artifacts.used()),
            deploys_per_minute: None,
            tokens: Some(tokens as u64),
        }),
        created_at: Some(solo_api::timestamp(tenant.created_at)),
        cell: tenant.host.cell().to_owned(),
    }
}

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    _request: v1::ListTenantsRequest,
) -> Result<v1::ListTenantsResponse, Problem> {
    kernel.check_open()?;
    let mut tenants = kernel.tenants.all();
    tenants
        .retain(|tenant| principal.may_tenant(&kernel, tenant.name.as_str(), Right::Read).is_ok());
    let tenants = tenants.iter().map(|tenant| summary(&kernel, tenant)).collect();
    Ok(v1::ListTenantsResponse { tenants })
}

pub(super) async fn remove(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::RemoveTenantRequest,
) -> Result<v1::RemoveTenantResponse, Problem> {
    let entry = principal.entry("remove_tenant", &clip(&request.name));
    let outcome = end(Arc::clone(&kernel), principal, entry.clone(), request.name).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn end(
    kernel: Arc<Kernel>,
    principal: Principal,
    entry: Entry,
    name: String,
) -> Result<v1::RemoveTenantResponse, Problem> {
    kernel.check_open()?;
    principal.may_tenant(&kernel, &name, Right::Kill)?;
    principal.pay(&kernel).await?;
    to_the_end(async move {
        let _change = kernel.tenants.changing.lock().await;
        let removal = kernel.tenants.begin_removal(&name)?;
        let tenant = Arc::clone(&removal.tenant);
        if has_volumes(&tenant) {
            let cause = format!("tenant {} has volumes", tenant.name);
            return Err(Problem::new(ProblemKind::FailedPrecondition, "TENANT_NOT_EMPTY", cause)
                .remedy("remove them first (`solo volume list`, `solo volume rm`)"));
        }
        kernel.audit.append(entry).await?;
        let (gone, at) = (tenant.name.clone(), clock::unix_ms());
        kernel.store.run(move |t| store::delete_tenant(t, &gone, at)).await?;
        // From here on it is gone: what is left of it the next start would remove too.
        kernel.remove_tenant(&tenant).await;
        kernel.compilers.forget(&tenant.name);
        kernel.secrets.forget(tenant.name.as_str());
        kernel.tenants.remove(removal);
        Ok(v1::RemoveTenantResponse {})
    })
    .await
}

/// Writes a refused operation down. The refusal stands whether or not that succeeds.
async fn audit_refusal<T>(kernel: &Kernel, entry: Entry, outcome: &Result<T, Problem>) {
    if let Err(problem) = outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}

fn clip(name: &str) -> String {
    name.chars().take(CLIP_CHARS).collect()
}
