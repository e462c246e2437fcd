//! What a service may do to others: its deployment says it, and whoever deployed it can lose it (C2).
//!
//! Computed from the grants of the node each time that instances start, and sent to the cell when one
//! of them ends. Decides nothing: `Holdings` does.

use std::sync::Arc;

use solo_capability::{Object, Token};
use solo_types::{Grant, Problem, ServiceId, ServiceKind, ServiceSpec, Tier};

use super::Service;
use super::code::program_code;
use crate::cells::CellHandle;
use crate::kernel::Kernel;
use crate::programs::Wish;
use crate::store::HeldRow;
use crate::tenants::Tenant;

/// Instances to be started, of one revision.
pub(super) struct Start<'a> {
    pub(super) service: ServiceId,
    pub(super) revision: u64,
    pub(super) spec: &'a ServiceSpec,
    /// Path of the compiled artifact.
    pub(super) artifact: String,
    /// Ids.
    pub(super) instances: Vec<String>,
}

impl Start<'_> {
    /// Starts them with what the service may do now. What is revoked meanwhile they lose at once.
    ///
    /// # Errors
    /// As of [`CellHandle::start`].
    pub(super) async fn run(self, kernel: &Kernel, cell: &CellHandle) -> Result<(), Problem> {
        let Self { service, revision, spec, artifact, instances } = self;
        let mut message = kernel.secrets.cell_spec(service, revision, spec, artifact).await?;
        let sent = in_effect(kernel, service, spec);
        message.grants = solo_api::cell_grants(&sent);
        provide(kernel, service, spec, &instances).await?;
        if let Err(problem) = cell.start(message, instances.clone()).await {
            if spec.kind == ServiceKind::Process {
                let tenant = tenant_of(kernel, spec)?;
                kernel.programs.release(tenant.host.cell(), &instances).await;
            }
            return Err(problem);
        }
        let now = in_effect(kernel, service, spec);
        if now != sent {
            cell.set_grants(service.to_string(), &now).await?;
        }
        Ok(())
    }
}

/// Makes the sandboxes of instances of a program, several at a time.
async fn provide(
    kernel: &Kernel,
    service: ServiceId,
    spec: &ServiceSpec,
    instances: &[String],
) -> Result<(), Problem> {
    if spec.kind != ServiceKind::Process {
        return Ok(());
    }
    let tenant = tenant_of(kernel, spec)?;
    let code = program_code(kernel, &tenant, spec)?;
    let making = instances.iter().map(|instance| {
        kernel.programs.provide(Wish { instance, service, tenant: &tenant, code: &code, spec })
    });
    let made = futures_util::future::join_all(making).await;
    let Some(problem) = made.into_iter().find_map(Result::err) else { return Ok(()) };
    kernel.programs.release(tenant.host.cell(), instances).await;
    Err(problem)
}

fn tenant_of(kernel: &Kernel, spec: &ServiceSpec) -> Result<Arc<Tenant>, Problem> {
    kernel.tenants.find(&spec.tenant).ok_or_else(|| Problem::internal("the tenant is gone"))
}

/// What is left of what a deployment gave its service. Of a name that nobody has, what the name gives.
fn in_effect(kernel: &Kernel, service: ServiceId, spec: &ServiceSpec) -> Vec<Grant> {
    let tenant = spec.tenant.as_str();
    kernel.holdings.in_effect(service, &spec.grants, |name| {
        let name = name.as_str();
        let found = kernel.registry.find(tenant, name);
        let (id, tier) = match &found {
            Some(service) => (Some(service.id), service.state.lock().spec.tier),
            None => (None, Tier::User),
        };
        Object::service(tenant, name, id, tier).ok()
    })
}

/// Grants of a deployment that is under way: forgotten unless it is kept.
pub(super) struct Given {
    kernel: Arc<Kernel>,
    service: ServiceId,
    rows: Vec<HeldRow>,
    kept: bool,
}

impl Given {
    /// Puts into force what a deployment gives its service.
    ///
    /// # Errors
    /// The token is not in force any more, or there is no room.
    pub(super) fn give(
        kernel: &Arc<Kernel>,
        from: &Token,
        service: ServiceId,
        spec: &ServiceSpec,
    ) -> Result<Self, Problem> {
        let rows = kernel.holdings.give(from, &spec.tenant, service, &spec.grants)?;
        let given = Self { kernel: Arc::clone(kernel), service, rows, kept: false };
        for row in &given.rows {
            kernel.holdings.insert(row.clone())?;
        }
        Ok(given)
    }

    /// What is to be stored with the service.
    pub(super) fn rows(&self) -> &[HeldRow] {
        &self.rows
    }

    /// It is stored.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if !self.kept {
            self.kernel.holdings.forget(self.service);
        }
    }
}

impl Service {
    /// Tells the cell what the service may still do. Without a cell the next one learns it.
    pub(crate) async fn tell_grants(&self, kernel: &Kernel) {
        let Some(cell) = self.host.current() else { return };
        if let Err(problem) = self.tell_grants_to(kernel, &cell).await {
            // A cell that does not answer is replaced; its successor starts with what is left.
            tracing::error!(%problem, service = %self.id, "Failed to tell the cell of a revocation");
        }
    }

    /// The same to one cell.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn tell_grants_to(
        &self,
        kernel: &Kernel,
        cell: &CellHandle,
    ) -> Result<(), Problem> {
        let spec = Arc::clone(&self.state.lock().spec);
        if spec.grants.is_empty() {
            return Ok(());
        }
        let left = in_effect(kernel, self.id, &spec);
        cell.set_grants(self.id.to_string(), &left).await
    }
}
