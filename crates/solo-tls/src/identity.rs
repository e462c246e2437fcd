//! From the contents of files to what rustls serves with.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::files::Contents;
use crate::{CertificateFacts, Protocol, TlsError, TlsFiles, provider};

/// A certificate with its key, ready to serve.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) http1: Arc<ServerConfig>,
    pub(crate) http2: Arc<ServerConfig>,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) facts: CertificateFacts,
}

impl Identity {
    /// Understands `contents`, which are those of `files`. Does not look at the time.
    pub(crate) fn new(files: &TlsFiles, contents: &Contents) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate, &contents.certificate)?;
        let Some(leaf) = chain.first().cloned() else {
            return Err(no_pem(&files.certificate, "certificate"));
        };
        let facts = CertificateFacts::of(&leaf, &files.certificate)?;
        if facts.names.is_empty() {
            return Err(TlsError::NoNames { path: files.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| no_pem(&files.key, "private key"))?;
        let clients = match (&files.client_ca, &contents.client_ca) {
            (Some(path), Some(pem)) => Some((path.as_path(), pem.as_slice())),
            _ => None,
        };
        let config = config(files, clients, chain, key)?;
        let spoken = |protocol: Protocol| {
            let mut config = config.clone();
            config.alpn_protocols = protocol.alpn();
            Arc::new(config)
        };
        let (http1, http2) = (spoken(Protocol::Http1), spoken(Protocol::Http2));
        Ok(Self { http1, http2, leaf, facts })
    }

    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        Arc::clone(match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        })
    }

    /// Refuses one that no client would take now.
    pub(crate) fn check_time(&self, files: &TlsFiles, now_unix_s: i64) -> Result<(), TlsError> {
        if self.facts.is_valid_at(now_unix_s) {
            return Ok(());
        }
        Err(TlsError::NotValidNow {
            path: files.certificate.clone(),
            not_before: self.facts.not_before.clone(),
            not_after: self.facts.not_after.clone(),
        })
    }
}

fn config(
    files: &TlsFiles,
    clients: Option<(&Path, &[u8])>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |source| TlsError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let roots = Arc::new(roots(path, pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| no_authority(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).map_err(unusable)
}

/// The authorities of a file, all of which must be usable.
pub(crate) fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| no_authority(path, &error))?;
    }
    if roots.is_empty() {
        return Err(no_pem(path, "certificate"));
    }
    Ok(roots)
}

/// All certificates of a file, in its order; perhaps none.
pub(crate) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| no_pem(path, "certificate"))
}

fn no_pem(path: &Path, what: &'static str) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what }
}

fn no_authority(path: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError::Authority { path: path.to_owned(), why: error.to_string() }
}
