//! `solo.cell.v1.CellService`: protobuf to the cell's own types and back. Decides nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, Stream, StreamExt};
use solo_api::cell::v1 as wire;
use solo_api::cell::v1::cell_service_server::CellService;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use solo_types::{Exit, InstanceState};
use tonic::{Request, Response, Status};

use super::cell::{Cell, StartError};
use super::clock::whole_ms;
use super::failure::Failure;
use super::grants::rights_by_name;
use super::message::{Answer, Input, Trace};
use super::service::Service;
use super::slot::{Slot, StopReason};
use super::violations::Violation;
use crate::reports::{Entry, Report};

/// Reports that are taken out of the ring at one time: enough to keep a stream busy, little enough
/// to hold its lock for microseconds.
const REPORTS_BATCH: usize = 256;

/// Bytes of instances in one page of a snapshot: with one more instance and the routes of all, which
/// the first page has, it is well within a message.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Memory of an instance in a message beside its longer texts.
const INSTANCE_BYTES_BASE: usize = 256;

/// Who this process is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// As given by the heart.
    pub(crate) cell: String,
    /// Drawn anew by each process.
    pub(crate) incarnation: String,
    /// What artifacts must have been made for.
    pub(crate) engine: String,
}

/// The service.
pub(crate) struct Server {
    identity: Identity,
    cell: Arc<Cell>,
}

impl Server {
    /// Serves `cell`.
    pub(crate) fn new(identity: Identity, cell: Arc<Cell>) -> Self {
        Self { identity, cell }
    }
}

#[tonic::async_trait]
impl CellService for Server {
    type ReportsStream = Pin<Box<dyn Stream<Item = Result<wire::ReportsResponse, Status>> + Send>>;

    async fn hello(
        &self,
        _request: Request<wire::HelloRequest>,
    ) -> Result<Response<wire::HelloResponse>, Status> {
        Ok(Response::new(wire::HelloResponse {
            protocol: solo_api::CELL_PROTOCOL,
            cell: self.identity.cell.clone(),
            kind: "wasm".to_owned(),
            incarnation: self.identity.incarnation.clone(),
            engine: self.identity.engine.clone(),
            pid: std::process::id(),
        }))
    }

    async fn start(
        &self,
        request: Request<wire::StartRequest>,
    ) -> Result<Response<wire::StartResponse>, Status> {
        let wire::StartRequest { spec, instances } = request.into_inner();
        let spec = spec.ok_or_else(|| Status::invalid_argument("spec is missing"))?;
        let service = Service::from_wire(spec)
            .map_err(|error| Status::invalid_argument(format!("spec: {error}")))?;
        // Goes on to its end, with its cleaning up, also when the kernel goes away meanwhile.
        let cell = Arc::clone(&self.cell);
        let started = tokio::spawn(async move { cell.start(service, instances).await }).await;
        let failure = match started {
            Ok(Ok(())) => None,
            Ok(Err(StartError::Failed(failure))) => Some(failure_message(failure)),
            Ok(Err(error @ StartError::Id(_))) => {
                return Err(Status::invalid_argument(error.to_string()));
            }
            Ok(Err(error @ StartError::OtherRevision { .. })) => {
                return Err(Status::failed_precondition(error.to_string()));
            }
            Err(error) => return Err(Status::internal(format!("the start failed: {error}"))),
        };
        Ok(Response::new(wire::StartResponse { failure }))
    }

    async fn stop(
        &self,
        request: Request<wire::StopRequest>,
    ) -> Result<Response<wire::StopResponse>, Status> {
        let wire::StopRequest { instances, force, timeout_ms, reason } = request.into_inner();
        let reason = StopReason::from_word(&reason);
        let forced = self.cell.stop(&instances, force, timeout_ms, reason).await;
        Ok(Response::new(wire::StopResponse { forced }))
    }

    async fn set_grants(
        &self,
        request: Request<wire::SetGrantsRequest>,
    ) -> Result<Response<wire::SetGrantsResponse>, Status> {
        let wire::SetGrantsRequest { service, grants } = request.into_inner();
        self.cell.set_grants(&service, rights_by_name(grants));
        Ok(Response::new(wire::SetGrantsResponse {}))
    }

    async fn route(
        &self,
        request: Request<wire::RouteRequest>,
    ) -> Result<Response<wire::RouteResponse>, Status> {
        let wire::RouteRequest { service, name, instances, weights, replacing } =
            request.into_inner();
        if instances.is_empty() && !replacing {
            self.cell.unroute(&service);
        } else {
            self.cell.route(&service, &name, &instances, &weights);
        }
        Ok(Response::new(wire::RouteResponse {}))
    }

    async fn call(
        &self,
        request: Request<wire::CallRequest>,
    ) -> Result<Response<wire::CallResponse>, Status> {
        use wire::call_request::Input as In;
        use wire::call_response::Output as Out;
        let wire::CallRequest { service, function, input, timeout_ms, trace_id } =
            request.into_inner();
        let input = match input {
            None => Input::None,
            Some(In::JsonArguments(json)) => Input::Json(json),
            Some(In::Payload(bytes)) => Input::Payload(bytes),
        };
        check_size(&input)?;
        let trace = Trace::from_bytes(&trace_id).or_draw();
        let output = match self.cell.call(&service, function, input, timeout_ms, trace).await {
            Ok(Answer::Json(json)) => Out::Json(json),
            Ok(Answer::Payload(bytes)) => Out::Payload(bytes),
            Err(failure) => Out::Failure(failure_message(failure)),
        };
        Ok(Response::new(wire::CallResponse { output: Some(output) }))
    }

    async fn send(
        &self,
        request: Request<wire::SendRequest>,
    ) -> Result<Response<wire::SendResponse>, Status> {
        use wire::send_request::Input as In;
        let wire::SendRequest { service, function, input, trace_id } = request.into_inner();
        let input = match input {
            None => Input::None,
            Some(In::JsonArguments(json)) => Input::Json(json),
            Some(In::Payload(bytes)) => Input::Payload(bytes),
        };
        check_size(&input)?;
        let trace = Trace::from_bytes(&trace_id).or_draw();
        let failure = self.cell.send(&service, function, input, trace).err().map(failure_message);
        Ok(Response::new(wire::SendResponse { failure }))
    }

    async fn snapshot(
        &self,
        request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotResponse>, Status> {
        let wire::SnapshotRequest { service, after, max } = request.into_inner();
        let max = if max == 0 { usize::MAX } else { max as usize };
        // One more tells whether there is more.
        let slots = self.cell.slots(&service, &after, max.saturating_add(1));
        let (instances, next) = page(slots.iter().map(|slot| instance_message(slot)), max);
        let routes = &self.cell.shared.routes;
        let routes = match service.as_str() {
            _ if !after.is_empty() => Vec::new(),
            "" => routes.all(),
            service => routes.by_service(service).into_iter().collect(),
        };
        let routes = routes
            .iter()
            .map(|route| wire::Route {
                service: route.service.to_string(),
                name: route.name.clone(),
                instances: route.instances.iter().map(|slot| slot.id.to_string()).collect(),
            })
            .collect();
        Ok(Response::new(wire::SnapshotResponse { instances, routes, next }))
    }

    async fn reports(
        &self,
        request: Request<wire::ReportsRequest>,
    ) -> Result<Response<Self::ReportsStream>, Status> {
        let after = request.into_inner().after;
        let reports = Arc::clone(&self.cell.reports);
        let newest = reports.watch();
        let batches =
            stream::unfold((reports, newest, after), |(reports, mut newest, after)| async move {
                loop {
                    newest.borrow_and_update();
                    let batch = reports.read(after, REPORTS_BATCH);
                    if let Some(last) = batch.last() {
                        let after = last.sequence;
                        return Some((stream::iter(batch), (reports, newest, after)));
                    }
                    // Ends when the kernel goes away: the stream is dropped here.
                    newest.changed().await.ok()?;
                }
            });
        Ok(Response::new(Box::pin(batches.flatten().map(|entry| Ok(report_message(entry))))))
    }
}

/// Takes at most `max` instances, and no more than fit a message where there is a bound. Answers the
/// last id too, if there are more.
fn page(
    mut instances: impl Iterator<Item = wire::Instance>,
    max: usize,
) -> (Vec<wire::Instance>, String) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let bytes_max = if max == usize::MAX { usize::MAX } else { PAGE_BYTES_MAX };
    while page.len() < max && bytes < bytes_max {
        let Some(instance) = instances.next() else { return (page, String::new()) };
        let exit = instance.last_exit.as_ref();
        bytes += INSTANCE_BYTES_BASE
            + exit.map_or(0, |exit| exit.message.len())
            + exit.map_or(0, |exit| exit.backtrace.iter().map(String::len).sum())
            + instance.violations.iter().map(|violation| violation.message.len()).sum::<usize>();
        page.push(instance);
    }
    let next = page.last().map(|last: &wire::Instance| last.id.clone()).unwrap_or_default();
    if instances.next().is_none() { (page, String::new()) } else { (page, next) }
}

fn check_size(input: &Input) -> Result<(), Status> {
    let bytes = input.bytes();
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the input has {bytes} bytes, at most {MESSAGE_BYTES_MAX}"
    )))
}

pub(super) fn failure_message(failure: Failure) -> wire::Failure {
    wire::Failure {
        reason: failure.reason.as_str().to_owned(),
        message: failure.message,
        expected: failure.expected,
        backtrace: failure.backtrace,
        place: failure.place.map(|place| wire::Place {
            file: place.file,
            line: place.line,
            column: place.column,
            excerpt: place.excerpt,
        }),
    }
}

fn exit_message(exit: Exit) -> wire::Exit {
    wire::Exit {
        reason: exit.reason.as_str().to_owned(),
        message: exit.message,
        backtrace: exit.backtrace,
        at_unix_ms: exit.at_unix_ms,
        permanent: exit.permanent,
    }
}

pub(super) fn instance_message(slot: &Slot) -> wire::Instance {
    let phase = slot.phase();
    let figures = &slot.figures;
    let cpu = slot.cpu();
    let mailbox_bytes = slot.front.mailbox.bytes() as u64;
    let family = slot.family.as_ref();
    let running = phase.running_since.filter(|_| phase.state == InstanceState::Running);
    wire::Instance {
        id: slot.id.to_string(),
        service: slot.service.id.to_string(),
        revision: slot.service.revision,
        state: phase.state.as_str().to_owned(),
        memory_bytes: figures.memory_bytes.load(Ordering::Relaxed)
            + figures.host_bytes.load(Ordering::Relaxed)
            + mailbox_bytes,
        mailbox_bytes,
        cpu_us: cpu.cpu_ns / 1_000 + figures.outside_us.load(Ordering::Relaxed),
        throttled_us: cpu.throttled_ns / 1_000
            + figures.outside_throttled_us.load(Ordering::Relaxed),
        mailbox_depth: slot.front.mailbox.depth() as u64,
        restarts: figures.restarts.load(Ordering::Relaxed),
        uptime_ms: running.map_or(0, |since| whole_ms(since.elapsed())),
        last_exit: phase.last_exit.map(exit_message),
        handled: figures.handled.load(Ordering::Relaxed),
        errors: figures.errors.load(Ordering::Relaxed),
        parent: family.map(|family| family.parent.to_string()).unwrap_or_default(),
        child_name: family.map(|family| family.name.clone()).unwrap_or_default(),
        group: family.map_or(0, |family| family.group),
        strategy: family.map(|family| family.strategy.to_owned()).unwrap_or_default(),
        violations: slot.violations.all().into_iter().map(violation_message).collect(),
    }
}

fn violation_message(violation: Violation) -> wire::Violation {
    wire::Violation {
        limit: violation.limit.as_str().to_owned(),
        action: violation.action.as_str().to_owned(),
        count: violation.count,
        message: violation.message,
    }
}

fn report_message(entry: Entry) -> wire::ReportsResponse {
    use wire::reports_response::Report as Out;
    let report = match entry.report {
        Report::Log { level, message, source, trace } => Out::Log(wire::Log {
            level: level.to_owned(),
            message,
            source: source.to_owned(),
            trace_id: trace.text(),
        }),
        Report::State { state, restarts, exit } => Out::State(wire::StateChange {
            state: state.as_str().to_owned(),
            restarts,
            exit: exit.map(exit_message),
        }),
        Report::Violation { limit, action, count, message } => Out::Violation(wire::Violation {
            limit: limit.to_owned(),
            action: action.as_str().to_owned(),
            count,
            message,
        }),
        Report::Missed(count) => Out::Missed(count),
    };
    wire::ReportsResponse {
        sequence: entry.sequence,
        at_unix_ms: entry.at_unix_ms,
        service: entry.service.to_string(),
        instance: entry.instance.to_string(),
        report: Some(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(count: usize, message: &str) -> impl Iterator<Item = wire::Instance> {
        let exit = wire::Exit { message: message.to_owned(), ..wire::Exit::default() };
        (0..count).map(move |n| wire::Instance {
            id: format!("{n:04}"),
            last_exit: Some(exit.clone()),
            ..wire::Instance::default()
        })
    }

    /// SPEC section 9: ten thousand instances, also crashed ones, can be read.
    #[test]
    fn a_page_fits_a_message_and_says_whether_there_is_more() {
        let check = |count, message: &str, max, expected: (usize, &str)| {
            let (page, next) = page(instances(count, message), max);
            assert_eq!((page.len(), next.as_str()), expected, "{count} {max}");
        };
        check(0, "", 3, (0, ""));
        check(3, "", 3, (3, ""));
        check(4, "", 3, (3, "0002"));
        check(10_000, "", usize::MAX, (10_000, ""));
        let long = "x".repeat(24 << 10);
        let (page, next) = page(instances(10_000, &long), 1_000);
        assert!(page.len() > 50 && page.len() < 100 && !next.is_empty(), "{}", page.len());
    }
}
