//! Deploy, Update, Kill, Shutdown.

use std::sync::Arc;

use solo_api::v1;
use solo_types::{Problem, Right, ServiceState, bounds};

use super::access::{Operation, Principal};
use super::to_the_end;
use crate::audit::Entry;
use crate::boot;
use crate::kernel::Kernel;
use crate::service::{self, Deployed, Strategy, Updated};

/// What the answer to a shutdown needs to reach a client of this machine.
const ANSWER_FIRST: std::time::Duration = std::time::Duration::from_millis(100);

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn timing(timing: &service::Timing) -> v1::Timing {
    v1::Timing {
        store_ms: ms(timing.store),
        compile_ms: ms(timing.compile),
        start_ms: ms(timing.start),
        total_ms: ms(timing.total),
    }
}

/// Writes a refused operation down. The refusal stands whether or not that succeeds.
async fn audit_refusal(kernel: &Kernel, entry: Entry, problem: &Problem) {
    if let Err(error) = kernel.audit.append(entry.refused(&problem.reason)).await {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}

pub(super) async fn deploy(
    kernel: Arc<Kernel>,
    principal: Principal,
    mut request: v1::DeployRequest,
) -> Result<v1::DeployResponse, Problem> {
    let entry = principal.entry("deploy", &clip(&principal.label(&request.name)));
    let (tenant, name) = principal.place(&request.name);
    let tenant = tenant.to_owned();
    request.name = name.to_owned();
    let checked = async {
        kernel.check_open()?;
        let spec = solo_api::deploy_spec(request)?;
        principal.may_deploy(&kernel, (&tenant, spec.name.as_str()), spec.tier)?;
        principal.may_give(&kernel, &tenant, &spec.grants)?;
        for reference in &spec.secrets {
            principal.may(&kernel, &tenant, &reference.secret, Right::Read)?;
        }
        principal.may_mount(&kernel, &tenant, &spec.mounts)?;
        let tenant = kernel.tenants.named(&tenant)?;
        let (key, code) = (&spec.idempotency_key, Some(&spec.code));
        let print = service::fingerprint(key, code, format_args!("{spec:?}"))?;
        principal.pay(&kernel).await?;
        Ok((tenant, spec, print))
    };
    let outcome = match checked.await {
        Ok((tenant, spec, print)) => {
            let (kernel, entry) = (Arc::clone(&kernel), entry.clone());
            let principal = principal.clone();
            to_the_end(async move {
                let shown = principal.shown(tenant.name.as_str(), spec.name.as_str());
                let by = (entry, principal.token());
                let deployed = service::deploy(kernel, tenant, spec, print, by).await;
                deployed.map(|deployed| (deployed, shown))
            })
            .await
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok((deployed, shown)) => Ok(deploy_response(deployed, shown)),
        Err(problem) => {
            audit_refusal(&kernel, entry, &problem).await;
            Err(problem)
        }
    }
}

/// A name of a request, before it was checked, at a length that fits a record.
fn clip(name: &str) -> String {
    name.chars().take(80).collect()
}

fn deploy_response(deployed: Deployed, shown: String) -> v1::DeployResponse {
    let state =
        if deployed.dry_run { v1::ServiceState::Unspecified } else { v1::ServiceState::Running };
    v1::DeployResponse {
        service: shown,
        revision: deployed.revision,
        state: state.into(),
        kind: solo_api::kind_message(deployed.kind).into(),
        exports: deployed.exports.iter().map(solo_api::export_message).collect(),
        timing: Some(timing(&deployed.timing)),
        digest: deployed.digest.to_string(),
        dry_run: deployed.dry_run,
    }
}

pub(super) async fn update(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::UpdateRequest,
) -> Result<v1::UpdateResponse, Problem> {
    let entry = principal.entry("update", &clip(&principal.label(&request.name)));
    let checked = async {
        kernel.check_open()?;
        let service = principal.service_for(&kernel, &request.name, Right::Update)?;
        let strategy = match v1::UpdateStrategy::try_from(request.strategy) {
            Ok(v1::UpdateStrategy::Unspecified) => None,
            Ok(v1::UpdateStrategy::Rolling) => Some(Strategy::Rolling),
            Ok(v1::UpdateStrategy::Recreate) => Some(Strategy::Recreate),
            Ok(v1::UpdateStrategy::Canary) => {
                return Err(
                    Problem::unimplemented("the update strategy `canary`").field("strategy")
                );
            }
            Ok(v1::UpdateStrategy::BlueGreen) => {
                return Err(
                    Problem::unimplemented("the update strategy `blue-green`").field("strategy")
                );
            }
            Err(_) => {
                let rule = "there is no such strategy";
                return Err(Problem::invalid("INVALID_STRATEGY", "strategy", rule));
            }
        };
        let mut spec = solo_api::update_spec(request)?;
        for reference in spec.secrets.iter().flatten() {
            principal.may(&kernel, service.tenant.name.as_str(), &reference.secret, Right::Read)?;
        }
        let mounts = spec.mounts.as_deref().unwrap_or_default();
        principal.may_mount(&kernel, service.tenant.name.as_str(), mounts)?;
        let strategy = strategy.unwrap_or_else(|| service.usual_strategy(mounts));
        let (key, code) = (&spec.idempotency_key, spec.code.as_ref());
        let print = service::fingerprint(key, code, format_args!("{spec:?} {strategy:?}"))?;
        spec.idempotency_key = service::tenant_key(&service.tenant, &spec.idempotency_key);
        principal.pay(&kernel).await?;
        Ok((service, spec, strategy, print))
    };
    let outcome = match checked.await {
        Ok((service, spec, strategy, print)) => {
            let entry = entry.clone();
            let (shared, asking) = (Arc::clone(&kernel), principal.clone());
            to_the_end(async move {
                let key = spec.idempotency_key.clone();
                let _key = match service::look_up_key(&shared, &key, &print).await? {
                    service::Known::Answered(answer) => return Ok(answer),
                    service::Known::New(under_way) => under_way,
                };
                service.tenant.count_deploy()?;
                shared.audit.append(entry).await?;
                let updated = service.update(spec, strategy, print).await?;
                Ok(Updated { service: asking.shown_label(&service.label()), ..updated })
            })
            .await
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(updated) => Ok(update_response(updated)),
        Err(problem) => {
            audit_refusal(&kernel, entry, &problem).await;
            Err(problem)
        }
    }
}

fn update_response(updated: Updated) -> v1::UpdateResponse {
    v1::UpdateResponse {
        service: updated.service,
        revision: updated.revision,
        previous_revision: updated.previous_revision,
        state: solo_api::service_state_message(ServiceState::Running).into(),
        exports: updated.exports.iter().map(solo_api::export_message).collect(),
        timing: Some(timing(&updated.timing)),
        digest: updated.digest.to_string(),
    }
}

pub(super) async fn kill(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::KillRequest,
) -> Result<v1::KillResponse, Problem> {
    let object = clip(&principal.label(&request.name));
    let entry = principal.entry("kill", &object).detail("force", request.force);
    let checked = async {
        let service = principal.service_for(&kernel, &request.name, Right::Kill)?;
        principal.pay(&kernel).await?;
        Ok::<_, Problem>(service)
    };
    let service = match checked.await {
        Ok(service) => service,
        Err(problem) => {
            audit_refusal(&kernel, entry, &problem).await;
            return Err(problem);
        }
    };
    let name = principal.shown_label(&service.label());
    let forced = to_the_end(async move {
        kernel.audit.append(entry).await?;
        let forced = service.kill(request.force).await?;
        kernel.remove_actor(&service).await;
        Ok(forced)
    })
    .await?;
    Ok(v1::KillResponse { service: name, forced })
}

pub(super) async fn shutdown(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::ShutdownRequest,
) -> Result<v1::ShutdownResponse, Problem> {
    principal.ask(&kernel, Operation::Shutdown)?;
    let timeout_ms = request.timeout_ms.unwrap_or(30_000);
    if timeout_ms > bounds::SHUTDOWN_TIMEOUT_MS_MAX {
        let rule =
            format!("timeout_ms is {timeout_ms}, more than {}", bounds::SHUTDOWN_TIMEOUT_MS_MAX);
        return Err(Problem::invalid("INVALID_TIMEOUT", "timeout_ms", &rule));
    }
    principal.pay(&kernel).await?;
    let services = u32::try_from(kernel.registry.count()).unwrap_or(u32::MAX);
    let entry = principal.entry("shutdown", "node").detail("timeout_ms", timeout_ms);
    kernel.audit.append(entry).await?;
    // The answer goes out first; the heart ends the process that runs this task.
    tokio::spawn(async move {
        tokio::time::sleep(ANSWER_FIRST).await;
        boot::shut_down(kernel, timeout_ms).await;
    });
    Ok(v1::ShutdownResponse { services })
}
