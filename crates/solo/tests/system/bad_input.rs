//! A3, L1: bad input and bad code get a clear error and change nothing.

use std::time::{Duration, Instant};

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, DEADLINE, Requests, Solo, deploy, eventually, guest_bytes};

/// What a refused request must leave as it was.
async fn state(solo: &Solo, client: &Client) -> (Vec<String>, usize) {
    let uploads = solo.home().join("tenants/default/artifacts/tmp");
    (client.names().await, std::fs::read_dir(uploads).expect("uploads").count())
}

/// Deploys, expects a refusal, and expects that nothing else changed.
async fn refused(solo: &Solo, client: &Client, request: v1::DeployRequest) -> Problem {
    let before = state(solo, client).await;
    let name = request.name.clone();
    let problem = client.deploy(request).await.expect_err("must be refused");
    assert_eq!(state(solo, client).await, before, "{problem:?}");
    assert!(!problem.cause.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
    if !before.0.contains(&name) {
        assert!(client.status(&name).await.is_err(), "{name} must not exist");
    }
    problem
}

#[tokio::test]
async fn names_and_numbers_that_are_not_legal() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for name in ["", "../x", "A", "a_b", &"x".repeat(300), "-", "a\0b", "é"] {
        let problem = refused(&solo, &client, deploy(name, ADDER)).await;
        assert_eq!(
            (problem.reason.as_str(), problem.kind),
            ("INVALID_NAME", ProblemKind::InvalidArgument)
        );
        assert_eq!(problem.fields[0].field, "name");
    }
    let limit = |change: fn(&mut v1::Limits)| {
        let mut request = deploy("limits", ADDER);
        let mut limits = v1::Limits::default();
        change(&mut limits);
        request.limits = Some(limits);
        request
    };
    for (request, field) in [
        // A negative number of a client that does not check arrives as a huge one.
        (limit(|l| l.max_memory_bytes = Some(u64::MAX)), "limits.max_memory_bytes"),
        (limit(|l| l.max_memory_bytes = Some(0)), "limits.max_memory_bytes"),
        (limit(|l| l.max_memory_bytes = Some(1 << 50)), "limits.max_memory_bytes"),
        (limit(|l| l.startup_timeout_ms = Some(0)), "limits.startup_timeout_ms"),
        (limit(|l| l.shutdown_timeout_ms = Some(u64::MAX)), "limits.shutdown_timeout_ms"),
        (limit(|l| l.message_queue_limit = Some(0)), "limits.message_queue_limit"),
        (limit(|l| l.cpu_shares = Some(1)), "limits.cpu_shares"),
        (limit(|l| l.max_processes = Some(1 << 40)), "limits.max_processes"),
        (limit(|l| l.cpu_quota_percent = Some(101)), "limits.cpu_quota_percent"),
        (limit(|l| l.message_queue_max = Some(9_999)), "limits.message_queue_max"),
        (limit(|l| l.limit_exceeded_action = 99), "limits.limit_exceeded_action"),
    ] {
        let problem = refused(&solo, &client, request).await;
        assert_eq!(problem.reason, "INVALID_LIMIT");
        assert_eq!(problem.fields[0].field, field);
    }
    let mut none = deploy("none", ADDER);
    none.replicas = Some(0);
    assert_eq!(refused(&solo, &client, none).await.reason, "INVALID_REPLICAS");
}

#[tokio::test]
async fn a_name_in_use() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let problem = refused(&solo, &client, deploy("adder", ADDER)).await;
    assert_eq!(
        (problem.reason.as_str(), problem.kind),
        ("NAME_IN_USE", ProblemKind::AlreadyExists)
    );
    assert_eq!(client.status("adder").await.expect("status").revision, 1);
}

#[tokio::test]
async fn code_that_is_none() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let component = guest_bytes("counter");
    let unknown_import =
        r#"(component (import "evil:host/backdoor@1.0.0" (instance (export "open" (func)))))"#;
    for (name, code, reason) in [
        ("text", b"hello, world".to_vec(), "NOT_WASM"),
        ("elf", b"\x7fELF\x02\x01\x01\0".to_vec(), "NOT_EXECUTABLE"),
        ("truncated", component[..component.len() / 2].to_vec(), "INVALID_WASM"),
        ("header", b"\0asm".to_vec(), "INVALID_WASM"),
        ("flipped", flip(&component), "INVALID_WASM"),
        ("wat", b"(component (frob))".to_vec(), "INVALID_TEXT"),
        ("import", unknown_import.into(), "UNKNOWN_IMPORT"),
        ("nothing", b"(component)".to_vec(), "NOT_A_SERVICE"),
    ] {
        let problem = refused(&solo, &client, deploy(name, code)).await;
        assert_eq!(problem.reason, reason, "{name}: {problem:?}");
    }
    let problem = refused(&solo, &client, deploy("import", unknown_import)).await;
    assert!(problem.cause.contains("evil:host/backdoor"), "{problem:?}");
    let problem = refused(&solo, &client, deploy("wat", "(component\n  (frob))")).await;
    let detail = |key: &str| problem.details.iter().find(|d| d.0 == key).map(|d| d.1.as_str());
    assert_eq!((detail("line"), detail("excerpt")), (Some("2"), Some("  (frob))")));
    let mut empty = deploy("empty", Vec::new());
    assert_eq!(refused(&solo, &client, empty.clone()).await.reason, "MISSING_CODE");
    empty.code =
        Some(v1::Code { source: Some(v1::code::Source::Digest("0".repeat(64))), format: 0 });
    assert_eq!(refused(&solo, &client, empty).await.reason, "NO_SUCH_ARTIFACT");
}

/// The component with one byte of its first code section's type changed.
fn flip(component: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    bytes[9] ^= 0xff;
    bytes
}

#[tokio::test]
async fn uploads_that_are_too_large_or_cut() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let before = state(&solo, &client).await;
    let header = |size_bytes, digest: &str| v1::UploadArtifactRequest {
        part: Some(v1::upload_artifact_request::Part::Header(v1::UploadHeader {
            size_bytes,
            digest: digest.to_owned(),
            ..v1::UploadHeader::default()
        })),
    };
    let chunk = |bytes: usize| v1::UploadArtifactRequest {
        part: Some(v1::upload_artifact_request::Part::Chunk(vec![7; bytes])),
    };
    let upload = |parts: Vec<v1::UploadArtifactRequest>| {
        let client = client.clone();
        async move {
            let request = client.request(tokio_stream::iter(parts), DEADLINE);
            let answer = client.grpc().upload_artifact(request).await;
            solo_api::problem_from_status(&answer.expect_err("must be refused"))
        }
    };
    // 1 GiB is refused by its header; who lies about the size is stopped at the first byte too much.
    let problem = upload(vec![header(1 << 30, ""), chunk(1 << 20)]).await;
    assert_eq!(problem.reason, "ARTIFACT_TOO_LARGE");
    let mut endless = vec![header(1 << 20, "")];
    endless.extend((0..64).map(|_| chunk(1 << 20)));
    assert_eq!(upload(endless).await.reason, "SIZE_MISMATCH");
    assert_eq!(upload(vec![header(1 << 20, ""), chunk(10)]).await.reason, "SIZE_MISMATCH");
    assert_eq!(upload(vec![chunk(10)]).await.reason, "MISSING_HEADER");
    assert_eq!(upload(vec![]).await.reason, "MISSING_HEADER");
    assert_eq!(
        upload(vec![header(10, &"0".repeat(64)), chunk(10)]).await.reason,
        "DIGEST_MISMATCH"
    );
    // Cut in the middle: the client goes away.
    let (sender, parts) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(parts);
    let cut = tokio::spawn({
        let client = client.clone();
        async move { client.grpc().upload_artifact(client.request(stream, DEADLINE)).await }
    });
    sender.send(header(1 << 20, "")).await.expect("header");
    sender.send(chunk(1_000)).await.expect("chunk");
    eventually("the upload is under way", || async {
        (state(&solo, &client).await.1 == 1).then_some(())
    })
    .await;
    cut.abort();
    eventually("nothing is left", || async {
        (state(&solo, &client).await == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_that_do_not_fit() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    for (function, arguments, reason) in [
        ("subtract", "[1, 2]", "NO_SUCH_FUNCTION"),
        ("add", "[1]", "BAD_ARGUMENTS"),
        ("add", "[1, 2, 3]", "BAD_ARGUMENTS"),
        ("add", "[1, \"2\"]", "BAD_ARGUMENTS"),
        ("add", "[1, 2.5]", "BAD_ARGUMENTS"),
        ("add", "[1, 99999999999]", "BAD_ARGUMENTS"),
        ("add", "{\"a\": 1}", "BAD_ARGUMENTS"),
        ("add", "nonsense", "BAD_ARGUMENTS"),
        ("add", "", "BAD_ARGUMENTS"),
    ] {
        let problem = client.json_call("adder", function, arguments).await.expect_err("refused");
        assert_eq!(problem.reason, reason, "{arguments}: {problem:?}");
        let expected = problem.details.iter().find(|(key, _)| key == "expected");
        assert!(expected.is_some_and(|(_, text)| text.contains("add")), "{problem:?}");
    }
    let problem = client.json_call("nobody", "add", "[]").await.expect_err("refused");
    assert_eq!(problem.reason, "NO_SUCH_SERVICE");
    assert_eq!(client.status("adder").await.expect("status").restarts, 0);
}

#[tokio::test]
async fn services_that_do_not_start() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    for (guest, reasons) in [
        ("crash-on-init", &["INIT_FAILED", "CRASHED"][..]),
        ("refuse-on-init", &["INIT_FAILED"][..]),
        ("hang-on-init", &["STARTUP_TIMEOUT"][..]),
    ] {
        let mut request = deploy(guest, guest_bytes(guest));
        request.limits.as_mut().expect("limits").startup_timeout_ms = Some(300);
        let problem = refused(&solo, &client, request).await;
        assert!(reasons.contains(&problem.reason.as_str()), "{guest}: {problem:?}");
        assert_eq!(problem.kind, ProblemKind::FailedPrecondition);
    }
    let big = "(component (core module $m (memory 2000)) (core instance (instantiate $m)) \
               (core module $n (func (export \"f\"))) (core instance $i (instantiate $n)) \
               (func (export \"f\") (canon lift (core func $i \"f\"))))";
    let mut request = deploy("big", big);
    request.limits.as_mut().expect("limits").max_memory_bytes = Some(1 << 20);
    assert_eq!(refused(&solo, &client, request).await.reason, "LIMIT_EXCEEDED");
    assert_eq!(client.json_call("adder", "add", "[1, 1]").await.as_deref(), Ok("2"));
}

/// S3, L1: allocating without end is ended by the limit, by policy again and again, then for good.
#[tokio::test]
async fn a_service_that_allocates_without_end() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let mut request = deploy("hog", guest_bytes("memory-hog"));
    request.limits.as_mut().expect("limits").max_memory_bytes = Some(16 << 20);
    request.restart = Some(v1::RestartPolicy { max_restarts: Some(1), ..Default::default() });
    client.deploy(request).await.expect("deploy");
    assert!(client.call("hog", "grow 4").await.is_ok());
    let problem = client.call("hog", "forever").await.expect_err("ended");
    assert_eq!(problem.reason, "CRASHED", "{problem:?}");
    let status = eventually("it is back", || async {
        let status = client.status("hog").await.expect("status");
        (status.restarts == 1 && status.state() == v1::ServiceState::Running).then_some(status)
    })
    .await;
    let exit = status.last_exit.expect("an exit");
    assert_eq!(exit.reason, "limit", "{exit:?}");
    assert!(status.instances[0].memory_bytes < 16 << 20);
    client.call("hog", "forever").await.expect_err("ended again");
    let status = eventually("it has failed", || async {
        let status = client.status("hog").await.expect("status");
        (status.state() == v1::ServiceState::Failed).then_some(status)
    })
    .await;
    assert!(status.exits.len() >= 2, "{status:?}");
    let problem = client.call("hog", "grow 1").await.expect_err("failed");
    assert_eq!(
        (problem.reason.as_str(), problem.kind),
        ("SERVICE_FAILED", ProblemKind::Unavailable)
    );
    assert_eq!(client.json_call("adder", "add", "[1, 1]").await.as_deref(), Ok("2"));
}

/// An endless loop takes neither the API nor its neighbours along, and can be killed.
#[tokio::test]
async fn a_service_that_loops_for_ever() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let mut request = deploy("hog", guest_bytes("cpu-hog"));
    request.replicas = Some(4);
    client.deploy(request).await.expect("deploy");
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call("hog", "spin forever").await })
        })
        .collect();
    eventually("it spins", || async {
        let status = client.status("hog").await.expect("status");
        (status.instances.iter().filter(|i| i.cpu_us > 50_000).count() >= 2).then_some(())
    })
    .await;
    for n in 0..20 {
        let sum = client.json_call("adder", "add", &format!("[{n}, 1]")).await.expect("add");
        assert_eq!(sum, (n + 1).to_string());
    }
    let began = Instant::now();
    assert!(client.kill("hog", true).await.expect("kill").service == "hog");
    eprintln!("an endless loop was killed in {:?}", began.elapsed());
    for call in spinning {
        let answer = tokio::time::timeout(Duration::from_secs(10), call).await;
        assert!(answer.expect("answered at once").expect("no panic").is_err());
    }
    assert_eq!(client.names().await, ["adder"]);
}

/// A compile bomb ends within its limits, and nothing else ends with it.
#[tokio::test]
async fn compile_bombs() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let deep = format!(
        "(module (func (export \"f\") {} {}))",
        "(block ".repeat(20_000),
        ")".repeat(20_000)
    );
    let many = format!("(module {} (func (export \"f\")))", "(func)".repeat(100_000));
    let wide = format!(
        "(module (memory 2000) (data (i32.const 0) \"{}\") (func (export \"f\")))",
        "x".repeat(15 << 20)
    );
    for (name, code) in [("deep", deep), ("many", many), ("wide", wide)] {
        let cell = solo.pid("cells/wasm-default").await;
        match client.deploy(deploy(name, code)).await {
            Ok(_) => {
                client.kill(name, true).await.expect("kill");
            }
            Err(problem) => assert!(!problem.cause.is_empty(), "{problem:?}"),
        }
        assert_eq!(solo.pid("cells/wasm-default").await, cell, "the wasm cell lives on");
        assert_eq!(client.json_call("adder", "add", "[1, 1]").await.as_deref(), Ok("2"));
    }
    // The compiler is there for the next one.
    client.deploy(deploy("after", "(module (func (export \"f\")))")).await.expect("deploy");
}
