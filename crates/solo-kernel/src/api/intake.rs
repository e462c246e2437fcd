//! What comes before a request is understood: a budget for the bytes of all requests that are under
//! way, and details for errors that the transport made.
//!
//! gRPC decodes a message before anyone sees it. Without the budget, a few hundred clients with
//! large messages would decide how much memory the kernel needs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use solo_types::{Problem, ProblemKind};
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Bytes of all requests under way. Each is held about three times (wire, message, way to the cell).
const BYTES_MAX: usize = 128 << 20;

/// The layer. Clones share the budget; all listeners have one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intake {
    taken: Arc<AtomicUsize>,
}

/// Bytes of one request, given back when it has been answered.
#[derive(Debug)]
struct Held {
    taken: Arc<AtomicUsize>,
    bytes: AtomicUsize,
}

impl Held {
    fn take(&self, bytes: usize) -> bool {
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|sum| *sum <= BYTES_MAX)
        });
        if taken.is_ok() {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl<S> Layer<S> for Intake {
    type Service = IntakeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IntakeService { inner, taken: Arc::clone(&self.taken) }
    }
}

/// A service behind the layer.
#[derive(Debug, Clone)]
pub(crate) struct IntakeService<S> {
    inner: S,
    taken: Arc<AtomicUsize>,
}

impl<S> Service<Request<tonic::body::Body>> for IntakeService<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let held = Arc::new(Held { taken: Arc::clone(&self.taken), bytes: AtomicUsize::new(0) });
        let counting = Arc::clone(&held);
        // An upload writes its chunks away as they come: what counts there is a chunk, not the whole.
        let streams = request.uri().path().ends_with("/UploadArtifact");
        let request =
            request.map(|inner| tonic::body::Body::new(Counted { inner, held: counting, streams }));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await;
            drop(held);
            response.map(explain)
        })
    }
}

/// The body of a request, counted as it comes.
#[derive(Debug)]
struct Counted {
    inner: tonic::body::Body,
    held: Arc<Held>,
    streams: bool,
}

impl Body for Counted {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && !self.streams
            && !self.held.take(data.len())
        {
            return Poll::Ready(Some(Err(solo_api::status_from_problem(&too_much()))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn too_much() -> Problem {
    Problem::new(
        ProblemKind::ResourceExhausted,
        "OVERLOADED",
        format!("requests of {} MiB are under way", BYTES_MAX >> 20),
    )
    .remedy("try again later, or send less at once")
}

/// Gives details to an error that came from the transport without any.
fn explain(response: Response<tonic::body::Body>) -> Response<tonic::body::Body> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(status) = Status::from_header_map(headers).filter(|s| s.code() != Code::Ok) else {
        return response;
    };
    let (kind, reason, remedy) = match status.code() {
        Code::OutOfRange => (
            ProblemKind::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            "a request has at most 17 MiB; store larger code with UploadArtifact",
        ),
        Code::Internal | Code::InvalidArgument => (
            ProblemKind::InvalidArgument,
            "MALFORMED_REQUEST",
            "the message does not fit solo.v1: see proto/solo/v1/solo.proto",
        ),
        Code::Unimplemented => (
            ProblemKind::Unimplemented,
            "NO_SUCH_METHOD",
            "reflection lists the methods that this Solo has",
        ),
        Code::DeadlineExceeded | Code::Cancelled => {
            (ProblemKind::DeadlineExceeded, "TIMEOUT", "allow more time")
        }
        _ => return response,
    };
    let cause = if status.message().is_empty() { "the request failed" } else { status.message() };
    solo_api::status_from_problem(&Problem::new(kind, reason, cause).remedy(remedy)).into_http()
}
