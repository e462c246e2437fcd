//! `solo:service/messaging` and `solo:service/context`: messages between services of this cell, in
//! memory, and what is known of the one that is being handled.
//!
//! A reference is made here alone: by `lookup` for services that the deployment granted, for children,
//! and for those that came with a message. What was not granted looks the same as what does not exist.
//! References of services go by name, so that they follow updates. One that was passed on is worth
//! what it is worth to the service that looked it up, less what was taken off on the way: when that one
//! loses its grant, or is gone, so does whoever holds it.

use std::sync::Arc;

use solo_actor::current;
use solo_types::bounds::{CALL_TIMEOUT_MS_MAX, MESSAGE_BYTES_MAX};
use wasmtime::component::Resource;

use super::super::failure::{Failure, Reason};
use super::super::grants::{Grants, Rights};
use super::super::group::Address;
use super::super::message::{Answer, Chain, Envelope, Input, Passing, Trace, Work};
use super::super::route::{Route, Routes};
use super::super::slot::Slot;
use super::super::wait::Unsent;
use super::ComponentState;
use super::bindings::solo::service::context::Host as ContextHost;
use super::bindings::solo::service::messaging::{self as wit, Host, HostServiceRef, MessageError};

/// Timeout of a call that states none, as the interface says.
const CALL_TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// A call to a service whose instances are being replaced waits so long for the next ones, if its
/// deadline allows.
const HOLD_NS_MAX: u64 = 10_000 * MS_NS;

/// A send that meets an instance which an update ends looks for the next one so often: each time it has
/// to find another route than before.
const SEND_TRIES_MAX: usize = 8;

/// References that pass with one message.
const PASSED_MAX: usize = 16;

/// Nanoseconds of a millisecond.
const MS_NS: u64 = 1_000_000;

/// A service, or a child, that this one may reach.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ServiceRef {
    name: Arc<str>,
    /// What is left of what its source has.
    mask: Rights,
    /// As of the generation of the target.
    rights: Rights,
    target: Target,
}

#[derive(Debug, Clone)]
enum Target {
    /// What the routes say; kept until they change. `source`: the grants of the service that looked it
    /// up, whoever holds it now.
    Named { generation: u64, route: Arc<Route>, source: Grants },
    /// What the child's address says; kept until that changes.
    Child { generation: u64, route: Arc<Route>, address: Arc<Address> },
}

impl ServiceRef {
    /// A reference to a child.
    pub(super) fn child(name: &str, address: Arc<Address>) -> Self {
        let rights = Rights { call: true, send: true, execute: false };
        let (generation, route) = (address.generation(), address.route());
        let target = Target::Child { generation, route, address };
        Self { name: Arc::from(name), mask: rights, rights, target }
    }

    /// The same with no more rights than these.
    fn attenuated(&self, rights: wit::Rights) -> Self {
        let limit = Rights {
            call: rights.contains(wit::Rights::CALL),
            send: rights.contains(wit::Rights::SEND),
            execute: false,
        };
        let narrower = self.clone();
        Self { mask: self.mask.and(limit), rights: self.rights.and(limit), ..narrower }
    }

    /// The route behind it, if the right is there, and the generation of the routes that it is of; a
    /// child's is of none.
    fn reach(
        &mut self,
        routes: &Routes,
        right: impl Fn(Rights) -> bool,
    ) -> Result<(&Arc<Route>, Option<u64>), Failure> {
        let denied = || Failure::new(Reason::Denied, format!("{} was not granted", self.name));
        match &mut self.target {
            Target::Child { generation, route, address } => {
                if !right(self.rights) {
                    return Err(denied());
                }
                let now = address.generation();
                if *generation != now {
                    *route = address.route();
                    *generation = now;
                }
                Ok((route, None))
            }
            Target::Named { generation, route, source } => {
                // Once, and before what it stands for: a change meanwhile is seen the next time.
                let now = routes.generation();
                if *generation != now {
                    // A grant may have ended: a reference is worth what it would be if made now (C2).
                    self.rights = source.get(&self.name).unwrap_or_default().and(self.mask);
                    *route = routes.by_name(&self.name).ok_or_else(denied)?;
                    *generation = now;
                }
                if !right(self.rights) {
                    return Err(denied());
                }
                Ok((route, Some(now)))
            }
        }
    }
}

impl Host for ComponentState {
    fn lookup(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<ServiceRef>, MessageError>> {
        // First: what changes in between is looked up again.
        let generation = self.routes.generation();
        let source = self.slot.service.grants.clone();
        let rights = source.get(&name);
        let route = self.routes.by_name(&name);
        let (Some(rights), Some(route)) = (rights, route) else {
            return Ok(Err(MessageError::Denied));
        };
        let target = Target::Named { generation, route, source };
        let name = Arc::from(name);
        Ok(Ok(self.table.push(ServiceRef { name, mask: rights, rights, target })?))
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
        Ok(self.table.get(&service)?.name.to_string())
    }

    fn send(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        self.send_input(&service, Input::Payload(payload))
    }

    fn send_with(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
        handles: Vec<Resource<ServiceRef>>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        match self.passing(payload, &handles)? {
            Ok(input) => self.send_input(&service, input),
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
        let narrower = self.table.get(&service)?.attenuated(rights);
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
        // Who may reach it at all may know whether it is there.
        let reached = reference.reach(&self.routes, |rights| rights.call || rights.send);
        Ok(match reached {
            Ok((route, _)) => {
                let monitor = self.monitors.watch(&route.name, &route.instances);
                monitor.ok_or_else(|| {
                    MessageError::Unavailable("the instance has too many watches".to_owned())
                })
            }
            Err(failure) => Err(message_error(failure)),
        })
    }

    fn drop(&mut self, service: Resource<ServiceRef>) -> wasmtime::Result<()> {
        self.table.delete(service)?;
        Ok(())
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
        input: Input,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        if let Err(failure) = check_size(input.bytes()) {
            return Ok(Err(message_error(failure)));
        }
        let trace = self.trace();
        let reference = self.table.get_mut(service)?;
        let work = Work::Cast { function: String::new(), input };
        let mut envelope = Envelope::cast(work, trace);
        let mut tries_left = SEND_TRIES_MAX;
        loop {
            tries_left -= 1;
            let (route, generation) = match reference.reach(&self.routes, |rights| rights.send) {
                Ok(reached) => reached,
                Err(failure) => return Ok(Err(message_error(failure))),
            };
            let failure = match send(route, envelope) {
                Ok(()) => return Ok(Ok(())),
                Err((failure, unsent)) => {
                    envelope = *unsent;
                    failure
                }
            };
            // It met an instance that an update was just ending; by now there are others (U2).
            let changed = generation.is_some_and(|then| self.routes.generation() != then);
            if failure.reason != Reason::Replaced || !changed || tries_left == 0 {
                return Ok(Err(message_error(failure)));
            }
        }
    }

    /// Calls by a reference.
    async fn call_input(
        &mut self,
        service: &Resource<ServiceRef>,
        input: Input,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        if self.is_ending {
            let message = "the instance is ending: what it calls may wait for it, or end too";
            return Ok(Err(MessageError::Unavailable(message.to_owned())));
        }
        if let Err(failure) = check_size(input.bytes()) {
            return Ok(Err(message_error(failure)));
        }
        let trace = self.trace();
        let timeout_ms = timeout_ms.map_or(CALL_TIMEOUT_MS_DEFAULT, u64::from);
        let timeout_ns = timeout_ms.min(CALL_TIMEOUT_MS_MAX) * MS_NS;
        let now_ns = current::now_ns();
        let deadline_ns = (now_ns + timeout_ns).min(self.chain.deadline_ns);
        let hold_until_ns = deadline_ns.min(now_ns + HOLD_NS_MAX);
        let reference = self.table.get_mut(service)?;
        let chain = Chain { deadline_ns, trace };
        let mut work = Work::Call { function: String::new(), input };
        loop {
            let (route, generation) = match reference.reach(&self.routes, |rights| rights.call) {
                Ok(reached) => reached,
                Err(failure) => return Ok(Err(message_error(failure))),
            };
            let (failure, unsent) = match call(&self.slot, route, work, chain).await {
                Ok(answer) => return Ok(answer.map_err(message_error)),
                Err(refused) => refused,
            };
            work = unsent;
            // Its instances are being replaced: the next ones will take it (U2).
            let changed = match generation.filter(|_| failure.reason == Reason::Replaced) {
                Some(then) => self.routes.changed(&self.slot, then, hold_until_ns).await,
                None => false,
            };
            if !changed {
                return Ok(Err(message_error(failure)));
            }
        }
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

/// Queues it at one of the instances, or gives it back.
fn send(route: &Route, envelope: Envelope) -> Result<(), (Failure, Box<Envelope>)> {
    match route.choose() {
        Ok(slot) => slot.offer(envelope).map(|_| ()),
        Err(failure) => Err((failure, Box::new(envelope))),
    }
}

/// Calls one of the instances, or gives back what none took.
async fn call(
    caller: &Arc<Slot>,
    route: &Route,
    mut work: Work,
    chain: Chain,
) -> Result<Result<Vec<u8>, Failure>, (Failure, Work)> {
    // The chosen instance first; of several, one that does not wait for the caller will do.
    let first = match route.choose() {
        Ok(first) => first,
        Err(failure) => return Err((failure, work)),
    };
    let others = route.instances.iter().filter(|slot| slot.is_open() && !Arc::ptr_eq(slot, first));
    for callee in std::iter::once(first).chain(others) {
        match caller.call(callee, work, chain).await {
            Ok(answer) => {
                return Ok(answer.map(|answer| match answer {
                    Answer::Payload(bytes) => bytes,
                    Answer::Json(text) => text.into_bytes(),
                }));
            }
            Err(Unsent::Deadlock(unsent)) => work = unsent,
            Err(Unsent::Refused(failure, unsent)) => return Err((failure, unsent)),
        }
    }
    let message = format!("{} waits for {} already", route.name, caller.service.name);
    Err((Failure::new(Reason::Deadlock, message), work))
}

fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the message has {bytes} bytes, at most {MESSAGE_BYTES_MAX}");
    Err(Failure::new(Reason::Refused, message))
}

/// What a guest learns of a failure.
fn message_error(failure: Failure) -> MessageError {
    match failure.reason {
        Reason::Denied | Reason::NoSuchService => MessageError::Denied,
        Reason::Overloaded => MessageError::Overloaded,
        Reason::Timeout => MessageError::Timeout,
        Reason::Deadlock => MessageError::Deadlock,
        Reason::Crashed => MessageError::Crashed(failure.message),
        Reason::Refused | Reason::BadArguments | Reason::NoSuchFunction | Reason::LimitExceeded => {
            MessageError::Failed(failure.message)
        }
        Reason::Unavailable
        | Reason::Replaced
        | Reason::NotCallable
        | Reason::Completed
        | Reason::InitFailed
        | Reason::StartupTimeout
        | Reason::UnknownImport
        | Reason::ArtifactUnusable
        | Reason::NotExecutable
        | Reason::CellFull => MessageError::Unavailable(failure.message),
    }
}
