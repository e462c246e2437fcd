//! What can be wrong with keys and certificates.

use std::path::PathBuf;

/// Why files of keys and certificates are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key that others than its owner may use.
    #[error("others may use the private key {path} (mode {mode:o})")]
    KeyOpen {
        /// Which one.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{path} has no {what} in PEM form")]
    Pem {
        /// Which one.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// A certificate that cannot be understood.
    #[error("the certificate in {path} is damaged")]
    Damaged {
        /// Which one.
        path: PathBuf,
    },
    /// A server certificate without names: no client would take it.
    #[error("the certificate in {path} is for no host (it has no subject alternative names)")]
    NoNames {
        /// Which one.
        path: PathBuf,
    },
    /// A certificate outside of its time.
    #[error("the certificate in {path} is valid from {not_before} to {not_after}, and not now")]
    NotValidNow {
        /// Which one.
        path: PathBuf,
        /// A date.
        not_before: String,
        /// A date.
        not_after: String,
    },
    /// Key and certificate do not fit each other, or are of a kind that rustls does not take.
    #[error("{certificate} and {key} cannot be used together")]
    Unusable {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The authority of clients' or servers' certificates is none.
    #[error("the certificates in {path} are of no use as an authority: {why}")]
    Authority {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Issue(#[from] rcgen::Error),
    /// `ca.crt` and `ca.key` are not those of an authority that Solo made.
    #[error("the authority is not one that Solo made, or its key is another's")]
    ForeignAuthority,
    /// A name that no certificate can be for.
    #[error("{0:?} is neither the name of a host nor an IP address")]
    Host(String),
}

impl TlsError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and the owner of the file",
            Self::KeyOpen { .. } => {
                "chmod 600 it, and replace the key if somebody may have read it"
            }
            Self::Pem { .. } | Self::Damaged { .. } => {
                "give files in PEM form: certificates first the server's, then those in between, \
                 and an unencrypted private key"
            }
            Self::NoNames { .. } => "get one for the names and addresses that clients use",
            Self::NotValidNow { .. } => {
                "renew it (`solo tls server` if Solo made it), or set the clock"
            }
            Self::Unusable { .. } => "give the key that the certificate was made for",
            Self::Authority { .. } => "give the certificate of an authority (CA) in PEM form",
            Self::Issue(_) | Self::ForeignAuthority => {
                "put ca.crt and ca.key of `solo tls init` back; another authority makes its certificates itself"
            }
            Self::Host(_) => "give a name like solo.example.com, or an IP address without port",
        }
    }
}
