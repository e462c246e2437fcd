//! GrantCapability: a token for one service. Its id is written down before it is shown.

use std::sync::Arc;

use solo_api::v1;
use solo_capability::TokenGrant;
use solo_types::{Problem, Rights, bounds};

use super::access::Principal;
use super::to_the_end;
use crate::audit::Entry;
use crate::clock;
use crate::kernel::Kernel;
use crate::store::{self, GrantRow};

/// Life of a token that states none, in seconds.
const TTL_SECONDS_DEFAULT: u64 = 3_600;

pub(super) async fn grant(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::GrantCapabilityRequest,
) -> Result<v1::GrantCapabilityResponse, Problem> {
    let object: String = request.service.chars().take(80).collect();
    let entry = Entry::new(&principal.name(), "grant", &object);
    let outcome = mint(Arc::clone(&kernel), principal, request).await;
    if let Err(problem) = &outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
    outcome
}

async fn mint(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::GrantCapabilityRequest,
) -> Result<v1::GrantCapabilityResponse, Problem> {
    kernel.check_open()?;
    principal.must_be_owner("grant capabilities")?;
    let rights = solo_api::rights_from_messages(&request.rights, "rights")?;
    let ttl = request.ttl_seconds.unwrap_or(TTL_SECONDS_DEFAULT);
    if ttl == 0 || ttl > bounds::TOKEN_TTL_SECONDS_MAX {
        let rule =
            format!("ttl_seconds is {ttl}, not within 1 to {}", bounds::TOKEN_TTL_SECONDS_MAX);
        return Err(Problem::invalid("INVALID_TTL", "ttl_seconds", &rule)
            .remedy("choose a second to a year"));
    }
    let service = kernel.service(&request.service)?;
    let name = principal.name();
    to_the_end(async move {
        let expires_at = clock::unix_ms() / 1_000 + ttl;
        let minted = kernel
            .authority
            .mint(&TokenGrant {
                service: service.id,
                rights: rights.clone(),
                expires_at_unix_s: expires_at,
            })
            .map_err(|error| Problem::internal(format!("no token could be made: {error}")))?;
        let rights = words(&rights);
        let entry = Entry::new(&name, "grant", service.name.as_str())
            .detail("id", &minted.id)
            .detail("rights", &rights)
            .detail("ttl_seconds", ttl);
        kernel.audit.append(entry).await?;
        let row = GrantRow { id: minted.id.clone(), service: service.id, rights, expires_at };
        kernel.store.run(move |t| store::insert_grant(t, &row)).await?;
        Ok(v1::GrantCapabilityResponse {
            token: minted.token,
            expires_at: Some(solo_api::timestamp(expires_at * 1_000)),
            id: minted.id,
        })
    })
    .await
}

fn words(rights: &Rights) -> String {
    rights.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(",")
}
