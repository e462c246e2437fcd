//! What the gateway answers: routes, and the bounds of every request.
//!
//! Translates between HTTP and the API. Checks no names, arguments or rights: the kernel does, and
//! its answer is passed on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use solo_api::v1;
use solo_api::v1::call_request::Input;
use solo_api::v1::call_response::Output;
use solo_tls::ServerTls;
use solo_types::{Problem, ProblemKind, TraceId, bounds};
use tokio::sync::Semaphore;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::backend::{self, Backend, TRACEPARENT};
use crate::guard;
use crate::json::{ListJson, StatusJson};
use crate::refusal::Refusal;

/// Requests in flight. Each may hold a body of 4 MiB and an answer of 4 MiB; one more is answered
/// 503 at once, as it would only wait for the kernel, which has the same work before it.
pub(crate) const REQUESTS_MAX: usize = 1_024;

/// A request, its body and its answer: twice the default timeout of a call.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// For what the kernel answers from memory.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// For the question whether the kernel lives.
const HEALTH_DEADLINE: Duration = Duration::from_secs(2);

/// As much of the name of a wrong parameter as an answer repeats, in characters.
const PARAMETER_SHOWN: usize = 64;

/// Header of an answer with the id of its chain of calls, as logs and errors show it.
const SOLO_TRACE: &str = "x-solo-trace";

/// What all requests share.
#[derive(Debug)]
struct Gateway {
    backend: Backend,
    room: Semaphore,
    /// If the gateway speaks TLS: what it is called is what its certificate is for.
    tls: Option<Arc<ServerTls>>,
}

type Shared = State<Arc<Gateway>>;

/// All routes, behind the rules and bounds that hold for each.
pub(crate) fn router(backend: Backend, tls: Option<Arc<ServerTls>>) -> Router {
    let gateway = Arc::new(Gateway { backend, room: Semaphore::new(REQUESTS_MAX), tls });
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/services", get(list))
        .route("/v1/services/{name}", get(status))
        .route("/v1/services/{name}/call", post(call_handler))
        .route("/v1/services/{name}/call/{function}", post(call_function))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(bounds::MESSAGE_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&gateway), within_bounds))
        .with_state(gateway)
}

/// Refuses what the guard refuses and what there is no room for, and ends what takes too long.
async fn within_bounds(State(gateway): Shared, request: Request, next: Next) -> Response {
    let mut response = bounded(&gateway, request, next).await.unwrap_or_else(|problem| {
        tracing::debug!(reason = problem.reason, "Request refused");
        Refusal(problem).into_response()
    });
    // Answers carry bytes that guests chose: no browser may take them for a page or a script.
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn bounded(gateway: &Gateway, request: Request, next: Next) -> Result<Response, Problem> {
    let is_ours = |host: &str| match &gateway.tls {
        None => guard::is_loopback(host),
        Some(tls) => tls.covers(host),
    };
    guard::check(request.method(), request.uri(), request.headers(), is_ours)?;
    let _permit = gateway.room.try_acquire().map_err(|_| {
        Problem::new(
            ProblemKind::Unavailable,
            "GATEWAY_OVERLOADED",
            format!("{REQUESTS_MAX} requests are in flight"),
        )
        .remedy("try again when some have ended")
    })?;
    tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await.map_err(|_| {
        Problem::new(
            ProblemKind::DeadlineExceeded,
            "GATEWAY_TIMEOUT",
            format!("the request took longer than {} s", REQUEST_DEADLINE.as_secs()),
        )
        .remedy("use `solo call --timeout` or gRPC for calls that take longer")
    })
}

/// Asks the kernel for the least that it can answer. Whoever asks learns only that it lives.
async fn health(State(gateway): Shared) -> Response {
    let alive = async {
        let client = gateway.backend.client().await.ok()?;
        let request = HealthCheckRequest { service: String::new() };
        let response = HealthClient::new(client.channel()).check(request).await.ok()?;
        (response.into_inner().status == ServingStatus::Serving as i32).then_some(())
    };
    match tokio::time::timeout(HEALTH_DEADLINE, alive).await {
        Ok(Some(())) => Json(serde_json::json!({"status": "serving"})).into_response(),
        _ => Refusal(backend::unreachable_kernel()).into_response(),
    }
}

/// All services that the caller may see.
async fn list(
    State(gateway): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ListJson>, Refusal> {
    refuse_query(query.as_deref().unwrap_or_default())?;
    let client = gateway.backend.client().await?;
    let mut services = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = v1::ListRequest {
            page_size: Some(bounds::PAGE_SIZE_MAX),
            page_token: page_token.clone(),
            ..Default::default()
        };
        let request = backend::request(client, message, &headers, READ_DEADLINE)?;
        let page = client.grpc().list(request).await.map_err(|status| backend::problem(&status))?;
        let page = page.into_inner();
        services.extend(page.services.into_iter().map(Into::into));
        // A token that does not move would be asked for for ever.
        if page.next_page_token.is_empty() || page.next_page_token == page_token {
            return Ok(Json(ListJson { services }));
        }
        page_token = page.next_page_token;
    }
}

/// One service.
async fn status(
    State(gateway): Shared,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<StatusJson>, Refusal> {
    let client = gateway.backend.client().await?;
    let message = v1::StatusRequest { name: named(name)? };
    let request = backend::request(client, message, &headers, READ_DEADLINE)?;
    let status = client.grpc().status(request).await.map_err(|status| backend::problem(&status))?;
    Ok(Json(status.into_inner().into()))
}

/// Calls a typed function: a JSON array in, one JSON value out.
async fn call_function(
    State(gateway): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let (name, function) = named(path)?;
    let arguments = String::from_utf8(readable(body)?.into()).map_err(|_| {
        Problem::invalid("BAD_ARGUMENTS", "json_arguments", "the body is not UTF-8")
            .remedy("send a JSON array with one value per parameter")
    })?;
    call(&gateway, name, function, Input::JsonArguments(arguments), &headers).await
}

/// Calls a handler: bytes in, bytes out.
async fn call_handler(
    State(gateway): Shared,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let payload = readable(body)?.into();
    call(&gateway, named(name)?, String::new(), Input::Payload(payload), &headers).await
}

async fn call(
    gateway: &Gateway,
    service: String,
    function: String,
    input: Input,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let client = gateway.backend.client().await?;
    let message = v1::CallRequest { service, function, input: Some(input), ..Default::default() };
    let request = backend::request(client, message, headers, REQUEST_DEADLINE)?;
    let answer = client.grpc().call(request).await.map_err(|status| backend::problem(&status))?;
    let answer = answer.into_inner();
    let (content_type, body) = match answer.output {
        Some(Output::Json(json)) => ("application/json", json.into_bytes()),
        Some(Output::Payload(payload)) => ("application/octet-stream", payload),
        None => ("application/octet-stream", Vec::new()),
    };
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    tell_trace(response.headers_mut(), &answer.trace_id, headers);
    Ok(response)
}

/// Tells which chain of calls an answer belongs to: `x-solo-trace` with its id alone, and
/// `traceparent` as the request had it, or one of the gateway's.
fn tell_trace(answer: &mut HeaderMap, trace_id: &str, request: &HeaderMap) {
    let Ok(trace) = trace_id.parse::<TraceId>() else { return };
    let own = || HeaderValue::try_from(trace.to_traceparent()).ok();
    if let Ok(value) = HeaderValue::try_from(trace.to_string()) {
        answer.insert(HeaderName::from_static(SOLO_TRACE), value);
    }
    if let Some(value) = request.get(TRACEPARENT).cloned().or_else(own) {
        answer.insert(HeaderName::from_static(TRACEPARENT), value);
    }
}

/// Refuses every parameter: whoever sends one expects something that the whole list is not.
fn refuse_query(query: &str) -> Result<(), Problem> {
    let Some(parameter) = query.split('&').find(|parameter| !parameter.is_empty()) else {
        return Ok(());
    };
    let name: String =
        parameter.split('=').next().unwrap_or_default().chars().take(PARAMETER_SHOWN).collect();
    let cause = format!("the list of services takes no parameter {name:?}");
    Err(Problem::invalid("INVALID_QUERY", &name, &cause)
        .remedy("leave the query out and choose from the answer, or use `solo list` or gRPC"))
}

/// What the path names, percent signs decoded.
fn named<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(names)| names).map_err(|_| {
        Problem::new(ProblemKind::InvalidArgument, "INVALID_PATH", "the path is not UTF-8")
            .remedy("write other characters than letters, digits and `-` as %XX of their UTF-8")
    })
}

/// The body, if it came whole and was not too large.
fn readable(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(
                ProblemKind::ResourceExhausted,
                "BODY_TOO_LARGE",
                format!("the body is larger than {} bytes", bounds::MESSAGE_BYTES_MAX),
            )
            .remedy("send less, or in several calls")
        } else {
            Problem::new(
                ProblemKind::InvalidArgument,
                "BODY_INCOMPLETE",
                "the body broke off before its end",
            )
            .remedy("send the request again")
        }
    })
}

async fn no_such_route() -> Refusal {
    Problem::new(ProblemKind::NotFound, "NO_SUCH_ROUTE", "there is nothing at this path")
        .remedy(
            "GET /healthz, GET /v1/services, GET /v1/services/NAME, POST /v1/services/NAME/call \
             or POST /v1/services/NAME/call/FUNCTION",
        )
        .into()
}

async fn method_not_allowed() -> Refusal {
    Problem::new(
        ProblemKind::InvalidArgument,
        "METHOD_NOT_ALLOWED",
        "this path does not take this method",
    )
    .remedy("calls are POST, everything else is GET")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_chain_of_calls() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let told = |trace_id: &str, traceparent: Option<&'static str>| {
            let (mut answer, mut request) = (HeaderMap::new(), HeaderMap::new());
            if let Some(value) = traceparent {
                request.insert(TRACEPARENT, HeaderValue::from_static(value));
            }
            tell_trace(&mut answer, trace_id, &request);
            [SOLO_TRACE, TRACEPARENT].map(|name| {
                answer.get(name).map(|value| value.to_str().unwrap_or_default().to_owned())
            })
        };
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(told(id, Some(given)), [Some(id.to_owned()), Some(given.to_owned())]);
        let own = format!("00-{id}-a3ce929d0e0e4736-00");
        assert_eq!(told(id, None), [Some(id.to_owned()), Some(own)]);
        assert_eq!(told("", Some(given)), [None, None]);
    }

    #[test]
    fn a_parameter_of_the_list_is_refused_by_name() {
        for query in ["", "&"] {
            assert_eq!(refuse_query(query), Ok(()), "{query:?}");
        }
        for (query, name) in [("limit=1", "limit"), ("&a=b&c", "a"), ("%zz", "%zz"), ("=1", "")] {
            let problem = refuse_query(query).expect_err(query);
            assert_eq!(problem.reason, "INVALID_QUERY");
            assert_eq!(crate::refusal::status(&problem), StatusCode::BAD_REQUEST);
            assert!(problem.cause.contains(&format!("{name:?}")), "{problem:?}");
        }
    }
}
