//! The client of `solo.v1`, as the CLI, the gateway, tests and Rust programs use it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use solo_tls::{ClientFiles, Connector, TlsError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint as Transport, Uri};

use crate::v1::solo_service_client::SoloServiceClient;

/// Longest wait for a connection: the heart keeps all listeners open, and a handshake takes two turns.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket: `$SOLO_HOME/run/api.sock`.
    Unix(PathBuf),
    /// `HOST:PORT`, in plain: on loopback.
    Tcp(String),
    /// `HOST:PORT`, in TLS.
    Tls {
        /// Where.
        address: String,
        /// Whom to trust, and what to show.
        files: ClientFiles,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing listens there, or it did not answer in time.
    #[error("failed to connect to {endpoint:?}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The address is none.
    #[error("{0:?} is not an address (expected HOST:PORT)")]
    Address(String),
    /// The files of the client's TLS are of no use.
    #[error("TLS cannot be spoken")]
    Tls(#[source] TlsError),
    /// The token has characters that a header cannot carry.
    #[error("the token is not printable ASCII")]
    Token,
    /// The owner's token cannot be read: Solo has not started yet, or belongs to somebody else.
    #[error("failed to read the owner's token {path}")]
    NoAdminToken {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Reads the owner's token of the Solo with this home.
///
/// # Errors
/// [`ConnectError::NoAdminToken`].
pub fn admin_token(home: &Path) -> Result<String, ConnectError> {
    let path = home.join("keys").join("admin.token");
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(token.trim().to_owned()),
        Err(source) => Err(ConnectError::NoAdminToken { path, source }),
    }
}

/// A connected client. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing is retried.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        Ok(Self { channel: connect_channel(endpoint).await?, token: None })
    }

    /// Connects as the owner to the Solo of this machine with this home, over its Unix socket.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing is retried.
    pub async fn connect_home(home: &Path) -> Result<Self, ConnectError> {
        let client = Self::connect(&Endpoint::Unix(home.join("run").join("api.sock"))).await?;
        client.with_token(&admin_token(home)?)
    }

    /// Sends `token` along with each request.
    ///
    /// # Errors
    /// [`ConnectError::Token`].
    pub fn with_token(mut self, token: &str) -> Result<Self, ConnectError> {
        let value = format!("Bearer {token}").parse().map_err(|_| ConnectError::Token)?;
        self.token = Some(value);
        Ok(self)
    }

    /// The generated client, with the bounds of this API. Cheap.
    #[must_use]
    pub fn grpc(&self) -> SoloServiceClient<Channel> {
        SoloServiceClient::new(self.channel.clone())
            .max_decoding_message_size(crate::WIRE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(crate::WIRE_MESSAGE_BYTES_MAX)
    }

    /// Makes a request of `message` with the token and a deadline, which the server honours too.
    pub fn request<T>(&self, message: T, deadline: Duration) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(deadline);
        self.authorize(&mut request);
        request
    }

    /// Makes a request without deadline, for streams that are followed.
    pub fn stream_request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        self.authorize(&mut request);
        request
    }

    fn authorize<T>(&self, request: &mut tonic::Request<T>) {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
    }

    /// The connection, for other services on it (health, reflection).
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// Connects a channel to `endpoint`.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect_channel(endpoint: &Endpoint) -> Result<Channel, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { endpoint: endpoint.clone(), source };
    match endpoint {
        Endpoint::Unix(path) => {
            let path = path.clone();
            Transport::from_static("http://solo.local")
                .connect_timeout(CONNECT_TIMEOUT)
                .connect_with_connector(tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move {
                        Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?))
                    }
                }))
                .await
                .map_err(unreachable)
        }
        Endpoint::Tcp(address) => Transport::from_shared(format!("http://{address}"))
            .map_err(|_| ConnectError::Address(address.clone()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(unreachable),
        Endpoint::Tls { address, files } => {
            let connector = Connector::open(files).map_err(ConnectError::Tls)?;
            let transport = Transport::from_shared(format!("https://{address}"))
                .map_err(|_| ConnectError::Address(address.clone()))?;
            transport
                .connect_timeout(CONNECT_TIMEOUT)
                .connect_with_connector(tower::service_fn(move |uri: Uri| {
                    let connector = connector.clone();
                    async move { connect_tls(connector, uri).await.map(TokioIo::new) }
                }))
                .await
                .map_err(unreachable)
        }
    }
}

/// Connects to the host and the port of `uri`.
async fn connect_tls(connector: Connector, uri: Uri) -> io::Result<impl AsyncRead + AsyncWrite> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let host = uri.host().ok_or_else(wrong)?;
    // An IPv6 address has brackets where there may be a port.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    connector.connect(host, uri.port_u16().ok_or_else(wrong)?).await
}
