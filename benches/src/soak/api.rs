//! What a driver asks of Solo, each with a deadline, and noted with its outcome.
//!
//! An answer is what Solo says, good or bad; whether it may say so the plays know. No answer at all is
//! trouble.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use solo_api::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Response, Status};

use super::shared::{Link, Outcome, Trouble};

/// The longest that any operation may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What Solo itself is told: later, so that it is seen when nothing is answered.
const TOLD_DEADLINE: Duration = Duration::from_secs(120);

/// How long a call may wait for its answer unless a play says otherwise.
const CALL_TIMEOUT_MS: u64 = 25_000;

/// Pause between two looks at something that is to come.
const PAUSE: Duration = Duration::from_millis(10);

/// Records that a watch reads at most.
const RECORDS_MAX: usize = 50;

/// What Solo refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Stable.
    pub(crate) reason: String,
    /// For people; of a service that answers with an error, its words.
    pub(crate) cause: String,
}

/// What Solo answered.
pub(crate) type Answer<T = String> = Result<T, Refusal>;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.cause)
    }
}

impl Link {
    /// Calls a handler.
    pub(crate) async fn call(&self, service: &str, payload: &str) -> Outcome<Answer> {
        self.call_for(service, payload, CALL_TIMEOUT_MS).await
    }

    /// Calls a handler, and waits for so many milliseconds.
    pub(crate) async fn call_for(
        &self,
        service: &str,
        payload: &str,
        timeout_ms: u64,
    ) -> Outcome<Answer> {
        let input = v1::call_request::Input::Payload(payload.as_bytes().to_vec());
        self.call_with(service, "", input, payload, timeout_ms).await
    }

    /// Calls a typed function.
    pub(crate) async fn call_typed(
        &self,
        service: &str,
        function: &str,
        arguments: &str,
    ) -> Outcome<Answer> {
        let input = v1::call_request::Input::JsonArguments(arguments.to_owned());
        self.call_with(service, function, input, function, CALL_TIMEOUT_MS).await
    }

    async fn call_with(
        &self,
        service: &str,
        function: &str,
        input: v1::call_request::Input,
        what: &str,
        timeout_ms: u64,
    ) -> Outcome<Answer> {
        self.count("calls", 1);
        let message = v1::CallRequest {
            service: service.to_owned(),
            function: function.to_owned(),
            input: Some(input),
            timeout_ms: Some(timeout_ms),
            trace_id: String::new(),
        };
        let mut grpc = self.client.grpc();
        let request = self.client.request(message, TOLD_DEADLINE);
        let answer = self.ask(service, &format!("call {what}"), grpc.call(request)).await?;
        let output = answer.map(|answer| answer.output);
        Ok(output.map(|output| match output {
            Some(v1::call_response::Output::Payload(bytes)) => {
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Some(v1::call_response::Output::Json(json)) => json,
            None => String::new(),
        }))
    }

    /// Sends to a handler.
    pub(crate) async fn send(&self, service: &str, payload: &str) -> Outcome<Answer<()>> {
        self.count("sends", 1);
        let message = v1::SendRequest {
            service: service.to_owned(),
            input: Some(v1::send_request::Input::Payload(payload.as_bytes().to_vec())),
            ..v1::SendRequest::default()
        };
        let mut grpc = self.client.grpc();
        let request = self.client.request(message, TOLD_DEADLINE);
        let answer = self.ask(service, &format!("send {payload}"), grpc.send(request)).await?;
        Ok(answer.map(drop))
    }

    /// Deploys.
    pub(crate) async fn deploy(
        &self,
        request: v1::DeployRequest,
    ) -> Outcome<Answer<v1::DeployResponse>> {
        self.count("deploys", 1);
        let service = request.name.clone();
        let mut grpc = self.client.grpc();
        let request = self.client.request(request, TOLD_DEADLINE);
        self.ask(&service, "deploy", grpc.deploy(request)).await
    }

    /// Updates.
    pub(crate) async fn update(
        &self,
        request: v1::UpdateRequest,
    ) -> Outcome<Answer<v1::UpdateResponse>> {
        self.count("updates", 1);
        let (service, what) = (request.name.clone(), format!("update {:?}", request.strategy()));
        let mut grpc = self.client.grpc();
        let request = self.client.request(request, TOLD_DEADLINE);
        self.ask(&service, &what, grpc.update(request)).await
    }

    /// Ends a service; true: something had to be forced.
    pub(crate) async fn kill(&self, service: &str, force: bool) -> Outcome<Answer<bool>> {
        self.count("kills", 1);
        let message = v1::KillRequest { name: service.to_owned(), force };
        let mut grpc = self.client.grpc();
        let request = self.client.request(message, TOLD_DEADLINE);
        let what = format!("kill, force {force}");
        let answer = self.ask(service, &what, grpc.kill(request)).await?;
        Ok(answer.map(|answer| answer.forced))
    }

    /// Tells where a service stands.
    pub(crate) async fn status(&self, service: &str) -> Outcome<Answer<v1::StatusResponse>> {
        let message = v1::StatusRequest { name: service.to_owned() };
        let mut grpc = self.client.grpc();
        let request = self.client.request(message, TOLD_DEADLINE);
        self.ask(service, "status", grpc.status(request)).await
    }

    /// Lists the services whose names fit.
    pub(crate) async fn list(&self, glob: &str) -> Outcome<Answer<Vec<v1::ServiceSummary>>> {
        let message = v1::ListRequest {
            name: glob.to_owned(),
            page_size: Some(1_000),
            ..v1::ListRequest::default()
        };
        let mut grpc = self.client.grpc();
        let request = self.client.request(message, TOLD_DEADLINE);
        Ok(self.ask(glob, "list", grpc.list(request)).await?.map(|answer| answer.services))
    }

    /// The tree as it is.
    pub(crate) async fn tree(&self) -> Outcome<Answer<v1::TreeResponse>> {
        let mut grpc = self.client.grpc();
        let request = self.client.request(v1::TreeRequest {}, TOLD_DEADLINE);
        self.ask("", "tree", grpc.tree(request)).await
    }

    /// Follows what services whose names fit log, for so long at most. Answers how much it read.
    pub(crate) async fn watch(&self, glob: &str, time: Duration) -> Outcome<Answer<usize>> {
        self.count("watches", 1);
        let message = v1::WatchRequest {
            service: glob.to_owned(),
            tail: Some(20),
            follow: true,
            ..v1::WatchRequest::default()
        };
        let mut grpc = self.client.grpc();
        let request = self.client.stream_request(message);
        let mut stream = match self.ask(glob, "watch", grpc.watch(request)).await? {
            Ok(stream) => stream,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut records = 0;
        let reading = async {
            while records < RECORDS_MAX && matches!(stream.message().await, Ok(Some(_))) {
                records += 1;
            }
        };
        // No more came: the stream is dropped in the midst, as clients do.
        let _ = tokio::time::timeout(time, reading).await;
        Ok(Ok(records))
    }

    /// Calls through the gateway, over a connection of its own. Answers status line and all that follows.
    pub(crate) async fn http_call(&self, service: &str, payload: &str) -> Outcome<String> {
        self.count("calls over HTTP", 1);
        let began = Instant::now();
        let talking = async {
            let mut stream = TcpStream::connect(&self.shared.gateway).await?;
            let (length, token) = (payload.len(), &self.shared.token);
            let request = format!(
                "POST /v1/services/{service}/call HTTP/1.1\r\nHost: localhost\r\n\
                 Authorization: Bearer {token}\r\n\
                 Content-Type: application/octet-stream\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{payload}"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = match tokio::time::timeout(DEADLINE, talking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.broken(service, format!("gateway: {error}"))),
            Err(_) => return Err(self.broken(service, "the gateway did not answer")),
        };
        self.note(service, began, &format!("HTTP call {payload}"), &answer);
        Ok(answer)
    }

    /// Waits for an answer, until the deadline.
    async fn ask<T>(
        &self,
        service: &str,
        what: &str,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Outcome<Answer<T>> {
        let began = Instant::now();
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(response)) => {
                self.note(service, began, what, "ok");
                Ok(Ok(response.into_inner()))
            }
            Ok(Err(status)) => {
                let problem = solo_api::problem_from_status(&status);
                let refusal = Refusal { reason: problem.reason, cause: problem.cause };
                self.note(service, began, what, &refusal.to_string());
                // What a kernel that dies answers, if anything, says nothing.
                if self.is_interrupted() {
                    return Err(Trouble::Interrupted);
                }
                self.count(counter(&refusal.reason), 1);
                Ok(Err(refusal))
            }
            Err(_) => {
                self.note(service, began, what, "no answer");
                Err(self.broken(service, format!("no answer within {DEADLINE:?} to: {what}")))
            }
        }
    }

    /// Looks again and again until `look` finds something.
    pub(crate) async fn until<T>(
        &self,
        service: &str,
        what: &str,
        mut look: impl AsyncFnMut() -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if began.elapsed() > DEADLINE {
                return Err(self.broken(service, format!("not within {DEADLINE:?}: {what}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The counter of refusals with this reason.
fn counter(reason: &str) -> &'static str {
    match reason {
        "OVERLOADED" => "answers: overloaded",
        "TIMEOUT" => "answers: timeout",
        "CRASHED" => "answers: crashed",
        "REFUSED" => "answers: refused",
        "UNAVAILABLE" | "NOT_READY" | "SERVICE_FAILED" => "answers: unavailable",
        "NO_SUCH_SERVICE" => "answers: no service",
        _ => "answers: other",
    }
}

/// Waits for all of them, on this task.
pub(crate) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|future| Err(Box::pin(future))).collect();
    std::future::poll_fn(|context| {
        for slot in &mut pending {
            if let Err(future) = slot
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Ok(output);
            }
        }
        if pending.iter().all(Result::is_ok) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending.into_iter().filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_waited_for_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outputs =
            runtime.expect("runtime").block_on(together((0..5_u64).map(|n| async move {
                tokio::time::sleep(Duration::from_millis(5 - n)).await;
                n
            })));
        assert_eq!(outputs, [0, 1, 2, 3, 4]);
    }
}
