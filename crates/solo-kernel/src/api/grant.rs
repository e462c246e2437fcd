//! GrantCapability, RevokeCapability, ListCapabilities. What is told is on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use solo_api::v1;
use solo_capability::{
    CAPABILITIES_MAX, Capability, Constraints, GrantId, ModelError, ObjectPattern,
    Principal as Holder, Proposal,
};
use solo_types::{Problem, ProblemKind, Right, bounds};

use super::access::{Operation, Principal, object_of};
use super::{explain, to_the_end};
use crate::audit::Entry;
use crate::clock;
use crate::holdings::OWNER;
use crate::kernel::Kernel;
use crate::store::{self, HeldRow, RevokedRow};

/// Life of a token that states none, in seconds.
const TTL_SECONDS_DEFAULT: u64 = 3_600;

/// Of a name or an id that is audited: the longest legal id.
const CLIP_CHARS: usize = 128;

/// Of a holder's name.
const HOLDER_BYTES_MAX: usize = 64;

/// Grants of one answer.
const LISTED_MAX: usize = 1_000;

pub(super) async fn grant(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::GrantCapabilityRequest,
) -> Result<v1::GrantCapabilityResponse, Problem> {
    let entry = principal.entry("grant", &object(&request));
    let outcome = mint(Arc::clone(&kernel), principal, request).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn mint(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::GrantCapabilityRequest,
) -> Result<v1::GrantCapabilityResponse, Problem> {
    kernel.check_open()?;
    let ttl = request.ttl_seconds.unwrap_or(TTL_SECONDS_DEFAULT);
    if ttl == 0 || ttl > bounds::TOKEN_TTL_SECONDS_MAX {
        let rule =
            format!("ttl_seconds is {ttl}, not within 1 to {}", bounds::TOKEN_TTL_SECONDS_MAX);
        return Err(Problem::invalid("INVALID_TTL", "ttl_seconds", &rule)
            .remedy("choose a second to a year"));
    }
    let now = clock::unix_ms() / 1_000;
    let mut expires_at = now + ttl;
    if request.ttl_seconds.is_none() {
        // Who states nothing gets what there is: a grant ends no later than what it comes from.
        let ends = principal.token().links().iter().filter_map(|link| link.expires_at_unix_s());
        expires_at = ends.min().map_or(expires_at, |end| end.min(expires_at));
    }
    let capabilities = capabilities(&kernel, &principal, &request, expires_at)?;
    let holder = holder(&request.holder)?;
    if request.dry_run {
        let id = || GrantId::new("dry-run").map_err(|error| illegal(&error));
        let holder = holder.map_or_else(|| Holder::new("dry-run"), Ok);
        let holder = holder.map_err(|error| illegal(&error))?;
        let proposal = Proposal { id: id()?, holder, capabilities };
        return explain::dry_run(&kernel, &principal, proposal).await;
    }
    principal.pay(&kernel).await?;
    let entry = principal.entry("grant", &object(&request));
    to_the_end(async move {
        let minted = kernel.holdings.mint(&capabilities)?;
        let entry = entry
            .detail("id", &minted.id)
            .detail("capabilities", words(&capabilities))
            .detail("ttl_seconds", expires_at.saturating_sub(now));
        let proposal = Proposal {
            id: GrantId::new(&minted.id).map_err(|error| illegal(&error))?,
            // Without a name: whoever bears it.
            holder: holder
                .map_or_else(|| Holder::new(&minted.id), Ok)
                .map_err(|error| illegal(&error))?,
            capabilities,
        };
        let row = kernel.holdings.propose(principal.token(), &proposal)?;
        // A tenant's own agents make as many as it may have; an operator makes as many as they like.
        let tenant = kernel.tenants.find(principal.tenant());
        let _granting = match &tenant {
            Some(tenant) => {
                let turn = tenant.granting.lock().await;
                tenant.check_tokens(kernel.holdings.held_for(tenant.name.as_str()))?;
                Some(turn)
            }
            None => None,
        };
        kernel.audit.append(entry).await?;
        let stored = row.clone();
        kernel.store.run(move |t| store::insert_grant(t, &stored)).await?;
        kernel.holdings.insert(row)?;
        Ok(v1::GrantCapabilityResponse {
            token: minted.token,
            expires_at: Some(solo_api::timestamp(expires_at * 1_000)),
            id: minted.id,
            ..Default::default()
        })
    })
    .await
}

/// What is asked for: rights on one service, or capabilities as text.
fn capabilities(
    kernel: &Kernel,
    principal: &Principal,
    request: &v1::GrantCapabilityRequest,
    expires_at: u64,
) -> Result<Vec<Capability>, Problem> {
    let until = Constraints::default().until(expires_at).map_err(|error| illegal(&error))?;
    if request.capabilities.is_empty() {
        let rights = solo_api::rights_from_messages(&request.rights, "rights")?;
        let service = principal.service_for(kernel, &request.service, Right::Grant)?;
        // For this service, not for its name.
        let pattern = ObjectPattern::exactly(&object_of(&service)?);
        let capability = Capability::new(pattern, rights).map_err(|error| illegal(&error))?;
        return Ok(vec![capability.with_constraints(until)]);
    }
    if !request.service.is_empty() || !request.rights.is_empty() {
        let rule = "capabilities are in place of a service and rights";
        return Err(Problem::invalid("INVALID_CAPABILITY", "capabilities", rule)
            .remedy("name a service and rights, or capabilities"));
    }
    if request.capabilities.len() > CAPABILITIES_MAX {
        let rule = format!("a grant has at most {CAPABILITIES_MAX} capabilities");
        return Err(Problem::invalid("INVALID_CAPABILITY", "capabilities", &rule)
            .remedy("make more than one grant"));
    }
    let read = |text: &String| -> Result<Capability, Problem> {
        let capability: Capability = text.parse().map_err(|error: ModelError| {
            Problem::invalid("INVALID_CAPABILITY", "capabilities", &error.to_string())
                .remedy("write `RIGHTS OBJECT`, for example `deploy,read service:default/ci-*`")
        })?;
        let constraints = capability.constraints().intersection(&until);
        Ok(capability.with_constraints(constraints))
    };
    request.capabilities.iter().map(read).collect()
}

/// The name that a grant is to have in the audit log; none: its id.
fn holder(name: &str) -> Result<Option<Holder>, Problem> {
    if name.is_empty() {
        return Ok(None);
    }
    let wrong = |rule: &str| {
        Problem::invalid("INVALID_HOLDER", "holder", rule)
            .remedy("choose 1 to 64 letters, digits, `-`, `_` or `.`")
    };
    // `:` is in the names that Solo gives.
    if name == OWNER || name.contains(':') || name.len() > HOLDER_BYTES_MAX {
        return Err(wrong("the name is too long, or one that Solo gives"));
    }
    Holder::new(name).map(Some).map_err(|error| wrong(&error.to_string()))
}

/// For the audit log: what a grant is about.
fn object(request: &v1::GrantCapabilityRequest) -> String {
    match request.capabilities.first() {
        None => clip(&request.service),
        Some(first) => clip(first),
    }
}

pub(super) async fn revoke(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::RevokeCapabilityRequest,
) -> Result<v1::RevokeCapabilityResponse, Problem> {
    let entry = principal.entry("revoke", &clip(&request.id));
    let outcome = end(Arc::clone(&kernel), principal, request).await;
    audit_refusal(&kernel, entry, &outcome).await;
    outcome
}

async fn end(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::RevokeCapabilityRequest,
) -> Result<v1::RevokeCapabilityResponse, Problem> {
    kernel.check_open()?;
    let id = GrantId::new(&request.id).map_err(|error| {
        Problem::invalid("INVALID_ID", "id", &error.to_string())
            .remedy("take the id from the answer of GrantCapability, or from ListCapabilities")
    })?;
    if !kernel.holdings.may_revoke(principal.token(), &id)
        && principal.ask(&kernel, Operation::Revoke).is_err()
    {
        // The same whether there is such a grant or not.
        return Err(Problem::new(
            ProblemKind::PermissionDenied,
            "RIGHT_MISSING",
            "the token is not what this grant was made from",
        )
        .remedy("ask the owner, or who made the grant"));
    }
    principal.pay(&kernel).await?;
    to_the_end(async move {
        let entry = principal.entry("revoke", id.as_str());
        kernel.audit.append(entry).await?;
        // First here, so that nothing is allowed any more when it is told; a store that fails leaves
        // it so until the next start, and the caller knows that it has to be said again.
        let rows = kernel.holdings.revoke(&id)?;
        tell_cells(&kernel, &rows).await;
        let ended = rows.iter().filter(|row| row.ended).count();
        kernel.store.run(move |t| store::revoke(t, &rows)).await?;
        let count = u32::try_from(ended).unwrap_or(u32::MAX);
        Ok(v1::RevokeCapabilityResponse { ended: count })
    })
    .await
}

/// What services hold references by is dead before the revocation is told.
async fn tell_cells(kernel: &Kernel, rows: &[RevokedRow]) {
    let services: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.of_service.as_deref()?.split_once(':').map(|(_, id)| id))
        .collect();
    let found: Vec<_> = services.iter().filter_map(|id| kernel.registry.find_id(id)).collect();
    futures_util::future::join_all(found.iter().map(|service| service.tell_grants(kernel))).await;
}

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::ListCapabilitiesRequest,
) -> Result<v1::ListCapabilitiesResponse, Problem> {
    kernel.check_open()?;
    let object = match request.service.is_empty() {
        true => {
            principal.ask(&kernel, Operation::Grants)?;
            None
        }
        false => {
            let service = principal.service_for(&kernel, &request.service, Right::Grant)?;
            Some(object_of(&service)?)
        }
    };
    let grants = kernel.holdings.list(object.as_ref(), LISTED_MAX);
    Ok(v1::ListCapabilitiesResponse { grants: grants.into_iter().map(message).collect() })
}

fn message(row: HeldRow) -> v1::HeldGrant {
    let from = row.links.iter().rev().nth(1).map(|link| link.id.clone()).unwrap_or_default();
    let own = row.links.into_iter().next_back();
    let anonymous = row.holder == row.id;
    v1::HeldGrant {
        id: row.id,
        from,
        capabilities: own.map(|link| link.capabilities).unwrap_or_default(),
        expires_at: row.expires_at.map(|at| solo_api::timestamp(at.saturating_mul(1_000))),
        // Without a name its holder is its id.
        holder: if anonymous { String::new() } else { row.holder },
    }
}

async fn audit_refusal<T>(kernel: &Kernel, entry: Entry, outcome: &Result<T, Problem>) {
    if let Err(problem) = outcome
        && let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await
    {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}

fn illegal(error: &ModelError) -> Problem {
    Problem::invalid("INVALID_RIGHT", "rights", &error.to_string())
        .remedy("name at least one of read, call, send, kill, execute and grant")
}

/// Names that come from outside are as long as they like.
fn clip(text: &str) -> String {
    text.chars().take(CLIP_CHARS).collect()
}

fn words(capabilities: &[Capability]) -> String {
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
