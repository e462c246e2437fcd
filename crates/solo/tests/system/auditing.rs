//! C6: the audit log as an auditor meets it: shown, followed, exported, verified, attacked.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

/// Does something to a record among the lines of a segment.
type Damage = fn(Vec<String>, usize) -> Vec<String>;

/// A Solo that did a few things.
async fn used() -> Solo {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    client.deploy(deploy("../x", ADDER)).await.expect_err("refused");
    client.kill("adder", false).await.expect("kill");
    solo
}

/// Rewrites the newest segment.
fn rewrite(solo: &Solo, change: impl FnOnce(Vec<String>) -> Vec<String>) {
    let segments = solo.audit_segments();
    let path = segments.last().expect("a segment");
    let text = std::fs::read_to_string(path).expect("read");
    let lines = change(text.lines().map(str::to_owned).collect());
    std::fs::write(path, lines.into_iter().map(|line| line + "\n").collect::<String>())
        .expect("write");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("read").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

#[tokio::test]
async fn records_are_shown_selected_and_exported() {
    let solo = used().await;
    let all = solo.json_lines(&["audit", "show"]);
    let sequences: Vec<_> = all.iter().map(|record| record["seq"].as_u64()).collect();
    assert_eq!(sequences, (1..=all.len() as u64).map(Some).collect::<Vec<_>>());
    let kills = solo.json_lines(&["audit", "show", "--operation", "kill", "--since", "1h"]);
    assert_eq!((kills.len(), &kills[0]["object"]), (1, &"adder".into()));
    assert_eq!(solo.json_lines(&["audit", "show", "--outcome", "refused"]).len(), 1);
    assert_eq!(solo.json_lines(&["audit", "show", "--tail", "2"]), all[all.len() - 2..]);
    let later = solo.json_lines(&["audit", "show", "--from", "3"]);
    assert_eq!(later[..all.len() - 2], all[2..]);
    let text = String::from_utf8(solo.cli(&["audit", "show"]).stdout).expect("UTF-8");
    assert!(text.lines().any(|line| line.contains(" deploy adder: allowed")), "{text}");
    let exported = solo.cli(&["audit", "export", "--principal", "owner"]);
    let exported = String::from_utf8(exported.stdout).expect("UTF-8");
    assert!(exported.lines().all(|line| line.starts_with('{')), "{exported}");
    assert!(exported.contains("\"kill\""), "{exported}");
    let (code, error) = solo.refused(&["audit", "show", "--directory", "/nowhere/at/all"]);
    assert_eq!((code, &error["reason"]), (1, &"AUDIT_UNREADABLE".into()));
    solo.down().await;
}

#[tokio::test]
async fn a_log_that_is_in_order_is_proven_by_its_key() {
    let mut solo = used().await;
    let running = solo.json(&["audit", "verify"]);
    assert_eq!((&running["signed"], &running["first_seq"]), (&true.into(), &1.into()));
    // What nobody adds to is signed soon.
    eventually("the end is signed", || async {
        let verified = solo.json(&["audit", "verify"]);
        (verified["kept_seq"] == verified["last_seq"]).then_some(())
    })
    .await;
    let key = solo.home().join("keys/audit.key");
    let mode = std::fs::metadata(&key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A killed node goes on with the same log and the same key.
    let before = solo.json(&["audit", "verify"]);
    solo.kill_heart().await;
    solo.up().await;
    solo.answering().await.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let after = solo.json(&["audit", "verify"]);
    assert!(after["last_seq"].as_u64() > before["last_seq"].as_u64(), "{after}");
    // A copy is verified elsewhere, with the public key alone.
    let public = std::fs::read_to_string(solo.home().join("keys/audit.pub")).expect("a key");
    let elsewhere = tempfile::tempdir().expect("tempdir");
    copy(&solo.home().join("audit"), elsewhere.path());
    let place = elsewhere.path().display().to_string();
    solo.down().await;
    let other = Solo::start().await;
    let copied = other.json(&["audit", "verify", "--directory", &place, "--key", public.trim()]);
    assert_eq!(copied["signed"], true);
    let theirs = eventually("it has a key of its own", || async {
        std::fs::read_to_string(other.home().join("keys/audit.pub")).ok()
    })
    .await;
    let (_, error) =
        other.refused(&["audit", "verify", "--directory", &place, "--key", theirs.trim()]);
    assert_eq!(error["reason"], "AUDIT_DAMAGED", "{error}");
    let (code, _) = other.refused(&["audit", "verify", "--key", "nonsense"]);
    assert_eq!(code, 2);
}

/// Changed, removed, reordered, cut off: the first record that is concerned is named, and nothing is done
/// until the log is mended.
#[tokio::test]
async fn what_was_done_to_the_files_is_found() {
    let mut solo = used().await;
    eventually("the end is signed", || async {
        let verified = solo.json(&["audit", "verify"]);
        (verified["kept_seq"] == verified["last_seq"]).then_some(())
    })
    .await;
    solo.kill_heart().await;
    let whole = tempfile::tempdir().expect("tempdir");
    let audit = solo.home().join("audit");
    copy(&audit, whole.path());
    let at = |lines: &[String], word: &str| {
        lines.iter().position(|line| line.contains(word)).expect("a record")
    };
    let damage: [(&str, Damage); 4] = [
        ("was changed", |mut lines, at| {
            lines[at] = lines[at].replace("adder", "bdder");
            lines
        }),
        ("was removed", |mut lines, at| {
            lines.remove(at);
            lines
        }),
        ("not in its place", |mut lines, at| {
            lines.swap(at, at + 1);
            lines
        }),
        ("was cut at", |mut lines, at| {
            lines.truncate(at);
            lines
        }),
    ];
    for (expected, change) in damage {
        let mut seq = 0;
        rewrite(&solo, |lines| {
            let at = at(&lines, "\"deploy\"");
            seq = at + 1;
            change(lines, at)
        });
        let (code, error) = solo.refused(&["audit", "verify"]);
        assert_eq!((code, &error["reason"]), (1, &"AUDIT_DAMAGED".into()), "{expected}: {error}");
        let cause = error["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(expected), "{expected}: {error}");
        assert!(
            cause.contains(&format!("record {seq} ")) || cause.ends_with(&format!(" {seq}")),
            "{cause}"
        );
        copy(whole.path(), &audit);
        solo.json(&["audit", "verify"]);
    }
    // The kernel finds it as well.
    rewrite(&solo, |mut lines| {
        let at = at(&lines, "\"kill\"");
        lines.truncate(at);
        lines
    });
    solo.up().await;
    let client = solo.answering().await;
    let problem = client.deploy(deploy("adder", ADDER)).await.expect_err("refused");
    assert_eq!(problem.reason, "AUDIT_UNWRITABLE");
    assert!(problem.cause.contains("was cut at"), "{problem:?}");
}

/// C6: the log of one file that earlier versions wrote becomes the first segment.
#[tokio::test]
async fn a_log_of_one_file_is_taken_over() {
    let mut solo = used().await;
    solo.kill_heart().await;
    let audit = solo.home().join("audit");
    let segment = solo.audit_segments().remove(0);
    // As it was before: no marks of its own, no key, no checkpoint.
    let text = std::fs::read_to_string(&segment).expect("read");
    assert!(!text.is_empty());
    std::fs::remove_dir_all(&audit).expect("remove");
    std::fs::create_dir(&audit).expect("directory");
    for name in ["audit.key", "audit.pub", "audit.checkpoint"] {
        std::fs::remove_file(solo.home().join("keys").join(name)).expect("remove");
    }
    let mut log = solo_audit::AuditLog::open(&audit.join("audit.jsonl")).expect("a log");
    let entry = solo_audit::Entry {
        at_unix_ms: 1,
        principal: "owner".into(),
        operation: "deploy".into(),
        object: "from-before".into(),
        outcome: "allowed".into(),
        request_id: String::new(),
        details: std::collections::BTreeMap::new(),
    };
    log.append_batch(&[entry]).expect("append");
    drop(log);
    solo.up().await;
    solo.answering().await.kill("nobody", false).await.expect_err("it is not there");
    let records = solo.json_lines(&["audit", "show", "--object", "from-before"]);
    assert_eq!((records.len(), &records[0]["seq"]), (1, &1.into()));
    assert_eq!(solo.json(&["audit", "verify"])["signed"], true);
    assert!(!audit.join("audit.jsonl").exists());
}

/// A follower prints what comes, and what it prints is what is on disk.
#[tokio::test]
async fn new_records_are_followed() {
    use std::io::BufRead as _;
    let solo = used().await;
    let mut follower = std::process::Command::new(env!("CARGO_BIN_EXE_solo"))
        .args(["-o", "json", "--home"])
        .arg(solo.home())
        .args(["audit", "follow", "--from", "1", "--operation", "deploy"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("solo");
    let out = follower.stdout.take().expect("stdout");
    let mut lines = std::io::BufReader::new(out).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains("adder"), "{first}");
    solo.answering().await.deploy(deploy("second", ADDER)).await.expect("deploy");
    let found = lines.map_while(Result::ok).any(|line| line.contains("second"));
    follower.kill().expect("kill");
    follower.wait().expect("wait");
    assert!(found);
}
