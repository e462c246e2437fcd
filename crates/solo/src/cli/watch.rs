//! `solo watch` and `solo logs`: streams of records, over restarts of the kernel.
//!
//! A followed stream that breaks is opened again behind the last record that was printed, so that
//! nothing is printed twice and what was missed in between is printed late.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use solo_api::v1;
use solo_gateway::json::RecordJson;
use solo_types::ProblemKind;

use super::Failure;
use super::context::{Context, DEADLINE};
use super::values::number;
use crate::output::record_line;

/// A kernel is back within a second; one that is not back after this time is not coming back.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Pauses between two attempts: the first, and the longest.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Which part of the stream.
#[derive(Debug, Clone, Args)]
pub(crate) struct StreamFlags {
    /// Go on with new records as they come
    #[arg(short, long)]
    follow: bool,
    /// Begin with the newest N records [default: all that are kept]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u32>("tail"))]
    tail: Option<u32>,
}

/// Arguments of `solo watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Name of the service, with `*` and `?` [default: all, and Solo itself]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Kind of record (can be repeated) [default: log and event]
    #[arg(long, value_name = "KIND")]
    kind: Vec<KindName>,
    /// Continue behind the record with this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with = "tail", allow_negative_numbers = true,
        value_parser = number::<u64>("cursor"))]
    cursor: Option<u64>,
    #[command(flatten)]
    stream: StreamFlags,
}

/// Kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindName {
    Log,
    Event,
    Metric,
}

/// Arguments of `solo logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the service, with `*` and `?`
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    stream: StreamFlags,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let kind = |kind: &KindName| match kind {
            KindName::Log => v1::RecordKind::Log as i32,
            KindName::Event => v1::RecordKind::Event as i32,
            KindName::Metric => v1::RecordKind::Metric as i32,
        };
        let request = v1::WatchRequest {
            service: self.name.unwrap_or_default(),
            kinds: self.kind.iter().map(kind).collect(),
            cursor: self.cursor.unwrap_or_default(),
            tail: self.stream.tail,
            follow: self.stream.follow,
        };
        Stream::new(context, request).run().await
    }
}

impl Logs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = v1::WatchRequest {
            service: self.name,
            kinds: vec![v1::RecordKind::Log as i32],
            cursor: 0,
            tail: self.stream.tail,
            follow: self.stream.follow,
        };
        Stream::new(context, request).run().await
    }
}

/// A stream that is printed.
#[derive(Debug)]
struct Stream<'a> {
    context: &'a Context,
    /// What to ask for next; its cursor moves with what was printed.
    request: v1::WatchRequest,
    /// When the kernel last said something; none: it never did.
    last_contact: Option<Instant>,
}

impl<'a> Stream<'a> {
    fn new(context: &'a Context, request: v1::WatchRequest) -> Self {
        Self { context, request, last_contact: None }
    }

    async fn run(mut self) -> Result<(), Failure> {
        let mut pause = RECONNECT_PAUSE_MIN;
        loop {
            let contact = self.last_contact;
            let end = self.once().await;
            if !self.request.follow {
                return end;
            }
            let failure = match end {
                // The end of a stream that is followed is the end of its kernel.
                Ok(()) => self.context.unreachable("the stream ended"),
                Err(failure) if is_passing(&failure) => failure,
                Err(failure) => return Err(failure),
            };
            let Some(last_contact) = self.last_contact else { return Err(failure) };
            if last_contact.elapsed() > RECONNECT_TIMEOUT {
                return Err(failure);
            }
            if contact != self.last_contact {
                pause = RECONNECT_PAUSE_MIN;
                self.context.output.note("the connection broke; trying again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    /// Prints one stream to its end.
    async fn once(&mut self) -> Result<(), Failure> {
        let client = self.context.client().await?;
        let request = client.stream_request(self.request.clone());
        let mut grpc = client.grpc();
        let opened = within(grpc.watch(request)).await?;
        let mut stream = opened.map_err(|status| Failure::from_status(&status))?.into_inner();
        self.last_contact = Some(Instant::now());
        loop {
            let next = match self.request.follow {
                true => stream.message().await,
                false => within(stream.message()).await?,
            };
            let Some(response) = next.map_err(|status| Failure::from_status(&status))? else {
                return Ok(());
            };
            self.last_contact = Some(Instant::now());
            let cursor = response.cursor;
            let style = self.context.output.style();
            let line = |record: &RecordJson| record_line(record, style);
            self.context.output.show(&RecordJson::from(response), line)?;
            if cursor > 0 {
                self.request.cursor = cursor;
                self.request.tail = None;
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(DEADLINE, future).await.map_err(|_| Failure::timeout(DEADLINE))
}

/// Whether a kernel that is back may do what this one did not.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) | Failure::Timeout(_) => true,
        Failure::Refused(problem) => problem.kind == ProblemKind::Unavailable,
        Failure::Usage(_) | Failure::OutputClosed => false,
    }
}
