//! Watch: records from the monitor, at the watcher's own pace, and samples of figures on request.

use std::sync::Arc;
use std::time::Duration;

use solo_api::{timestamp, v1};
use solo_types::{Problem, ProblemKind, Right, glob_matches};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::WatchStream;
use super::access::{Operation, Principal};
use crate::clock;
use crate::kernel::Kernel;
use crate::monitor::{Body, Filter, Position, Record};
use crate::service::Service;
use crate::tenants::of_label;

/// Records that are read at a time.
const PAGE_MAX: usize = 256;

/// Records on their way to one watcher; behind them the watcher's own pace holds.
const STREAM_MAX: usize = 256;

/// Watchers at once: each has a task and a position per service.
const WATCHERS_MAX: usize = 1_024;

/// Between two samples of figures.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks at whether a token has expired; that it was revoked is seen at once.
const LAPSE_INTERVAL: Duration = Duration::from_millis(500);

/// The last word of a stream whose token is over is waited for so long.
const LAPSE_TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Newest records that `tail` can ask for.
const TAIL_MAX: u32 = 100_000;

static WATCHERS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(WATCHERS_MAX);

/// What is being watched.
struct Watching {
    filter: Filter,
    metrics: bool,
    follow: bool,
}

type Out = mpsc::Sender<Result<v1::WatchResponse, Status>>;

pub(super) async fn watch(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::WatchRequest,
) -> Result<WatchStream, Problem> {
    let watching = watching(&principal, &request)?;
    let scope = scope(&kernel, principal.clone(), &request.service)?;
    let cursor = scope.cursor_of(&kernel, request.cursor);
    let position = match request.tail {
        Some(_) if cursor > 0 => {
            let rule = "`tail` and `cursor` exclude each other";
            return Err(Problem::invalid("INVALID_TAIL", "tail", rule));
        }
        Some(tail) if tail > TAIL_MAX => {
            let rule = format!("tail is {tail}, more than {TAIL_MAX}");
            return Err(Problem::invalid("INVALID_TAIL", "tail", &rule));
        }
        Some(tail) => kernel.monitor.tail(&watching.filter, tail as usize),
        None if cursor > *kernel.monitor.latest().borrow() => {
            let rule = "no record has had this cursor yet: it is another home's";
            return Err(Problem::invalid("INVALID_CURSOR", "cursor", rule)
                .remedy("start again without a cursor"));
        }
        None => Position::after(cursor),
    };
    let permit = WATCHERS.try_acquire().map_err(|_| {
        Problem::new(
            ProblemKind::ResourceExhausted,
            "TOO_MANY_WATCHERS",
            format!("{WATCHERS_MAX} watches are under way"),
        )
        .remedy("end watches that are not needed")
    })?;
    // One use for the stream, however long it is.
    principal.pay(&kernel).await?;
    let (out, stream) = mpsc::channel(STREAM_MAX);
    // Ends with the stream: every send fails once the client has gone, and so does the wait.
    tokio::spawn(async move {
        let _permit = permit;
        let pumping = tokio::spawn({
            let out = out.clone();
            async move {
                tokio::select! {
                    () = pump(&kernel, &watching, &scope, position, &out) => {}
                    () = out.closed() => {}
                    problem = lapsed(&kernel, &scope) => {
                        let status = solo_api::status_from_problem(&problem);
                        // Who does not read has a full stream, and nothing more to read than that.
                        let _gone = tokio::time::timeout(LAPSE_TOLD_WITHIN, out.send(Err(status))).await;
                    }
                }
            }
        });
        if let Err(error) = pumping.await {
            tracing::error!(%error, "A watch failed inside");
            let problem = Problem::internal("the watch failed inside; resume it with its cursor");
            // The client may have gone.
            let _gone = out.send(Err(solo_api::status_from_problem(&problem))).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(stream)))
}

/// What of that which matches a watcher may see.
enum Scope {
    /// Everything, the node's own records included.
    All(Principal),
    /// One service: not a later one of its name.
    One(Principal, Arc<Service>),
    /// Whatever they may read about, asked for each record.
    Some(Principal),
}

/// Finds out what a watcher may see of what the glob names.
fn scope(kernel: &Kernel, principal: Principal, glob: &str) -> Result<Scope, Problem> {
    if principal.ask(kernel, Operation::Records).is_ok() {
        return Ok(Scope::All(principal));
    }
    if !glob.is_empty() && !glob.contains(['*', '?']) {
        let service = principal.service_for(kernel, glob, Right::Read)?;
        return Ok(Scope::One(principal, service));
    }
    principal.still_there(kernel)?;
    principal.note_reading(kernel);
    Ok(Scope::Some(principal))
}

impl Scope {
    /// Whether a record about this label (empty: the node) may be seen.
    fn sees(&self, kernel: &Kernel, label: &str) -> bool {
        let (tenant, name) = of_label(label);
        match self {
            Self::All(_) | Self::One(..) => true,
            Self::Some(principal) => {
                !label.is_empty() && principal.may_read_name(kernel, tenant, name)
            }
        }
    }

    /// A cursor as this watcher is told it: who sees a part is not told how much there is besides.
    fn cursor(&self, kernel: &Kernel, cursor: u64) -> u64 {
        match self {
            Self::All(_) => cursor,
            Self::One(..) | Self::Some(_) => kernel.veil.cursor(cursor),
        }
    }

    /// What was told as `told`.
    fn cursor_of(&self, kernel: &Kernel, told: u64) -> u64 {
        match self {
            Self::All(_) => told,
            Self::One(..) | Self::Some(_) => kernel.veil.cursor_of(told),
        }
    }

    fn principal(&self) -> &Principal {
        match self {
            Self::All(principal) | Self::One(principal, _) | Self::Some(principal) => principal,
        }
    }

    /// Whether the stream may go on.
    fn still(&self, kernel: &Kernel) -> Result<(), Problem> {
        match self {
            Self::All(principal) => principal.ask(kernel, Operation::Records),
            Self::One(principal, service) => principal.still_may_read(kernel, service),
            Self::Some(principal) => principal.still_there(kernel),
        }
    }
}

/// Ends once the watcher may not see anything of it any more.
async fn lapsed(kernel: &Kernel, scope: &Scope) -> Problem {
    let mut revocations = kernel.holdings.revocations();
    loop {
        revocations.mark_unchanged();
        if let Err(problem) = scope.still(kernel) {
            return problem;
        }
        // The sender lives as long as the kernel.
        let _ = tokio::time::timeout(LAPSE_INTERVAL, revocations.changed()).await;
    }
}

fn watching(principal: &Principal, request: &v1::WatchRequest) -> Result<Watching, Problem> {
    let mut filter = Filter {
        service: principal.glob(&request.service),
        logs: request.kinds.is_empty(),
        events: request.kinds.is_empty(),
    };
    let mut metrics = false;
    for kind in &request.kinds {
        match v1::RecordKind::try_from(*kind) {
            Ok(v1::RecordKind::Log) => filter.logs = true,
            Ok(v1::RecordKind::Event) => filter.events = true,
            Ok(v1::RecordKind::Metric) => metrics = true,
            Ok(v1::RecordKind::Unspecified) | Err(_) => {
                let rule = "there is no such kind of record";
                return Err(Problem::invalid("INVALID_KIND", "kinds", rule));
            }
        }
    }
    if filter.service.len() > 256 {
        let rule = "a glob has at most 256 bytes";
        return Err(Problem::invalid("INVALID_GLOB", "service", rule));
    }
    Ok(Watching { filter, metrics, follow: request.follow })
}

async fn pump(
    kernel: &Kernel,
    watching: &Watching,
    scope: &Scope,
    mut position: Position,
    out: &Out,
) {
    let mut latest = kernel.monitor.latest();
    let mut sample = tokio::time::interval(SAMPLE_INTERVAL);
    loop {
        latest.mark_unchanged();
        loop {
            let page = kernel.monitor.read(&watching.filter, &mut position, PAGE_MAX);
            let done = page.records.is_empty() && page.missed == 0;
            if page.missed > 0 {
                let missed = v1::Missed { count: page.missed };
                let record = v1::watch_response::Record::Missed(missed);
                if out
                    .send(Ok(response(scope.cursor(kernel, position.cursor), record)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            for record in page.records.iter().filter(|r| scope.sees(kernel, &r.service)) {
                if out.send(Ok(of_record(kernel, scope, record))).await.is_err() {
                    return;
                }
            }
            if done {
                break;
            }
        }
        if watching.metrics && !watching.follow {
            send_samples(kernel, watching, scope, &position, out).await;
        }
        if !watching.follow {
            return;
        }
        tokio::select! {
            changed = latest.changed() => if changed.is_err() { return },
            _ = sample.tick(), if watching.metrics => {
                if !send_samples(kernel, watching, scope, &position, out).await {
                    return;
                }
            }
        }
    }
}

fn response(cursor: u64, record: v1::watch_response::Record) -> v1::WatchResponse {
    v1::WatchResponse {
        cursor,
        at: Some(timestamp(clock::unix_ms())),
        service: String::new(),
        instance: String::new(),
        record: Some(record),
    }
}

fn of_record(kernel: &Kernel, scope: &Scope, record: &Record) -> v1::WatchResponse {
    let body = match &record.body {
        Body::Log { level, source, message, trace_id } => {
            v1::watch_response::Record::Log(v1::LogLine {
                level: level.clone(),
                message: message.clone(),
                source: source.clone(),
                trace_id: trace_id.clone(),
            })
        }
        Body::Event { name, message, details } => v1::watch_response::Record::Event(v1::Event {
            name: name.clone(),
            message: message.clone(),
            details: details.clone().into_iter().collect(),
        }),
    };
    v1::WatchResponse {
        cursor: scope.cursor(kernel, record.cursor),
        at: Some(timestamp(record.at)),
        service: scope.principal().shown_label(&record.service),
        instance: record.instance.clone(),
        record: Some(body),
    }
}

/// Sends the figures of all services that match; false: the client has gone.
async fn send_samples(
    kernel: &Kernel,
    watching: &Watching,
    scope: &Scope,
    position: &Position,
    out: &Out,
) -> bool {
    let figures = kernel.figures.recent(kernel).await;
    for service in kernel.registry.all() {
        let label = service.label();
        if !glob_matches(&watching.filter.service, &label) || !scope.sees(kernel, &label) {
            continue;
        }
        let Some(figures) = figures.get(&service.id.to_string()) else { continue };
        for (name, value) in [
            ("memory_bytes", figures.memory_bytes),
            ("cpu_us", figures.cpu_us),
            ("mailbox_depth", figures.mailbox_depth),
            ("mailbox_bytes", figures.mailbox_bytes),
            ("children", figures.children),
            ("restarts", figures.restarts),
            ("handled", figures.handled),
            ("errors", figures.errors),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "a sample for people and graphs")]
            let value = value as f64;
            let sample = v1::MetricSample { name: name.to_owned(), value };
            let cursor = scope.cursor(kernel, position.cursor);
            let mut message = response(cursor, v1::watch_response::Record::Metric(sample));
            message.service = scope.principal().shown_label(&label);
            if out.send(Ok(message)).await.is_err() {
                return false;
            }
        }
    }
    true
}
