//! The same program by others: a bare exec, bubblewrap, crun.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::endings::say;
use crate::stats::Samples;

/// One way to start it.
pub(super) struct Peer {
    name: &'static str,
    command: Command,
    samples: Samples,
}

/// All that may be on this machine.
pub(super) fn all(directory: &Path, program: &Path) -> anyhow::Result<Vec<Peer>> {
    let bare = Command::new(program);
    let mut bubblewrap = Command::new("bwrap");
    bubblewrap.args(["--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]);
    bubblewrap.args(["--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr", "--ro-bind"]);
    bubblewrap.arg(program).args(["/first", "/first"]);
    let bundle = directory.join("bundle");
    make_bundle(&bundle, program)?;
    let mut peers = vec![("bare exec", bare), ("bubblewrap", bubblewrap)];
    // crun refuses machines that have both versions of control groups.
    let mut crun = if Path::new(VERSION_2_BESIDE_1).exists() {
        let mut way = without_version_2();
        way.arg(program);
        peers.push(("the way there that crun needs here", way));
        let mut crun = without_version_2();
        crun.arg("crun");
        crun
    } else {
        Command::new("crun")
    };
    crun.args(["--cgroup-manager=disabled", "run", "--bundle"]).arg(&bundle);
    crun.arg(format!("solo-bench-{}", std::process::id()));
    peers.push(("crun", crun));
    let peer = |(name, mut command): (&'static str, Command)| {
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Peer { name, command, samples: Samples::default() }
    };
    Ok(peers.into_iter().map(peer).collect())
}

/// Where version 2 of control groups is mounted beside version 1.
const VERSION_2_BESIDE_1: &str = "/sys/fs/cgroup/unified";

/// Runs what is appended where that is not mounted.
fn without_version_2() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("umount {VERSION_2_BESIDE_1} && exec \"$@\"")).arg("sh");
    command
}

impl Peer {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_bare(&self) -> bool {
        self.name == "bare exec"
    }

    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Whether it is there and does it; says so if not.
    pub(super) fn works(&mut self) -> bool {
        match self.start() {
            Ok(_) => true,
            Err(error) => {
                say(&format!("solo-bench: without {}: {error:#}", self.name));
                false
            }
        }
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self) -> anyhow::Result<()> {
        let time = self.start()?;
        self.samples.push_time(time);
        Ok(())
    }

    /// Starts it, and waits for its first byte.
    fn start(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut child = self.command.spawn().with_context(|| format!("no {}", self.name))?;
        let mut byte = [0];
        let read = child.stdout.as_mut().context("no output")?.read(&mut byte);
        let time = began.elapsed();
        let status = child.wait()?;
        ensure!(matches!(read, Ok(1)) && status.success(), "{} failed: {status}", self.name);
        Ok(time)
    }
}

/// What crun runs: the program in namespaces of its own.
fn make_bundle(bundle: &Path, program: &Path) -> anyhow::Result<()> {
    let root = bundle.join("rootfs");
    for directory in ["", "proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::copy(program, root.join("first"))?;
    let namespaces = ["pid", "ipc", "uts", "mount", "network"];
    let config = serde_json::json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/first"], "cwd": "/",
            "env": ["PATH=/"], "noNewPrivileges": true,
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": namespaces.map(|kind| serde_json::json!({"type": kind}))},
    });
    fs::write(bundle.join("config.json"), config.to_string()).context("failed to make a bundle")
}
