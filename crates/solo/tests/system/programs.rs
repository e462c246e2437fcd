//! D4: external programs as services: started, called, crashed, restarted, updated, stopped, and gone.

use std::path::Path;
use std::time::Duration;

use solo_api::v1;
use solo_types::Problem;

use crate::harness::{Requests, Solo, deploy, eventually, kill};

/// Answers a POST with what it was sent, and where; ends when it is asked to; says how often it was started.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", flush=True), os._exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, b"up")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.path == "/fail":
            self.answer(500, b"no luck")
        elif self.path == "/text":
            self.answer(200, b"plain words")
        elif self.path == "/":
            self.answer(200, body[::-1])
        elif self.path == "/env":
            self.answer(200, json.dumps(dict(os.environ)).encode())
        elif self.path == "/echo":
            self.answer(200, json.dumps({"path": self.path, "arguments": json.loads(body)}).encode())
        else:
            self.answer(404, b"what?")
    def log_message(self, *arguments):
        pass
print("hello from", os.getpid(), flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// A program as code.
pub(crate) fn program(
    name: &str,
    code: impl Into<Vec<u8>>,
    interface: v1::ProgramInterface,
) -> v1::DeployRequest {
    v1::DeployRequest {
        program: Some(v1::Program { interface: interface.into(), ..v1::Program::default() }),
        ..deploy(name, code)
    }
}

fn http(name: &str) -> v1::DeployRequest {
    program(name, SERVER, v1::ProgramInterface::Http)
}

/// Lines of the log of a service.
pub(crate) fn log(solo: &Solo, name: &str) -> Vec<String> {
    let lines = solo.json_lines(&["logs", name]);
    lines.iter().filter_map(|line| Some(line["message"].as_str()?.to_owned())).collect()
}

pub(crate) async fn logged(solo: &Solo, name: &str, text: &str) {
    eventually("it is logged", || async {
        log(solo, name).iter().any(|line| line.contains(text)).then_some(())
    })
    .await;
}

fn is_running(status: &Result<v1::StatusResponse, Problem>) -> bool {
    status.as_ref().is_ok_and(|status| status.state() == v1::ServiceState::Running)
}

/// D4, S4, S6: a program is called like any service, and what it writes is its log.
#[tokio::test]
async fn a_program_with_http_is_called_like_any_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = http("web");
    request.environment.insert("COLOUR".to_owned(), "red".to_owned());
    request.environment.insert("PORT".to_owned(), "1".to_owned());
    let deployed = client.deploy(request).await.expect("deployed");
    assert_eq!(deployed.kind(), v1::ServiceKind::Process);
    let echo = client.json_call("web", "echo", "[1, \"two\"]").await.expect("an answer");
    assert_eq!(echo, r#"{"path": "/echo", "arguments": [1, "two"]}"#);
    assert_eq!(client.call("web", "abc").await.as_deref(), Ok("cba"));
    let text = client.json_call("web", "text", "[]").await;
    assert_eq!(text.as_deref(), Ok("\"plain words\""));
    let refused = async |function: &str| {
        client.json_call("web", function, "[]").await.expect_err(function).reason
    };
    assert_eq!(refused("fail").await, "REFUSED");
    assert_eq!(refused("nothing").await, "NO_SUCH_FUNCTION");
    assert_eq!(refused("a b").await, "NO_SUCH_FUNCTION");
    let environment = client.json_call("web", "env", "[]").await.expect("an answer");
    let environment: serde_json::Value = serde_json::from_str(&environment).expect("JSON");
    assert_eq!((&environment["COLOUR"], &environment["PORT"]), (&"red".into(), &"8080".into()));
    assert_eq!(environment["SOLO_SERVICE"], "web");
    assert_eq!(environment.get("SOLO_LOG"), None, "nothing of Solo's own");
    client.send("web", "to nobody").await.expect("sent");
    let hello = eventually("it greets", || async {
        log(&solo, "web").into_iter().find(|l| l.starts_with("hello"))
    });
    assert!(hello.await.starts_with("hello from "));
    solo.down().await;
}

/// S3: a program that crashes is told by its signal, and started again.
#[tokio::test]
async fn a_program_that_crashes_is_started_again() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(http("web")).await.expect("deployed");
    let crashed = client.json_call("web", "crash", "[]").await.expect_err("it crashed");
    assert!(["CRASHED", "UNAVAILABLE"].contains(&crashed.reason.as_str()), "{crashed:?}");
    let status = eventually("the restart", || async {
        let status = client.status("web").await.ok()?;
        (status.instances[0].restarts == 1 && status.state() == v1::ServiceState::Running)
            .then_some(status)
    })
    .await;
    let exit = status.instances[0].last_exit.clone().expect("an exit");
    assert!(exit.message.contains("SIGSEGV"), "{exit:?}");
    assert_eq!(client.call("web", "ab").await.as_deref(), Ok("ba"));
    solo.down().await;
}

/// The sandbox itself dies: the kernel makes another one, and the cell starts the program in it.
#[tokio::test]
async fn a_program_outlives_its_sandbox_its_cell_and_the_kernel() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(http("web")).await.expect("deployed");
    let answers = async || {
        let client = solo.answering().await;
        eventually("it answers again", || async {
            client.call("web", "ab").await.ok().filter(|answer| answer == "ba")
        })
        .await;
    };
    let program = program_pid(&solo).expect("it runs");
    // Its parent is the init of its sandbox.
    let init = parent(program);
    kill(init);
    answers().await;
    assert!(!Path::new(&format!("/proc/{program}")).exists(), "all of the sandbox is gone");
    solo.kill_process("cells/wasm-default").await;
    answers().await;
    let before = program_pid(&solo).expect("it runs");
    solo.kill_process("kernel").await;
    answers().await;
    assert_eq!(program_pid(&solo), Some(before), "the program did not notice");
    let status = solo.answering().await.status("web").await;
    assert!(is_running(&status), "{status:?}");
    solo.down().await;
}

/// Stopping: asked first, then forced; nothing of its tree is left.
#[tokio::test]
async fn a_program_is_stopped_gracefully_or_by_force_with_all_that_it_started() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(http("web")).await.expect("deployed");
    client.kill("web", false).await.expect("killed");
    logged(&solo, "web", "goodbye").await;
    let stubborn = "#!/bin/sh\ntrap '' TERM\n(setsid sleep 1000 &)\necho started\nwhile :; do sleep 1000; done\n";
    let mut request = program("stubborn", stubborn, v1::ProgramInterface::None);
    request.limits = Some(v1::Limits { shutdown_timeout_ms: Some(100), ..v1::Limits::default() });
    client.deploy(request).await.expect("deployed");
    logged(&solo, "stubborn", "started").await;
    client.kill("stubborn", false).await.expect("killed");
    eventually("nothing is left", || async { (!any_sleeps()).then_some(()) }).await;
    solo.down().await;
}

/// U1, U2: a new revision takes over.
#[tokio::test]
async fn a_program_is_updated() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(http("web")).await.expect("deployed");
    let code = SERVER.replace("body[::-1]", "b'second'");
    let request = v1::UpdateRequest {
        name: "web".to_owned(),
        code: Some(v1::Code {
            source: Some(v1::code::Source::Inline(code.into_bytes())),
            format: 0,
        }),
        ..v1::UpdateRequest::default()
    };
    let request = client.request(request, Duration::from_secs(60));
    client.grpc().update(request).await.expect("updated");
    assert_eq!(client.call("web", "ab").await.as_deref(), Ok("second"));
    solo.down().await;
}

/// `interface: stdio`, `interface: none`, jobs, and programs of the machine.
#[tokio::test]
async fn programs_speak_lines_or_nothing_and_end() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let adder = r#"#!/usr/bin/python3
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["function"] == "add":
        print(json.dumps({"result": sum(message["arguments"])}), flush=True)
    elif message["function"] == "babble":
        print("not JSON", flush=True)
    else:
        print(json.dumps({"error": "what is " + message["function"] + "?"}), flush=True)
"#;
    client.deploy(program("adder", adder, v1::ProgramInterface::Stdio)).await.expect("deployed");
    assert_eq!(client.json_call("adder", "add", "[1, 2, 3]").await.as_deref(), Ok("6"));
    let problem = client.json_call("adder", "juggle", "[]").await.expect_err("refused");
    assert!(problem.cause.contains("what is juggle?"), "{problem:?}");
    let problem = client.json_call("adder", "babble", "[]").await.expect_err("out of step");
    assert_eq!(problem.reason, "CRASHED");
    eventually("it is back in step", || async {
        client.json_call("adder", "add", "[1]").await.ok()
    })
    .await;

    let job = "#!/bin/sh\necho one two\nprintf 'three\\377'\n";
    client.deploy(program("job", job, v1::ProgramInterface::None)).await.expect("deployed");
    eventually("the job ends", || async {
        let status = client.status("job").await.ok()?;
        (status.state() == v1::ServiceState::Completed).then_some(())
    })
    .await;
    assert_eq!(log(&solo, "job"), ["one two", "three\u{fffd}"]);
    let problem = client.json_call("job", "x", "[]").await.expect_err("it takes none");
    assert!(["NOT_CALLABLE", "COMPLETED", "UNAVAILABLE"].contains(&problem.reason.as_str()));

    let printed = solo.json(&["deploy", "--host-path", "/usr/bin/env", "environment"]);
    assert_eq!(printed["kind"], "process");
    logged(&solo, "environment", "SOLO_SERVICE=environment").await;
    for path in ["/etc/passwd", "/root/x"] {
        let (_, error) = solo.refused(&["deploy", "--host-path", path, "other"]);
        assert_eq!(error["reason"], "HOST_PATH_NOT_SHOWN", "{error}");
    }
    solo.down().await;
}

/// What cannot be started says why, and leaves nothing.
#[tokio::test]
async fn a_program_that_cannot_start_says_why() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let none = v1::ProgramInterface::None;
    for (name, code, why) in [
        ("interpreter", "#!/no/such/interpreter\n", "cannot be started"),
        ("broken", "\x7fELF and nothing else", "cannot be started"),
    ] {
        let problem = client.deploy(program(name, code, none)).await.expect_err(name);
        assert!(problem.cause.contains(why), "{name}: {problem:?}");
    }
    let quits = "#!/bin/sh\necho giving up\nexit 3\n";
    let problem = client
        .deploy(program("quits", quits, v1::ProgramInterface::Http))
        .await
        .expect_err("quits");
    assert!(problem.cause.contains("code 3"), "{problem:?}");
    let mut deaf = program("deaf", "#!/bin/sh\nsleep 1000\n", v1::ProgramInterface::Http);
    deaf.limits = Some(v1::Limits { startup_timeout_ms: Some(300), ..v1::Limits::default() });
    let problem = client.deploy(deaf).await.expect_err("never ready");
    assert_eq!(problem.reason, "STARTUP_TIMEOUT");
    assert_eq!(client.names().await, Vec::<String>::new());
    eventually("nothing is left", || async { (!any_sleeps()).then_some(()) }).await;
    solo.down().await;
}

/// The one process that runs this test's server, as the machine sees it.
fn program_pid(solo: &Solo) -> Option<i32> {
    solo.descendants().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"/usr/bin/python3\0/app/program")
    })
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

/// Whether a `sleep 1000` of a test here is left.
fn any_sleeps() -> bool {
    std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line == b"sleep\x001000\0"
    })
}
