//! Services as the kernel knows them: what each should be, what its cell last said, and the
//! operations on it. One actor per service ([`actor`]) does one operation at a time.

pub(crate) mod actor;
mod begin;
mod code;
mod deploy;
mod end;
mod giving;
mod idempotency;
mod registry;
mod state;
mod update;

use std::sync::Arc;

use parking_lot::Mutex;
use solo_api::UpdateSpec;
use solo_types::{InstanceId, Problem, ServiceId, ServiceName};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::cells::CellHost;
use crate::tenants::{Charge, Tenant};

pub(crate) use code::program_code;
pub(crate) use deploy::{Deployed, Timing, deploy};
pub(crate) use idempotency::{Known, fingerprint, look_up_key, tenant_key};
pub(crate) use registry::{Registry, Reservation};
pub(crate) use state::State;
pub(crate) use update::{Strategy, Updated};

/// Log lines that are kept with a failure, as `solo.v1` documents it.
pub(crate) const LOG_TAIL_MAX: usize = 20;

/// Operations that may wait for one service. They come from people and agents, one at a time each.
const OPERATIONS_MAX: usize = 16;

/// An operation on a service, done by its actor.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Replace its revision.
    Update {
        spec: Box<UpdateSpec>,
        strategy: Strategy,
        fingerprint: String,
        reply: oneshot::Sender<Result<Updated, Problem>>,
    },
    /// End it for good.
    Kill { force: bool, reply: oneshot::Sender<Result<bool, Problem>> },
    /// Stop its instances, because Solo ends. What should be stays as it is.
    Quiesce { timeout_ms: u64, reply: oneshot::Sender<()> },
}

/// One service. Shared by its actor, the API and the reports of cells.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) name: ServiceName,
    pub(crate) tenant: Arc<Tenant>,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
    /// The tenant's cell.
    pub(crate) host: Arc<CellHost>,
    /// What it takes of its tenant's quotas; none once it has ended.
    pub(crate) charge: Mutex<Option<Charge>>,
    pub(crate) state: Mutex<State>,
    /// Something in `state` changed that the actor may have to act on.
    pub(crate) changed: Notify,
    /// The number of changes, for those who wait for a state.
    pub(crate) version: watch::Sender<u64>,
    operations: mpsc::Sender<Operation>,
    /// Taken by the actor while it lives, so that a restarted one goes on with the same queue.
    queue: tokio::sync::Mutex<mpsc::Receiver<Operation>>,
    /// Highest wish to end it so far: 0 none, 1 gracefully, 2 at once.
    end_wish: watch::Sender<u8>,
}

impl Service {
    pub(crate) fn new(
        id: ServiceId,
        name: ServiceName,
        tenant: Arc<Tenant>,
        created_at: u64,
        charge: Charge,
        state: State,
    ) -> Arc<Self> {
        let (operations, queue) = mpsc::channel(OPERATIONS_MAX);
        Arc::new(Self {
            id,
            name,
            host: Arc::clone(&tenant.host),
            tenant,
            created_at,
            charge: Mutex::new(Some(charge)),
            state: Mutex::new(state),
            changed: Notify::new(),
            version: watch::Sender::new(0),
            operations,
            queue: tokio::sync::Mutex::new(queue),
            end_wish: watch::Sender::new(0),
        })
    }

    /// How records and figures name it: `NAME`, or `TENANT/NAME`.
    pub(crate) fn label(&self) -> String {
        self.tenant.label(self.name.as_str())
    }

    pub(crate) fn instance_id(&self, number: u64) -> String {
        InstanceId { service: self.id, number }.to_string()
    }

    /// Changes the state and tells everyone who waits.
    pub(crate) fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.version.send_modify(|version| *version += 1);
        self.changed.notify_one();
        result
    }

    /// Queues an operation; at once an error when too many wait.
    fn submit(&self, operation: Operation) -> Result<(), Problem> {
        self.operations.try_send(operation).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::new(
                solo_types::ProblemKind::ResourceExhausted,
                "SERVICE_BUSY",
                format!("{OPERATIONS_MAX} operations on {} wait already", self.name),
            )
            .remedy("wait for one to end"),
            mpsc::error::TrySendError::Closed(_) => not_found(self.name.as_str()),
        })
    }

    /// Updates the service.
    pub(crate) async fn update(
        &self,
        spec: UpdateSpec,
        strategy: Strategy,
        fingerprint: String,
    ) -> Result<Updated, Problem> {
        let (reply, answer) = oneshot::channel();
        let spec = Box::new(spec);
        self.submit(Operation::Update { spec, strategy, fingerprint, reply })?;
        answer.await.map_err(|_| ended_meanwhile())?
    }

    /// Ends the service for good; true: something had to be forced. Interrupts an update, and a
    /// graceful end when `force` is set.
    pub(crate) async fn kill(&self, force: bool) -> Result<bool, Problem> {
        let (reply, answer) = oneshot::channel();
        self.submit(Operation::Kill { force, reply })?;
        let wish = if force { 2 } else { 1 };
        self.end_wish.send_if_modified(|now| std::mem::replace(now, wish.max(*now)) < wish);
        answer.await.map_err(|_| not_found(self.name.as_str()))?
    }

    /// Stops the instances because Solo ends.
    pub(crate) async fn quiesce(&self, timeout_ms: u64) {
        let (reply, answer) = oneshot::channel();
        if self.submit(Operation::Quiesce { timeout_ms, reply }).is_ok() {
            // An error says that the service is gone, which is as good.
            let _gone = answer.await;
        }
    }
}

/// The answer to an operation that a kill cut short.
pub(crate) fn ended_meanwhile() -> Problem {
    Problem::new(
        solo_types::ProblemKind::Aborted,
        "SERVICE_ENDED",
        "the service was killed meanwhile",
    )
    .remedy("deploy it again")
}

/// The answer to a name that no service has.
pub(crate) fn not_found(name: &str) -> Problem {
    Problem::new(
        solo_types::ProblemKind::NotFound,
        "NO_SUCH_SERVICE",
        format!("there is no service {name}"),
    )
    .remedy("`solo list` shows the services that are there")
}
