//! `interface: http`: a message is a POST to the port of the program, over a connection that its init made.
//!
//! One connection, kept between messages. Of the answer no more is read than a message may have.

use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use solo_process::wire::messages::program_answer::Tell;
use solo_process::wire::messages::program_request::Ask;
use solo_process::wire::messages::{Connect, Descriptor};
use solo_types::bounds::MESSAGE_BYTES_MAX;
use solo_types::is_url_path;
use tokio::net::TcpStream;

use super::super::failure::{Failure, Reason};
use super::super::message::{Answer, Input};
use super::link::{Link, LinkError};

/// For a connection inside of one network namespace.
const CONNECT_TIMEOUT_MS: u32 = 1_000;

/// As much of an error's body as its message has.
const ERROR_BYTES_MAX: usize = 2_048;

/// Where the program listens, and the connection to it.
#[derive(Debug)]
pub(super) struct Http {
    port: u16,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Http {
    pub(super) fn new(port: u16) -> Self {
        Self { port, open: None }
    }

    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// What the program said, or why it said nothing.
    pub(super) async fn call(
        &mut self,
        link: &Link,
        function: &str,
        input: Input,
    ) -> Result<Answer, Failure> {
        let path = format!("/{}", function.trim_start_matches('/'));
        if !is_url_path(&path) {
            let message = format!("{function:?} cannot be the path of a request");
            return Err(Failure::new(Reason::NoSuchFunction, message));
        }
        let (body, kind, wants_json) = match input {
            Input::None => ("[]".to_owned().into_bytes(), "application/json", true),
            Input::Json(text) => (text.into_bytes(), "application/json", true),
            Input::Payload(bytes) => (bytes, "application/octet-stream", false),
            Input::Passing(_) => return Err(super::no_references()),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, "127.0.0.1")
            .header(CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(Reason::NoSuchFunction, error.to_string()))?;
        let response = self.send(link, request).await?;
        let (status, body) = read(response).await?;
        if !status.is_success() {
            return Err(refused(function, status, &body));
        }
        if !wants_json {
            return Ok(Answer::Payload(body));
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Answer::Json("null".to_owned()));
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(Answer::Json(text)),
            // Text that is no JSON is still an answer.
            Err(_) => Ok(Answer::Json(serde_json::Value::String(text).to_string())),
        }
    }

    /// Asks for `path` and answers the status.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn get(&mut self, link: &Link, path: &str) -> Result<StatusCode, Failure> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(HOST, "127.0.0.1")
            .body(Full::default())
            .map_err(|error| Failure::new(Reason::NoSuchFunction, error.to_string()))?;
        let response = self.send(link, request).await?;
        Ok(read(response).await?.0)
    }

    async fn send(
        &mut self,
        link: &Link,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        // A connection that the program closed meanwhile is not used: what is sent on it may be lost.
        let kept = self.open.take().filter(|open| open.is_ready());
        let mut open = match kept {
            Some(open) => open,
            None => connect(link, self.port).await?,
        };
        let response = open.send_request(request).await.map_err(|error| no_answer(&error))?;
        self.open = Some(open);
        Ok(response)
    }
}

/// Makes a connection to the program.
async fn connect(link: &Link, port: u16) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let socket = dial(link, port).await.map_err(|error| {
        let message = format!("the program does not accept a connection on port {port}: {error}");
        Failure::new(Reason::Unavailable, message)
    })?;
    let (open, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| no_answer(&error))?;
    // Ends with the connection, which ends with its last request or with the program.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "A connection to a program broke");
        }
    });
    Ok(open)
}

/// A connection to a port inside.
///
/// # Errors
/// Nobody listens there, or the sandbox is gone.
pub(super) async fn dial(link: &Link, port: u16) -> Result<TcpStream, LinkError> {
    let connect = Connect { port: port.into(), timeout_millis: CONNECT_TIMEOUT_MS };
    let (Tell::Connected(_), descriptors) = link.ask(Ask::Connect(connect)).await? else {
        return Err(LinkError::Unexpected);
    };
    let connection: Option<OwnedFd> = descriptors
        .into_iter()
        .find_map(|(kind, fd)| (kind == Descriptor::Connection).then_some(fd));
    let connection = StdTcpStream::from(connection.ok_or(LinkError::Unexpected)?);
    let usable = connection.set_nonblocking(true).and_then(|()| TcpStream::from_std(connection));
    usable.map_err(|error| LinkError::Lost(error.to_string()))
}

/// The status and the whole body.
async fn read(response: Response<Incoming>) -> Result<(StatusCode, Vec<u8>), Failure> {
    let (parts, body) = response.into_parts();
    match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
        Ok(body) => Ok((parts.status, body.to_bytes().into())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the answer has more than {} MiB", MESSAGE_BYTES_MAX >> 20);
            Err(Failure::new(Reason::Refused, message))
        }
        Err(error) => {
            Err(Failure::new(Reason::Unavailable, format!("the answer was cut: {error}")))
        }
    }
}

fn refused(function: &str, status: StatusCode, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_BYTES_MAX)]);
    let message = format!("the program answered {status}: {}", text.trim());
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let expected = format!("a path that the program answers a POST of, not /{function}");
            Failure::new(Reason::NoSuchFunction, message).expected(expected)
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Failure::new(Reason::BadArguments, message)
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Failure::new(Reason::Overloaded, message)
        }
        _ => Failure::new(Reason::Refused, message),
    }
}

fn no_answer(error: &hyper::Error) -> Failure {
    Failure::new(Reason::Unavailable, format!("the program did not answer: {error}"))
}
