//! Grants as the store has them, and back.

use std::sync::Arc;

use solo_capability::{Capability, Chain, GrantId, GrantRecord, Link, ModelError, Principal};

use crate::store::{HeldRow, LinkRow};

/// A chain as it is stored.
pub(super) fn row(holder: &str, chain: &Chain) -> HeldRow {
    let links = chain.links().iter().map(|link| LinkRow {
        id: link.id().to_string(),
        account: link.account().to_string(),
        capabilities: link.capabilities().iter().map(ToString::to_string).collect(),
    });
    let last = chain.links().last();
    HeldRow {
        id: last.map(|link| link.id().to_string()).unwrap_or_default(),
        holder: holder.to_owned(),
        links: links.collect(),
        expires_at: last.and_then(|link| link.expires_at_unix_s()),
    }
}

pub(super) fn record(row: HeldRow) -> Result<GrantRecord, String> {
    let text = |error: ModelError| error.to_string();
    let mut links = Vec::with_capacity(row.links.len());
    for link in row.links {
        let (id, account) = (GrantId::new(&link.id), GrantId::new(&link.account));
        let capabilities: Result<Vec<Capability>, _> =
            link.capabilities.iter().map(|capability| capability.parse()).collect();
        let link = Link::attenuation(
            id.map_err(text)?,
            account.map_err(text)?,
            capabilities.map_err(text)?,
        );
        links.push(Arc::new(link.map_err(|error| error.to_string())?));
    }
    Ok(GrantRecord {
        holder: Principal::new(&row.holder).map_err(text)?,
        chain: Chain::new(links).map_err(|error| error.to_string())?,
    })
}
