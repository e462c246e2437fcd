//! The kernel's side of the cell protocol, against a cell that says what a test wants.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use solo_api::cell::v1 as wire;
use solo_api::cell::v1::cell_service_server::{CellService, CellServiceServer};
use solo_api::cell::v1::reports_response::Report;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::connection::CellHandle;
use super::host::{InstanceReports, take_reports};
use crate::monitor::{Filter, Monitor, Position};

/// Instances that the cell puts into one page, whatever it is asked for.
const PAGE: usize = 3;

#[derive(Debug, Default)]
struct FakeCell {
    instances: Vec<wire::Instance>,
    routes: Vec<wire::Route>,
    reports: Vec<wire::ReportsResponse>,
}

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this test"))
}

#[tonic::async_trait]
impl CellService for FakeCell {
    type ReportsStream = Pin<Box<dyn Stream<Item = Result<wire::ReportsResponse, Status>> + Send>>;

    async fn hello(
        &self,
        _request: Request<wire::HelloRequest>,
    ) -> Result<Response<wire::HelloResponse>, Status> {
        Ok(Response::new(wire::HelloResponse {
            protocol: solo_api::CELL_PROTOCOL,
            cell: "fake".into(),
            kind: "wasm".into(),
            incarnation: "inc".into(),
            ..wire::HelloResponse::default()
        }))
    }

    async fn snapshot(
        &self,
        request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotResponse>, Status> {
        let wire::SnapshotRequest { after, max, .. } = request.into_inner();
        let size = PAGE.min(max as usize);
        let behind: Vec<_> = self.instances.iter().filter(|i| i.id > after).collect();
        let instances: Vec<_> = behind.iter().take(size).map(|i| (*i).clone()).collect();
        let more = behind.len() > size;
        let next = instances.last().filter(|_| more).map(|i| i.id.clone()).unwrap_or_default();
        let routes = if after.is_empty() { self.routes.clone() } else { Vec::new() };
        Ok(Response::new(wire::SnapshotResponse { instances, routes, next }))
    }

    async fn reports(
        &self,
        request: Request<wire::ReportsRequest>,
    ) -> Result<Response<Self::ReportsStream>, Status> {
        let after = request.into_inner().after;
        let reports: Vec<_> =
            self.reports.iter().filter(|r| r.sequence > after).cloned().map(Ok).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(reports))))
    }

    async fn start(
        &self,
        _request: Request<wire::StartRequest>,
    ) -> Result<Response<wire::StartResponse>, Status> {
        unused()
    }

    async fn stop(
        &self,
        _request: Request<wire::StopRequest>,
    ) -> Result<Response<wire::StopResponse>, Status> {
        unused()
    }

    async fn set_grants(
        &self,
        _request: Request<wire::SetGrantsRequest>,
    ) -> Result<Response<wire::SetGrantsResponse>, Status> {
        unused()
    }

    async fn route(
        &self,
        _request: Request<wire::RouteRequest>,
    ) -> Result<Response<wire::RouteResponse>, Status> {
        unused()
    }

    async fn call(
        &self,
        _request: Request<wire::CallRequest>,
    ) -> Result<Response<wire::CallResponse>, Status> {
        unused()
    }

    async fn send(
        &self,
        _request: Request<wire::SendRequest>,
    ) -> Result<Response<wire::SendResponse>, Status> {
        unused()
    }
}

/// Serves `cell` until the test ends.
async fn connect(directory: &Path, cell: FakeCell) -> Arc<CellHandle> {
    let socket = directory.join("cell.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("bind");
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(CellServiceServer::new(cell))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    CellHandle::connect("fake", 1, &socket).await.expect("connect")
}

/// SPEC section 9: ten thousand instances do not have to fit into one message.
#[tokio::test]
async fn a_snapshot_is_read_in_pages() {
    let directory = tempfile::tempdir().expect("tempdir");
    let ids: Vec<_> = (0..10).map(|n| format!("0000beef-{n}-1")).collect();
    let instance = |id: &String| wire::Instance { id: id.clone(), ..wire::Instance::default() };
    let cell = FakeCell {
        instances: ids.iter().map(instance).collect(),
        routes: vec![wire::Route { name: "one".into(), ..wire::Route::default() }],
        ..FakeCell::default()
    };
    let handle = connect(directory.path(), cell).await;
    let all = handle.snapshot("").await.expect("snapshot");
    assert_eq!(
        all.instances.iter().map(|i| &i.id).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(all.routes.len(), 1);
}

#[derive(Debug, Default)]
struct Heard {
    changes: Mutex<Vec<(String, String)>>,
    exceeded: Mutex<Vec<(String, u64)>>,
}

impl InstanceReports for Heard {
    fn is_hosted(&self, service: &str) -> bool {
        service == "0000beef-1"
    }

    fn instance_changed(&self, service: &str, instance: &str, _change: wire::StateChange) {
        self.changes.lock().push((service.to_owned(), instance.to_owned()));
    }

    fn limit_exceeded(&self, _service: &str, instance: &str, violation: &wire::Violation) {
        self.exceeded.lock().push((instance.to_owned(), violation.count));
    }
}

fn report_of(sequence: u64, report: Report) -> wire::ReportsResponse {
    let report = Some(report);
    wire::ReportsResponse { sequence, at_unix_ms: 1, report, ..wire::ReportsResponse::default() }
}

#[tokio::test]
async fn reports_become_records_and_changes() {
    let directory = tempfile::tempdir().expect("tempdir");
    let monitor = Monitor::open(directory.path().join("records.jsonl")).expect("open");
    monitor.name_service("0000beef-1", "worker");
    monitor.name_service("0000beef-2", "acme/worker");
    let child = "0000beef-9-1.2";
    let report = |sequence, report| wire::ReportsResponse {
        sequence,
        at_unix_ms: 1,
        service: "0000beef-1".into(),
        instance: child.into(),
        report,
    };
    let change = wire::StateChange { state: "restarting".into(), ..wire::StateChange::default() };
    let violation = wire::Violation {
        limit: "max_processes".into(),
        action: "warn".into(),
        count: 4,
        message: "one more".into(),
    };
    let line = wire::Log { message: "hello".into(), ..wire::Log::default() };
    let of_another = |sequence, report| wire::ReportsResponse {
        service: "0000beef-2".into(),
        ..report_of(sequence, report)
    };
    let reports = vec![
        report(1, Some(Report::Log(line.clone()))),
        report(2, Some(Report::Violation(violation.clone()))),
        report(3, Some(Report::State(change.clone()))),
        // About what it does not host: a cell that lies.
        of_another(5, Report::Log(line)),
        of_another(6, Report::Violation(violation)),
        of_another(7, Report::State(change)),
        // Of a newer protocol.
        report(4, None),
    ];
    let handle = connect(directory.path(), FakeCell { reports, ..FakeCell::default() }).await;
    let heard = Arc::new(Heard::default());
    let services: Arc<dyn InstanceReports> = heard.clone();
    let stream = handle.reports(0).await.expect("reports");
    take_reports(&handle, stream, &monitor, &services).await;
    assert_eq!(*heard.changes.lock(), [("0000beef-1".to_owned(), child.to_owned())]);
    assert_eq!(*heard.exceeded.lock(), [(child.to_owned(), 4)]);
    let filter = Filter { service: "worker".into(), logs: true, events: true };
    let page = monitor.read(&filter, &mut Position::default(), 10);
    assert_eq!(page.records.len(), 3);
    let everything = Filter { service: String::new(), logs: true, events: true };
    assert_eq!(monitor.read(&everything, &mut Position::default(), 10).records.len(), 3);
    assert!(page.records.iter().all(|record| record.instance == child), "{page:?}");
    assert_eq!(monitor.last_report("inc"), 3);
}
