//! S5, D4, C2: volumes and devices of programs: data that stays, given by right alone.

use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::Problem;

use crate::harness::{Requests, Solo, deploy, eventually, kill};
use crate::matrix::bearing;

/// Runs each line that it is sent as a command of the shell, and answers what that printed.
const SHELL: &str = r#"#!/usr/bin/python3
import json, subprocess, sys
for line in sys.stdin:
    message = json.loads(line)
    done = subprocess.run(message["arguments"][0], shell=True, capture_output=True, text=True)
    print(json.dumps({"result": (done.stdout + done.stderr).strip()}), flush=True)
"#;

fn shell(name: &str, mounts: Vec<v1::Mount>) -> v1::DeployRequest {
    let interface = v1::ProgramInterface::Stdio.into();
    v1::DeployRequest {
        program: Some(v1::Program { interface, ..v1::Program::default() }),
        mounts,
        ..deploy(name, SHELL)
    }
}

pub(crate) fn volume(volume: &str, at: &str, read_only: bool) -> v1::Mount {
    let (volume, at) = (volume.to_owned(), at.to_owned());
    let what = v1::mount::What::Volume(v1::VolumeMount { volume, at, read_only });
    v1::Mount { what: Some(what) }
}

fn device(name: &str) -> v1::Mount {
    v1::Mount { what: Some(v1::mount::What::Device(name.to_owned())) }
}

/// What a command prints in a service.
async fn run(client: &Client, service: &str, command: &str) -> String {
    let arguments = serde_json::json!([command]).to_string();
    let answer = client.json_call(service, "run", &arguments).await.expect(command);
    serde_json::from_str(&answer).expect("a string")
}

async fn remove(client: &Client, name: &str) -> Result<(), Problem> {
    let request = v1::RemoveVolumeRequest { name: name.to_owned() };
    let request = client.request(request, Duration::from_secs(20));
    let answer = client.grpc().remove_volume(request).await;
    answer.map(drop).map_err(|status| solo_api::problem_from_status(&status))
}

async fn names(client: &Client) -> Vec<String> {
    let request = client.request(v1::ListVolumesRequest {}, Duration::from_secs(20));
    let answer = client.grpc().list_volumes(request).await.expect("a list").into_inner();
    answer.volumes.into_iter().map(|volume| volume.name).collect()
}

/// S5: what a program keeps in a volume is there after its crash, its update, its end, and that of Solo.
#[tokio::test]
async fn data_in_a_volume_outlives_all_else() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(shell("db", vec![volume("data", "/data", false)])).await.expect("deployed");
    assert_eq!(run(&client, "db", "echo one > /data/file && ls -A /data").await, "file");
    assert_eq!(run(&client, "db", "echo x > /data/run; chmod +x /data/run; id -u").await, "1000");
    let crashed = client.json_call("db", "run", "[\"kill -9 $PPID\"]").await;
    crashed.expect_err("it crashed");
    eventually("it is back", || async {
        client.json_call("db", "run", "[\"cat /data/file\"]").await.ok()
    })
    .await;
    // Its sandbox, which is made anew.
    let program = solo.descendants().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"/usr/bin/python3\0/app/program")
    });
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.expect("it runs")));
    let stat = stat.expect("it lives");
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
    kill(parent.and_then(|pid| pid.parse().ok()).expect("a parent"));
    eventually("it is back", || async {
        let answer = client.json_call("db", "run", "[\"cat /data/file\"]").await.ok()?;
        (answer == "\"one\"").then_some(())
    })
    .await;
    // One that writes ends before the next one begins: nobody finds the lock of another.
    let code = SHELL.replace("for line", "open('/data/lock', 'x'); import atexit, os, signal\natexit.register(lambda: os.unlink('/data/lock'))\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nfor line");
    for _ in 0..2 {
        let source = Some(v1::code::Source::Inline(code.clone().into_bytes()));
        let request = v1::UpdateRequest {
            name: "db".to_owned(),
            code: Some(v1::Code { source, format: 0 }),
            ..v1::UpdateRequest::default()
        };
        let request = client.request(request, Duration::from_secs(60));
        client.grpc().update(request).await.expect("updated");
        assert_eq!(run(&client, "db", "cat /data/file; ls /data/lock").await, "one\n/data/lock");
    }
    client.kill("db", true).await.expect("killed");
    assert_eq!(names(&client).await, ["data"]);
    let reader = vec![volume("data", "/mnt/old", true)];
    client.deploy(shell("reader", reader)).await.expect("deployed");
    assert_eq!(run(&client, "reader", "cat /mnt/old/file").await, "one");
    let refused = run(&client, "reader", "echo two > /mnt/old/file; rm /mnt/old/file").await;
    assert!(refused.matches("Read-only file system").count() == 2, "{refused}");
    solo.kill_heart().await;
    solo.up().await;
    let client = solo.answering().await;
    eventually("it is back", || async {
        let answer = client.json_call("reader", "run", "[\"cat /mnt/old/file\"]").await.ok()?;
        (answer == "\"one\"").then_some(())
    })
    .await;
    solo.down().await;
}

/// C2: a volume and a device take a right; to who has none, none is there.
#[tokio::test]
async fn volumes_and_devices_are_given_by_right_alone() {
    let mut solo = Solo::new();
    let settings = "[devices]\nchannel = [\"/dev/full\", \"/dev/tty\"]\n";
    std::fs::write(solo.home().join("programs.toml"), settings).expect("written");
    solo.up().await;
    let owner = solo.answering().await;
    owner.deploy(shell("db", vec![volume("data", "/data", false)])).await.expect("deployed");
    let agent = async |capabilities: &[&str]| {
        let mut arguments = vec!["token", "mint", "--ttl", "1h"];
        arguments.extend(capabilities.iter().flat_map(|one| ["--capability", one]));
        let minted = solo.json(&arguments);
        bearing(&solo, minted["token"].as_str().expect("a token")).await
    };
    let services = "read,call,deploy,update,kill service:default/*";
    let (none, reads, writes) = (
        agent(&[services]).await,
        agent(&[services, "read volume:default/data"]).await,
        agent(&[services, "write volume:default/w-*", "write device:channel"]).await,
    );
    let refused = async |client: &Client, mount: v1::Mount| {
        let problem = client.deploy(shell("x", vec![mount])).await.expect_err("refused");
        problem.reason
    };
    assert_eq!(refused(&none, volume("data", "/d", true)).await, "RIGHT_MISSING");
    assert_eq!(refused(&none, volume("none", "/d", true)).await, "RIGHT_MISSING");
    assert_eq!(refused(&reads, volume("data", "/d", false)).await, "RIGHT_MISSING");
    assert_eq!(refused(&writes, volume("data", "/d", false)).await, "RIGHT_MISSING");
    assert_eq!(refused(&none, device("channel")).await, "RIGHT_MISSING");
    assert_eq!(refused(&owner, device("other")).await, "NO_SUCH_DEVICE");
    assert_eq!(names(&none).await, Vec::<String>::new());
    assert_eq!(names(&reads).await, ["data"]);
    assert_eq!(remove(&reads, "data").await.expect_err("refused").reason, "RIGHT_MISSING");
    // An update takes it too: the service has it from who deployed it, and its next owner does not.
    reads.deploy(shell("x", vec![volume("data", "/d", true)])).await.expect("deployed");
    let update = v1::UpdateRequest {
        name: "x".to_owned(),
        mounts: Some(v1::Mounts { mounts: vec![volume("data", "/d", false)] }),
        ..v1::UpdateRequest::default()
    };
    let update = reads.grpc().update(reads.request(update, Duration::from_secs(20))).await;
    let problem = solo_api::problem_from_status(&update.expect_err("refused"));
    assert_eq!(problem.reason, "RIGHT_MISSING");
    // With the right.
    let mounts = vec![volume("w-one", "/d", false), device("channel")];
    writes.deploy(shell("y", mounts)).await.expect("deployed");
    let wrote = run(&writes, "y", "echo x > /dev/full; ls /dev/tty; ls -d /d").await;
    assert!(wrote.contains("I/O error") && wrote.contains("/dev/tty\n/d"), "{wrote}");
    assert_eq!(run(&owner, "db", "ls /dev/tty").await.matches("cannot access").count(), 1);
    // Another tenant has volumes of its own.
    let other = bearing(&solo, &crate::tenants::token_of(&solo, "other", &[])).await;
    assert_eq!(names(&other).await, Vec::<String>::new());
    assert_eq!(remove(&other, "default/data").await.expect_err("refused").reason, "RIGHT_MISSING");
    solo.down().await;
}

/// What cannot be given is refused, by its field, and a deployment that fails makes no volume.
#[tokio::test]
async fn what_cannot_be_given_is_refused() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let refused = async |request: v1::DeployRequest| {
        let problem = client.deploy(request).await.expect_err("refused");
        assert!(!problem.remedy.is_empty() || !problem.fields.is_empty(), "{problem:?}");
        problem.reason
    };
    for at in ["data", "/", "/usr/local/x", "/etc", "/proc/x", "/tmp/x", "/run", "/a/../b"] {
        let reason = refused(shell("x", vec![volume("data", at, false)])).await;
        assert_eq!(reason, "INVALID_MOUNT", "{at}");
    }
    assert_eq!(refused(shell("x", vec![volume("data", "/d", true)])).await, "NO_SUCH_VOLUME");
    assert_eq!(refused(shell("x", vec![volume("../a", "/d", true)])).await, "INVALID_NAME");
    let twice = vec![volume("a", "/d", false), volume("b", "/d/e", false)];
    assert_eq!(refused(shell("x", twice)).await, "INVALID_MOUNT");
    let component = v1::DeployRequest {
        mounts: vec![volume("data", "/d", false)],
        ..deploy("x", crate::harness::ADDER)
    };
    assert_eq!(refused(component).await, "NOT_A_PROGRAM");
    let mut fails = shell("x", vec![volume("data", "/d", false)]);
    fails.code = deploy("x", "#!/bin/sh\nexit 3\n").code;
    fails.program.as_mut().expect("a program").interface = v1::ProgramInterface::Http.into();
    refused(fails).await;
    assert_eq!(names(&client).await, Vec::<String>::new());
    solo.down().await;
}

/// A volume is removed when nobody is given it, however deep it is, and by name from the command line.
#[tokio::test]
async fn a_volume_is_removed_when_nobody_has_it() {
    let mut solo = Solo::new();
    let machine = tempfile::tempdir().expect("a directory");
    std::fs::write(machine.path().join("model"), "weights").expect("written");
    std::os::unix::fs::chown(machine.path(), None, None).expect("mine");
    std::fs::set_permissions(machine.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("shown");
    let settings = format!("[volumes]\n\"default/models\" = {:?}\n", machine.path());
    std::fs::write(solo.home().join("programs.toml"), settings).expect("written");
    solo.up().await;
    let client = solo.answering().await;
    let file = solo.home().join("shell.py");
    std::fs::write(&file, SHELL).expect("written");
    let file = file.to_str().expect("text");
    let line = ["deploy", "db", file, "--interface", "stdio", "--volume", "data:/data"];
    solo.json(&[&line[..], &["--volume", "models:/models:ro"]].concat());
    assert_eq!(run(&client, "db", "cat /models/model").await, "weights");
    let deep = "cd /data; for i in $(seq 300); do mkdir d; cd d; ln -s /etc e; done; echo done";
    assert_eq!(run(&client, "db", deep).await, "done");
    let status = solo.json(&["status", "db"]);
    let given = serde_json::json!([
        {"kind": "volume", "name": "data", "at": "/data", "read_only": false},
        {"kind": "volume", "name": "models", "at": "/models", "read_only": true},
    ]);
    assert_eq!(status["mounts"], given);
    let listed = solo.json(&["volume", "list"]);
    assert_eq!(listed["volumes"][0]["name"], "data");
    assert_eq!(listed["volumes"][0]["services"], serde_json::json!(["db"]));
    assert_eq!(listed["volumes"][1]["of_machine"], true);
    let (_, error) = solo.refused(&["volume", "rm", "data"]);
    assert_eq!(error["reason"], "VOLUME_IN_USE");
    solo.json(&["update", "db", "--no-mounts"]);
    assert!(run(&client, "db", "ls /data").await.contains("cannot access"));
    solo.json(&["volume", "rm", "data"]);
    let (_, error) = solo.refused(&["volume", "rm", "data"]);
    assert_eq!(error["reason"], "NO_SUCH_VOLUME");
    let (_, error) = solo.refused(&["volume", "rm", "models"]);
    assert_eq!(error["reason"], "VOLUME_OF_MACHINE");
    assert!(machine.path().join("model").exists());
    let left = std::fs::read_dir(solo.home().join("tenants/default/volumes")).expect("there");
    assert_eq!(left.count(), 0);
    solo.down().await;
}

/// L1, L2: a volume that grows too large ends who wrote it, and is told of; on a disk that is almost full
/// nothing that writes is started.
#[tokio::test]
async fn a_volume_has_a_size() {
    let mut solo = Solo::new();
    let file = solo.home().join("programs.toml");
    std::fs::write(&file, "volume_bytes = 1000000\n").expect("written");
    solo.up().await;
    let client = solo.answering().await;
    let mut filler = shell("filler", vec![volume("data", "/data", false)]);
    filler.restart = Some(v1::RestartPolicy { max_restarts: Some(1), ..Default::default() });
    client.deploy(filler).await.expect("deployed");
    let mut warned = shell("warned", vec![volume("more", "/data", false)]);
    warned.limits = Some(v1::Limits {
        limit_exceeded_action: v1::LimitAction::Warn.into(),
        ..v1::Limits::default()
    });
    client.deploy(warned).await.expect("deployed");
    for service in ["filler", "warned"] {
        run(&client, service, "head -c 2000000 /dev/zero > /data/file; sync").await;
    }
    let exceeded = async |service: &str| {
        eventually("it is told of", || async {
            let lines = solo.json_lines(&["watch", service, "--kind", "event"]);
            lines.iter().any(|line| line.to_string().contains("limit_exceeded")).then_some(())
        })
        .await;
    };
    exceeded("filler").await;
    eventually("it is given up", || async {
        let status = client.status("filler").await.ok()?;
        (status.state() == v1::ServiceState::Failed).then_some(())
    })
    .await;
    let metrics = solo.metrics().await;
    assert!(metrics.contains("volume_bytes"), "{metrics}");
    exceeded("warned").await;
    assert_eq!(run(&client, "warned", "stat -c %s /data/file").await, "2000000");
    solo.down().await;

    let mut solo = Solo::new();
    let file = solo.home().join("programs.toml");
    std::fs::write(&file, format!("keep_free_bytes = {}\n", i64::MAX)).expect("written");
    solo.up().await;
    let client = solo.answering().await;
    let request = shell("db", vec![volume("data", "/data", false)]);
    assert_eq!(client.deploy(request).await.expect_err("full").reason, "DISK_FULL");
    client.deploy(shell("other", Vec::new())).await.expect("it writes nothing");
    solo.down().await;
}
