//! Addresses of `solo up` that other machines reach: which files of TLS they are served with.
//!
//! One rule, without a switch: loopback is plain TCP, everything else is TLS. Files are checked before
//! anything starts, so that what cannot work is refused and not tried.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use solo_heart::TlsOptions;
use solo_tls::{ServerTls, TlsError, TlsFiles};
use solo_types::{Problem, ProblemKind};

use super::Failure;
use super::failure::chain;
use super::tls_files::Directory;

/// Files that are named instead of those of `solo tls init`.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS, for addresses that are not loopback")]
pub(crate) struct TlsFlags {
    /// Certificate of this server and those between it and its authority, PEM
    /// [default: tls/server.crt in the home]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM [default: tls/server.key in the home]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Refuse clients without a certificate of this authority, PEM [default: tls/client-ca.crt in the
    /// home, if it is there]
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsFlags {
    /// The files that are to be used; none if all addresses are loopback, or if there are none.
    pub(crate) fn options(
        &self,
        home: &Path,
        addresses: &[SocketAddr],
    ) -> Result<Option<TlsOptions>, Failure> {
        if addresses.iter().all(|address| address.ip().is_loopback()) {
            return self.unused();
        }
        let directory = Directory::new(home);
        let (certificate, key) = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => (absolute(certificate)?, absolute(key)?),
            _ => (directory.server().certificate, directory.server().key),
        };
        if self.tls_cert.is_none() && !certificate.exists() && !key.exists() {
            return Ok(None);
        }
        let client_ca = match &self.tls_client_ca {
            Some(path) => Some(absolute(path)?),
            None => Some(directory.client_ca()).filter(|path| path.exists()),
        };
        let files = TlsFiles { certificate, key, client_ca };
        ServerTls::check(&files).map_err(|error| not_usable(&error))?;
        let TlsFiles { certificate, key, client_ca } = files;
        Ok(Some(TlsOptions { certificate, key, client_ca }))
    }

    /// Who names files believes that they are used.
    fn unused(&self) -> Result<Option<TlsOptions>, Failure> {
        if self.tls_cert.is_none() && self.tls_client_ca.is_none() {
            return Ok(None);
        }
        Err(Failure::usage(
            "files for TLS are named, and all addresses are loopback, where Solo speaks plain TCP",
            "give an --api, --gateway or --metrics address that others reach, or name no files",
        ))
    }
}

/// The flags that name `tls` again, for another process.
pub(crate) fn arguments(tls: Option<&TlsOptions>) -> Vec<OsString> {
    let Some(tls) = tls else { return Vec::new() };
    let mut flags = vec![("--tls-cert", &tls.certificate), ("--tls-key", &tls.key)];
    flags.extend(tls.client_ca.as_ref().map(|path| ("--tls-client-ca", path)));
    flags
        .into_iter()
        .flat_map(|(flag, path)| [flag.into(), path.clone().into_os_string()])
        .collect()
}

/// The URL of an HTTP listener.
pub(crate) fn url(address: &str) -> String {
    let is_loopback = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    format!("{}://{address}", if is_loopback { "http" } else { "https" })
}

/// Files that cannot be served with.
pub(crate) fn not_usable(error: &TlsError) -> Failure {
    let problem = Problem::new(ProblemKind::FailedPrecondition, "TLS_NOT_USABLE", chain(error));
    Failure::Refused(problem.remedy(error.remedy()))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::usage(format!("{} is no file: {error}", path.display()), "name another one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_reach_is_https() {
        for (address, expected) in [
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("[::1]:1", "http://[::1]:1"),
            ("0.0.0.0:1", "https://0.0.0.0:1"),
            ("192.0.2.1:1", "https://192.0.2.1:1"),
        ] {
            assert_eq!(url(address), expected);
        }
    }

    #[test]
    fn files_without_a_use_are_refused() {
        let flags = TlsFlags {
            tls_cert: None,
            tls_key: None,
            tls_client_ca: Some("/nonexistent/ca.crt".into()),
        };
        let loopback = ["127.0.0.1:0".parse().expect("an address")];
        let refused = flags.options(Path::new("/nonexistent"), &loopback);
        assert_eq!(refused.expect_err("refused").exit_code(), 2);
    }
}
