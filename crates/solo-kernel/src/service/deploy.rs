//! Deploy: store, compile, start, write down, route, answer (SPEC D5, D6).
//!
//! The row that makes a service exist is written after its instances are ready and before anyone is
//! told. A kernel that dies before leaves instances that nobody knows, which the next one ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use solo_api::DeploySpec;
use solo_api::cell::v1 as wire;
use solo_capability::Token;
use solo_types::{
    Digest, Export, InstanceState, Interface, Problem, RestartMode, ServiceId, ServiceKind,
    ServiceSpec, Usage,
};

use super::code::{check_mounts, prepare, said_of};
use super::giving::{Given, Start};
use super::idempotency::{Known, answer_row, look_up_key, tenant_key};
use super::state::State;
use super::{Reservation, Service};
use crate::audit::Entry;
use crate::cells::Compiled;
use crate::kernel::Kernel;
use crate::store::{self, IdempotencyRow, ServiceRow, StoreError};
use crate::tenants::{Charge, Tenant};
use crate::{clock, state};

/// The answer to a deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deployed {
    pub(crate) service: String,
    pub(crate) revision: u64,
    pub(crate) kind: ServiceKind,
    pub(crate) exports: Vec<Export>,
    pub(crate) digest: Digest,
    pub(crate) dry_run: bool,
    pub(crate) timing: Timing,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) store: Duration,
    pub(crate) compile: Duration,
    pub(crate) start: Duration,
    pub(crate) total: Duration,
}

/// Deploys a service. Runs to its end also when the client has gone.
pub(crate) async fn deploy(
    kernel: Arc<Kernel>,
    tenant: Arc<Tenant>,
    request: DeploySpec,
    fingerprint: String,
    (entry, from): (Entry, &Token),
) -> Result<Deployed, Problem> {
    let began = Instant::now();
    let key = tenant_key(&tenant, &request.idempotency_key);
    let _key = match look_up_key(&kernel, &key, &fingerprint).await? {
        Known::Answered(answer) => return Ok(answer),
        Known::New(under_way) => under_way,
    };
    tenant.count_deploy()?;
    let reservation = kernel.registry.reserve(tenant.name.as_str(), request.name.as_str())?;
    // Counted before the code is looked at, and given back if nothing comes of it.
    let charge = tenant.charge(usage(&request))?;
    kernel.secrets.check(tenant.name.as_str(), &request.secrets).await?;
    let cell = tenant.host.ready().await?;
    let dry_run = request.dry_run;
    let code = request.code.clone();
    let (digest, compiled, stored) = prepare(&kernel, &tenant, code, &cell.engine).await?;
    let spec = specify(&tenant, request, digest, &compiled)?;
    check_mounts(spec.kind, &spec.mounts)?;
    let mut answer = Deployed {
        service: spec.name.to_string(),
        revision: 1,
        kind: spec.kind,
        exports: spec.exports.clone(),
        digest,
        dry_run,
        timing: Timing { store: stored, compile: compiled.took, ..Timing::default() },
    };
    if dry_run {
        kernel.metrics.deployments.with_label_values(&["dry_run"]).inc();
        answer.timing.total = began.elapsed();
        return Ok(answer);
    }
    let compiled_path = compiled.path;
    let starting = Starting { kernel: &kernel, tenant: &tenant, spec, compiled_path, began };
    let entry = entry.detail("digest", digest);
    starting.run((reservation, charge), (&key, &fingerprint), (entry, from), answer).await
}

/// What a deployment would take.
fn usage(request: &DeploySpec) -> Usage {
    Usage::of_instances(request.replicas, &request.limits)
}

fn specify(
    tenant: &Tenant,
    request: DeploySpec,
    digest: Digest,
    compiled: &Compiled,
) -> Result<ServiceSpec, Problem> {
    let artifact = &compiled.artifact;
    let program = said_of(artifact.kind, request.program, &request.health_check)?;
    let runs_to_completion = match &program {
        // Without an interface it may be a job as well as a server, and a server does not end by itself.
        Some(program) => program.interface == Interface::None,
        None => artifact.kind == ServiceKind::Command,
    };
    let mut restart = request.restart;
    restart.mode = request.restart_mode.unwrap_or(if runs_to_completion {
        RestartMode::Transient
    } else {
        RestartMode::Permanent
    });
    Ok(ServiceSpec {
        name: request.name,
        tenant: tenant.name.to_string(),
        digest,
        kind: artifact.kind,
        core_module: artifact.core_module,
        replicas: request.replicas,
        limits: request.limits,
        restart,
        health_check: request.health_check,
        config: request.config,
        labels: request.labels,
        tier: request.tier,
        arguments: request.arguments,
        environment: request.environment,
        grants: request.grants,
        secrets: request.secrets,
        exports: artifact.exports.clone(),
        program,
        mounts: request.mounts,
    })
}

/// A deployment whose code is compiled.
struct Starting<'a> {
    kernel: &'a Arc<Kernel>,
    tenant: &'a Arc<Tenant>,
    spec: ServiceSpec,
    compiled_path: String,
    began: Instant,
}

impl Starting<'_> {
    async fn run(
        self,
        (reservation, charge): (Reservation, Charge),
        (key, fingerprint): (&str, &str),
        (entry, from): (Entry, &Token),
        mut answer: Deployed,
    ) -> Result<Deployed, Problem> {
        let kernel = self.kernel;
        let id = kernel.new_service_id().await?;
        let numbers: Vec<u64> = (1..=u64::from(self.spec.replicas)).collect();
        let label = self.tenant.label(self.spec.name.as_str());
        // From here on the log lines of the instances carry the name.
        kernel.monitor.name_service(&id.to_string(), &label);
        let (tenant, wanted) = (self.spec.tenant.clone(), self.spec.name.to_string());
        let latest =
            kernel.store.run(move |t| store::latest_revision_of_name(t, &tenant, &wanted)).await?;
        answer.revision = latest + 1;
        let given = Given::give(kernel, from, id, &self.spec)?;
        let _stay = match self.spec.mounts.is_empty() {
            true => None,
            false => Some(self.tenant.volumes.read().await),
        };
        let made = kernel.programs.make_volumes(self.tenant, &self.spec.mounts).await?;
        let started = Instant::now();
        if let Err(problem) = self.start(id, answer.revision, &numbers).await {
            kernel.metrics.deployments.with_label_values(&["failed"]).inc();
            kernel.monitor.event(&label, "", "deploy_failed", &problem.cause);
            kernel.monitor.forget_service(&id.to_string());
            return Err(problem);
        }
        answer.timing.start = started.elapsed();
        let kind = kind_label(self.spec.kind);
        kernel
            .metrics
            .startup_ms
            .with_label_values(&[kind])
            .observe(answer.timing.start.as_secs_f64() * 1_000.0);
        answer.timing.total = self.began.elapsed();
        let row = answer_row(key, fingerprint, &answer)?;
        let service = match self.write((id, answer.revision), entry, (row, &given), charge).await {
            Ok(service) => service,
            Err(problem) => {
                self.undo(id, &numbers).await;
                kernel.monitor.forget_service(&id.to_string());
                return Err(problem);
            }
        };
        given.keep();
        made.keep();
        self.publish(&service, numbers).await;
        drop(reservation);
        kernel.metrics.deployments.with_label_values(&["ready"]).inc();
        let revision = answer.revision;
        kernel.monitor.event(&label, "", "deployed", &format!("revision {revision} is ready"));
        answer.timing.total = self.began.elapsed();
        Ok(answer)
    }

    async fn start(&self, id: ServiceId, revision: u64, numbers: &[u64]) -> Result<(), Problem> {
        let cell = self.tenant.host.ready().await?;
        let start = Start {
            service: id,
            revision,
            spec: &self.spec,
            artifact: self.compiled_path.clone(),
            instances: ids(id, numbers),
        };
        let started = start.run(self.kernel, &cell).await;
        if started.is_err() {
            // The cell promises that nothing remains; a start that was cut off it cannot promise.
            self.undo(id, numbers).await;
        }
        started
    }

    async fn undo(&self, id: ServiceId, numbers: &[u64]) {
        if let Some(cell) = self.tenant.host.current()
            && let Err(problem) = cell.stop(ids(id, numbers), true, None, 0, "stopped").await
        {
            // The sweep ends what no service claims.
            tracing::warn!(%problem, service = %id, "Failed to undo a deployment at once");
        }
        self.kernel.programs.release_all(self.tenant.host.cell(), id).await;
        state::forget(self.tenant, id).await;
    }

    async fn write(
        &self,
        (id, revision): (ServiceId, u64),
        entry: Entry,
        (answer, given): (Option<IdempotencyRow>, &Given),
        charge: Charge,
    ) -> Result<Arc<Service>, Problem> {
        let now = clock::unix_ms();
        self.kernel.audit.append(entry).await?;
        let row = ServiceRow {
            id,
            revision,
            spec: self.spec.clone(),
            next_instance: u64::from(self.spec.replicas) + 1,
            outcome: None,
            rollout: None,
            created_at: now,
            updated_at: now,
        };
        let (written, grants) = (row.clone(), given.rows().to_vec());
        self.kernel
            .store
            .run(move |t| {
                store::insert_service(t, &written)?;
                for grant in &grants {
                    store::insert_grant(t, grant)?;
                }
                if let Some(answer) = &answer {
                    store::put_idempotent(t, answer)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        let tenant = Arc::clone(self.tenant);
        let name = self.spec.name.clone();
        let state = State::from_row(row);
        Ok(Service::new(id, name, tenant, now, charge, state))
    }

    async fn publish(&self, service: &Arc<Service>, numbers: Vec<u64>) {
        let revision = service.state.lock().revision;
        service.with_state(|state| {
            state.add_starting(&numbers, revision);
            state.set_state(&numbers, InstanceState::Running);
            state.set_routed(&numbers);
        });
        if let Some(cell) = self.tenant.host.current() {
            let name = service.name.to_string();
            let routed = cell.route(service.id.to_string(), name, ids(service.id, &numbers)).await;
            if let Err(problem) = routed {
                // The actor routes again as soon as the cell is back.
                tracing::warn!(%problem, service = %service.id, "Failed to route at once");
            }
        }
        self.kernel.registry.insert(service);
        self.catch_up(service).await;
        self.kernel.add_actor(service).await;
    }

    /// What an instance came to before the registry knew the service was reported to nobody: a short
    /// program may have ended by now.
    async fn catch_up(&self, service: &Arc<Service>) {
        let Some(cell) = self.tenant.host.current() else { return };
        // Without an answer the actor will ask, as soon as the cell is back.
        let Ok(snapshot) = cell.snapshot(&service.id.to_string()).await else { return };
        for instance in snapshot.instances {
            let change = wire::StateChange {
                state: instance.state,
                restarts: instance.restarts,
                exit: instance.last_exit,
            };
            self.kernel.registry.instance_changed(&service.id.to_string(), &instance.id, change);
        }
    }
}

fn ids(service: ServiceId, numbers: &[u64]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| solo_types::InstanceId { service, number: *number }.to_string())
        .collect()
}

/// The label of a kind in metrics.
pub(crate) fn kind_label(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Handler => "handler",
        ServiceKind::Typed => "typed",
        ServiceKind::Command => "command",
        ServiceKind::Core => "core",
        ServiceKind::Process => "process",
        ServiceKind::Source => "source",
    }
}
