//! A Solo of one's own: a temporary home, free ports, everything gone at the end, whatever the end.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use solo_api::{Client, Endpoint, v1};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest that anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Lines of Solo's log that go with an error.
const LOG_LINES: usize = 20;

/// A running Solo.
#[derive(Debug)]
pub(crate) struct Solo {
    heart: Child,
    home: TempDir,
}

/// The binary beside this one.
///
/// # Errors
/// It is not there.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let path = program.with_file_name("solo");
    ensure!(path.is_file(), "{} is missing; run `make build`", path.display());
    Ok(path)
}

/// A new directory below `directory`, or where temporary files go.
///
/// # Errors
/// It cannot be made.
pub(crate) fn temporary(directory: Option<&Path>) -> anyhow::Result<TempDir> {
    let directory = directory.map_or_else(std::env::temp_dir, Path::to_owned);
    tempfile::Builder::new()
        .prefix("solo-bench-")
        .tempdir_in(&directory)
        .with_context(|| format!("failed to make a directory in {}", directory.display()))
}

impl Solo {
    /// Starts one whose home is below `directory`, and waits until its API answers.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub(crate) async fn start(directory: Option<&Path>) -> anyhow::Result<Self> {
        let home = temporary(directory)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(home.path().join("bench.log"))
            .context("failed to make a log")?;
        let heart = Command::new(binary()?)
            .args(["up", "--api", "127.0.0.1:0", "--gateway", "127.0.0.1:0"])
            .args(["--metrics", "127.0.0.1:0", "--home"])
            .arg(home.path())
            .env_remove("SOLO_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("failed to share the log")?)
            .stderr(log)
            .spawn()
            .context("failed to start Solo")?;
        let solo = Self { heart, home };
        match tokio::time::timeout(PATIENCE, solo.answering()).await {
            Ok(_) => Ok(solo),
            Err(_) => bail!("Solo did not answer within {PATIENCE:?}; its log:\n{}", solo.log()),
        }
    }

    /// Where it is.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Tries without end until a new connection is answered.
    pub(crate) async fn answering(&self) -> Client {
        loop {
            if let Ok(client) = Client::connect_home(self.home()).await {
                let message = v1::ListRequest { page_size: Some(1), ..v1::ListRequest::default() };
                if client.grpc().list(client.request(message, PATIENCE)).await.is_ok() {
                    return client;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A client over the Unix socket.
    ///
    /// # Errors
    /// Nothing answers.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect_home(self.home()).await?)
    }

    /// A client over TCP.
    ///
    /// # Errors
    /// Nothing answers.
    pub(crate) async fn tcp_client(&self) -> anyhow::Result<Client> {
        let path = self.home().join("run/addresses.json");
        let text = fs::read_to_string(&path).context("failed to read the addresses")?;
        let addresses: serde_json::Value = serde_json::from_str(&text)?;
        let api = addresses["api"].as_str().context("no address of the API")?;
        let client = Client::connect(&Endpoint::Tcp(api.to_owned())).await?;
        Ok(client.with_token(&solo_api::admin_token(self.home())?)?)
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(self.home().join("run/addresses.json"))?;
        let addresses: serde_json::Value = serde_json::from_str(&text)?;
        let address = addresses["metrics"].as_str().context("no address of the metrics")?;
        let token = solo_api::admin_token(self.home())?;
        let talking = async {
            let mut stream = TcpStream::connect(address).await?;
            let request = format!(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Authorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, talking).await??;
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name}"))
    }

    /// The process of the kernel.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn kernel_pid(&self) -> anyhow::Result<i32> {
        pid_in(&self.home().join("run/kernel.pid"))
    }

    /// All processes below the heart.
    pub(crate) fn descendants(&self) -> Vec<i32> {
        let heart = i32::try_from(self.heart.id()).unwrap_or_default();
        crate::parts::descendants(Pid::from_raw(heart))
    }

    /// The process of the wasm cell.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn cell_pid(&self) -> anyhow::Result<i32> {
        let directory = self.home().join("run/cells");
        for entry in fs::read_dir(&directory).context("failed to list the cells")? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("wasm") && name.ends_with(".pid") {
                return pid_in(&path);
            }
        }
        bail!("there is no wasm cell")
    }

    /// Kills the kernel as a fault would.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn kill_kernel(&self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.kernel_pid()?), Signal::SIGKILL)
            .context("failed to kill the kernel")
    }

    /// The end of what its processes logged.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.home().join("bench.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// All processes that have this home in their command line, the heart apart.
    fn others(&self) -> Vec<Pid> {
        let home = self.home().display().to_string();
        let heart = i32::try_from(self.heart.id()).unwrap_or_default();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if pid != heart && String::from_utf8_lossy(&line).contains(&home) {
                found.push(Pid::from_raw(pid));
            }
        }
        found
    }
}

impl Drop for Solo {
    /// Ends the heart, and with it all that it started; then the directory goes.
    fn drop(&mut self) {
        // Each fails only for what has ended already.
        let _ = self.heart.kill();
        let _ = self.heart.wait();
        let began = Instant::now();
        while !self.others().is_empty() {
            if began.elapsed() > PATIENCE / 10 {
                // What outlives the heart is a fault of Solo, and must not outlive this program.
                crate::endings::say("solo-bench: processes outlived the heart; killing them");
                for pid in self.others() {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                break;
            }
            std::thread::sleep(PAUSE);
        }
        // No next heart removes its control groups; where there are none, there is nothing to remove.
        let groups = solo_sandbox::Groups::open(&solo_heart::control_group_name(self.home()));
        if let Some(Err(error)) = groups.ok().map(|groups| groups.remove(PATIENCE / 10)) {
            crate::endings::say(&format!("solo-bench: control groups are left: {error}"));
        }
    }
}

fn pid_in(path: &Path) -> anyhow::Result<i32> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no pid", path.display()))
}

/// Waits until `look` finds something.
///
/// # Errors
/// It never did, or failed.
pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
