//! A sink that is sent batches by HTTP: POST, JSON, answered with 2xx.
//!
//! What is not answered with 2xx has not arrived: redirects are not followed, answers are not read
//! beyond their head. One connection, used again while the receiver keeps it open. Without TLS so far.

use std::path::PathBuf;

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use solo_audit::sink::{Batch, WebhookRequest, webhook_request};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::transport::Failure;
use crate::audit::target::Peer;

/// Bytes of an answer that are skipped to use its connection again.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The sink.
#[derive(Debug)]
pub(super) struct Webhook {
    /// Path and query.
    path: Uri,
    host: String,
    peer: Peer,
    token_file: Option<PathBuf>,
    node: String,
    connection: Option<Connection>,
}

/// A connection and the task that drives it, which ends with it.
#[derive(Debug)]
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Webhook {
    pub(super) fn new(uri: &Uri, peer: Peer, token_file: Option<PathBuf>, node: &str) -> Self {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Self {
            path: path.parse().unwrap_or_default(),
            host: uri.authority().map(ToString::to_string).unwrap_or_default(),
            peer,
            token_file,
            node: node.to_owned(),
            connection: None,
        }
    }

    /// Gives the connection up.
    pub(super) fn reset(&mut self) {
        self.connection = None;
    }

    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let form = webhook_request(&self.node, batch)?;
        let request = self.request(form).await?;
        let is_open = self.connection.as_ref().is_some_and(|open| !open.requests.is_closed());
        let mut connection = match self.connection.take().filter(|_| is_open) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let broke = |error: hyper::Error| Failure::new(format!("the request failed: {error}"));
        connection.requests.ready().await.map_err(broke)?;
        let answer = connection.requests.send_request(request).await.map_err(broke)?;
        let answered = judge(&answer);
        // Not read to its end, it is not used again.
        let rest = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        if rest.collect().await.is_ok() {
            self.connection = Some(connection);
        }
        answered
    }

    async fn request(&self, form: WebhookRequest) -> Result<Request<Full<Bytes>>, Failure> {
        let wrong = |error: http::Error| Failure::new(format!("it cannot be asked: {error}"));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.path.clone())
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("solo/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, form.content_type)
            .header(CONTENT_LENGTH, form.body.len())
            .header("idempotency-key", form.idempotency_key);
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, bearer(path).await?);
        }
        request.body(Full::new(Bytes::from(form.body))).map_err(wrong)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Peer { host, port } = &self.peer;
        let failed = |error: std::io::Error| Failure::new(format!("it cannot be reached: {error}"));
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        // A failure costs latency only.
        let _slow = stream.set_nodelay(true);
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (requests, connection) =
            shaken.map_err(|error| Failure::new(format!("it does not speak HTTP: {error}")))?;
        // What it ends with shows in the requests.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { requests, driver })
    }
}

/// Read each time: it may have been replaced.
async fn bearer(path: &std::path::Path) -> Result<HeaderValue, Failure> {
    let shown = path.display();
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| Failure::new(format!("{shown} cannot be read: {error}")))?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(Failure::new(format!("{shown} is too long for a token")));
    }
    let value = HeaderValue::try_from(format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| Failure::new(format!("{shown} holds no token")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether the receiver took the batch.
fn judge(answer: &Response<Incoming>) -> Result<(), Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut failure = Failure::new(format!("it answered {}", status.as_u16()));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        // As a date it is not understood, and backoff decides.
        let seconds = asked.and_then(|text| text.trim().parse::<u64>().ok());
        failure.retry_after_ms = seconds.map(|seconds| seconds.saturating_mul(1_000));
    }
    Err(failure)
}
