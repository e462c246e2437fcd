//! `solo up`: becomes the heart of a node, or starts one and waits until it serves.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use solo_api::Endpoint;
use solo_heart::{HeartError, HeartOptions};
use solo_sandbox::Layer;
use solo_types::{Problem, ProblemKind};

use super::args::Global;
use super::context::{self, block_on};
use super::doctor;
use super::failure::chain;
use super::maps;
use super::node::{Addresses, Process};
use super::public::{self, TlsFlags};
use super::{Failure, Output};
use crate::output::{Spinner, one_line};
use crate::roles;

/// Where the API listens if nothing else is said.
const API_DEFAULT: SocketAddr = SocketAddr::new(LOOPBACK, 7747);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A node that does not serve after this time has a fault that time does not mend.
const SERVING_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks at a node that starts.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// A node that did not come up may take this long to end before it is forced to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A larger log is put aside at the next start; one old log is kept.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// A kernel that ended this often for the same cause while Solo starts will not come up.
const KERNEL_FAILURES_MAX: usize = 3;

/// As much of the log as a failed start shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES_MAX: u64 = 64 << 10;

/// Arguments of `solo up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Go on in the background; return when the API answers
    #[arg(long)]
    detach: bool,
    /// Where the gateway (HTTP) listens; port 0 for any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7780")]
    gateway: SocketAddr,
    /// Where the metrics (Prometheus) are; port 0 for any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7790")]
    metrics: SocketAddr,
    #[command(flatten)]
    tls: TlsFlags,
    /// Raise the machine's vm.max_map_count to 1048576 first, if it is lower, so that a wasm cell has
    /// room for all the instances that it can address (needs root)
    #[arg(long)]
    raise_map_count: bool,
    /// Do without a layer of the sandbox around cells, where the machine lacks it (can be repeated);
    /// `solo doctor` tells what there is
    #[arg(long, value_name = "LAYER", value_parser = roles::layer)]
    sandbox_without: Vec<Layer>,
    /// Set by `--detach` for the process that it starts: leave the terminal
    #[arg(long, hide = true, conflicts_with = "detach")]
    detached: bool,
}

/// A node that serves.
#[derive(Debug, Serialize)]
struct UpJson {
    home: PathBuf,
    pid: u32,
    api: String,
    api_socket: String,
    gateway: String,
    metrics: String,
}

impl Up {
    pub(crate) fn run(self, global: &Global, output: Output) -> Result<(), Failure> {
        let home = context::home(global)?;
        let api = listen_address(global.api.as_deref())?;
        let options = HeartOptions {
            tls: self.tls.options(&home, &[api, self.gateway, self.metrics])?,
            home,
            api,
            gateway: self.gateway,
            metrics: self.metrics,
            program: program()?,
            without: self.sandbox_without,
        };
        // The kernel refuses it too; here it is said at once.
        solo_kernel::check_audit_settings(&options.home).map_err(Failure::Refused)?;
        options.check_addresses().map_err(|error| heart_failure(&error))?;
        if self.raise_map_count {
            // Before a cell starts: it computes its room when it does.
            maps::raise(output)?;
        }
        if self.detach {
            return detach(&options, output);
        }
        roles::start_log()?;
        if self.detached {
            nix::unistd::setsid().map_err(|error| {
                Failure::local("UP_FAILED", format!("failed to leave the terminal: {error}"), "")
            })?;
        }
        solo_heart::run(options).map_err(|error| heart_failure(&error))
    }
}

fn listen_address(api: Option<&str>) -> Result<SocketAddr, Failure> {
    let Some(address) = api else { return Ok(API_DEFAULT) };
    address.parse().map_err(|_| {
        Failure::usage(
            format!("--api {address:?} is not an address to listen on"),
            "give an IP address and a port, like 127.0.0.1:7747; port 0 for any free one",
        )
    })
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        let cause = format!("failed to find the program itself: {error}");
        Failure::local("UP_FAILED", cause, "start Solo by the path of its binary")
    })
}

fn heart_failure(error: &HeartError) -> Failure {
    let (reason, kind) = match error {
        HeartError::AlreadyRunning { .. } => ("ALREADY_RUNNING", ProblemKind::AlreadyExists),
        HeartError::TlsRequired { .. } => ("TLS_REQUIRED", ProblemKind::FailedPrecondition),
        HeartError::ClientCertificatesRequired { .. } => {
            ("CLIENT_CERTIFICATES_REQUIRED", ProblemKind::FailedPrecondition)
        }
        HeartError::Isolation(_) => ("ISOLATION_UNAVAILABLE", ProblemKind::FailedPrecondition),
        HeartError::Groups(_) => ("UP_FAILED", ProblemKind::Internal),
        HeartError::Bind { .. } => ("ADDRESS_NOT_USABLE", ProblemKind::FailedPrecondition),
        HeartError::HomeTooLong { .. }
        | HeartError::HomeNotUtf8 { .. }
        | HeartError::ForeignDirectory { .. }
        | HeartError::File { .. } => ("HOME_NOT_USABLE", ProblemKind::FailedPrecondition),
        HeartError::Survivors { .. } | HeartError::Program { .. } | HeartError::System { .. } => {
            ("UP_FAILED", ProblemKind::Internal)
        }
    };
    Failure::Refused(Problem::new(kind, reason, chain(error)).remedy(error.remedy()))
}

fn detach(options: &HeartOptions, output: Output) -> Result<(), Failure> {
    let running = Addresses::read(&options.home).and_then(|node| Process::find(node.heart_pid));
    if running.is_some() {
        return Err(already_running(&options.home));
    }
    let path = options.home.join("run").join("solo.log");
    let (log, log_start) = open_log(&path).map_err(|error| {
        let cause = format!("failed to write {}: {error}", path.display());
        Failure::local("HOME_NOT_USABLE", cause, "choose another --home, or mend its rights")
    })?;
    let spinner = Spinner::start(output, "starting Solo".to_owned());
    let mut child = spawn(options, log).map_err(|error| {
        Failure::local("UP_FAILED", format!("failed to start the heart: {error}"), "")
    })?;
    let served = block_on(wait_until_serving(&options.home, &mut child, (&path, log_start)))?;
    drop(spinner);
    match served {
        Ok(node) => {
            let json = UpJson {
                home: options.home.clone(),
                pid: node.heart_pid,
                api: node.api,
                api_socket: node.api_socket,
                gateway: node.gateway,
                metrics: node.metrics,
            };
            output.show(&json, up_text)
        }
        Err(cause) => {
            stop(&mut child);
            let problem = Problem::new(ProblemKind::Unavailable, "UP_FAILED", cause)
                .remedy(format!("see {}", path.display()))
                .detail("log", tail(&path, log_start));
            Err(Failure::Refused(problem))
        }
    }
}

fn already_running(home: &Path) -> Failure {
    let cause = format!("Solo is running on {} already", home.display());
    Failure::Refused(
        Problem::new(ProblemKind::AlreadyExists, "ALREADY_RUNNING", cause)
            .remedy("use it, stop it with `solo shutdown`, or choose another --home"),
    )
}

/// Opens the log for appending and tells where this start begins in it.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if let Some(run) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(run)?;
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let start = log.metadata()?.len();
    Ok((log, start))
}

fn spawn(options: &HeartOptions, log: File) -> io::Result<Child> {
    Command::new(&options.program)
        .args(["up", "--detached", "--home"])
        .arg(&options.home)
        .args(["--api", &options.api.to_string()])
        .args(["--gateway", &options.gateway.to_string()])
        .args(["--metrics", &options.metrics.to_string()])
        .args(public::arguments(options.tls.as_ref()))
        .args(options.without.iter().map(|layer| format!("--sandbox-without={layer}")))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Waits until the node of `child` serves, whose log begins somewhere in a file. The error is a
/// cause.
async fn wait_until_serving(
    home: &Path,
    child: &mut Child,
    (log, log_start): (&Path, u64),
) -> Result<Addresses, String> {
    let endpoint = Endpoint::Unix(context::api_socket(home));
    let start = Instant::now();
    while start.elapsed() < SERVING_TIMEOUT {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(format!("Solo ended at once ({status})")),
            Err(error) => return Err(format!("failed to watch the heart: {error}")),
        }
        // Not the addresses of a former node, nor of another one that was faster.
        let node = Addresses::read(home).filter(|node| node.heart_pid == child.id());
        if let Some(node) = node
            && doctor::is_serving(&endpoint).await
        {
            return Ok(node);
        }
        if let Some(cause) = kernel_failure(&read_log(log, log_start)) {
            return Err(format!("the kernel cannot start: {cause}"));
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
    Err(format!("the API did not answer within {} s", SERVING_TIMEOUT.as_secs()))
}

/// Ends what did not come up: it may hold the addresses and the home.
fn stop(child: &mut Child) {
    let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
    if ended(child) {
        return;
    }
    if let Ok(pid) = i32::try_from(child.id()) {
        // It has not been waited for, so the id is still its own.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let start = Instant::now();
    while start.elapsed() < STOP_TIMEOUT {
        if ended(child) {
            return;
        }
        std::thread::sleep(POLL_PAUSE);
    }
    // Fails only if it has ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// Why the kernel ended, if it ended [`KERNEL_FAILURES_MAX`] times for this cause.
///
/// Reads what `roles` writes: `... The process ends role=kernel cause="CAUSE"`.
fn kernel_failure(log: &str) -> Option<String> {
    let causes: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("The process ends role=kernel cause=\""))
        .filter_map(|(_, cause)| cause.strip_suffix('"'))
        .collect();
    let last = causes.last()?;
    let count = causes.iter().filter(|cause| cause == &last).count();
    (count >= KERNEL_FAILURES_MAX).then(|| last.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// The last lines that were written to the log from `start` on.
fn tail(path: &Path, start: u64) -> String {
    let text = read_log(path, start);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// What was written to the log from `start` on, at most the last [`TAIL_BYTES_MAX`].
fn read_log(path: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

fn up_text(up: &UpJson) -> String {
    let home = one_line(&up.home.display().to_string());
    format!(
        "Solo is up (process {})\n  api      {}\n  socket   {}\n  gateway  {}\n  \
         metrics  {}/metrics\n  home     {home}\n",
        up.pid,
        up.api,
        one_line(&up.api_socket),
        public::url(&up.gateway),
        public::url(&up.metrics),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_ends_again_and_again_cannot_start() {
        let line = |role: &str, cause: &str| {
            format!("2024 ERROR solo::roles: The process ends role={role} cause={cause:?}\n")
        };
        let cause = "failed to read \"solo.db\"";
        let kernel = line("kernel", cause);
        assert_eq!(kernel_failure(&kernel.repeat(2)), None);
        assert_eq!(kernel_failure(&kernel.repeat(3)).as_deref(), Some(cause));
        assert_eq!(kernel_failure(&line("gateway", "x").repeat(3)), None);
        let mixed = format!("{kernel}{}{kernel}{}", line("kernel", "x"), line("kernel", "y"));
        assert_eq!(kernel_failure(&mixed), None);
    }

    #[test]
    fn an_address_to_listen_on_has_an_ip_and_a_port() {
        assert_eq!(listen_address(None), Ok(API_DEFAULT));
        assert_eq!(listen_address(Some("[::1]:0")).map(|address| address.port()), Ok(0));
        for address in ["localhost:1", "/run/api.sock", "127.0.0.1", ""] {
            let exit_code = listen_address(Some(address)).map_err(|failure| failure.exit_code());
            assert_eq!(exit_code, Err(2), "{address}");
        }
    }
}
