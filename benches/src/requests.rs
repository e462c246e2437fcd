//! Requests to Solo, timed as its client sees them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use solo_api::{Client, v1};
use tokio::task::JoinSet;

/// Deadline of every request: far above anything that is measured.
const DEADLINE: Duration = Duration::from_secs(60);

/// A machine that is busy must not fail a start.
const STARTUP_TIMEOUT_MS: u64 = 10_000;

/// Deploys under way at once where many are made. Eight is what several agents would do.
pub(crate) const AT_ONCE: usize = 8;

/// The payload of a call: `get` for the counter, filled up to 64 bytes with spaces, which it trims.
pub(crate) fn get_64() -> Vec<u8> {
    format!("{:<64}", "get").into_bytes()
}

/// A deployment that was ready after `elapsed`.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) elapsed: Duration,
    pub(crate) timing: v1::Timing,
    /// Of the artifact.
    pub(crate) digest: String,
}

/// A deployment of `code` as `name` with the defaults, but a generous time to start.
pub(crate) fn deployment(name: &str, code: &[u8]) -> v1::DeployRequest {
    v1::DeployRequest {
        name: name.to_owned(),
        code: Some(v1::Code {
            source: Some(v1::code::Source::Inline(code.to_vec())),
            format: v1::CodeFormat::Unspecified.into(),
        }),
        limits: Some(v1::Limits {
            startup_timeout_ms: Some(STARTUP_TIMEOUT_MS),
            ..v1::Limits::default()
        }),
        ..v1::DeployRequest::default()
    }
}

/// The same, of an artifact that Solo has.
pub(crate) fn deployment_by_digest(name: &str, digest: &str) -> v1::DeployRequest {
    let mut request = deployment(name, &[]);
    if let Some(code) = &mut request.code {
        code.source = Some(v1::code::Source::Digest(digest.to_owned()));
    }
    request
}

/// Deploys, and times it.
///
/// # Errors
/// It was refused or did not become ready.
pub(crate) async fn deploy(
    client: &Client,
    request: v1::DeployRequest,
) -> anyhow::Result<Deployed> {
    let name = request.name.clone();
    let request = client.request(request, DEADLINE);
    let mut grpc = client.grpc();
    let began = Instant::now();
    let answer = grpc.deploy(request).await;
    let elapsed = began.elapsed();
    let answer = answer
        .map_err(|status| solo_api::problem_from_status(&status))
        .with_context(|| format!("failed to deploy {name}"))?
        .into_inner();
    Ok(Deployed { elapsed, timing: answer.timing.context("no timing")?, digest: answer.digest })
}

/// Ends a service at once.
///
/// # Errors
/// It was refused.
pub(crate) async fn kill(client: &Client, name: &str) -> anyhow::Result<()> {
    let message = v1::KillRequest { name: name.to_owned(), force: true };
    let answer = client.grpc().kill(client.request(message, DEADLINE)).await;
    answer
        .map_err(|status| solo_api::problem_from_status(&status))
        .with_context(|| format!("failed to kill {name}"))?;
    Ok(())
}

/// Calls a handler, and times it. The answer of a service that fails is an error.
///
/// # Errors
/// It was refused, the service failed, or it answered without bytes.
pub(crate) async fn call(
    client: &Client,
    service: &str,
    payload: &[u8],
) -> anyhow::Result<(Duration, Vec<u8>)> {
    let message = v1::CallRequest {
        service: service.to_owned(),
        function: String::new(),
        input: Some(v1::call_request::Input::Payload(payload.to_vec())),
        timeout_ms: None,
        ..Default::default()
    };
    let request = client.request(message, DEADLINE);
    let mut grpc = client.grpc();
    let began = Instant::now();
    let answer = grpc.call(request).await;
    let elapsed = began.elapsed();
    let answer = answer
        .map_err(|status| solo_api::problem_from_status(&status))
        .with_context(|| format!("failed to call {service}"))?;
    match answer.into_inner().output {
        Some(v1::call_response::Output::Payload(bytes)) => Ok((elapsed, bytes)),
        other => bail!("{service} answered {other:?}"),
    }
}

/// Calls a typed function with JSON.
///
/// # Errors
/// As [`call`].
pub(crate) async fn call_typed(
    client: &Client,
    service: &str,
    function: &str,
    arguments: &str,
) -> anyhow::Result<String> {
    let message = v1::CallRequest {
        service: service.to_owned(),
        function: function.to_owned(),
        input: Some(v1::call_request::Input::JsonArguments(arguments.to_owned())),
        timeout_ms: None,
        ..Default::default()
    };
    let answer = client.grpc().call(client.request(message, DEADLINE)).await;
    let answer = answer
        .map_err(|status| solo_api::problem_from_status(&status))
        .with_context(|| format!("failed to call {service}"))?;
    match answer.into_inner().output {
        Some(v1::call_response::Output::Json(json)) => Ok(json),
        other => bail!("{service} answered {other:?}"),
    }
}

/// Deploys `code` under all `names`, [`AT_ONCE`] at a time.
///
/// # Errors
/// The first deployment that failed.
pub(crate) async fn deploy_all(
    client: &Client,
    names: &[String],
    code: &[u8],
) -> anyhow::Result<Vec<Deployed>> {
    let mut done = Vec::with_capacity(names.len());
    for names in names.chunks(AT_ONCE) {
        let mut under_way = JoinSet::new();
        for name in names {
            let (client, request) = (client.clone(), deployment(name, code));
            under_way.spawn(async move { deploy(&client, request).await });
        }
        while let Some(deployed) = under_way.join_next().await {
            done.push(deployed??);
        }
    }
    Ok(done)
}

/// All services that are there, and how many replicas of them are ready.
///
/// # Errors
/// It was refused.
pub(crate) async fn ready(client: &Client) -> anyhow::Result<(usize, usize)> {
    let (mut services, mut ready, mut page_token) = (0, 0, String::new());
    loop {
        let message =
            v1::ListRequest { page_size: Some(1_000), page_token, ..v1::ListRequest::default() };
        let answer = client.grpc().list(client.request(message, DEADLINE)).await;
        let answer = answer.map_err(|status| solo_api::problem_from_status(&status))?.into_inner();
        services += answer.services.len();
        ready += answer.services.iter().map(|found| found.ready as usize).sum::<usize>();
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok((services, ready));
        }
    }
}

/// How often instances of a service were started again.
///
/// # Errors
/// There is no such service.
pub(crate) async fn restarts(client: &Client, name: &str) -> anyhow::Result<u64> {
    let request = client.request(v1::StatusRequest { name: name.to_owned() }, DEADLINE);
    let answer = client.grpc().status(request).await;
    let answer = answer.map_err(|status| solo_api::problem_from_status(&status))?;
    Ok(answer.into_inner().restarts)
}
