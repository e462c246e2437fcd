//! A5: the command line: stable JSON, exit codes, errors that help.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{ADDER, Solo, guest};

fn file(solo: &Solo, name: &str, content: &str) -> String {
    let path = solo.home().join(name);
    std::fs::write(&path, content).expect("write");
    path.display().to_string()
}

fn keys(value: &serde_json::Value, wanted: &[&str]) {
    for key in wanted {
        assert!(value.get(key).is_some(), "{key} in {value}");
    }
}

#[tokio::test]
async fn every_command_answers_in_json_with_stable_keys() {
    let solo = Solo::start().await;
    let adder = file(&solo, "adder.wat", ADDER);
    let counter = guest("counter").display().to_string();
    let deployed =
        solo.json(&["deploy", "adder", &adder, "--startup-timeout", "10s", "--label", "a=b"]);
    keys(&deployed, &["service", "revision", "state", "exports", "timing_ms"]);
    keys(&deployed["timing_ms"], &["store", "compile", "start", "total"]);
    assert_eq!(deployed["state"], "running");
    solo.json(&["deploy", "counter", &counter, "--startup-timeout", "10s", "--replicas", "1"]);
    assert_eq!(solo.json(&["call", "adder", "add", "20", "22"]), 42);
    assert!(solo.cli(&["send", "counter", "add 5"]).status.success());
    let output = solo.cli(&["call", "counter", "get"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "5");
    let status = solo.json(&["status", "counter"]);
    keys(&status, &["name", "state", "revision", "restarts", "instances"]);
    let instance = &status["instances"][0];
    keys(instance, &["id", "state", "memory_bytes", "cpu_us", "mailbox_depth", "restarts"]);
    assert_eq!((&status["state"], &instance["state"]), (&"running".into(), &"running".into()));
    let list = solo.json(&["list"]);
    assert_eq!(list["services"].as_array().expect("services").len(), 2);
    assert_eq!(solo.json(&["list", "add*", "--label", "a=b"])["services"][0]["name"], "adder");
    let tree = solo.json(&["tree"]);
    keys(&tree, &["name", "strategy", "state", "children"]);
    let grant = solo.json(&["grant", "adder", "call", "--ttl", "1h"]);
    keys(&grant, &["token", "expires_at"]);
    let token = grant["token"].as_str().expect("token");
    assert_eq!(solo.json(&["--token", token, "call", "adder", "add", "1", "1"]), 2);
    let (code, error) = solo.refused(&["--token", token, "kill", "adder"]);
    assert_eq!((code, &error["reason"]), (1, &"RIGHT_MISSING".into()));
    let updated = solo.json(&["update", "adder", &adder, "--strategy", "recreate"]);
    keys(&updated, &["service", "revision", "state", "timing_ms"]);
    assert_eq!(updated["revision"], 2);
    assert!(!solo.json_lines(&["watch", "--tail", "3"]).is_empty());
    assert!(!solo.json_lines(&["logs", "counter"]).is_empty());
    let doctor = solo.json(&["doctor"]);
    assert!(
        doctor.to_string().contains("landlock") || doctor.to_string().contains("Landlock"),
        "{doctor}"
    );
    // Each kind of cell was tried on this machine.
    for (number, kind) in ["wasm", "compiler", "process"].into_iter().enumerate() {
        let cell = &doctor["cells"][number];
        assert_eq!((&cell["kind"], &cell["error"]), (&kind.into(), &serde_json::Value::Null));
        assert!(cell["layers"].as_array().is_some_and(|layers| layers.len() > 10), "{cell}");
    }
    assert_eq!(solo.json(&["kill", "counter", "--force"])["service"], "counter");
    for shell in ["bash", "zsh", "fish"] {
        assert!(solo.cli(&["completions", shell]).stdout.len() > 1_000);
    }
    let pids = solo.processes();
    assert!(solo.cli(&["shutdown", "--timeout", "5s"]).status.success());
    assert!(pids.len() >= 4);
    let (code, error) = solo.refused(&["list"]);
    assert_eq!(code, 3, "{error}");
    assert!(error["remedy"].as_str().is_some_and(|text| text.contains("solo up")), "{error}");
}

#[tokio::test]
async fn errors_have_codes_reasons_and_remedies() {
    let solo = Solo::start().await;
    let adder = file(&solo, "adder.wat", ADDER);
    let junk = file(&solo, "junk.wasm", "this is no code");
    for (arguments, code, reason) in [
        (&["deploy", "../x", &adder][..], 1, "INVALID_NAME"),
        (&["deploy", "junk", &junk], 1, "NOT_WASM"),
        (&["status", "nobody"], 1, "NO_SUCH_SERVICE"),
        (&["call", "nobody", "f"], 1, "NO_SUCH_SERVICE"),
        (&["kill", "nobody"], 1, "NO_SUCH_SERVICE"),
    ] {
        let (found, error) = solo.refused(arguments);
        assert_eq!((found, error["reason"].as_str()), (code, Some(reason)), "{error}");
        assert!(error["remedy"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
    for arguments in [
        &["deploy", "a", &adder, "--max-memory", "-5"][..],
        &["deploy", "a", &adder, "--replicas", "-1"],
        &["deploy", "a", "no-such-file.wasm"],
        &["frobnicate"],
        &["update", "a"],
    ] {
        let output = solo.cli(arguments);
        let code = output.status.code();
        assert!(code == Some(2) || code == Some(1), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    let output = solo.cli(&["deploy", "a", "--help"]);
    assert!(output.status.success());
    assert!(solo.json(&["list"])["services"].as_array().expect("services").is_empty());
}

#[tokio::test]
async fn code_from_standard_input_and_large_code() {
    let solo = Solo::start().await;
    let mut deploy = Command::new(env!("CARGO_BIN_EXE_solo"))
        .arg("--home")
        .arg(solo.home())
        .args(["deploy", "adder", "-", "--startup-timeout", "10s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("solo");
    deploy.stdin.take().expect("stdin").write_all(ADDER.as_bytes()).expect("write");
    assert!(deploy.wait().expect("wait").success());
    // Above the inline limit the command line uploads first: a JavaScript engine has 10 MB.
    let large = guest("calculator-js").display().to_string();
    let deployed = solo.json(&["deploy", "large", &large, "--startup-timeout", "10s"]);
    assert_eq!(deployed["kind"], "typed");
    assert_eq!(solo.json(&["call", "large", "add", "20", "22"]), 42);
}

/// `--detach` returns once the API answers, and leaves Solo running.
#[tokio::test]
async fn detached() {
    let home = tempfile::Builder::new().prefix("solo-d").tempdir().expect("tempdir");
    let solo = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_solo"))
            .env("SOLO_HOME", home.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("solo")
    };
    let any = "127.0.0.1:0";
    let up = solo(&["up", "--detach", "--api", any, "--gateway", any, "--metrics", any]);
    assert!(up.status.success(), "{up:?}");
    assert!(solo(&["list"]).status.success());
    let again = solo(&["up", "--detach", "--api", any, "--gateway", any, "--metrics", any]);
    assert!(!again.status.success(), "{again:?}");
    let public = solo(&["up", "--home", "/nonexistent/solo", "--api", "0.0.0.0:0"]);
    assert!(!public.status.success(), "an address that is not loopback needs TLS");
    assert!(solo(&["shutdown", "--timeout", "5s"]).status.success());
    assert!(!home.path().join("run/addresses.json").exists());
}
