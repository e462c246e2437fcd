//! List: services by name, page by page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use solo_api::{timestamp, v1};
use solo_types::{InstanceState, Problem, ServiceState, bounds};

use super::access::Principal;
use crate::kernel::Kernel;
use crate::monitor::metrics::ServiceFigures;
use crate::service::Service;
use crate::store::{self, Tombstone};

/// A page that states no size.
const PAGE_SIZE_DEFAULT: u32 = 100;

pub(super) async fn list(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::ListRequest,
) -> Result<v1::ListResponse, Problem> {
    let size = request.page_size.unwrap_or(PAGE_SIZE_DEFAULT);
    if size == 0 || size > bounds::PAGE_SIZE_MAX {
        let rule = format!("page_size is {size}, not within 1 to {}", bounds::PAGE_SIZE_MAX);
        return Err(Problem::invalid("INVALID_PAGE_SIZE", "page_size", &rule));
    }
    let states = request
        .states
        .iter()
        .map(|state| {
            solo_api::service_state_from_message(*state).ok_or_else(|| {
                Problem::invalid("INVALID_STATE", "states", "there is no such state")
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let figures = kernel.figures.recent(&kernel).await;
    // By tenant and name, as the registry has them; a page begins behind the last one of the page before.
    let after = (!request.page_token.is_empty()).then(|| principal.place(&request.page_token));
    let is_next = |tenant: &str, name: &str| after.is_none_or(|after| (tenant, name) > after);
    let mut matching = kernel.registry.all().into_iter().filter(|service| {
        let (tenant, name) = (service.tenant.name.as_str(), service.name.as_str());
        is_next(tenant, name)
            && principal.glob_matches(&request.name, tenant, name)
            && principal.may_read(&kernel, service)
            && matches(service, &request.labels, &states)
    });
    let mut services = Vec::new();
    for service in matching.by_ref().take(size as usize) {
        services.push(summary(&service, figures.get(&service.id.to_string())));
    }
    let mut more = matching.next().is_some();
    // Killed services are listed for who asks for them; one that lives again hides its forebears.
    if states.contains(&ServiceState::Killed) {
        let tombstones = kernel.store.run(|t| store::load_tombstones(t)).await?;
        services.extend(
            tombstones
                .iter()
                .filter(|tombstone| {
                    let spec = &tombstone.spec;
                    let (tenant, name) = (spec.tenant.as_str(), spec.name.as_str());
                    is_next(tenant, name)
                        && principal.glob_matches(&request.name, tenant, name)
                        && labelled(&spec.labels, &request.labels)
                        && kernel.registry.find(tenant, name).is_none()
                        && principal.may_read_name(&kernel, tenant, name)
                })
                .map(of_tombstone),
        );
        services.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        more |= services.len() > size as usize;
        services.truncate(size as usize);
    }
    for service in &mut services {
        service.name = principal.shown(&service.tenant, &service.name);
    }
    let next_page_token = match services.last() {
        Some(last) if more => last.name.clone(),
        _ => String::new(),
    };
    Ok(v1::ListResponse { services, next_page_token })
}

fn matches(service: &Service, labels: &HashMap<String, String>, states: &[ServiceState]) -> bool {
    let state = service.state.lock();
    labelled(&state.spec.labels, labels)
        && (states.is_empty() || states.contains(&state.service_state()))
}

fn labelled(has: &BTreeMap<String, String>, wanted: &HashMap<String, String>) -> bool {
    let matches = |(key, value): (&String, &String)| {
        has.get(key).is_some_and(|found| value.is_empty() || found == value)
    };
    wanted.iter().all(matches)
}

fn of_tombstone(tombstone: &Tombstone) -> v1::ServiceSummary {
    let spec = &tombstone.spec;
    v1::ServiceSummary {
        name: spec.name.to_string(),
        state: solo_api::service_state_message(ServiceState::Killed).into(),
        revision: tombstone.revision,
        kind: solo_api::kind_message(spec.kind).into(),
        replicas: spec.replicas,
        restarts: tombstone.outcome.as_ref().map_or(0, |outcome| outcome.restarts),
        labels: spec.labels.clone().into_iter().collect(),
        tenant: spec.tenant.clone(),
        tier: solo_api::tier_message(spec.tier).into(),
        created_at: Some(timestamp(tombstone.created_at)),
        ..v1::ServiceSummary::default()
    }
}

fn summary(service: &Service, figures: Option<&ServiceFigures>) -> v1::ServiceSummary {
    let state = service.state.lock();
    let ready = state.instances.values().filter(|i| i.state == InstanceState::Running).count();
    v1::ServiceSummary {
        name: service.name.to_string(),
        state: solo_api::service_state_message(state.service_state()).into(),
        revision: state.revision,
        kind: solo_api::kind_message(state.spec.kind).into(),
        replicas: state.spec.replicas,
        ready: u32::try_from(ready).unwrap_or(u32::MAX),
        restarts: state.restarts(),
        memory_bytes: figures.map_or(0, |figures| figures.memory_bytes),
        labels: state.spec.labels.clone().into_iter().collect(),
        tenant: service.tenant.name.to_string(),
        tier: solo_api::tier_message(state.spec.tier).into(),
        created_at: Some(timestamp(service.created_at)),
    }
}
