//! Keeps one hosting cell alive: starts or adopts it, connects, drains its reports, and starts it
//! again when it dies. What should run in it is the services' business: they watch [`CellState`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_heart::protocol::CellKind;
use solo_supervisor::{ExitKind, RestartTracker, Verdict};
use solo_types::{Problem, ProblemKind, RestartMode, RestartPolicy, TenantName};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::connection::CellHandle;
use crate::clock;
use crate::heart::Heart;
use crate::home::Home;
use crate::monitor::{Monitor, NewRecord};

/// How long an operation waits for a cell that is being started.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Between two checks that a silent cell still answers.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Reports that are taken in one go: one write to the record file, one lock.
const REPORTS_BATCH_MAX: usize = 512;

/// Whether the cell can be used.
#[derive(Debug, Clone)]
pub(crate) enum CellState {
    /// It is being started; with the reason for the last end, if there was one.
    Down(Option<String>),
    /// It answers.
    Up(Arc<CellHandle>),
}

/// Receives what cells report of instances. `service` and `instance` are ids; of a child the
/// service is the one whose code it runs. Implementations must not block.
pub(crate) trait InstanceReports: Send + Sync {
    /// Whether the cell may report about this service. What it reports about others is thrown away.
    fn is_hosted(&self, service: &str) -> bool;
    /// Takes one change.
    fn instance_changed(&self, service: &str, instance: &str, change: wire::StateChange);
    /// Takes the news that a limit was exceeded.
    fn limit_exceeded(&self, service: &str, instance: &str, violation: &wire::Violation);
}

/// One hosting cell and its keeper.
#[derive(Debug)]
pub(crate) struct CellHost {
    tenant: TenantName,
    cell: String,
    socket: PathBuf,
    heart: Heart,
    state: watch::Sender<CellState>,
}

impl CellHost {
    pub(crate) fn new(tenant: &TenantName, cell: &str, home: &Home, heart: Heart) -> Arc<Self> {
        Arc::new(Self {
            tenant: tenant.clone(),
            cell: cell.to_owned(),
            socket: home.cell_socket(cell),
            heart,
            state: watch::Sender::new(CellState::Down(None)),
        })
    }

    pub(crate) fn cell(&self) -> &str {
        &self.cell
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<CellState> {
        self.state.subscribe()
    }

    /// The cell if it answers right now.
    pub(crate) fn current(&self) -> Option<Arc<CellHandle>> {
        match &*self.state.borrow() {
            CellState::Up(handle) => Some(Arc::clone(handle)),
            CellState::Down(_) => None,
        }
    }

    /// The cell, waiting until it answers.
    pub(crate) async fn ready(&self) -> Result<Arc<CellHandle>, Problem> {
        if let Some(handle) = self.current() {
            return Ok(handle);
        }
        let mut state = self.state.subscribe();
        let up = state.wait_for(|state| matches!(state, CellState::Up(_)));
        match tokio::time::timeout(WAIT_MAX, up).await {
            Ok(Ok(state)) => match &*state {
                CellState::Up(handle) => Ok(Arc::clone(handle)),
                CellState::Down(_) => Err(self.unavailable()),
            },
            _ => Err(self.unavailable()),
        }
    }

    fn unavailable(&self) -> Problem {
        let why = match &*self.state.borrow() {
            CellState::Down(Some(why)) => format!("cell {} is down: {why}", self.cell),
            _ => format!("cell {} is being started", self.cell),
        };
        Problem::new(ProblemKind::Unavailable, "CELL_DOWN", why)
            .remedy("try again; `solo tree` shows the cells, the kernel's log says more")
    }

    /// Keeps the cell alive, without end. The actor of this cell in the tree.
    pub(crate) async fn keep(
        &self,
        monitor: Arc<Monitor>,
        services: Arc<dyn InstanceReports>,
    ) -> Result<(), String> {
        // A cell is never given up: what it hosts has nowhere else to go. The policy is there for
        // its delays, and its window for forgetting them.
        let policy = RestartPolicy {
            mode: RestartMode::Permanent,
            max_restarts: 1_000,
            window_ms: 60_000,
            backoff_initial_ms: 20,
            backoff_max_ms: 5_000,
        };
        let mut tracker = RestartTracker::new(policy, u64::from(std::process::id()));
        let origin = tokio::time::Instant::now();
        loop {
            let why = self.serve_once(&monitor, &services).await;
            self.state.send_replace(CellState::Down(Some(why.clone())));
            monitor.event("", "", "cell_lost", &format!("cell {} is gone: {why}", self.cell));
            let now_ms = u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
            let delay_ms = match tracker.on_exit(now_ms, ExitKind::Abnormal) {
                Verdict::Restart { delay_ms } => delay_ms,
                Verdict::Stay | Verdict::GiveUp => policy.backoff_max_ms,
            };
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
    }

    /// One life of the cell. Returns why it ended.
    async fn serve_once(&self, monitor: &Monitor, services: &Arc<dyn InstanceReports>) -> String {
        let pid = match self.heart.spawn(&self.cell, CellKind::Wasm, Some(&self.tenant)).await {
            Ok(pid) => pid,
            Err(error) => return error.to_string(),
        };
        let connect = CellHandle::connect(&self.cell, pid, &self.socket);
        let handle = tokio::select! {
            handle = connect => handle,
            status = self.heart.ended(&self.cell) => return format!("it ended at once ({status})"),
        };
        let handle = match handle {
            Ok(handle) => handle,
            Err(problem) => {
                // It lives but cannot be talked to: a fresh one is better.
                self.end().await;
                return problem.cause;
            }
        };
        monitor.event("", "", "cell_started", &format!("cell {} is up, pid {pid}", self.cell));
        self.state.send_replace(CellState::Up(Arc::clone(&handle)));
        tokio::select! {
            status = self.heart.ended(&self.cell) => format!("it ended ({status})"),
            why = drain(&handle, monitor, services) => {
                self.end().await;
                why
            }
        }
    }

    /// Ends the cell, for another one or for good.
    pub(crate) async fn end(&self) {
        if let Err(error) = self.heart.kill(&self.cell).await {
            tracing::error!(%error, cell = self.cell, "Failed to have a cell ended");
            return;
        }
        self.heart.ended(&self.cell).await;
    }
}

/// Takes the reports of a cell until it cannot be talked to any more. Returns why.
async fn drain(
    handle: &CellHandle,
    monitor: &Monitor,
    services: &Arc<dyn InstanceReports>,
) -> String {
    let mut failures = 0;
    loop {
        let after = monitor.last_report(&handle.incarnation);
        match handle.reports(after).await {
            Ok(stream) => {
                failures = 0;
                take_reports(handle, stream, monitor, services).await;
            }
            Err(problem) => failures += 1_u32.max(u32::from(problem.reason.is_empty())),
        }
        // A broken stream alone is no death: only a cell that does not answer again is lost.
        if failures > 2 {
            return "it does not answer".to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) async fn take_reports(
    handle: &CellHandle,
    mut stream: tonic::Streaming<wire::ReportsResponse>,
    monitor: &Monitor,
    services: &Arc<dyn InstanceReports>,
) {
    loop {
        let first = tokio::select! {
            report = stream.next() => report,
            () = tokio::time::sleep(PING_INTERVAL) => match handle.ping().await {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Some(Ok(first)) = first else { return };
        let mut batch = vec![first];
        // What has arrived already is taken along; nothing is waited for.
        while batch.len() < REPORTS_BATCH_MAX
            && let Some(Some(Ok(next))) = futures_util::FutureExt::now_or_never(stream.next())
        {
            batch.push(next);
        }
        let mut records = Vec::with_capacity(batch.len());
        let mut changes = Vec::new();
        for report in batch {
            let position = (handle.incarnation.clone(), report.sequence);
            let at = if report.at_unix_ms == 0 { clock::unix_ms() } else { report.at_unix_ms };
            let (service, instance) = (report.service, report.instance);
            let about_itself =
                matches!(report.report, Some(wire::reports_response::Report::Missed(_)));
            if !about_itself && !services.is_hosted(&service) {
                // Of a service that is gone, or not this cell's: then the cell is not what it should be.
                tracing::debug!(
                    cell = handle.cell,
                    service,
                    "A report about what the cell does not host"
                );
                continue;
            }
            match report.report {
                Some(wire::reports_response::Report::Log(log)) => {
                    records.push(NewRecord::log(at, service, instance, log, position));
                }
                Some(wire::reports_response::Report::State(change)) => {
                    if let Some(record) =
                        NewRecord::change(at, &service, &instance, &change, position)
                    {
                        records.push(record);
                    }
                    changes.push((service, instance, change));
                }
                Some(wire::reports_response::Report::Missed(count)) => {
                    records.push(NewRecord::missed(at, &handle.cell, count, position));
                }
                Some(wire::reports_response::Report::Violation(violation)) => {
                    services.limit_exceeded(&service, &instance, &violation);
                    let record = NewRecord::violation(at, service, instance, &violation, position);
                    records.push(record);
                }
                // A kind of report that this build does not know.
                None => {}
            }
        }
        monitor.append(records);
        for (service, instance, change) in changes {
            services.instance_changed(&service, &instance, change);
        }
    }
}
