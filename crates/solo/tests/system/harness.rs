//! A Solo of one's own for a test: a home in a temporary directory, all ports free ones, everything
//! gone at the end.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use solo_api::{Client, v1};
use tempfile::TempDir;

/// The longest that a test waits for a state. A machine that is busy with other tests is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Deadline of one request.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Typed functions, in text form.
pub(crate) const ADDER: &str = include_str!("../../../../examples/adder.wat");

/// A running Solo.
#[derive(Debug)]
pub(crate) struct Solo {
    home: TempDir,
    heart: Option<Child>,
    log_filter: Option<&'static str>,
    /// Not this test's user.
    user: Option<Stranger>,
}

/// An ordinary user of the machine, as whom Solo runs, and where it can reach the program.
#[derive(Debug)]
struct Stranger {
    id: u32,
    program: TempDir,
}

/// Where the guests are that `cargo xtask guests` built: beside the binary's profile.
pub(crate) fn guest(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_solo"));
    let target = binary.parent().and_then(Path::parent).expect("target directory");
    let path = target.join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `make guests`", path.display());
    path
}

/// The bytes of a guest.
pub(crate) fn guest_bytes(name: &str) -> Vec<u8> {
    std::fs::read(guest(name)).expect("read a guest")
}

/// Waits until `check` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Solo {
    /// Starts Solo in a new home.
    pub(crate) async fn start() -> Self {
        let mut solo = Self::new();
        solo.up().await;
        solo
    }

    /// The same, and its processes log as much as `filter` says.
    pub(crate) async fn start_logging(filter: &'static str) -> Self {
        let mut solo = Self::new();
        solo.log_filter = Some(filter);
        solo.up().await;
        solo
    }

    /// A new home, and nothing started.
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("solo-t").tempdir().expect("tempdir");
        Self { home, heart: None, log_filter: None, user: None }
    }

    /// A new home of an ordinary user, whom Solo will run as. This test's user if that is not root, who
    /// alone can become another.
    pub(crate) fn new_without_root() -> Self {
        let mut solo = Self::new();
        if !nix::unistd::geteuid().is_root() {
            return solo;
        }
        // Nobody's: no user of a machine has it, nor a cell.
        let id = 1_850_000_000 + std::process::id();
        let program = tempfile::Builder::new().prefix("solo-p").tempdir().expect("tempdir");
        std::fs::set_permissions(program.path(), PermissionsExt::from_mode(0o755)).expect("mode");
        std::fs::copy(env!("CARGO_BIN_EXE_solo"), program.path().join("solo")).expect("copy");
        std::os::unix::fs::chown(solo.home(), Some(id), Some(id)).expect("chown");
        solo.user = Some(Stranger { id, program });
        solo
    }

    /// Starts Solo in its home, again.
    pub(crate) async fn up(&mut self) {
        let any = "127.0.0.1:0";
        self.up_at(any, any, any).await;
    }

    /// Starts Solo in its home, with these addresses.
    pub(crate) async fn up_at(&mut self, api: &str, gateway: &str, metrics: &str) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home().join("test.log"))
            .expect("log");
        let mut command = match &self.user {
            Some(Stranger { id, program }) => {
                let mut command = Command::new(program.path().join("solo"));
                command.uid(*id).gid(*id).current_dir("/").env("HOME", self.home());
                command
            }
            None => Command::new(env!("CARGO_BIN_EXE_solo")),
        };
        let heart = command
            .args(["up", "--api", api, "--gateway", gateway])
            .args(["--metrics", metrics, "--home"])
            .arg(self.home())
            .envs(self.log_filter.map(|filter| ("SOLO_LOG", filter)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("clone"))
            .stderr(log)
            .spawn()
            .expect("solo up");
        self.heart = Some(heart);
        self.answering().await;
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// All segments of the audit log, one after the other.
    pub(crate) fn audit_log(&self) -> String {
        self.audit_segments().iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    /// The files of the audit log, oldest first.
    pub(crate) fn audit_segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home().join("audit")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        paths.sort();
        paths
    }

    /// What all processes logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home().join("test.log")).unwrap_or_default()
    }

    /// A client over the Unix socket, once the API answers.
    pub(crate) async fn answering(&self) -> Client {
        eventually("the API answers", || async {
            let client = Client::connect_home(self.home()).await.ok()?;
            let request = client.request(v1::ListRequest::default(), Duration::from_secs(5));
            client.grpc().list(request).await.ok()?;
            Some(client)
        })
        .await
    }

    /// The owner's token.
    pub(crate) fn admin_token(&self) -> String {
        solo_api::admin_token(self.home()).expect("a token")
    }

    /// The figures of everything, as the owner sees them.
    pub(crate) async fn metrics(&self) -> String {
        let address = self.addresses()["metrics"].as_str().expect("metrics").to_owned();
        let (code, text) = crate::gateway::get_as(&address, "/metrics", &self.admin_token())
            .await
            .expect("metrics");
        assert_eq!(code, 200, "{text}");
        text
    }

    /// What the heart wrote about where things are.
    pub(crate) fn addresses(&self) -> Value {
        let text =
            std::fs::read_to_string(self.home().join("run/addresses.json")).expect("addresses");
        serde_json::from_str(&text).expect("JSON")
    }

    pub(crate) fn heart_pid(&self) -> i32 {
        i32::try_from(self.heart.as_ref().expect("a heart").id()).expect("pid")
    }

    /// The process whose pid the heart wrote to `run/NAME.pid`, once it did.
    pub(crate) async fn pid(&self, name: &str) -> i32 {
        let path = self.home().join(format!("run/{name}.pid"));
        eventually(name, || async { std::fs::read_to_string(&path).ok()?.trim().parse().ok() })
            .await
    }

    /// Kills a process of this Solo with SIGKILL, and waits until it is another one.
    pub(crate) async fn kill_process(&self, name: &str) {
        let old = self.pid(name).await;
        kill(old);
        eventually("a successor", || async { (self.pid(name).await != old).then_some(()) }).await;
    }

    /// Kills the heart, and waits until all that it started is gone.
    pub(crate) async fn kill_heart(&mut self) {
        let processes = self.processes();
        let mut heart = self.heart.take().expect("a heart");
        heart.kill().expect("kill");
        heart.wait().expect("wait");
        eventually("no orphan is left", || async {
            processes.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        })
        .await;
    }

    /// All processes that have this home in their command line.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let home = self.home().display().to_string();
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&home) {
                pids.push(pid);
            }
        }
        pids
    }

    /// All processes that the heart, or what it started, has started.
    pub(crate) fn descendants(&self) -> Vec<i32> {
        let mut found = vec![self.heart_pid()];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                // One may end meanwhile.
                let children = std::fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
            next += 1;
        }
        found
    }

    /// Ends Solo as an operator does, and checks that nothing is left.
    pub(crate) async fn down(mut self) {
        let processes = self.processes();
        terminate(self.heart_pid());
        let mut heart = self.heart.take().expect("a heart");
        let status = eventually("the heart ends", || {
            let status = heart.try_wait().expect("wait");
            async move { status }
        })
        .await;
        assert!(status.success(), "{status}\n{}", self.log());
        for pid in processes {
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
        }
        for name in ["run/api.sock", "run/addresses.json", "run/kernel.pid"] {
            assert!(!self.home().join(name).exists(), "{name} is left");
        }
    }

    /// Runs the command line.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_solo"))
            .arg("--home")
            .arg(self.home())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("solo")
    }

    /// Runs the command line, which must succeed and answer in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cli(&[&["--output", "json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.log());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    /// Runs the command line, which must succeed and answer with one JSON object a line.
    pub(crate) fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.cli(&[&["--output", "json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Runs the command line, which must fail; the exit code and the error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.cli(&[&["--output", "json"], arguments].concat());
        let code = output.status.code().expect("an exit code");
        assert_ne!(code, 0, "{arguments:?}: {output:?}");
        let error = serde_json::from_slice::<Value>(&output.stderr)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"));
        (code, error["error"].clone())
    }
}

impl Drop for Solo {
    fn drop(&mut self) {
        if let Some(mut heart) = self.heart.take() {
            if std::thread::panicking() {
                eprintln!("--- log of this Solo\n{}", self.log());
            }
            // All other processes end with the heart.
            let _gone = heart.kill();
            let _gone = heart.wait();
        }
        // No next heart removes the control groups of those that were killed.
        let groups = solo_sandbox::Groups::open(&solo_heart::control_group_name(self.home()));
        let _gone = groups.map(|groups| groups.remove(Duration::from_secs(10)));
    }
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("signal");
}

pub(crate) fn kill(pid: i32) {
    signal(pid, nix::sys::signal::Signal::SIGKILL);
}

pub(crate) fn terminate(pid: i32) {
    signal(pid, nix::sys::signal::Signal::SIGTERM);
}

/// A deployment of `code` with generous time to start, for a machine that runs other tests too.
pub(crate) fn deploy(name: &str, code: impl Into<Vec<u8>>) -> v1::DeployRequest {
    v1::DeployRequest {
        name: name.to_owned(),
        code: Some(v1::Code { source: Some(v1::code::Source::Inline(code.into())), format: 0 }),
        limits: Some(v1::Limits { startup_timeout_ms: Some(10_000), ..v1::Limits::default() }),
        ..v1::DeployRequest::default()
    }
}

/// Requests of a test, each with a deadline, answered or with a problem.
pub(crate) trait Requests {
    async fn deploy(
        &self,
        request: v1::DeployRequest,
    ) -> Result<v1::DeployResponse, solo_types::Problem>;
    async fn status(&self, name: &str) -> Result<v1::StatusResponse, solo_types::Problem>;
    async fn json_call(
        &self,
        name: &str,
        function: &str,
        arguments: &str,
    ) -> Result<String, solo_types::Problem>;
    async fn call(&self, name: &str, payload: &str) -> Result<String, solo_types::Problem>;
    async fn send(&self, name: &str, payload: &str) -> Result<(), solo_types::Problem>;
    async fn kill(&self, name: &str, force: bool) -> Result<v1::KillResponse, solo_types::Problem>;
    async fn names(&self) -> Vec<String>;
}

fn problem(status: tonic::Status) -> solo_types::Problem {
    solo_api::problem_from_status(&status)
}

impl Requests for Client {
    async fn deploy(
        &self,
        request: v1::DeployRequest,
    ) -> Result<v1::DeployResponse, solo_types::Problem> {
        let request = self.request(request, Duration::from_secs(120));
        self.grpc().deploy(request).await.map(tonic::Response::into_inner).map_err(problem)
    }

    async fn status(&self, name: &str) -> Result<v1::StatusResponse, solo_types::Problem> {
        let request = self.request(v1::StatusRequest { name: name.to_owned() }, DEADLINE);
        self.grpc().status(request).await.map(tonic::Response::into_inner).map_err(problem)
    }

    async fn json_call(
        &self,
        name: &str,
        function: &str,
        arguments: &str,
    ) -> Result<String, solo_types::Problem> {
        let request = v1::CallRequest {
            service: name.to_owned(),
            function: function.to_owned(),
            input: Some(v1::call_request::Input::JsonArguments(arguments.to_owned())),
            ..v1::CallRequest::default()
        };
        let answer = self.grpc().call(self.request(request, DEADLINE)).await.map_err(problem)?;
        match answer.into_inner().output {
            Some(v1::call_response::Output::Json(json)) => Ok(json),
            other => panic!("not JSON: {other:?}"),
        }
    }

    async fn call(&self, name: &str, payload: &str) -> Result<String, solo_types::Problem> {
        let request = v1::CallRequest {
            service: name.to_owned(),
            function: String::new(),
            input: Some(v1::call_request::Input::Payload(payload.as_bytes().to_vec())),
            ..v1::CallRequest::default()
        };
        let answer = self.grpc().call(self.request(request, DEADLINE)).await.map_err(problem)?;
        match answer.into_inner().output {
            Some(v1::call_response::Output::Payload(bytes)) => {
                Ok(String::from_utf8(bytes).expect("UTF-8"))
            }
            other => panic!("no payload: {other:?}"),
        }
    }

    async fn send(&self, name: &str, payload: &str) -> Result<(), solo_types::Problem> {
        let request = v1::SendRequest {
            service: name.to_owned(),
            function: String::new(),
            input: Some(v1::send_request::Input::Payload(payload.as_bytes().to_vec())),
            ..v1::SendRequest::default()
        };
        self.grpc().send(self.request(request, DEADLINE)).await.map(|_| ()).map_err(problem)
    }

    async fn kill(&self, name: &str, force: bool) -> Result<v1::KillResponse, solo_types::Problem> {
        let request = self.request(v1::KillRequest { name: name.to_owned(), force }, DEADLINE);
        self.grpc().kill(request).await.map(tonic::Response::into_inner).map_err(problem)
    }

    async fn names(&self) -> Vec<String> {
        let request = v1::ListRequest { page_size: Some(1_000), ..v1::ListRequest::default() };
        let answer = self.grpc().list(self.request(request, DEADLINE)).await.expect("list");
        answer.into_inner().services.into_iter().map(|service| service.name).collect()
    }
}
