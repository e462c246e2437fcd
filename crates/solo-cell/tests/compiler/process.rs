//! The cell as the process that it is: limits, priority, the mode of its socket, its end.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use solo_api::cell::v1::{CompileRequest, HelloRequest};
use solo_cell::compiler::{CompilerError, CompilerOptions, run, serve};

use super::connect;

/// Set: this test binary is to be the cell itself, on that socket.
const SOCKET_VARIABLE: &str = "SOLO_TEST_COMPILER_SOCKET";

/// Not a test unless the variable is set: it is what [`Process::start`] runs.
#[test]
fn is_the_cell_when_told() {
    if let Some(socket) = std::env::var_os(SOCKET_VARIABLE) {
        run(CompilerOptions {
            cell: "compiler-1".to_owned(),
            socket: socket.into(),
            runtimes: None,
        })
        .unwrap();
    }
}

struct Process(Child);

impl Process {
    fn start(socket: &std::path::Path) -> Self {
        Self::start_within(socket, "unlimited")
    }

    /// `address_space`: a limit that is there already, in KiB.
    fn start_within(socket: &std::path::Path, address_space: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", r#"ulimit -v "$1"; shift; exec "$@""#, "sh", address_space])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "process::is_the_cell_when_told", "--nocapture"])
            .env(SOCKET_VARIABLE, socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn limits_itself_and_leaves_a_socket_that_the_next_one_takes() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let mut first = Process::start(&socket);
    let mut client = connect(&socket).await;
    let hello = client.hello(HelloRequest { protocol: 1 }).await.unwrap().into_inner();
    assert_eq!(hello.pid, first.0.id());

    let found = std::fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let limits = first.proc("limits");
    for (name, limit) in [
        ("Max core file size", 0_u64),
        ("Max data size", 6 << 30),
        ("Max address space", 64 << 30),
        ("Max open files", 256),
        ("Max file size", 1 << 30),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<_> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [limit.to_string(), limit.to_string()], "{line}");
    }
    // Each thread of its own has the low priority: field 19 of `stat`, counted after the name.
    for task in std::fs::read_dir(format!("/proc/{}/task", first.0.id())).unwrap() {
        let task = task.unwrap().file_name().into_string().unwrap();
        let stat = first.proc(&format!("task/{task}/stat"));
        let nice = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
        let name = first.proc(&format!("task/{task}/comm"));
        // The main thread of a test binary only waits for the thread of the test.
        assert!(nice == "5" || task == first.0.id().to_string(), "{name}: {nice}");
    }

    // It compiles within its limits.
    let artifact = directory.path().join("a");
    std::fs::write(&artifact, super::CALCULATOR).unwrap();
    let request = CompileRequest {
        artifact_path: artifact.display().to_string(),
        output_path: directory.path().join("a.cwasm").display().to_string(),
        format: String::new(),
    };
    assert_eq!(client.compile(request).await.unwrap().into_inner().failure, None);

    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert!(client.hello(HelloRequest { protocol: 1 }).await.is_err());
    let second = Process::start(&socket);
    let hello = loop {
        // Until the second one has replaced the socket, connecting or asking fails.
        let mut client = connect(&socket).await;
        if let Ok(hello) = client.hello(HelloRequest { protocol: 1 }).await {
            break hello.into_inner();
        }
    };
    assert_eq!(hello.pid, second.0.id());
}

#[tokio::test]
async fn a_bomb_that_takes_all_memory_ends_this_process_only() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    // A sixth of what it gives itself, so that the test does not press the machine.
    let mut process = Process::start_within(&socket, "1000000");
    let mut client = connect(&socket).await;
    // Each component instantiates the one within twice: 2^60 modules, a few hundred bytes.
    let mut text = String::from(
        r#"(component $c0 (core module $m (memory 1)) (core instance (instantiate $m)))"#,
    );
    for level in 1..60 {
        let below = level - 1;
        text = format!(
            "(component $c{level} {text} (instance (instantiate $c{below})) (instance (instantiate $c{below})))"
        );
    }
    let artifact = directory.path().join("a");
    let output = directory.path().join("a.cwasm");
    std::fs::write(&artifact, text).unwrap();
    let request = CompileRequest {
        artifact_path: artifact.display().to_string(),
        output_path: output.display().to_string(),
        format: String::new(),
    };
    let answer = client.compile(request).await;
    assert!(!output.exists());
    match answer {
        Ok(answer) => assert!(answer.into_inner().failure.is_some()),
        Err(status) => {
            let ended = process.0.wait().unwrap();
            assert!(ended.signal().is_some(), "{status}: {ended}");
        }
    }
}

#[test]
fn does_not_replace_what_is_no_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("file");
    std::fs::write(&socket, "precious").unwrap();
    let options = CompilerOptions { cell: "c".to_owned(), socket: socket.clone(), runtimes: None };
    let error = serve(&options, async {}).unwrap_err();
    assert!(matches!(error, CompilerError::NotASocket(path) if path == socket));
    assert_eq!(std::fs::read(&socket).unwrap(), b"precious");
    // A stale socket goes.
    let socket = directory.path().join("stale");
    drop(UnixListener::bind(&socket).unwrap());
    serve(&CompilerOptions { cell: "c".to_owned(), socket, runtimes: None }, async {}).unwrap();
}
