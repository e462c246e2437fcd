//! List: services by name, page by page.

use std::collections::HashMap;
use std::sync::Arc;

use solo_api::{timestamp, v1};
use solo_types::{InstanceState, Problem, ServiceState, bounds, glob_matches};

use super::access::Principal;
use crate::kernel::Kernel;
use crate::monitor::metrics::ServiceFigures;
use crate::service::Service;

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
    let figures = figures(&kernel).await;
    let mut matching = kernel.registry.all().into_iter().filter(|service| {
        service.name.as_str() > request.page_token.as_str()
            && glob_matches(&request.name, service.name.as_str())
            && principal.may_read(service)
            && matches(service, &request.labels, &states)
    });
    let mut services = Vec::new();
    for service in matching.by_ref().take(size as usize) {
        services.push(summary(&service, figures.get(&service.id.to_string())));
    }
    let more = matching.next().is_some();
    let next_page_token = match services.last() {
        Some(last) if more => last.name.clone(),
        _ => String::new(),
    };
    Ok(v1::ListResponse { services, next_page_token })
}

fn matches(service: &Service, labels: &HashMap<String, String>, states: &[ServiceState]) -> bool {
    let state = service.state.lock();
    let labelled = labels.iter().all(|(key, value)| {
        state.spec.labels.get(key).is_some_and(|found| value.is_empty() || found == value)
    });
    labelled && (states.is_empty() || states.contains(&state.service_state()))
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
        tenant: service.tenant.clone(),
        tier: solo_api::tier_message(state.spec.tier).into(),
        created_at: Some(timestamp(service.created_at)),
    }
}

/// The figures of all services, by id; none while the cell is away.
pub(super) async fn figures(kernel: &Kernel) -> HashMap<String, ServiceFigures> {
    let mut figures = HashMap::<String, ServiceFigures>::new();
    if let Some(cell) = kernel.host.current()
        && let Ok(snapshot) = cell.snapshot("").await
    {
        for instance in &snapshot.instances {
            figures.entry(instance.service.clone()).or_default().add(instance);
        }
    }
    figures
}
