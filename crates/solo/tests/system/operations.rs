//! A1, A2, D5, D6: the operations as a client of the API sees them.

use std::time::Duration;

use solo_api::v1;
use solo_api::v1::solo_service_client::SoloServiceClient;
use solo_types::ProblemKind;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{ADDER, DEADLINE, Requests, Solo, deploy, eventually, guest_bytes};

/// D6: every field of a deployment is honoured, and shown.
#[tokio::test]
async fn a_deployment_states_everything() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("full", guest_bytes("counter"));
    request.replicas = Some(3);
    request.limits = Some(v1::Limits {
        max_memory_bytes: Some(32 << 20),
        startup_timeout_ms: Some(5_000),
        message_queue_limit: Some(77),
        ..v1::Limits::default()
    });
    request.restart = Some(v1::RestartPolicy {
        mode: v1::RestartMode::Transient.into(),
        max_restarts: Some(2),
        ..v1::RestartPolicy::default()
    });
    request.labels.insert("team".into(), "blue".into());
    request.config.insert("greeting".into(), "hello".into());
    request.health_check =
        Some(v1::HealthCheck { interval_ms: Some(60_000), ..Default::default() });
    let deployed = client.deploy(request).await.expect("deploy");
    assert_eq!((deployed.revision, deployed.state()), (1, v1::ServiceState::Running));
    let timing = deployed.timing.expect("timing");
    assert!(timing.total_ms >= timing.start_ms && timing.compile_ms > 0.0, "{timing:?}");
    let status = client.status("full").await.expect("status");
    assert_eq!(status.state(), v1::ServiceState::Running);
    assert_eq!((status.replicas, status.instances.len()), (3, 3));
    assert_eq!(status.labels["team"], "blue");
    let limits = status.limits.expect("limits");
    assert_eq!((limits.message_queue_limit, limits.max_processes), (Some(77), Some(100)));
    assert_eq!(status.restart.expect("restart").mode(), v1::RestartMode::Transient);
    assert!(status.instances.iter().all(|i| i.memory_bytes > 0 && !i.cell.is_empty()));
    assert_eq!(status.digest, deployed.digest);
}

/// D5: the same bytes are compiled once; an uploaded artifact is deployed by its digest.
#[tokio::test]
async fn known_code_is_not_compiled_again() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let code = guest_bytes("counter");
    let parts = vec![
        v1::upload_artifact_request::Part::Header(v1::UploadHeader {
            size_bytes: code.len() as u64,
            ..v1::UploadHeader::default()
        }),
        v1::upload_artifact_request::Part::Chunk(code[..1_000].to_vec()),
        v1::upload_artifact_request::Part::Chunk(code[1_000..].to_vec()),
    ];
    let parts: Vec<_> =
        parts.into_iter().map(|p| v1::UploadArtifactRequest { part: Some(p) }).collect();
    let upload = || async {
        let request = client.request(tokio_stream::iter(parts.clone()), DEADLINE);
        client.grpc().upload_artifact(request).await.expect("upload").into_inner()
    };
    let first = upload().await;
    let second = upload().await;
    assert!(!first.existed && second.existed && first.digest == second.digest);
    let mut request = deploy("one", "");
    request.code =
        Some(v1::Code { source: Some(v1::code::Source::Digest(first.digest.clone())), format: 0 });
    let one = client.deploy(request).await.expect("deploy by digest");
    assert!(one.timing.expect("timing").compile_ms > 0.0);
    let two = client.deploy(deploy("two", code.clone())).await.expect("deploy");
    assert_eq!(two.timing.expect("timing").compile_ms, 0.0);
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    let three = client.deploy(deploy("three", code)).await.expect("deploy");
    assert_eq!(three.timing.expect("timing").compile_ms, 0.0);
    assert_eq!(
        std::fs::read_dir(solo.home().join("tenants/default/compiled")).expect("compiled").count(),
        1
    );
}

#[tokio::test]
async fn a_dry_run_keeps_nothing() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    request.dry_run = true;
    let answer = client.deploy(request.clone()).await.expect("dry run");
    assert!(answer.dry_run && answer.exports.iter().any(|export| export.name == "add"));
    assert_eq!(client.names().await, Vec::<String>::new());
    client.deploy(deploy("adder", ADDER)).await.expect("the name is free");
    assert_eq!(client.deploy(request).await.expect_err("taken").reason, "NAME_IN_USE");
}

/// D6: a request that is sent twice is done once, also across the death of the kernel.
#[tokio::test]
async fn an_idempotency_key_is_answered_with_the_first_answer() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = deploy("adder", ADDER);
    request.idempotency_key = "key-1".into();
    let first = client.deploy(request.clone()).await.expect("first");
    let second = client.deploy(request.clone()).await.expect("second");
    assert_eq!((first.revision, first.digest.clone()), (second.revision, second.digest));
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    assert_eq!(client.deploy(request.clone()).await.expect("third").digest, first.digest);
    request.replicas = Some(2);
    let problem = client.deploy(request).await.expect_err("another request");
    assert_eq!(problem.reason, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(client.names().await, ["adder"]);
}

#[tokio::test]
async fn two_deployments_of_one_name_at_once() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let attempts = (0..8).map(|_| client.deploy(deploy("adder", ADDER)));
    let answers = futures_util::future::join_all(attempts).await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1);
    for problem in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(["NAME_BUSY", "NAME_IN_USE"].contains(&problem.reason.as_str()), "{problem:?}");
    }
    let status = client.status("adder").await.expect("status");
    assert_eq!(status.instances.len(), 1);
}

#[tokio::test]
async fn a_killed_service_is_remembered_and_its_name_is_free() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    let killed = client.kill("counter", false).await.expect("kill");
    assert!(!killed.forced);
    let status = client.status("counter").await.expect("status");
    assert_eq!(status.state(), v1::ServiceState::Killed);
    assert_eq!(client.names().await, Vec::<String>::new());
    let killed =
        v1::ListRequest { states: vec![v1::ServiceState::Killed.into()], ..Default::default() };
    let killed =
        client.grpc().list(client.request(killed, DEADLINE)).await.expect("list").into_inner();
    assert_eq!(killed.services[0].name, "counter");
    assert_eq!(client.kill("counter", false).await.expect_err("gone").reason, "NO_SUCH_SERVICE");
    assert_eq!(client.call("counter", "get").await.expect_err("gone").reason, "NO_SUCH_SERVICE");
    let again = client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("again");
    assert_eq!(again.revision, 2, "revisions of a name go on counting");
    assert!(
        solo.json_lines(&["logs", "counter"])
            .iter()
            .any(|line| line["message"].to_string().contains("killed"))
    );
}

/// A graceful end waits for what runs; force cuts it short.
#[tokio::test]
async fn force_cuts_a_graceful_end_short() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("hog", guest_bytes("cpu-hog"))).await.expect("deploy");
    client.send("hog", "spin forever").await.expect("send");
    eventually("it spins", || async {
        let status = client.status("hog").await.expect("status");
        (status.instances[0].cpu_us > 10_000).then_some(())
    })
    .await;
    let graceful = client.clone();
    let graceful = tokio::spawn(async move { graceful.kill("hog", false).await });
    eventually("it is stopping", || async {
        let status = client.status("hog").await.expect("status");
        (status.state() == v1::ServiceState::Stopping).then_some(())
    })
    .await;
    client.kill("hog", true).await.expect("force");
    let graceful = tokio::time::timeout(Duration::from_secs(10), graceful).await;
    assert!(graceful.expect("cut short").expect("no panic").expect("kill").forced);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for n in 0..7 {
        let mut request = deploy(&format!("s{n}"), ADDER);
        request.labels.insert("parity".into(), if n % 2 == 0 { "even" } else { "odd" }.into());
        client.deploy(request).await.expect("deploy");
    }
    let list = |request: v1::ListRequest| async {
        client.grpc().list(client.request(request, DEADLINE)).await.expect("list").into_inner()
    };
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let page =
            list(v1::ListRequest { page_size: Some(3), page_token, ..Default::default() }).await;
        names.extend(page.services.into_iter().map(|service| service.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    let odd = list(v1::ListRequest {
        labels: [("parity".to_owned(), "odd".to_owned())].into(),
        ..Default::default()
    });
    assert_eq!(odd.await.services.len(), 3);
    let globbed = list(v1::ListRequest { name: "s[".into(), ..Default::default() }).await;
    assert!(globbed.services.is_empty());
    assert_eq!(
        list(v1::ListRequest { name: "?6".into(), ..Default::default() }).await.services.len(),
        1
    );
    let failed = list(v1::ListRequest {
        states: vec![v1::ServiceState::Failed.into()],
        ..Default::default()
    });
    assert!(failed.await.services.is_empty());
}

/// What is not built says so.
#[tokio::test]
async fn what_is_missing_answers_unimplemented() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let mut grpc = client.grpc();
    let request = client.request(v1::RollbackRequest::default(), Duration::from_secs(10));
    let mut statuses = vec![grpc.rollback(request).await.map(|_| ())];
    for strategy in [v1::UpdateStrategy::Canary, v1::UpdateStrategy::BlueGreen] {
        let request = v1::UpdateRequest {
            name: "adder".into(),
            strategy: strategy.into(),
            ..Default::default()
        };
        let request = client.request(request, Duration::from_secs(10));
        statuses.push(grpc.update(request).await.map(|_| ()));
    }
    for status in statuses {
        let problem = solo_api::problem_from_status(&status.expect_err("not built"));
        assert_eq!(problem.kind, ProblemKind::Unimplemented, "{problem:?}");
        assert!(problem.cause.contains("not built yet"), "{problem:?}");
    }
}

/// The API over TCP, with health and reflection.
#[tokio::test]
async fn tcp_health_and_reflection() {
    let solo = Solo::start().await;
    let address = solo.addresses()["api"].as_str().expect("api").to_owned();
    let endpoint = solo_api::Endpoint::Tcp(address);
    let channel = solo_api::connect_channel(&endpoint).await.expect("connect");
    let mut request = tonic::Request::new(v1::ListRequest::default());
    let bearer = format!("Bearer {}", solo.admin_token()).parse().expect("a header");
    request.metadata_mut().insert("authorization", bearer);
    let list = SoloServiceClient::new(channel.clone()).list(request).await;
    assert!(list.expect("list").into_inner().services.is_empty());
    let service = "solo.v1.SoloService".to_owned();
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest { service }).await;
    assert_eq!(health.expect("health").into_inner().status, 1, "SERVING");
    use tonic_reflection::pb::v1 as reflection;
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel);
    let answer = client.server_reflection_info(tokio_stream::iter([request])).await;
    let answer = answer.expect("reflection").into_inner().message().await.expect("message");
    assert!(format!("{answer:?}").contains("solo.v1.SoloService"), "{answer:?}");
}

/// A3: also what the transport refuses has a reason and a remedy.
#[tokio::test]
async fn errors_of_the_transport_have_reasons() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut grpc = tonic::client::Grpc::new(client.channel());
    let mut refused = async |path: &'static str, message: v1::DeployRequest| {
        grpc.ready().await.expect("ready");
        let codec = tonic_prost::ProstCodec::<v1::DeployRequest, v1::DeployResponse>::default();
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
        let answer = grpc.unary(tonic::Request::new(message), path, codec).await;
        solo_api::problem_from_status(&answer.expect_err("refused"))
    };
    let huge = refused("/solo.v1.SoloService/Deploy", deploy("huge", vec![0; 20 << 20])).await;
    assert_eq!(huge.reason, "MESSAGE_TOO_LARGE", "{huge:?}");
    let none = refused("/solo.v1.SoloService/Frobnicate", v1::DeployRequest::default()).await;
    assert_eq!(none.reason, "NO_SUCH_METHOD", "{none:?}");
    // A service's name where a message is expected.
    let odd = refused("/solo.v1.SoloService/Shutdown", deploy("odd", ADDER)).await;
    assert_eq!(odd.reason, "MALFORMED_REQUEST", "{odd:?}");
    for problem in [huge, none, odd] {
        assert!(!problem.remedy.is_empty(), "{problem:?}");
    }
    assert_eq!(client.names().await, Vec::<String>::new());
}

/// A compiler that is killed by accident costs time, not the deployment.
#[tokio::test]
async fn the_death_of_a_compiler_is_no_fault_of_the_code() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let compiler = solo.pid("cells/compiler-0").await;
    let deploying = {
        let client = client.clone();
        tokio::spawn(async move { client.deploy(deploy("js", guest_bytes("calculator-js"))).await })
    };
    eventually("it compiles", || async {
        let stat = std::fs::read_to_string(format!("/proc/{compiler}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        // Field 14 of the whole line, user time in ticks.
        (fields.get(11)?.parse::<u64>().ok()? > 20).then_some(())
    })
    .await;
    crate::harness::kill(compiler);
    let deployed = deploying.await.expect("no panic").expect("deployed all the same");
    assert_eq!(deployed.kind(), v1::ServiceKind::Typed);
}

/// What somebody removed from the home is missed with a plain word, and other services go on.
#[tokio::test]
async fn an_artifact_that_is_gone() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deploy");
    let gone =
        client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy").digest;
    solo.kill_heart().await;
    std::fs::remove_file(solo.home().join("tenants/default/artifacts").join(&gone))
        .expect("remove");
    std::fs::remove_dir_all(solo.home().join("tenants/default/compiled")).expect("remove");
    solo.up().await;
    let client = solo.answering().await;
    let status = eventually("it has failed", || async {
        let status = client.status("counter").await.expect("status");
        (status.state() == v1::ServiceState::Failed).then_some(status)
    })
    .await;
    assert!(status.last_exit.expect("an exit").message.contains("gone from the store"));
    assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// Shutdown through the API: services stop, processes end, and all is there again next time.
#[tokio::test]
async fn shutdown_and_start_again() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deploy");
    let processes = solo.processes();
    let request = client.request(v1::ShutdownRequest { timeout_ms: Some(5_000) }, DEADLINE);
    assert_eq!(client.grpc().shutdown(request).await.expect("shutdown").into_inner().services, 1);
    eventually("all processes end", || async {
        let left = processes.iter().filter(|pid| is_running(**pid)).count();
        (left == 0).then_some(())
    })
    .await;
    solo.up().await;
    let client = solo.answering().await;
    assert_eq!(client.call("counter", "get").await.as_deref(), Ok("0"));
}

/// Whether a process runs; one that ended and was not waited for does not.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with('Z'))
}
