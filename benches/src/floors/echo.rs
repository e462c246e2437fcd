//! What a gRPC call costs that does nothing: tonic at both ends, two processes, Solo's messages.
//!
//! The server answers `solo.v1` `Call` with (at most 64 bytes of) its own payload, so that the
//! client's side is the very code that talks to Solo.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use solo_api::{Client, Endpoint, v1};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, UnaryService};

use crate::requests;

/// Bytes of an answer: what the benched calls carry.
const ANSWER_BYTES: usize = 64;

/// A server in a process of its own, and connections to it.
#[derive(Debug)]
pub(crate) struct Echo {
    server: Child,
    pub(crate) unix: Client,
    pub(crate) tcp: Client,
}

impl Echo {
    /// Starts it; its socket is in `directory`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let socket = directory.join("echo.sock");
        let program = std::env::current_exe().context("failed to find this program")?;
        let mut server = Command::new(program)
            .arg("echo-server")
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the echo server")?;
        match Self::connect(&mut server, socket).await {
            Ok((unix, tcp)) => Ok(Self { server, unix, tcp }),
            Err(error) => {
                end(&mut server);
                Err(error)
            }
        }
    }

    async fn connect(server: &mut Child, socket: PathBuf) -> anyhow::Result<(Client, Client)> {
        let stdout = server.stdout.take().context("no output of the echo server")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address).context("the echo server is silent")?;
        let unix = Client::connect(&Endpoint::Unix(socket)).await?;
        let tcp = Client::connect(&Endpoint::Tcp(address.trim().to_owned())).await?;
        Ok((unix, tcp))
    }

    /// One call over the Unix socket.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) async fn call(&self, payload: &[u8]) -> anyhow::Result<Duration> {
        Ok(requests::call(&self.unix, "echo", payload).await?.0)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

fn end(server: &mut Child) {
    // Each fails only for what has ended already.
    let _ = server.kill();
    let _ = server.wait();
}

/// Serves on `socket` and on a free port, whose address it prints; ends with standard input, so that
/// it never outlives who started it.
///
/// # Errors
/// It cannot listen.
pub(crate) fn serve(socket: &Path) -> anyhow::Result<()> {
    crate::measure::end_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let unix = UnixListener::bind(socket)?;
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        {
            use std::io::Write as _;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", tcp.local_addr()?)?;
            out.flush()?;
        }
        let server = || tonic::transport::Server::builder().tcp_nodelay(true).add_service(Answer);
        tokio::try_join!(
            server().serve_with_incoming(UnixListenerStream::new(unix)),
            server().serve_with_incoming(TcpListenerStream::new(tcp)),
        )?;
        Ok(())
    })
}

/// The service.
#[derive(Debug, Clone)]
struct Answer;

impl UnaryService<v1::CallRequest> for Answer {
    type Response = v1::CallResponse;
    type Future = Ready<Result<tonic::Response<v1::CallResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<v1::CallRequest>) -> Self::Future {
        let mut payload = match request.into_inner().input {
            Some(v1::call_request::Input::Payload(payload)) => payload,
            _ => Vec::new(),
        };
        payload.truncate(ANSWER_BYTES);
        let output = Some(v1::call_response::Output::Payload(payload));
        ready(Ok(tonic::Response::new(v1::CallResponse { output, ..Default::default() })))
    }
}

impl NamedService for Answer {
    const NAME: &'static str = "solo.v1.SoloService";
}

impl Service<http::Request<tonic::body::Body>> for Answer {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async {
            let codec = tonic_prost::ProstCodec::<v1::CallResponse, v1::CallRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Answer, request).await)
        })
    }
}
