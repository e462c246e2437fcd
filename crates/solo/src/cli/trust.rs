//! The client's side of TLS: whom `--api https://...` trusts, and what it shows.
//!
//! There is no flag to go on without a check.

use std::path::{Path, PathBuf};

use clap::Args;
use solo_api::Endpoint;
use solo_tls::{ClientFiles, HandshakeFailure, handshake_failure};
use solo_types::{Problem, ProblemKind};

use super::Failure;
use super::context;
use super::failure::chain;
use super::tls_files::Directory;

/// Flags for `--api https://HOST:PORT`.
#[derive(Debug, Default, Args)]
pub(crate) struct Trust {
    /// Authority (CA) that signed the server's certificate, PEM, for https:// addresses
    /// [env: SOLO_CA] [default: tls/ca.crt in the home]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own certificate, PEM, for servers that ask for one [env: SOLO_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Private key of --cert, PEM [env: SOLO_CERT_KEY] [default: --cert with the ending .key]
    #[arg(long, global = true, value_name = "FILE")]
    cert_key: Option<PathBuf>,
}

/// Reads the address of an API.
pub(crate) fn endpoint(
    address: &str,
    trust: &Trust,
    home: Option<&Path>,
) -> Result<Endpoint, Failure> {
    let Some(place) = address.strip_prefix("https://") else {
        if trust.ca.is_some() || trust.cert.is_some() || trust.cert_key.is_some() {
            return Err(Failure::usage(
                format!("files for TLS are named, and {address:?} is not in TLS"),
                "give --api as https://HOST:PORT, or name no files",
            ));
        }
        return context::endpoint(address);
    };
    match context::endpoint(place)? {
        Endpoint::Tcp(address) => Ok(Endpoint::Tls { address, files: trust.files(home)? }),
        _ => Err(Failure::usage(
            format!("{address:?} is not the address of an API"),
            "give --api as https://HOST:PORT",
        )),
    }
}

impl Trust {
    fn files(&self, home: Option<&Path>) -> Result<ClientFiles, Failure> {
        let own = || home.map(|home| Directory::new(home).authority().certificate);
        let ca = named(self.ca.as_ref(), "SOLO_CA")
            .or_else(|| own().filter(|path| path.exists()))
            .ok_or_else(|| {
                Failure::usage(
                    "no authority (CA) to trust is named",
                    "name the file that the operator gave you with --ca or SOLO_CA; for a \
                     certificate of a public authority, the bundle of your system",
                )
            })?;
        let certificate = named(self.cert.as_ref(), "SOLO_CERT");
        let key = named(self.cert_key.as_ref(), "SOLO_CERT_KEY");
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(certificate), None) => {
                let key = certificate.with_extension("key");
                Some((certificate, key))
            }
            (None, None) => None,
            (None, Some(_)) => {
                let cause = "a key is named without a certificate";
                return Err(Failure::usage(cause, "name the certificate with --cert or SOLO_CERT"));
            }
        };
        Ok(ClientFiles { ca, identity })
    }
}

/// What a flag names, or else a variable that is not empty.
fn named(flag: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    let value = || std::env::var_os(variable).filter(|value| !value.is_empty());
    flag.cloned().or_else(|| value().map(PathBuf::from))
}

/// The failure of a handshake, if that is why there is no connection.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    let failed = handshake_failure(error)?;
    let kind = match failed {
        HandshakeFailure::ClientCertificateNeeded | HandshakeFailure::ClientCertificateRefused => {
            ProblemKind::Unauthenticated
        }
        _ => ProblemKind::Unavailable,
    };
    let cause = format!("no TLS with this server: {}", chain(error));
    Some(Failure::Refused(Problem::new(kind, failed.reason(), cause).remedy(failed.remedy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, trust: &Trust) -> Result<Endpoint, i32> {
        let home = Some(Path::new("/nonexistent"));
        endpoint(address, trust, home).map_err(|failure| failure.exit_code().into())
    }

    #[test]
    fn https_needs_an_authority_and_takes_a_certificate() {
        let mut trust = Trust::default();
        assert_eq!(read("127.0.0.1:1", &trust), Ok(Endpoint::Tcp("127.0.0.1:1".into())));
        trust.ca = Some("/ca.crt".into());
        let files = ClientFiles { ca: "/ca.crt".into(), identity: None };
        let expected = Endpoint::Tls { address: "[::1]:1".into(), files };
        assert_eq!(read("https://[::1]:1/", &trust), Ok(expected));
        for address in ["127.0.0.1:1", "/run/api.sock", "https:///run/api.sock", "https://host"] {
            assert_eq!(read(address, &trust), Err(2), "{address}");
        }
        trust.cert = Some("/me.crt".into());
        let identity = Some(("/me.crt".into(), "/me.key".into()));
        let files = ClientFiles { ca: "/ca.crt".into(), identity };
        let expected = Endpoint::Tls { address: "host:1".into(), files };
        assert_eq!(read("https://host:1", &trust), Ok(expected));
        let key = Trust { ca: trust.ca.take(), cert: None, cert_key: Some("/k".into()) };
        assert_eq!(read("https://host:1", &key), Err(2), "a key without its certificate");
    }
}
