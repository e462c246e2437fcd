//! Call and Send: from outside into a cell. What a message means is the cell's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use solo_api::v1;
use solo_types::{Problem, ProblemKind, Right, ServiceState, bounds};

use super::access::Principal;
use super::chain::Carried;
use crate::cells::CellHandle;
use crate::kernel::Kernel;
use crate::service::Service;

/// Longest name of a function: interfaces have long names, and this is twice the longest known.
const FUNCTION_BYTES_MAX: usize = 512;

/// A message for a service whose cell is coming back is held so long, if its deadline allows.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// Pause between two looks at a service that is not routed yet.
const HOLD_PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn call(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::CallRequest,
    carried: Carried,
) -> Result<v1::CallResponse, Problem> {
    let service = principal.service_for(&kernel, &request.service, Right::Call)?;
    let timeout_ms = request.timeout_ms.unwrap_or(bounds::CALL_TIMEOUT_MS_DEFAULT);
    if timeout_ms == 0 || timeout_ms > bounds::CALL_TIMEOUT_MS_MAX {
        let rule =
            format!("timeout_ms is {timeout_ms}, not within 1 to {}", bounds::CALL_TIMEOUT_MS_MAX);
        return Err(Problem::invalid("INVALID_TIMEOUT", "timeout_ms", &rule)
            .remedy("choose a millisecond to an hour"));
    }
    let trace = carried.trace(&request.trace_id)?;
    let input = match request.input {
        None => None,
        Some(v1::call_request::Input::JsonArguments(json)) => {
            Some(wire::call_request::Input::JsonArguments(json))
        }
        Some(v1::call_request::Input::Payload(payload)) => {
            Some(wire::call_request::Input::Payload(payload))
        }
    };
    let bytes = match &input {
        Some(wire::call_request::Input::JsonArguments(json)) => json.len(),
        Some(wire::call_request::Input::Payload(payload)) => payload.len(),
        None => 0,
    };
    check_size(&request.function, bytes)?;
    let message = wire::CallRequest {
        service: service.id.to_string(),
        function: request.function,
        input,
        timeout_ms: 0,
        trace_id: trace.as_bytes().to_vec(),
    };
    principal.pay(&kernel).await?;
    let own = Duration::from_millis(timeout_ms);
    let patience = carried.timeout.map_or(own, |theirs| theirs.min(own));
    let mut response = call_within(&kernel, &service, message, patience)
        .await
        .map_err(|problem| problem.detail("trace_id", trace.to_string()))?;
    response.trace_id = trace.to_string();
    Ok(response)
}

/// Calls, again and again while the service is on its way back.
async fn call_within(
    kernel: &Kernel,
    service: &Service,
    message: wire::CallRequest,
    patience: Duration,
) -> Result<v1::CallResponse, Problem> {
    let began = Instant::now();
    let deadline = began + patience;
    loop {
        let cell = living_cell(service, deadline).await?;
        let message = wire::CallRequest { timeout_ms: remaining_ms(deadline), ..message.clone() };
        let response = cell.call(message).await.map_err(|status| crate::cells::lost(&status))?;
        let output = match response.output {
            Some(wire::call_response::Output::Json(json)) => {
                Some(v1::call_response::Output::Json(json))
            }
            Some(wire::call_response::Output::Payload(payload)) => {
                Some(v1::call_response::Output::Payload(payload))
            }
            Some(wire::call_response::Output::Failure(failure)) => {
                if is_passing(&failure) && hold(kernel, service, deadline, began).await {
                    continue;
                }
                return Err(answered(kernel, service, failure));
            }
            None => None,
        };
        let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        return Ok(v1::CallResponse { output, duration_us, trace_id: String::new() });
    }
}

pub(super) async fn send(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::SendRequest,
    carried: Carried,
) -> Result<v1::SendResponse, Problem> {
    let service = principal.service_for(&kernel, &request.service, Right::Send)?;
    let trace = carried.trace(&request.trace_id)?;
    let input = match request.input {
        None => None,
        Some(v1::send_request::Input::JsonArguments(json)) => {
            Some(wire::send_request::Input::JsonArguments(json))
        }
        Some(v1::send_request::Input::Payload(payload)) => {
            Some(wire::send_request::Input::Payload(payload))
        }
    };
    let bytes = match &input {
        Some(wire::send_request::Input::JsonArguments(json)) => json.len(),
        Some(wire::send_request::Input::Payload(payload)) => payload.len(),
        None => 0,
    };
    check_size(&request.function, bytes)?;
    let message = wire::SendRequest {
        service: service.id.to_string(),
        function: request.function,
        input,
        trace_id: trace.as_bytes().to_vec(),
    };
    principal.pay(&kernel).await?;
    let patience = carried.timeout.map_or(HOLD_MAX, |theirs| theirs.min(HOLD_MAX));
    send_within(&kernel, &service, message, patience)
        .await
        .map_err(|problem| problem.detail("trace_id", trace.to_string()))?;
    Ok(v1::SendResponse { trace_id: trace.to_string() })
}

/// Sends, again and again while the service is on its way back.
async fn send_within(
    kernel: &Kernel,
    service: &Service,
    message: wire::SendRequest,
    patience: Duration,
) -> Result<(), Problem> {
    let began = Instant::now();
    let deadline = began + patience;
    loop {
        let cell = living_cell(service, deadline).await?;
        let response =
            cell.send(message.clone()).await.map_err(|status| crate::cells::lost(&status))?;
        match response.failure {
            None => return Ok(()),
            Some(failure) => {
                if is_passing(&failure) && hold(kernel, service, deadline, began).await {
                    continue;
                }
                return Err(answered(kernel, service, failure));
            }
        }
    }
}

/// What a failure means to the caller. A service that is there but not routed is not ready yet.
fn answered(kernel: &Kernel, service: &Service, failure: wire::Failure) -> Problem {
    let known = kernel.registry.find_id(&service.id.to_string()).is_some();
    if not_routed_yet(&failure) && !known {
        return crate::service::not_found(service.name.as_str());
    }
    if not_routed_yet(&failure) {
        return Problem::new(
            ProblemKind::Unavailable,
            "NOT_READY",
            format!("{} is being started", service.name),
        )
        .remedy("try again; `solo status` shows where it stands");
    }
    solo_api::cell_failure_problem(service.name.as_str(), failure)
}

fn check_size(function: &str, bytes: usize) -> Result<(), Problem> {
    if function.len() > FUNCTION_BYTES_MAX {
        let rule = "a function name has at most 512 bytes";
        return Err(Problem::invalid("INVALID_FUNCTION", "function", rule));
    }
    if bytes > bounds::MESSAGE_BYTES_MAX {
        let rule = format!("the message has {bytes} bytes, the limit is 4 MiB");
        return Err(
            Problem::invalid("MESSAGE_TOO_LARGE", "input", &rule).remedy("send less at once")
        );
    }
    Ok(())
}

fn remaining_ms(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The cell of a service that is not over, waiting for a cell that is coming back.
async fn living_cell(service: &Service, deadline: Instant) -> Result<Arc<CellHandle>, Problem> {
    let name = &service.name;
    let over = match service.state.lock().service_state() {
        ServiceState::Completed => Some(("COMPLETED", format!("{name} has run to completion"))),
        ServiceState::Failed => {
            Some(("SERVICE_FAILED", format!("{name} has failed and is not restarted any more")))
        }
        _ => None,
    };
    if let Some((reason, cause)) = over {
        return Err(Problem::new(ProblemKind::Unavailable, reason, cause)
            .remedy("`solo status` shows its last exits; update it, or kill and deploy it again"));
    }
    let left = deadline.saturating_duration_since(Instant::now()).min(HOLD_MAX);
    match tokio::time::timeout(left, service.host.ready()).await {
        Ok(cell) => cell,
        Err(_) => Err(Problem::new(
            ProblemKind::DeadlineExceeded,
            "TIMEOUT",
            "the cell of the service did not come back in time",
        )
        .remedy("try again; `solo tree` shows the cells")),
    }
}

/// A cell that has just come back does not know the service yet.
fn not_routed_yet(failure: &wire::Failure) -> bool {
    failure.reason == "NO_SUCH_SERVICE"
}

/// It was not handled, and a moment later it can be: the cell does not know the service yet, or an
/// update is just replacing its instances (U2).
fn is_passing(failure: &wire::Failure) -> bool {
    not_routed_yet(failure) || failure.reason == "REPLACED"
}

/// Waits a moment for the service to be routed; false when there is nothing to wait for.
async fn hold(kernel: &Kernel, service: &Service, deadline: Instant, began: Instant) -> bool {
    let known = kernel.registry.find_id(&service.id.to_string()).is_some();
    let ending = service.state.lock().ending;
    if !known || ending || Instant::now() + HOLD_PAUSE > deadline || began.elapsed() > HOLD_MAX {
        return false;
    }
    tokio::time::sleep(HOLD_PAUSE).await;
    true
}
