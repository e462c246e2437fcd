//! `solo:service/messaging`, `functions` and `context`: messages between services of this cell, in
//! memory, and what is known of the one that is being handled.
//!
//! Turns what a component asks for into uses of its references (`reference`), and failures into errors
//! of the interface. Decides nothing.

use wasmtime::component::Resource;

use super::super::failure::{Failure, Reason};
use super::super::grants::Rights;
use super::super::message::{Answer, Input, Passing, Trace};
use super::super::source::is_too_deep;
use super::ComponentState;
use super::bindings::solo::service::context::Host as ContextHost;
use super::bindings::solo::service::functions::Host as FunctionsHost;
use super::bindings::solo::service::messaging::{self as wit, Host, HostServiceRef, MessageError};
use super::reference::{Caller, MS_NS, ServiceRef};

/// References that pass with one message.
const PASSED_MAX: usize = 16;

impl Host for ComponentState {
    fn lookup(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<ServiceRef>, MessageError>> {
        Ok(match ServiceRef::lookup(&self.routes, &self.slot, name) {
            Ok(reference) => Ok(self.table.push(reference)?),
            Err(failure) => Err(message_error(failure)),
        })
    }

    fn received(&mut self) -> wasmtime::Result<Vec<Resource<ServiceRef>>> {
        let mut handles = Vec::new();
        for reference in std::mem::take(&mut self.received) {
            handles.push(self.table.push(reference)?);
        }
        Ok(handles)
    }

    fn demonitor(&mut self, monitor: u64) -> wasmtime::Result<bool> {
        Ok(self.monitors.end(monitor))
    }

    fn self_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.slot.id.to_string())
    }
}

impl HostServiceRef for ComponentState {
    fn name(&mut self, service: Resource<ServiceRef>) -> wasmtime::Result<String> {
        Ok(self.table.get(&service)?.name().to_owned())
    }

    fn send(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        self.send_input(&service, String::new(), Input::Payload(payload))
    }

    fn send_with(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
        handles: Vec<Resource<ServiceRef>>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        match self.passing(payload, &handles)? {
            Ok(input) => self.send_input(&service, String::new(), input),
            Err(failure) => Ok(Err(message_error(failure))),
        }
    }

    async fn call_with(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
        handles: Vec<Resource<ServiceRef>>,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        match self.passing(payload, &handles)? {
            Ok(input) => self.call_input(&service, input, timeout_ms).await,
            Err(failure) => Ok(Err(message_error(failure))),
        }
    }

    fn attenuate(
        &mut self,
        service: Resource<ServiceRef>,
        rights: wit::Rights,
    ) -> wasmtime::Result<Resource<ServiceRef>> {
        let limit = Rights {
            call: rights.contains(wit::Rights::CALL),
            send: rights.contains(wit::Rights::SEND),
            execute: false,
        };
        let narrower = self.table.get(&service)?.attenuated(limit);
        Ok(self.table.push(narrower)?)
    }

    async fn call(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        self.call_input(&service, Input::Payload(payload), timeout_ms).await
    }

    fn monitor(
        &mut self,
        service: Resource<ServiceRef>,
    ) -> wasmtime::Result<Result<u64, MessageError>> {
        if !self.watches {
            let message = "it exports no solo:service/down-handler, which would be told";
            return Ok(Err(MessageError::Failed(message.to_owned())));
        }
        let reference = self.table.get_mut(&service)?;
        Ok(reference.watch(&self.routes, &mut self.monitors).map_err(message_error))
    }

    fn drop(&mut self, service: Resource<ServiceRef>) -> wasmtime::Result<()> {
        self.table.delete(service)?;
        Ok(())
    }
}

impl FunctionsHost for ComponentState {
    async fn call(
        &mut self,
        service: Resource<ServiceRef>,
        function: String,
        arguments: String,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<String, MessageError>> {
        let answer = self.ask(&service, function, Input::Json(arguments), timeout_ms).await?;
        Ok(match answer {
            // The runtime of a language that reads it may go as deep as the text does.
            Ok(Answer::Json(text)) if is_too_deep(&text) => {
                Err(MessageError::Failed("its answer is nested too deeply".to_owned()))
            }
            Ok(Answer::Json(text)) => Ok(text),
            Ok(Answer::Payload(_)) => {
                Err(MessageError::Failed("it answered with bytes, not with JSON".to_owned()))
            }
            Err(failure) => Err(message_error(failure)),
        })
    }

    fn send(
        &mut self,
        service: Resource<ServiceRef>,
        function: String,
        arguments: String,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        self.send_input(&service, function, Input::Json(arguments))
    }
}

impl ContextHost for ComponentState {
    fn remaining_ms(&mut self) -> wasmtime::Result<Option<u64>> {
        let deadline_ns = self.chain.deadline_ns;
        let left_ns = deadline_ns.saturating_sub(solo_actor::clock::now_ns());
        Ok((deadline_ns != u64::MAX).then_some(left_ns / MS_NS))
    }

    fn trace_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.trace().text())
    }
}

impl ComponentState {
    /// Sends by a reference.
    fn send_input(
        &mut self,
        service: &Resource<ServiceRef>,
        function: String,
        input: Input,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        let trace = self.trace();
        let reference = self.table.get_mut(service)?;
        let sent = reference.send(&self.routes, function, input, trace);
        Ok(sent.map_err(message_error))
    }

    /// Calls the handler of bytes by a reference.
    async fn call_input(
        &mut self,
        service: &Resource<ServiceRef>,
        input: Input,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        Ok(match self.ask(service, String::new(), input, timeout_ms).await? {
            Ok(Answer::Payload(bytes)) => Ok(bytes),
            Ok(Answer::Json(text)) => Ok(text.into_bytes()),
            Err(failure) => Err(message_error(failure)),
        })
    }

    async fn ask(
        &mut self,
        service: &Resource<ServiceRef>,
        function: String,
        input: Input,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Answer, Failure>> {
        self.trace();
        let caller = Caller {
            slot: &self.slot,
            routes: &self.routes,
            chain: self.chain,
            is_ending: self.is_ending,
        };
        let reference = self.table.get_mut(service)?;
        Ok(reference.call(caller, function, input, timeout_ms).await)
    }

    /// A payload with references of this instance, by which the receiver can do no more than it can.
    fn passing(
        &self,
        payload: Vec<u8>,
        handles: &[Resource<ServiceRef>],
    ) -> wasmtime::Result<Result<Input, Failure>> {
        if handles.len() > PASSED_MAX {
            let message =
                format!("{} references in a message, at most {PASSED_MAX}", handles.len());
            return Ok(Err(Failure::new(Reason::Refused, message)));
        }
        if handles.is_empty() {
            return Ok(Ok(Input::Payload(payload)));
        }
        let handles: Result<Vec<ServiceRef>, _> =
            handles.iter().map(|handle| self.table.get(handle).cloned()).collect();
        Ok(Ok(Input::Passing(Box::new(Passing { payload, handles: handles? }))))
    }

    /// The chain that is being handled; one is begun where there is none.
    fn trace(&mut self) -> Trace {
        self.chain.trace = self.chain.trace.or_draw();
        self.chain.trace
    }
}

/// What a guest learns of a failure.
fn message_error(failure: Failure) -> MessageError {
    match failure.reason {
        Reason::Denied | Reason::NoSuchService => MessageError::Denied,
        Reason::Overloaded => MessageError::Overloaded,
        Reason::Timeout => MessageError::Timeout,
        Reason::Deadlock => MessageError::Deadlock,
        Reason::Crashed => MessageError::Crashed(failure.message),
        Reason::Refused
        | Reason::BadArguments
        | Reason::NoSuchFunction
        | Reason::LimitExceeded
        | Reason::Exception => MessageError::Failed(failure.message),
        Reason::Unavailable
        | Reason::Replaced
        | Reason::NotCallable
        | Reason::Completed
        | Reason::InitFailed
        | Reason::StartupTimeout
        | Reason::UnknownImport
        | Reason::ArtifactUnusable
        | Reason::NotExecutable
        | Reason::LoadFailed
        | Reason::LanguageMissing
        | Reason::CellFull => MessageError::Unavailable(failure.message),
    }
}
