//! A connection to one cell. Says hello, commands, and turns broken wires into problems.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_api::cell::v1::cell_service_client::CellServiceClient;
use solo_api::{Endpoint, connect_channel};
use solo_types::Grant;
use solo_types::{Problem, ProblemKind};
use tonic::transport::Channel;

/// A cell that was just started needs this long at most to listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two tries.
const CONNECT_PAUSE: Duration = Duration::from_millis(2);

/// A living cell answers a hello or a snapshot within this time, also under load.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Beyond the time that a service states for its start. A cell lets one go on for a minute where
/// limits throttle or warn.
const START_SLACK: Duration = Duration::from_secs(90);

/// Starts under way at once in one cell: enough to keep its cores busy.
const STARTS_MAX: usize = 64;

/// Services that are brought in step with their cell at the same time. When it comes back all of them
/// want to be; those that wait for their turn keep nobody from asking it something else.
const TURNS_MAX: usize = 64;

/// Instances of one page of a snapshot: some hundred kilobytes.
const PAGE_INSTANCES_MAX: u32 = 1_000;

/// Pages of one snapshot, against a cell that never comes to an end: a million instances.
const PAGES_MAX: usize = 1_000;

/// A cell that said hello.
#[derive(Debug)]
pub(crate) struct CellHandle {
    /// Its id.
    pub(crate) cell: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Tells it from its predecessor.
    pub(crate) incarnation: String,
    /// What artifacts must be compiled for.
    pub(crate) engine: String,
    client: CellServiceClient<Channel>,
    starts: tokio::sync::Semaphore,
    turns: tokio::sync::Semaphore,
}

/// Opens a channel to the socket of a cell, waiting until it listens.
pub(super) async fn open_channel(socket: &Path) -> Result<Channel, Problem> {
    let endpoint = Endpoint::Unix(socket.to_owned());
    let deadline = tokio::time::Instant::now() + CONNECT_TIMEOUT;
    loop {
        match connect_channel(&endpoint).await {
            Ok(channel) => return Ok(channel),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(Problem::internal(format!("a cell does not listen: {error}")));
            }
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    }
}

/// The problem of a call that the cell did not answer.
pub(crate) fn lost(status: &tonic::Status) -> Problem {
    if status.code() == tonic::Code::DeadlineExceeded || status.code() == tonic::Code::Cancelled {
        return Problem::new(
            ProblemKind::DeadlineExceeded,
            "TIMEOUT",
            "the cell did not answer in time",
        )
        .remedy("allow more time, or look why the service is slow");
    }
    Problem::new(
        ProblemKind::Unavailable,
        "CELL_LOST",
        format!("the cell ended or is unreachable: {}", status.message()),
    )
    .remedy("try again: the cell and its services are being started again")
}

impl CellHandle {
    /// Connects and says hello.
    pub(super) async fn connect(cell: &str, pid: u32, socket: &Path) -> Result<Arc<Self>, Problem> {
        let channel = open_channel(socket).await?;
        let mut client = CellServiceClient::new(channel)
            .max_decoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX);
        let hello = wire::HelloRequest { protocol: solo_api::CELL_PROTOCOL };
        let hello = within(client.hello(hello)).await?;
        if hello.protocol != solo_api::CELL_PROTOCOL || hello.cell != cell {
            return Err(Problem::internal(format!(
                "cell {cell} says it is {} and speaks protocol {}",
                hello.cell, hello.protocol
            )));
        }
        Ok(Arc::new(Self {
            cell: cell.to_owned(),
            pid,
            incarnation: hello.incarnation,
            engine: hello.engine,
            client,
            starts: tokio::sync::Semaphore::new(STARTS_MAX),
            turns: tokio::sync::Semaphore::new(TURNS_MAX),
        }))
    }

    /// Waits for a turn among the services that are brought in step with the cell. Held for the length
    /// of a question, not of a start.
    pub(crate) async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        self.turns.acquire().await.map_err(|error| Problem::internal(error.to_string()))
    }

    /// Starts instances and waits until they are ready.
    pub(crate) async fn start(
        &self,
        spec: wire::ServiceSpec,
        instances: Vec<String>,
    ) -> Result<(), Problem> {
        let service = spec.name.clone();
        let _permit = self.starts.acquire().await.map_err(|e| Problem::internal(e.to_string()))?;
        // The cell keeps the startup timeout per instance; this only bounds a cell that hangs.
        let budget = Duration::from_millis(spec.startup_timeout_ms)
            * u32::try_from(instances.len()).unwrap_or(u32::MAX).max(1)
            + START_SLACK;
        let request = wire::StartRequest { spec: Some(spec), instances };
        let response = tokio::time::timeout(budget, self.client.clone().start(request))
            .await
            .map_err(|_| Problem::internal("the cell did not start the service in time"))?
            .map_err(|status| lost(&status))?;
        match response.into_inner().failure {
            None => Ok(()),
            Some(failure) => Err(not_started(&service, failure)),
        }
    }

    /// Ends instances; returns those that had to be forced.
    pub(crate) async fn stop(
        &self,
        instances: Vec<String>,
        force: bool,
        timeout_ms: Option<u64>,
        patience_ms: u64,
        reason: &str,
    ) -> Result<Vec<String>, Problem> {
        let budget = Duration::from_millis(timeout_ms.unwrap_or(patience_ms)) + ANSWER_TIMEOUT;
        let request = wire::StopRequest { instances, force, timeout_ms, reason: reason.to_owned() };
        let response = tokio::time::timeout(budget, self.client.clone().stop(request))
            .await
            .map_err(|_| Problem::internal("the cell did not stop the service in time"))?
            .map_err(|status| lost(&status))?;
        Ok(response.into_inner().forced)
    }

    /// Replaces the route of a service. No instances: they are being replaced.
    pub(crate) async fn route(
        &self,
        service: String,
        name: String,
        instances: Vec<String>,
    ) -> Result<(), Problem> {
        let replacing = instances.is_empty();
        let request =
            wire::RouteRequest { service, name, instances, weights: Vec::new(), replacing };
        within(self.client.clone().route(request)).await.map(|_| ())
    }

    /// Replaces what a service may do to others.
    pub(crate) async fn set_grants(
        &self,
        service: String,
        grants: &[Grant],
    ) -> Result<(), Problem> {
        let request = wire::SetGrantsRequest { service, grants: solo_api::cell_grants(grants) };
        within(self.client.clone().set_grants(request)).await.map(|_| ())
    }

    /// Takes the route of a service away: its name is not known any more.
    pub(crate) async fn unroute(&self, service: String) -> Result<(), Problem> {
        let request = wire::RouteRequest { service, ..wire::RouteRequest::default() };
        within(self.client.clone().route(request)).await.map(|_| ())
    }

    /// What the cell hosts of one service, or (empty) of all, children included.
    ///
    /// Read in pages, so that it has no largest size: what changes meanwhile may be seen as it was
    /// before or as it is after.
    pub(crate) async fn snapshot(&self, service: &str) -> Result<wire::SnapshotResponse, Problem> {
        let mut all = wire::SnapshotResponse::default();
        for _ in 0..PAGES_MAX {
            let request = wire::SnapshotRequest {
                service: service.to_owned(),
                after: std::mem::take(&mut all.next),
                max: PAGE_INSTANCES_MAX,
            };
            let page = within(self.client.clone().snapshot(request)).await?;
            all.instances.extend(page.instances);
            all.routes.extend(page.routes);
            if page.next.is_empty() {
                return Ok(all);
            }
            all.next = page.next;
        }
        Err(Problem::internal("the cell's list of instances does not end"))
    }

    /// Calls a service. The cell keeps the deadline; a little more time lets its own answer win.
    pub(crate) async fn call(
        &self,
        request: wire::CallRequest,
    ) -> Result<wire::CallResponse, tonic::Status> {
        let budget = Duration::from_millis(request.timeout_ms) + Duration::from_millis(500);
        match tokio::time::timeout(budget, self.client.clone().call(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(tonic::Status::deadline_exceeded("the cell did not answer in time")),
        }
    }

    /// Sends to a service.
    pub(crate) async fn send(
        &self,
        request: wire::SendRequest,
    ) -> Result<wire::SendResponse, tonic::Status> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.client.clone().send(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(tonic::Status::deadline_exceeded("the cell did not answer in time")),
        }
    }

    /// Reports after `after`, without end.
    pub(super) async fn reports(
        &self,
        after: u64,
    ) -> Result<tonic::Streaming<wire::ReportsResponse>, Problem> {
        let mut client = self.client.clone();
        within(client.reports(wire::ReportsRequest { after })).await
    }

    /// Whether the cell still answers.
    pub(super) async fn ping(&self) -> Result<(), Problem> {
        let mut client = self.client.clone();
        let hello = wire::HelloRequest { protocol: solo_api::CELL_PROTOCOL };
        within(client.hello(hello)).await.map(|_| ())
    }
}

/// A crash during a start is no passing state as it is during a call: the code has to change.
fn not_started(service: &str, failure: wire::Failure) -> Problem {
    let crashed = failure.reason == "CRASHED";
    let problem = solo_api::cell_failure_problem(service, failure);
    if !crashed {
        return problem;
    }
    Problem { kind: ProblemKind::FailedPrecondition, ..problem }
        .remedy("mend the code: it ends while it starts; the backtrace says where")
}

async fn within<T>(
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(lost(&status)),
        Err(_) => Err(Problem::internal("the cell did not answer in time")),
    }
}
