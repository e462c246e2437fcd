//! The client's side: whom it trusts, what it shows, and why a handshake failed.
//!
//! Trusts the authorities of one file and nobody else: there is no list of public ones inside, and no
//! way to go on without a check.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::files::{read, read_key};
use crate::identity::{certificates, roots};
use crate::{Protocol, TlsError, provider};

/// A server says its first word at once. One that says nothing for so long is not waited for.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a client's authorities and its own certificate are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// PEM: who signs servers' certificates.
    pub ca: PathBuf,
    /// PEM: the client's certificate and its key, for servers that ask for one (mTLS).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Makes connections in TLS, for HTTP/2. Clones share what they trust.
#[derive(Clone)]
pub struct Connector(Arc<ClientConfig>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads the files. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: &ClientFiles) -> Result<Self, TlsError> {
        let roots = roots(&files.ca, &read(&files.ca)?)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Authority {
                path: files.ca.clone(),
                why: error.to_string(),
            })?
            .with_root_certificates(roots);
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate, &read(certificate)?)?;
                let no_pem = |path: &Path, what| TlsError::Pem { path: path.to_owned(), what };
                if chain.is_empty() {
                    return Err(no_pem(certificate, "certificate"));
                }
                let der = PrivateKeyDer::from_pem_slice(&read_key(key)?)
                    .map_err(|_| no_pem(key, "private key"))?;
                builder.with_client_auth_cert(chain, der).map_err(|source| TlsError::Unusable {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    source,
                })?
            }
        };
        config.alpn_protocols = Protocol::Http2.alpn();
        Ok(Self(Arc::new(config)))
    }

    /// The same, asking for no protocol inside: for whoever speaks something else than HTTP/2.
    #[must_use]
    pub fn without_alpn(self) -> Self {
        let mut config = (*self.0).clone();
        config.alpn_protocols.clear();
        Self(Arc::new(config))
    }

    /// Connects to `host` (a name or an IP address, without brackets) and checks that it is who
    /// answers. Has no deadline of its own.
    ///
    /// # Errors
    /// No connection, or no handshake; see [`handshake_failure`].
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TcpStream::connect((host, port)).await?;
        // A failure costs latency only.
        let _slow = stream.set_nodelay(true);
        let mut stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await?;
        // With TLS 1.3 a server refuses a client's certificate after the client's part of the
        // handshake is done. Its first word tells, where it can still be told as a handshake's.
        if let Ok(heard) = tokio::time::timeout(FIRST_WORD_TIMEOUT, stream.fill_buf()).await
            && heard?.is_empty()
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(stream)
    }
}

/// Why a handshake failed, as far as a client can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The server's certificate is of an authority that the client does not trust.
    UnknownAuthority,
    /// The server's certificate is for other names.
    WrongName,
    /// The server's certificate has ended, or is not valid yet.
    NotValidNow,
    /// The server's certificate is wrong in another way.
    BadCertificate,
    /// The server wants a certificate of the client.
    ClientCertificateNeeded,
    /// The server does not take the client's certificate.
    ClientCertificateRefused,
    /// The other side does not speak TLS.
    NoTls,
    /// Something else.
    Other,
}

impl HandshakeFailure {
    /// Its stable reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "TLS_UNKNOWN_CA",
            Self::WrongName => "TLS_WRONG_NAME",
            Self::NotValidNow => "TLS_CERTIFICATE_NOT_VALID_NOW",
            Self::BadCertificate => "TLS_BAD_CERTIFICATE",
            Self::ClientCertificateNeeded => "TLS_CLIENT_CERTIFICATE_NEEDED",
            Self::ClientCertificateRefused => "TLS_CLIENT_CERTIFICATE_REFUSED",
            Self::NoTls => "TLS_NOT_SPOKEN",
            Self::Other => "TLS_FAILED",
        }
    }

    /// What a user can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::UnknownAuthority => {
                "name the authority (CA) that signed the server's certificate with --ca; if it is \
                 the right one, somebody else answers there"
            }
            Self::WrongName => {
                "use a name or address that the certificate is for, or have the operator add this \
                 one (`solo tls server --host NAME_OR_IP`)"
            }
            Self::NotValidNow => "have the operator renew the certificate, or set the clock",
            Self::BadCertificate => "have the operator replace the server's certificate",
            Self::ClientCertificateNeeded => {
                "name a client certificate with --cert and its key with --cert-key; the operator \
                 makes one with `solo tls client NAME`"
            }
            Self::ClientCertificateRefused => {
                "get a client certificate of the authority that this server trusts, and see that \
                 it has not ended (`solo tls client NAME` makes one)"
            }
            Self::NoTls => "use http:// for a loopback address, where Solo speaks plain TCP",
            Self::Other => "see that both sides speak TLS 1.2 or 1.3",
        }
    }
}

/// Finds the failure of a handshake in the causes of an error; none if it has none.
#[must_use]
pub fn handshake_failure(error: &(dyn Error + 'static)) -> Option<HandshakeFailure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(classify(error));
        }
        // What such an error is made of is not among its sources.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(classify(inner));
        }
        next = error.source();
    }
    None
}

fn classify(error: &rustls::Error) -> HandshakeFailure {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                HandshakeFailure::UnknownAuthority
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                HandshakeFailure::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => HandshakeFailure::NotValidNow,
            _ => HandshakeFailure::BadCertificate,
        },
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            HandshakeFailure::ClientCertificateNeeded
        }
        Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => HandshakeFailure::ClientCertificateRefused,
        Tls::InvalidMessage(_) => HandshakeFailure::NoTls,
        _ => HandshakeFailure::Other,
    }
}
