//! SetSecret, ListSecrets, RemoveSecret. What is acknowledged is on disk; no answer has a value.

use std::sync::Arc;

use solo_api::v1;
use solo_secrets::Secret;
use solo_types::{Problem, Right, SecretName};

use super::access::Principal;
use super::to_the_end;
use crate::audit::Entry;
use crate::kernel::{Kernel, TENANT};
use crate::secrets::{Listed, users};

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
    let name = SecretName::new(&request.name)?;
    principal.may(&kernel, &name, Right::Write)?;
    let value = Secret::new(solo_api::secret_value(&mut request)?);
    let principal = principal.clone();
    to_the_end(async move {
        let version = kernel.secrets.set(&kernel.audit, entry, TENANT, &name, &value).await?;
        let services = readable(&kernel, &principal, &name);
        Ok(v1::SetSecretResponse { version, services })
    })
    .await
}

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    _request: v1::ListSecretsRequest,
) -> Result<v1::ListSecretsResponse, Problem> {
    let mut listed = kernel.secrets.list(TENANT).await?;
    // A list shows what may be read.
    listed.retain(|listed| {
        SecretName::new(&listed.row.name)
            .is_ok_and(|name| principal.may(&kernel, &name, Right::Read).is_ok())
    });
    Ok(v1::ListSecretsResponse { secrets: listed.into_iter().map(summary).collect() })
}

fn summary(listed: Listed) -> v1::SecretSummary {
    v1::SecretSummary {
        name: listed.row.name,
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
    let name = SecretName::new(name)?;
    principal.may(&kernel, &name, Right::Write)?;
    let principal = principal.clone();
    to_the_end(async move {
        kernel.secrets.remove(&kernel.audit, entry, TENANT, &name).await?;
        let services = readable(&kernel, &principal, &name);
        Ok(v1::RemoveSecretResponse { services })
    })
    .await
}

/// Names of the services that are given a secret, of those that the principal may read about.
fn readable(kernel: &Kernel, principal: &Principal, secret: &SecretName) -> Vec<String> {
    let mut users = users(&kernel.registry, TENANT, secret);
    users.retain(|service| principal.may_read_name(kernel, service));
    users
}

fn entry(principal: &Principal, operation: &str, name: &str) -> Entry {
    let legal = name.is_empty() || SecretName::new(name).is_ok();
    principal.entry(operation, if legal { name } else { NO_NAME })
}

/// Writes a refused operation down. The refusal stands whether or not that succeeds.
async fn audit_refusal<T>(kernel: &Kernel, entry: Entry, outcome: &Result<T, Problem>) {
    if let Err(problem) = outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}
