//! Makes an authority and certificates of it, for who has no other. Writes no file.
//!
//! Keys are ECDSA P-256: every client takes them, and a handshake costs little.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::ServerName;

use crate::TlsError;

/// Longest validity of a certificate, in days: that of the authority.
pub const DAYS_MAX: u32 = 3_650;

/// Clocks differ: what was made just now is valid on a machine that is late.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A certificate and its private key, both in PEM form.
pub struct Issued {
    /// For everybody.
    pub certificate: String,
    /// For its owner alone.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// Makes an authority. Valid for [`DAYS_MAX`] days.
///
/// # Errors
/// No randomness.
pub fn authority() -> Result<Issued, TlsError> {
    let key = KeyPair::generate()?;
    // Two authorities must not have one name: clients would look for the key of the wrong one.
    let digest = blake3::hash(key.public_key_raw()).to_hex();
    let parameters = authority_parameters(&format!("Solo CA {}", &digest[..8]))?;
    let certificate = parameters.self_signed(&key)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Makes the certificate of a server for `hosts`: names, or IP addresses; at least one. `days`: from 1
/// to [`DAYS_MAX`]; 0 makes one that has ended, for tests.
///
/// # Errors
/// A host that is none, or an authority that cannot be read.
pub fn server(authority: &Issued, hosts: &[String], days: u32) -> Result<Issued, TlsError> {
    if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
        return Err(TlsError::Host(host.clone()));
    }
    let name = hosts.first().cloned().unwrap_or_default();
    let mut parameters = parameters(hosts.to_vec(), &name, days)?;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    signed(authority, parameters)
}

/// Whether a certificate can be for `host`: a name, perhaps with `*` as its first part, or an address.
#[must_use]
pub fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    host.parse::<IpAddr>().is_ok() || ServerName::try_from(name).is_ok_and(|name| is_dns(&name))
}

fn is_dns(name: &ServerName<'_>) -> bool {
    matches!(name, ServerName::DnsName(_))
}

/// Makes the certificate of a client. `days` as for [`server`].
///
/// # Errors
/// An authority that cannot be read.
pub fn client(authority: &Issued, name: &str, days: u32) -> Result<Issued, TlsError> {
    let mut parameters = parameters(Vec::new(), name, days)?;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    signed(authority, parameters)
}

fn authority_parameters(name: &str) -> Result<CertificateParams, TlsError> {
    let mut parameters = parameters(Vec::new(), name, DAYS_MAX)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn signed(authority: &Issued, mut parameters: CertificateParams) -> Result<Issued, TlsError> {
    let authority_key = KeyPair::from_pem(&authority.key)?;
    let (name, public_key) =
        crate::facts::own_authority(&authority.certificate).ok_or(TlsError::ForeignAuthority)?;
    if public_key != authority_key.public_key_raw() {
        return Err(TlsError::ForeignAuthority);
    }
    let issuer = Issuer::new(authority_parameters(&name)?, authority_key);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn parameters(names: Vec<String>, name: &str, days: u32) -> Result<CertificateParams, TlsError> {
    let mut parameters = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    parameters.distinguished_name = subject;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Whole seconds, as certificates have them.
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
    parameters.not_before = now - CLOCK_SKEW;
    parameters.not_after = match days {
        0 => now - Duration::from_secs(1),
        days => now + DAY * days.min(DAYS_MAX),
    };
    Ok(parameters)
}
