//! What a certificate says, for people: names and dates. Decides nothing; rustls does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

use crate::TlsError;

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is: `CN=...`. Chosen by who made it: not for a terminal as it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Hosts and addresses that it is for.
    pub names: Vec<String>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// First second, since 1970, in which it is valid.
    pub not_before_unix_s: i64,
    /// Last second, since 1970, in which it is valid.
    pub not_after_unix_s: i64,
    /// The same as a date.
    pub not_before: String,
    /// The same as a date.
    pub not_after: String,
}

impl CertificateFacts {
    /// Reads the first certificate of a file in PEM form.
    ///
    /// # Errors
    /// The file cannot be read, or has none.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let pem = crate::files::read(path)?;
        let der = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| TlsError::Pem { path: path.to_owned(), what: "certificate" })?;
        Self::of(&der, path)
    }

    /// Reads one; `path` is where it came from.
    pub(crate) fn of(der: &CertificateDer<'_>, path: &Path) -> Result<Self, TlsError> {
        let damaged = || TlsError::Damaged { path: path.to_owned() };
        let parsed = Certificate::from_der(der).map_err(|_| damaged())?.tbs_certificate;
        let names = parsed.get::<SubjectAltName>().map_err(|_| damaged())?;
        let constraints = parsed.get::<BasicConstraints>().map_err(|_| damaged())?;
        let validity = parsed.validity;
        Ok(Self {
            subject: parsed.subject.to_string(),
            issuer: parsed.issuer.to_string(),
            names: names
                .map(|(_, names)| names.0.iter().filter_map(name).collect())
                .unwrap_or_default(),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            not_before_unix_s: unix_s(validity.not_before),
            not_after_unix_s: unix_s(validity.not_after),
            not_before: validity.not_before.to_string(),
            not_after: validity.not_after.to_string(),
        })
    }

    /// Seconds from `now_unix_s` until it ends; negative once it has.
    #[must_use]
    pub fn remaining_s(&self, now_unix_s: i64) -> i64 {
        self.not_after_unix_s.saturating_sub(now_unix_s)
    }

    /// Whether it is valid at that second.
    #[must_use]
    pub fn is_valid_at(&self, now_unix_s: i64) -> bool {
        (self.not_before_unix_s..=self.not_after_unix_s).contains(&now_unix_s)
    }
}

fn unix_s(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => <[u8; 4]>::try_from(bytes.as_bytes())
            .map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)))
            .or_else(|_| {
                <[u8; 16]>::try_from(bytes.as_bytes()).map(|bytes| Ipv6Addr::from(bytes).into())
            })
            .ok()
            .map(|address| address.to_string()),
        _ => None,
    }
}

/// The name and the public key of an authority that [`crate::issue`] made; none of another one.
pub(crate) fn own_authority(pem: &str) -> Option<(String, Vec<u8>)> {
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let parsed = Certificate::from_der(&der).ok()?.tbs_certificate;
    let [part] = parsed.subject.0.as_slice() else { return None };
    let mut attributes = part.0.iter();
    let name = attributes.next().filter(|attribute| attribute.oid == COMMON_NAME)?;
    let text = name.value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned();
    let key = parsed.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
    attributes.next().is_none().then_some((text, key))
}
