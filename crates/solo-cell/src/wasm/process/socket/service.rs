//! `solo.program.v1`: what a program asks for, checked, and turned into what the cell can do.
//!
//! Nothing here decides what a program may do to others: its service's grants do, as for every service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use solo_api::socket::v1 as wire;
use solo_api::socket::v1::program_service_server::ProgramService;
use solo_state::{Answer as Kept, Op, PAGE_KEYS_MAX, Page};
use solo_types::Problem;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};

use super::super::super::failure::{Failure, Reason};
use super::super::super::host::ServiceRef;
use super::super::super::message::{Answer, Input};
use super::super::super::monitor::Monitors;
use super::super::super::route::Routes;
use super::super::super::server::failure_message;
use super::super::super::slot::Slot;
use super::super::super::storage::{Storage, unexpected};
use super::desk::{Desk, Said};

/// How long Receive waits, unless said otherwise, and at most.
const RECEIVE_MS_DEFAULT: u32 = 30_000;
const RECEIVE_MS_MAX: u32 = 60_000;

/// Longest name of a function: as long as a path.
const FUNCTION_BYTES_MAX: usize = 4_096;

/// Where the reason of an error stands once more, for clients that know no details.
const REASON_TRAILER: &str = "solo-reason";

/// A call that the program makes. Its actor makes it: who waits for whom is the actors' business.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) to: String,
    pub(super) function: String,
    pub(super) input: Input,
    pub(super) timeout_ms: Option<u32>,
    /// Closed: the program does not want it any more.
    pub(super) said: oneshot::Sender<Said>,
}

/// What one incarnation's requests have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) slot: Arc<Slot>,
    pub(super) routes: Arc<Routes>,
    pub(super) storage: Arc<Storage>,
    pub(super) desk: Desk,
    /// Its watches on others.
    pub(super) monitors: Mutex<Monitors>,
    /// It said that it is ready.
    pub(super) ready: watch::Sender<bool>,
    /// It was told to end.
    pub(super) is_ending: AtomicBool,
}

/// The service, as one connection has it.
#[derive(Debug, Clone)]
pub(super) struct Api {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
}

type Answered<T> = Result<Response<T>, Status>;

impl Api {
    pub(super) fn new(shared: Arc<Shared>, asks: mpsc::Sender<Ask>) -> Self {
        Self { shared, asks }
    }

    fn lookup(&self, name: String) -> Result<ServiceRef, Status> {
        let shared = &self.shared;
        let blamed = name.clone();
        ServiceRef::lookup(&shared.routes, &shared.slot, name).map_err(|f| refused(&blamed, f))
    }

    /// Asks what the service keeps.
    async fn storage<T>(&self, op: Op, take: impl FnOnce(Kept) -> Option<T>) -> Result<T, Status> {
        let answer = self.shared.storage.run(&self.shared.slot, op).await;
        let answer = answer.map_err(|problem| status(&problem))?;
        take(answer).ok_or_else(|| status(&unexpected()))
    }
}

#[tonic::async_trait]
impl ProgramService for Api {
    async fn ready(&self, _: Request<wire::ReadyRequest>) -> Answered<wire::ReadyResponse> {
        self.shared.ready.send_replace(true);
        Ok(Response::new(wire::ReadyResponse {}))
    }

    async fn receive(
        &self,
        request: Request<wire::ReceiveRequest>,
    ) -> Answered<wire::ReceiveResponse> {
        let wire::ReceiveRequest { after, wait_ms } = request.into_inner();
        let wait_ms = wait_ms.unwrap_or(RECEIVE_MS_DEFAULT).min(RECEIVE_MS_MAX);
        let wait = Duration::from_millis(wait_ms.into());
        let message = self.shared.desk.receive(after, wait).await.map_err(|p| status(&p))?;
        Ok(Response::new(wire::ReceiveResponse { message }))
    }

    async fn reply(&self, request: Request<wire::ReplyRequest>) -> Answered<wire::ReplyResponse> {
        let wire::ReplyRequest { id, outcome } = request.into_inner();
        let desk = &self.shared.desk;
        let said = desk.is_payload(id).and_then(|is_payload| said(outcome, is_payload));
        said.and_then(|said| desk.reply(id, said)).map_err(|problem| status(&problem))?;
        Ok(Response::new(wire::ReplyResponse {}))
    }

    async fn send(&self, request: Request<wire::SendRequest>) -> Answered<wire::SendResponse> {
        use wire::send_request::Input as In;
        let wire::SendRequest { to, function, input } = request.into_inner();
        let input = match input {
            None => Input::None,
            Some(In::JsonArguments(json)) => Input::Json(json),
            Some(In::Payload(bytes)) => Input::Payload(bytes),
        };
        check(&function, &input).map_err(|problem| status(&problem))?;
        let mut reference = self.lookup(to.clone())?;
        let trace = self.shared.desk.chain().trace;
        let sent = reference.send(&self.shared.routes, function, input, trace);
        sent.map_err(|failure| refused(&to, failure))?;
        Ok(Response::new(wire::SendResponse {}))
    }

    async fn call(&self, request: Request<wire::CallRequest>) -> Answered<wire::CallResponse> {
        use wire::call_request::Input as In;
        use wire::call_response::Result as Out;
        let wire::CallRequest { to, function, input, timeout_ms } = request.into_inner();
        let input = match input {
            None => Input::None,
            Some(In::JsonArguments(json)) => Input::Json(json),
            Some(In::Payload(bytes)) => Input::Payload(bytes),
        };
        check(&function, &input).map_err(|problem| status(&problem))?;
        let (said, answer) = oneshot::channel();
        let ending = || {
            let failure = Failure::new(Reason::Unavailable, "the instance is ending");
            refused(&to, failure)
        };
        let ask = Ask { to: to.clone(), function, input, timeout_ms, said };
        self.asks.send(ask).await.map_err(|_| ending())?;
        let answer = answer.await.map_err(|_| ending())?;
        let result = match answer.map_err(|failure| refused(&to, failure))? {
            Answer::Json(json) => Out::Json(json),
            Answer::Payload(bytes) => Out::Payload(bytes),
        };
        Ok(Response::new(wire::CallResponse { result: Some(result) }))
    }

    async fn lookup(
        &self,
        request: Request<wire::LookupRequest>,
    ) -> Answered<wire::LookupResponse> {
        let rights = Self::lookup(self, request.into_inner().name)?.rights();
        Ok(Response::new(wire::LookupResponse { call: rights.call, send: rights.send }))
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Answered<wire::WatchResponse> {
        let name = request.into_inner().name;
        let mut reference = Self::lookup(self, name.clone())?;
        let mut monitors = self.shared.monitors.lock();
        let watched = reference.watch(&self.shared.routes, &mut monitors);
        let watch = watched.map_err(|failure| refused(&name, failure))?;
        Ok(Response::new(wire::WatchResponse { watch }))
    }

    async fn unwatch(
        &self,
        request: Request<wire::UnwatchRequest>,
    ) -> Answered<wire::UnwatchResponse> {
        let ended = self.shared.monitors.lock().end(request.into_inner().watch);
        Ok(Response::new(wire::UnwatchResponse { ended }))
    }

    async fn log(&self, request: Request<wire::LogRequest>) -> Answered<wire::LogResponse> {
        let wire::LogRequest { level, text } = request.into_inner();
        let level = match wire::Level::try_from(level) {
            Ok(wire::Level::Unspecified | wire::Level::Info) => "info",
            Ok(wire::Level::Trace) => "trace",
            Ok(wire::Level::Debug) => "debug",
            Ok(wire::Level::Warn) => "warn",
            Ok(wire::Level::Error) => "error",
            Err(_) => {
                let rule = "there is no such level: it is 1 (trace) to 5 (error)";
                return Err(status(&Problem::invalid("INVALID_LEVEL", "level", rule)));
            }
        };
        self.shared.slot.logger.line(level, &text);
        Ok(Response::new(wire::LogResponse {}))
    }

    async fn get_value(
        &self,
        request: Request<wire::GetValueRequest>,
    ) -> Answered<wire::GetValueResponse> {
        let value = self.storage(Op::Get(vec![request.into_inner().key]), |answer| match answer {
            Kept::Values(values) => values.into_iter().next(),
            _ => None,
        });
        Ok(Response::new(wire::GetValueResponse { value: value.await? }))
    }

    async fn set_value(
        &self,
        request: Request<wire::SetValueRequest>,
    ) -> Answered<wire::SetValueResponse> {
        let wire::SetValueRequest { key, value } = request.into_inner();
        self.storage(Op::Set(vec![(key, value)]), is_done).await?;
        Ok(Response::new(wire::SetValueResponse {}))
    }

    async fn delete_value(
        &self,
        request: Request<wire::DeleteValueRequest>,
    ) -> Answered<wire::DeleteValueResponse> {
        self.storage(Op::Delete(vec![request.into_inner().key]), is_done).await?;
        Ok(Response::new(wire::DeleteValueResponse {}))
    }

    async fn list_keys(
        &self,
        request: Request<wire::ListKeysRequest>,
    ) -> Answered<wire::ListKeysResponse> {
        let wire::ListKeysRequest { prefix, after, limit } = request.into_inner();
        let limit = match limit {
            0 => PAGE_KEYS_MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let page =
            self.storage(Op::List { prefix, after: Some(after), limit }, |answer| match answer {
                Kept::Page(page) => Some(page),
                _ => None,
            });
        let Page { keys, more } = page.await?;
        Ok(Response::new(wire::ListKeysResponse { keys, more }))
    }

    async fn increment_value(
        &self,
        request: Request<wire::IncrementValueRequest>,
    ) -> Answered<wire::IncrementValueResponse> {
        let wire::IncrementValueRequest { key, delta } = request.into_inner();
        let range = (i64::MIN.into(), i64::MAX.into());
        let op = Op::Increment { key, delta: delta.into(), range };
        let number = self.storage(op, |answer| match answer {
            Kept::Number(number) => number.try_into().ok(),
            _ => None,
        });
        Ok(Response::new(wire::IncrementValueResponse { number: number.await? }))
    }
}

fn is_done(answer: Kept) -> Option<()> {
    matches!(answer, Kept::Done).then_some(())
}

impl Shared {
    /// Whether calls go out no more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }
}

/// What a reply says.
///
/// # Errors
/// It says it wrongly.
fn said(outcome: Option<wire::reply_request::Outcome>, is_payload: bool) -> Result<Said, Problem> {
    use wire::reply_request::Outcome;
    let bytes = match &outcome {
        Some(Outcome::Json(json)) => json.len(),
        Some(Outcome::Payload(bytes)) => bytes.len(),
        Some(Outcome::Error(_)) | None => 0,
    };
    if bytes > MESSAGE_BYTES_MAX {
        let rule = format!("the answer has {bytes} bytes, at most {MESSAGE_BYTES_MAX}");
        return Err(Problem::invalid("INVALID_REPLY", "outcome", &rule));
    }
    Ok(match outcome {
        None if is_payload => Ok(Answer::Payload(Vec::new())),
        None => Ok(Answer::Json("null".to_owned())),
        Some(Outcome::Json(json)) => {
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&json) {
                let rule = format!("the result is no JSON: {error}");
                return Err(Problem::invalid("INVALID_REPLY", "json", &rule));
            }
            Ok(Answer::Json(json))
        }
        Some(Outcome::Payload(bytes)) => Ok(Answer::Payload(bytes)),
        Some(Outcome::Error(wire::Error { reason, message })) => {
            let reason = match wire::ErrorReason::try_from(reason) {
                Ok(wire::ErrorReason::Unspecified | wire::ErrorReason::Refused) => Reason::Refused,
                Ok(wire::ErrorReason::BadArguments) => Reason::BadArguments,
                Ok(wire::ErrorReason::NoSuchFunction) => Reason::NoSuchFunction,
                Ok(wire::ErrorReason::Overloaded) => Reason::Overloaded,
                Err(_) => {
                    let rule = "there is no such reason: it is 1 (refused) to 4 (overloaded)";
                    return Err(Problem::invalid("INVALID_REPLY", "error.reason", rule));
                }
            };
            Err(Failure::new(reason, message))
        }
    })
}

/// Checks what a program sends to others.
fn check(function: &str, input: &Input) -> Result<(), Problem> {
    if function.len() > FUNCTION_BYTES_MAX {
        let rule = format!("it has {} bytes, at most {FUNCTION_BYTES_MAX}", function.len());
        return Err(Problem::invalid("INVALID_FUNCTION", "function", &rule));
    }
    if input.bytes() > MESSAGE_BYTES_MAX {
        let rule = format!("the message has {} bytes, at most {MESSAGE_BYTES_MAX}", input.bytes());
        return Err(Problem::invalid("BAD_ARGUMENTS", "input", &rule));
    }
    let Input::Json(json) = input else { return Ok(()) };
    let read = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(json);
    read.map(drop).map_err(|error| {
        let rule = format!("the arguments are no JSON array: {error}");
        Problem::invalid("BAD_ARGUMENTS", "json_arguments", &rule)
    })
}

/// Why something was not done to a service, as those outside are told.
fn refused(service: &str, failure: Failure) -> Status {
    status(&solo_api::cell_failure_problem(service, failure_message(failure)))
}

fn status(problem: &Problem) -> Status {
    let mut status = solo_api::status_from_problem(problem);
    // A reason is letters and underscores.
    if let Ok(reason) = problem.reason.parse() {
        status.metadata_mut().insert(REASON_TRAILER, reason);
    }
    status
}

#[cfg(test)]
mod tests {
    use solo_types::ProblemKind;
    use wire::reply_request::Outcome;

    use super::*;

    fn says(outcome: Option<Outcome>, is_payload: bool) -> String {
        match said(outcome, is_payload) {
            Ok(Ok(Answer::Json(json))) => json,
            Ok(Ok(Answer::Payload(bytes))) => format!("{bytes:?}"),
            Ok(Err(failure)) => format!("{} {}", failure.reason.as_str(), failure.message),
            Err(problem) => problem.reason,
        }
    }

    #[test]
    fn a_reply_says_one_thing() {
        let json = |text: &str| Some(Outcome::Json(text.to_owned()));
        let error = |reason| Some(Outcome::Error(wire::Error { reason, message: "no".into() }));
        assert_eq!(says(None, false), "null");
        assert_eq!(says(None, true), "[]");
        assert_eq!(says(json("[1, 2]"), true), "[1, 2]");
        assert_eq!(says(Some(Outcome::Payload(vec![1])), false), "[1]");
        assert_eq!(says(error(0), false), "REFUSED no");
        assert_eq!(says(error(3), false), "NO_SUCH_FUNCTION no");
        for wrong in [json(""), json("[1"), json("1 2"), error(9), error(-1)] {
            assert_eq!(says(wrong, false), "INVALID_REPLY");
        }
        let large = Some(Outcome::Payload(vec![0; MESSAGE_BYTES_MAX + 1]));
        assert_eq!(says(large, false), "INVALID_REPLY");
        // Depth costs no stack.
        assert_eq!(says(json(&"[".repeat(1 << 20)), false), "INVALID_REPLY");
    }

    #[test]
    fn what_goes_out_is_checked() {
        let json = |text: &str| Input::Json(text.to_owned());
        let reason = |function: &str, input| check(function, &input).err().map(|p| p.reason);
        assert_eq!(reason("f", json("[1, {}]")), None);
        assert_eq!(reason("", Input::None), None);
        for wrong in ["", "1", "{}", "[1", "[] []"] {
            assert_eq!(reason("f", json(wrong)).as_deref(), Some("BAD_ARGUMENTS"), "{wrong}");
        }
        let deep = "[".repeat(1 << 20);
        assert_eq!(reason("f", json(&deep)).as_deref(), Some("BAD_ARGUMENTS"));
        let long = "f".repeat(FUNCTION_BYTES_MAX + 1);
        assert_eq!(reason(&long, Input::None).as_deref(), Some("INVALID_FUNCTION"));
        let large = Input::Payload(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(reason("f", large).as_deref(), Some("BAD_ARGUMENTS"));
    }

    #[test]
    fn an_error_names_its_reason_in_a_trailer() {
        let status = refused("other", Failure::new(Reason::Denied, "other was not granted"));
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        let reason = status.metadata().get(REASON_TRAILER).expect("a reason");
        assert_eq!(reason.to_str().expect("text"), "DENIED");
        assert_eq!(status.message(), "other was not granted");
        let problem = Problem::new(ProblemKind::Internal, "no reason\n", "");
        assert!(super::status(&problem).metadata().get(REASON_TRAILER).is_none());
    }
}
