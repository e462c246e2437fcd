//! Text that would be a record, a header or a command of the terminal somewhere else: in names, ids of
//! requests, log lines and error texts.

use solo_api::v1;

use super::{PATIENCE, on_record};
use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

const LINE: &str =
    "x\"}\n{\"seq\":1,\"principal\":\"owner\",\"operation\":\"shutdown\"}\r\n\u{1b}[2J\u{202e}";

#[tokio::test]
async fn text_stays_text() {
    let solo = Solo::start().await;
    let owner = solo.answering().await;
    owner.deploy(deploy("logger", guest_bytes("logger"))).await.expect("deploy");
    // Into the audit log: by a name, by a holder, by the id of a request.
    owner.kill(LINE, true).await.expect_err("no such service");
    let message = v1::GrantCapabilityRequest {
        holder: LINE.to_owned(),
        service: LINE.to_owned(),
        ..Default::default()
    };
    owner.grpc().grant_capability(owner.request(message, PATIENCE)).await.expect_err("refused");
    let mut request =
        owner.request(v1::KillRequest { name: "ghost".into(), force: true }, PATIENCE);
    let id = "a b;c\"d{e}f".repeat(20);
    request.metadata_mut().insert("x-request-id", id.parse().expect("ASCII"));
    owner.grpc().kill(request).await.expect_err("no such service");
    let log = solo.audit_log();
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("one record a line");
        assert_ne!(record["operation"], "shutdown", "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert!(log.contains("\"request_id\":\"abcdefabcdef"), "{log}");
    assert!(on_record(&solo, "NO_SUCH_SERVICE") >= 2);
    assert!(solo.json(&["audit", "verify"])["signed"].is_boolean(), "it is whole");
    // Into what a person reads.
    owner.call("logger", &format!("info {LINE}")).await.expect("logged");
    let shown = eventually("it is shown", || async {
        let output = solo.cli(&["logs", "logger", "--tail", "10"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.contains("shutdown").then_some(text)
    })
    .await;
    for text in [shown, String::from_utf8_lossy(&solo.cli(&["audit", "show"]).stdout).into_owned()]
    {
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("{\"seq\"")), "{text:?}");
    }
}
