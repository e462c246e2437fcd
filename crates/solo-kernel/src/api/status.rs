//! Status: everything about one service, with the figures of its cell.

use std::collections::HashMap;
use std::sync::Arc;

use solo_api::cell::v1 as wire;
use solo_api::{timestamp, v1};
use solo_types::{
    Exit, Grant, InstanceState, Problem, RestartMode, RestartPolicy, Right, ServiceSpec,
    ServiceState,
};

use super::access::Principal;
use crate::kernel::Kernel;
use crate::monitor::Monitor;
use crate::service::{LOG_TAIL_MAX, Service};
use crate::store::{self, Tombstone};

pub(super) async fn status(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::StatusRequest,
) -> Result<v1::StatusResponse, Problem> {
    match principal.service_for(&kernel, &request.name, Right::Read) {
        Ok(service) => {
            let mut response = of_service(&service, &kernel.monitor).await;
            response.name = principal.shown_label(&service.label());
            Ok(response)
        }
        Err(problem) if problem.reason == "NO_SUCH_SERVICE" => {
            let (tenant, name) = principal.place(&request.name);
            let (tenant, name) = (tenant.to_owned(), name.to_owned());
            let killed =
                kernel.store.run(move |t| store::find_tombstone(t, &tenant, &name)).await?;
            let mut response = killed.map(|tombstone| of_tombstone(&tombstone)).ok_or(problem)?;
            response.name = principal.shown(&response.tenant, &response.name);
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

async fn of_service(service: &Service, monitor: &Monitor) -> v1::StatusResponse {
    let figures = figures(service).await;
    let cell = service.host.cell().to_owned();
    let state = service.state.lock();
    let mut response = of_spec(&state.spec);
    response.id = service.id.to_string();
    response.state = solo_api::service_state_message(state.service_state()).into();
    response.revision = state.revision;
    response.restarts = state.restarts();
    response.created_at = Some(timestamp(service.created_at));
    response.updated_at = Some(timestamp(state.updated_at));
    response.instances = state
        .instances
        .iter()
        .map(|(number, view)| {
            let id = service.instance_id(*number);
            let live = figures.get(&id);
            let stands = live
                .and_then(|instance| InstanceState::from_name(&instance.state))
                .unwrap_or(view.state);
            let exit = |exit: &Exit| solo_api::exit_message(&id, exit);
            let told = live.and_then(|instance| instance.last_exit.clone());
            let told = told.map(solo_api::cell_exit);
            let last_exit =
                view.last_exit.iter().chain(&told).max_by_key(|exit| exit.at_unix_ms).map(exit);
            v1::InstanceStatus {
                state: solo_api::instance_state_message(stands).into(),
                revision: view.revision,
                memory_bytes: live.map_or(0, |i| i.memory_bytes),
                cpu_us: live.map_or(0, |i| i.cpu_us),
                mailbox_depth: live.map_or(0, |i| i.mailbox_depth),
                restarts: live.map_or(view.restarts, |i| i.restarts) + view.restarts_before,
                uptime_ms: live.map_or(0, |i| i.uptime_ms),
                last_exit,
                handled: live.map_or(0, |i| i.handled),
                errors: live.map_or(0, |i| i.errors),
                cell: cell.clone(),
                violations: live
                    .map(|i| i.violations.iter().map(solo_api::violation_message).collect())
                    .unwrap_or_default(),
                mailbox_bytes: live.map_or(0, |i| i.mailbox_bytes),
                throttled_us: live.map_or(0, |i| i.throttled_us),
                id,
            }
        })
        .collect();
    // What the cell says now may be ahead of what it has reported.
    let shown: u64 = response.instances.iter().map(|instance| instance.restarts).sum();
    let viewed: u64 = state.instances.values().map(|v| v.restarts + v.restarts_before).sum();
    response.restarts += shown.saturating_sub(viewed);
    let viewed = state.last_exit().map(|(id, exit)| solo_api::exit_message(id, exit));
    let shown = response.instances.iter().filter_map(|instance| instance.last_exit.clone());
    response.last_exit = viewed.into_iter().chain(shown).max_by_key(ended_at);
    if state.service_state() == ServiceState::Failed {
        response.exits =
            state.exits.iter().map(|(id, exit)| solo_api::exit_message(id, exit)).collect();
        response.log_tail = match &state.outcome {
            Some(outcome) => outcome.log_tail.clone(),
            None => monitor.log_tail(&service.label(), LOG_TAIL_MAX),
        };
    }
    response
}

/// For comparing: seconds and nanoseconds.
fn ended_at(exit: &v1::Exit) -> (i64, i32) {
    exit.at.as_ref().map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// What the cell says right now; nothing when it is away.
async fn figures(service: &Service) -> HashMap<String, wire::Instance> {
    let Some(cell) = service.host.current() else { return HashMap::new() };
    match cell.snapshot(&service.id.to_string()).await {
        Ok(snapshot) => {
            snapshot.instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect()
        }
        Err(_) => HashMap::new(),
    }
}

fn of_tombstone(tombstone: &Tombstone) -> v1::StatusResponse {
    let mut response = of_spec(&tombstone.spec);
    response.id = tombstone.id.to_string();
    response.state = solo_api::service_state_message(ServiceState::Killed).into();
    response.revision = tombstone.revision;
    response.created_at = Some(timestamp(tombstone.created_at));
    response.updated_at = Some(timestamp(tombstone.updated_at));
    if let Some(outcome) = &tombstone.outcome {
        response.restarts = outcome.restarts;
        response.last_exit =
            outcome.exits.last().map(|(id, exit)| solo_api::exit_message(id, exit));
    }
    response
}

fn of_spec(spec: &ServiceSpec) -> v1::StatusResponse {
    v1::StatusResponse {
        name: spec.name.to_string(),
        tenant: spec.tenant.clone(),
        kind: solo_api::kind_message(spec.kind).into(),
        digest: spec.digest.to_string(),
        replicas: spec.replicas,
        tier: solo_api::tier_message(spec.tier).into(),
        labels: spec.labels.clone().into_iter().collect(),
        exports: spec.exports.iter().map(solo_api::export_message).collect(),
        limits: Some(solo_api::limits_message(&spec.limits)),
        restart: Some(restart(&spec.restart)),
        capabilities: spec.grants.iter().map(capability).collect(),
        secrets: solo_api::secret_references_messages(&spec.secrets),
        mounts: solo_api::mount_messages(&spec.mounts),
        ..v1::StatusResponse::default()
    }
}

fn restart(policy: &RestartPolicy) -> v1::RestartPolicy {
    v1::RestartPolicy {
        mode: match policy.mode {
            RestartMode::Permanent => v1::RestartMode::Permanent,
            RestartMode::Transient => v1::RestartMode::Transient,
            RestartMode::Temporary => v1::RestartMode::Temporary,
        }
        .into(),
        max_restarts: Some(policy.max_restarts),
        window_ms: Some(policy.window_ms),
        backoff_initial_ms: Some(policy.backoff_initial_ms),
        backoff_max_ms: Some(policy.backoff_max_ms),
    }
}

fn capability(grant: &Grant) -> v1::CapabilityRequest {
    v1::CapabilityRequest {
        object: format!("service:{}", grant.service),
        rights: solo_api::rights_messages(&grant.rights),
    }
}
