//! The certificate that a process serves with: read at its start, looked at again every 2 s, swapped
//! as one.
//!
//! A new file that is of no use changes nothing: what was in force stays in force, and it is said so.
//! Clients that must have certificates must have them after each change too: that is decided once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use crate::identity::Identity;
use crate::{CertificateFacts, Protocol, TlsError, TlsFiles, now_unix_s};

/// Between two looks at the files: soon enough for who watches, and three small files are nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// From when on it is said that a certificate ends: time to act on a working day.
const EXPIRY_NOTICE_S: i64 = 7 * 24 * 3_600;

/// What became of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New connections get another certificate.
    Replaced {
        /// Which.
        facts: CertificateFacts,
    },
    /// The files changed and are of no use; the certificate from before stays.
    Broken {
        /// Cause and remedy.
        why: String,
    },
    /// The certificate in force ends within a week, or has ended. Said once for each certificate.
    Ending {
        /// Which.
        facts: CertificateFacts,
    },
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Seen {
    /// Of the contents that are in force.
    in_force: Option<[u8; 32]>,
    /// Of the failure that was seen last, as a text, and whether it was told.
    broken: Option<(String, bool)>,
    ending_told: bool,
}

/// A certificate that follows its files.
pub struct ServerTls {
    files: TlsFiles,
    identity: RwLock<Option<Arc<Identity>>>,
    seen: Mutex<Seen>,
    on_failure: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Refuses files that `solo up` could not serve with.
    ///
    /// # Errors
    /// [`TlsError`], also for a certificate that is not valid now.
    pub fn check(files: &TlsFiles) -> Result<CertificateFacts, TlsError> {
        let identity = Identity::new(files, &files.contents()?)?;
        identity.check_time(files, now_unix_s())?;
        Ok(identity.facts.clone())
    }

    /// Reads the files. If they are of no use, nobody gets through a handshake until they are: a
    /// process that is started again must not fail for what somebody is about to mend.
    ///
    /// `on_failure` is told of each handshake that fails. Blocks for as long as reading takes.
    pub fn open(files: TlsFiles, on_failure: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let tls = Self {
            files,
            identity: RwLock::new(None),
            seen: Mutex::new(Seen::default()),
            on_failure: Box::new(on_failure),
        };
        // One that has ended is served with all the same: clients then say what is wrong.
        let read = tls
            .files
            .contents()
            .and_then(|contents| Ok((contents.digest(), Identity::new(&tls.files, &contents)?)));
        match read {
            Ok((digest, identity)) => tls.put(digest, identity),
            Err(error) => {
                let why = told(&error);
                tracing::error!(why, "No TLS until the files are mended");
                tls.seen.lock().broken = Some((why, true));
            }
        }
        Arc::new(tls)
    }

    fn put(&self, digest: [u8; 32], identity: Identity) {
        *self.identity.write() = Some(Arc::new(identity));
        *self.seen.lock() = Seen { in_force: Some(digest), ..Seen::default() };
    }

    /// Looks at the files, and takes what is new. Blocks for as long as reading takes.
    pub fn look(&self) -> Option<Change> {
        self.look_at(now_unix_s())
    }

    pub(crate) fn look_at(&self, now_unix_s: i64) -> Option<Change> {
        let read = self.files.contents().map(|contents| (contents.digest(), contents));
        let taken = match read {
            Ok((digest, _)) if self.seen.lock().in_force == Some(digest) => {
                self.seen.lock().broken = None;
                return self.ending(now_unix_s);
            }
            Ok((digest, contents)) => Identity::new(&self.files, &contents).and_then(|identity| {
                identity.check_time(&self.files, now_unix_s)?;
                Ok((digest, identity))
            }),
            Err(error) => Err(error),
        };
        match taken {
            Ok((digest, identity)) => {
                let facts = identity.facts.clone();
                self.put(digest, identity);
                Some(Change::Replaced { facts })
            }
            Err(error) => self.broken(told(&error)),
        }
    }

    /// Tells of what is still wrong at the second look: certificate and key are two files, and whoever
    /// replaces them does so one after the other.
    fn broken(&self, why: String) -> Option<Change> {
        let mut seen = self.seen.lock();
        match &mut seen.broken {
            Some((known, true)) if *known == why => None,
            Some((known, is_told)) if *known == why => {
                *is_told = true;
                Some(Change::Broken { why })
            }
            other => {
                *other = Some((why, false));
                None
            }
        }
    }

    fn ending(&self, now_unix_s: i64) -> Option<Change> {
        let facts = self.identity.read().as_ref()?.facts.clone();
        let mut seen = self.seen.lock();
        if seen.ending_told || facts.remaining_s(now_unix_s) > EXPIRY_NOTICE_S {
            return None;
        }
        seen.ending_told = true;
        Some(Change::Ending { facts })
    }

    /// Looks every 2 s, logs each change and hands it to `tell`. Ends only with a fault, and says which.
    pub async fn keep(self: Arc<Self>, tell: impl Fn(&Change)) -> String {
        loop {
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    log(&change);
                    tell(&change);
                }
                Err(error) => return format!("the look at the certificates failed: {error}"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether the certificate in force is for `host`: a name or an IP address, without a port.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let Some(identity) = self.identity.read().clone() else { return false };
        let Ok(name) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&identity.leaf)
            .and_then(|leaf| rustls::client::verify_server_name(&leaf, &name))
            .is_ok()
    }

    /// What a handshake that begins now is done with; none if there is no usable certificate.
    pub(crate) fn config(&self, protocol: Protocol) -> Option<Arc<ServerConfig>> {
        self.identity.read().as_ref().map(|identity| identity.config(protocol))
    }

    /// Counts a handshake that failed.
    pub(crate) fn failed(&self, peer: std::net::SocketAddr, why: &str) {
        tracing::debug!(%peer, why, "TLS handshake failed");
        (self.on_failure)();
    }
}

fn log(change: &Change) {
    match change {
        Change::Replaced { facts } => {
            let (subject, until) = (&facts.subject, &facts.not_after);
            tracing::info!(subject, until, "Serving with another certificate");
        }
        Change::Broken { why } => {
            tracing::warn!(why, "The new certificate is of no use; the old one stays");
        }
        Change::Ending { facts } => {
            tracing::warn!(
                subject = facts.subject,
                until = facts.not_after,
                "Renew the certificate"
            );
        }
    }
}

/// An error with its cause and its remedy, on one line.
fn told(error: &TlsError) -> String {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}; {}", cause.unwrap_or_default(), error.remedy())
}
