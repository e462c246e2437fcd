//! SetSecret, ListSecrets, RemoveSecret. What is acknowledged is on disk; no answer has a value.

use std::sync::Arc;

use solo_api::v1;
use solo_secrets::Secret;
use solo_types::{Problem, Right, SecretName, TenantName};

use super::access::Principal;
use super::to_the_end;
use crate::audit::Entry;
use crate::kernel::Kernel;
use crate::secrets::{Listed, users};
use crate::tenants::Tenant;

/// In the place of a name that is none: it may be a value that was sent as the name by mistake.
const NO_NAME: &str = "(an illegal name)";

pub(super) async fn set(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::SetSecretRequest,
) -> Result<v1::SetSecretResponse, Problem> {
    let entry = entry(&principal, "set_secret", &request.name);
    let outcome = put(Arc::clone(&kernel), &principal, entry.clone(), request).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn put(
    kernel: Arc<Kernel>,
    principal: &Principal,
    entry: Entry,
    mut request: v1::SetSecretRequest,
) -> Result<v1::SetSecretResponse, Problem> {
    kernel.check_open()?;
    let (tenant, name) = checked(&kernel, principal, &request.name)?;
    let value = Secret::new(solo_api::secret_value(&mut request)?);
    principal.pay(&kernel).await?;
    let principal = principal.clone();
    to_the_end(async move {
        let own = tenant.name.as_str();
        let version = kernel.secrets.set(&kernel.audit, entry, own, &name, &value).await?;
        let services = readable(&kernel, &principal, own, &name);
        Ok(v1::SetSecretResponse { version, services })
    })
    .await
}

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    _request: v1::ListSecretsRequest,
) -> Result<v1::ListSecretsResponse, Problem> {
    let mut secrets = Vec::new();
    for tenant in kernel.tenants.all() {
        let mut listed = kernel.secrets.list(tenant.name.as_str()).await?;
        // A list shows what may be read.
        listed.retain(|listed| {
            SecretName::new(&listed.row.name).is_ok_and(|name| {
                principal.may(&kernel, tenant.name.as_str(), &name, Right::Read).is_ok()
            })
        });
        secrets.extend(listed.into_iter().map(|listed| summary(&principal, listed)));
    }
    Ok(v1::ListSecretsResponse { secrets })
}

/// The tenant and the name of a secret that may be changed.
fn checked(
    kernel: &Kernel,
    principal: &Principal,
    text: &str,
) -> Result<(Arc<Tenant>, SecretName), Problem> {
    let (tenant, name) = principal.place(text);
    let name = SecretName::new(name)?;
    principal.may(kernel, tenant, &name, Right::Write)?;
    Ok((kernel.tenants.named(tenant)?, name))
}

fn summary(principal: &Principal, listed: Listed) -> v1::SecretSummary {
    v1::SecretSummary {
        name: principal.shown(&listed.row.tenant, &listed.row.name),
        version: listed.row.version,
        size_bytes: listed.size_bytes,
        created_at: Some(solo_api::timestamp(listed.row.created_at)),
        updated_at: Some(solo_api::timestamp(listed.row.updated_at)),
    }
}

pub(super) async fn remove(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::RemoveSecretRequest,
) -> Result<v1::RemoveSecretResponse, Problem> {
    let entry = entry(&principal, "remove_secret", &request.name);
    let outcome = forget(Arc::clone(&kernel), &principal, entry.clone(), &request.name).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn forget(
    kernel: Arc<Kernel>,
    principal: &Principal,
    entry: Entry,
    name: &str,
) -> Result<v1::RemoveSecretResponse, Problem> {
    kernel.check_open()?;
    let (tenant, name) = checked(&kernel, principal, name)?;
    principal.pay(&kernel).await?;
    let principal = principal.clone();
    to_the_end(async move {
        let own = tenant.name.as_str();
        kernel.secrets.remove(&kernel.audit, entry, own, &name).await?;
        let services = readable(&kernel, &principal, own, &name);
        Ok(v1::RemoveSecretResponse { services })
    })
    .await
}

/// Names of the services that are given a secret, of those that the principal may read about.
fn readable(
    kernel: &Kernel,
    principal: &Principal,
    tenant: &str,
    secret: &SecretName,
) -> Vec<String> {
    let mut users = users(&kernel.registry, tenant, secret);
    users.retain(|service| principal.may_read_name(kernel, tenant, service));
    users.into_iter().map(|service| principal.shown(tenant, &service)).collect()
}

fn entry(principal: &Principal, operation: &str, name: &str) -> Entry {
    let (tenant, plain) = principal.place(name);
    let legal = TenantName::new(tenant).is_ok() && SecretName::new(plain).is_ok();
    let object = if legal { principal.label(name) } else { NO_NAME.to_owned() };
    principal.entry(operation, &object)
}

/// Writes a refused operation down. The refusal stands whether or not that succeeds.
async fn audit_refusal<T>(kernel: &Kernel, entry: Entry, outcome: &Result<T, Problem>) {
    if let Err(problem) = outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}
