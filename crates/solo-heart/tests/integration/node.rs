//! A heart of toys in a home of its own, ended when dropped.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use solo_heart::control_group_name;
use solo_sandbox::Groups;

/// Longest wait for a state; generous, because test machines are busy.
const PATIENCE: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A running heart.
pub(crate) struct Node {
    directory: tempfile::TempDir,
    heart: Child,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// `files` are made in the home first: they change what the toys do.
    pub(crate) fn start_with(files: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for file in files {
            fs::write(directory.path().join(file), "").expect("written");
        }
        let heart = up(directory.path(), "127.0.0.1:0").spawn().expect("the toy starts");
        let node = Self { directory, heart };
        node.wait_until_up();
        node
    }

    /// Starts a heart on the same home again.
    pub(crate) fn restart(&mut self, api: &str) {
        self.heart = up(self.home(), api).spawn().expect("the toy starts");
        let pid = self.heart();
        self.wait_until("the new heart", || {
            fs::read_to_string(self.path("run/addresses.json"))
                .is_ok_and(|text| text.contains(&pid.to_string()))
        });
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        self.wait_until("kernel and gateway", || {
            self.find_pid("kernel").is_some()
                && self.find_pid("gateway").is_some()
                && self.exists("kernel.log")
                && self.log().contains("listed") | self.exists("deaf")
        });
    }

    /// Runs a heart that is expected to refuse, and returns what it says.
    pub(crate) fn try_up(home: &Path, api: &str) -> String {
        let output = up(home, api).stderr(Stdio::piped()).output().expect("the toy runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn heart(&self) -> u32 {
        self.heart.id()
    }

    pub(crate) fn home(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn files(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(path))
            .expect("a directory")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn addresses(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.path("run/addresses.json")).expect("addresses.json");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Process id from a pid file of `run/`.
    pub(crate) fn find_pid(&self, name: &str) -> Option<u32> {
        let text = fs::read_to_string(self.path(&format!("run/{name}.pid"))).ok()?;
        Some(text.trim().parse().expect("a pid file is whole or absent"))
    }

    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.find_pid(name).expect(name)
    }

    pub(crate) fn wait_for_pid(&self, name: &str) -> u32 {
        self.wait_until(name, || self.find_pid(name).is_some());
        self.pid(name)
    }

    pub(crate) fn comm(&self, pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).expect("lives").trim().to_owned()
    }

    /// The name of the control groups of this home.
    pub(crate) fn group_name(&self) -> String {
        control_group_name(self.home())
    }

    /// Directories of this home's control groups.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        groups_of(self.home())
    }

    /// Makes the kernel send `text` to the heart.
    pub(crate) fn order(&self, text: &str) {
        fs::write(self.path("orders.new"), text).expect("written");
        fs::rename(self.path("orders.new"), self.path("orders")).expect("renamed");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("kernel.log")).unwrap_or_default()
    }

    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.wait_until(text, || self.log().contains(text));
        self.log()
    }

    /// Connects and reads all. A refused connection fails the test; a broken one is empty.
    pub(crate) fn ask(&self, address: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("not refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut text = String::new();
        match stream.read_to_string(&mut text) {
            Ok(_) => text.trim().to_owned(),
            Err(_) => String::new(),
        }
    }

    pub(crate) fn signal(&self, pid: u32, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("sent");
    }

    /// For signals without a name.
    pub(crate) fn signal_number(&self, pid: u32, signal: u32) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .status()
            .expect("sh runs");
        assert!(status.success());
    }

    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "no {what} in time; log:\n{}", self.log());
            sleep(LOOK_EVERY);
        }
    }

    /// Exit code of the heart, if it ends within `time`. -1 for a signal.
    pub(crate) fn wait_for_end(&mut self, time: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.heart.try_wait().expect("a child") {
                return Some(status.code().unwrap_or(-1));
            }
            if start.elapsed() >= time {
                return None;
            }
            sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // All others die with it.
        let _ = self.heart.kill();
        let _ = self.heart.wait();
        // No next heart removes its control groups.
        let groups = Groups::open(&self.group_name());
        let _ = groups.map(|groups| groups.remove(PATIENCE));
    }
}

/// Directories of control groups on this machine that are a home's, or below those.
pub(crate) fn groups_of(home: &Path) -> Vec<PathBuf> {
    let path = format!("*/solo-{}*", control_group_name(home));
    let find = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-path", &path]).output();
    let found = String::from_utf8(find.expect("find runs").stdout).expect("text");
    found.lines().map(PathBuf::from).collect()
}

/// Tells whether a process runs; dead ones that nobody reaped do not count.
pub(crate) fn alive(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn up(home: &Path, api: &str) -> Command {
    // Cargo builds examples beside the directory of the tests.
    let test = std::env::current_exe().expect("a path");
    let toy = test.ancestors().nth(2).expect("a build directory").join("examples/toy");
    assert!(toy.exists(), "{} is missing: run the tests with examples", toy.display());
    let mut command = Command::new(toy);
    command.arg("up").arg(home).arg(api).env_remove("SOLO_LOG").env("A_SECRET", "x");
    command
}
