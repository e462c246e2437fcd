//! What every command of a client needs: where Solo is, as whom to ask, where to print.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_api::{Client, ConnectError, Endpoint};
use solo_types::{Problem, ProblemKind};

use super::args::Global;
use super::failure::{UNREACHABLE_REMEDY, chain};
use super::trust;
use super::{Failure, Output};

/// Deadline of what the kernel answers from memory, or with one durable write.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Deadline of a deployment or an update: compiling a large component takes tens of seconds.
pub(crate) const DEPLOY_DEADLINE: Duration = Duration::from_secs(120);

/// The server answers at the deadline itself; this is the way back.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// Where Solo is, as whom to ask, where to print.
#[derive(Debug)]
pub(crate) struct Context {
    /// An error only matters to whoever needs the home; see [`Self::home`].
    home: Result<PathBuf, Failure>,
    pub(crate) endpoint: Endpoint,
    pub(crate) output: Output,
    token: Option<String>,
}

impl Context {
    pub(crate) fn new(global: &Global, output: Output) -> Result<Self, Failure> {
        let home = home(global);
        let api = match &global.api {
            Some(address) => Some(address.clone()),
            None => variable("SOLO_API")?,
        };
        let endpoint = match (api, &home) {
            (Some(address), home) => {
                trust::endpoint(&address, &global.trust, home.as_deref().ok())?
            }
            (None, Ok(home)) => Endpoint::Unix(api_socket(home)),
            (None, Err(failure)) => return Err(failure.clone()),
        };
        let token = match &global.token {
            Some(token) => Some(token.clone()).filter(|token| !token.is_empty()),
            None => variable("SOLO_TOKEN")?,
        };
        Ok(Self { home, endpoint, output, token })
    }

    /// The home of Solo on this machine.
    pub(crate) fn home(&self) -> Result<&Path, Failure> {
        self.home.as_deref().map_err(Clone::clone)
    }

    /// Connects.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let client = Client::connect(&self.endpoint).await.map_err(|error| self.refused(&error))?;
        match self.token() {
            Some(token) => client.with_token(token.trim()).map_err(|error| self.refused(&error)),
            // It is the kernel that says that there is none, and what to do about it.
            None => Ok(client),
        }
    }

    /// The token to act with: the one that was named, else the owner's of this home, for whoever can
    /// read it. That one goes to the socket of its home only, as who listens elsewhere may be anybody.
    fn token(&self) -> Option<String> {
        if self.token.is_some() {
            return self.token.clone();
        }
        let home = self.home.as_ref().ok()?;
        match &self.endpoint {
            Endpoint::Unix(path) if *path == api_socket(home) => solo_api::admin_token(home).ok(),
            _ => None,
        }
    }

    fn refused(&self, error: &ConnectError) -> Failure {
        match error {
            ConnectError::Unreachable { source, .. } => match trust::failure(source) {
                Some(failure) => failure,
                None => self.unreachable(&chain(source)),
            },
            ConnectError::Tls(source) => Failure::usage(chain(source), source.remedy()),
            ConnectError::Address(_) => Failure::usage(chain(error), "give --api as HOST:PORT"),
            ConnectError::Token => {
                Failure::usage(chain(error), "give --token as `solo token mint` printed it")
            }
            ConnectError::NoAdminToken { .. } => {
                Failure::usage(chain(error), "give a token with --token or SOLO_TOKEN")
            }
        }
    }

    /// Says that nobody answers at the endpoint.
    pub(crate) fn unreachable(&self, why: &str) -> Failure {
        let place = match &self.endpoint {
            Endpoint::Unix(path) => path.display().to_string(),
            Endpoint::Tcp(address) | Endpoint::Tls { address, .. } => address.clone(),
        };
        let cause = format!("Solo cannot be reached at {place}: {why}");
        Failure::Unreachable(
            Problem::new(ProblemKind::Unavailable, "SOLO_UNREACHABLE", cause)
                .remedy(UNREACHABLE_REMEDY),
        )
    }
}

/// Waits for an answer, at most until shortly after the deadline that the request carries.
pub(crate) async fn answer<T>(
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline.saturating_add(DEADLINE_GRACE), call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Failure::from_status(&status)),
        Err(_) => Err(Failure::timeout(deadline)),
    }
}

/// Runs the asynchronous part of a command on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Failure::local("RUNTIME_FAILED", format!("failed to start a runtime: {error}"), "")
        })?;
    let result = runtime.block_on(future);
    // A read of standard input that nobody waits for must not keep the process.
    runtime.shutdown_background();
    Ok(result)
}

/// The socket of the API below a home.
pub(crate) fn api_socket(home: &Path) -> PathBuf {
    home.join("run").join("api.sock")
}

/// An environment variable; none if it is empty.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var_os(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        // Not as if it were unset: the request would be the owner's.
        Some(Err(_)) => Err(Failure::usage(format!("{name} is not UTF-8"), "set it anew")),
    }
}

/// The home that the flags or the environment name, or the usual one; absolute.
pub(crate) fn home(global: &Global) -> Result<PathBuf, Failure> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let named = global.home.clone().or_else(|| path("SOLO_HOME"));
    let variable = |name| path(name).filter(|path| path.is_absolute());
    let home = named
        .filter(|home| !home.as_os_str().is_empty())
        .or_else(|| nix::unistd::geteuid().is_root().then(|| PathBuf::from("/var/lib/solo")))
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("solo")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/solo")))
        .ok_or_else(|| Failure::usage("there is no home directory", "name one with --home"))?;
    std::path::absolute(&home).map_err(|error| {
        Failure::usage(
            format!("{} is no directory: {error}", home.display()),
            "choose another --home",
        )
    })
}

/// Reads the address of an API; those in TLS are read by [`trust::endpoint`].
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let wrong = |cause: &str| {
        let remedy = "give --api as HOST:PORT or as the path of a Unix socket";
        Failure::usage(format!("{address:?} {cause}"), remedy)
    };
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Endpoint::Unix(path.strip_prefix("//").unwrap_or(path).into()));
    }
    if address.starts_with(['/', '.']) {
        return Ok(Endpoint::Unix(address.into()));
    }
    let place = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    match place.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && !place.contains('/') && port.parse::<u16>().is_ok() =>
        {
            Ok(Endpoint::Tcp(place.to_owned()))
        }
        _ => Err(wrong("is not the address of an API")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("127.0.0.1:7747", Some(Endpoint::Tcp("127.0.0.1:7747".into()))),
            ("http://[::1]:7747/", Some(Endpoint::Tcp("[::1]:7747".into()))),
            ("/run/api.sock", Some(Endpoint::Unix("/run/api.sock".into()))),
            ("./api.sock", Some(Endpoint::Unix("./api.sock".into()))),
            ("unix:/run/api.sock", Some(Endpoint::Unix("/run/api.sock".into()))),
            ("unix:///run/api.sock", Some(Endpoint::Unix("/run/api.sock".into()))),
            ("https://example.com:1", None),
            ("localhost", None),
            (":7747", None),
            ("localhost:x", None),
        ] {
            assert_eq!(endpoint(address).ok(), expected, "{address}");
        }
    }
}
