//! `solo:service/messaging`: messages between services of this cell, in memory.
//!
//! A reference is made by `lookup` alone, for services that the deployment granted; what was not
//! granted looks the same as what does not exist. References go by name, so that they follow
//! updates.

use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_types::bounds::{CALL_TIMEOUT_MS_MAX, MESSAGE_BYTES_MAX};
use wasmtime::component::Resource;

use super::super::failure::{Failure, Reason};
use super::super::message::{Answer, Envelope, Input, Work};
use super::super::route::Route;
use super::super::service::Rights;
use super::super::slot::Slot;
use super::ComponentState;
use super::bindings::solo::service::messaging::{Host, HostServiceRef, MessageError};

/// Timeout of a call that states none, as the interface says.
const CALL_TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// A service that this one may reach.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ServiceRef {
    name: Arc<str>,
    rights: Rights,
}

impl Host for ComponentState {
    fn lookup(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<ServiceRef>, MessageError>> {
        let rights = self.slot.service.grants.get(&name).copied();
        let Some(rights) = rights.filter(|_| self.routes.by_name(&name).is_some()) else {
            return Ok(Err(MessageError::Denied));
        };
        Ok(Ok(self.table.push(ServiceRef { name: Arc::from(name), rights })?))
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
        let reference = self.table.get(&service)?;
        let sent = self.reach(reference, |rights| rights.send);
        Ok(sent.and_then(|route| send(&route, payload)).map_err(message_error))
    }

    async fn call(
        &mut self,
        service: Resource<ServiceRef>,
        payload: Vec<u8>,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        let reference = self.table.get(&service)?;
        let route = match self.reach(reference, |rights| rights.call) {
            Ok(route) => route,
            Err(failure) => return Ok(Err(message_error(failure))),
        };
        let timeout_ms = timeout_ms.map_or(CALL_TIMEOUT_MS_DEFAULT, u64::from);
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(CALL_TIMEOUT_MS_MAX));
        Ok(call(&self.slot, &route, payload, deadline).await.map_err(message_error))
    }

    fn drop(&mut self, service: Resource<ServiceRef>) -> wasmtime::Result<()> {
        self.table.delete(service)?;
        Ok(())
    }
}

impl ComponentState {
    /// The route behind a reference, if the right is there.
    fn reach(
        &self,
        reference: &ServiceRef,
        right: impl Fn(Rights) -> bool,
    ) -> Result<Arc<Route>, Failure> {
        let route = self.routes.by_name(&reference.name);
        route.filter(|_| right(reference.rights)).ok_or_else(|| {
            let message = format!("{} was not granted", reference.name);
            Failure::new(Reason::Denied, message)
        })
    }
}

fn send(route: &Route, payload: Vec<u8>) -> Result<(), Failure> {
    check_size(&payload)?;
    let work = Work::Cast { function: String::new(), input: Input::Payload(payload) };
    route.choose()?.push(Envelope { work, reply: None, deadline: None })?;
    Ok(())
}

async fn call(
    caller: &Arc<Slot>,
    route: &Route,
    payload: Vec<u8>,
    deadline: Instant,
) -> Result<Vec<u8>, Failure> {
    check_size(&payload)?;
    // The least loaded instance first; of several, one that does not wait for the caller will do.
    let first = route.choose()?;
    let others = route.instances.iter().filter(|slot| slot.is_open() && !Arc::ptr_eq(slot, first));
    for callee in std::iter::once(first).chain(others) {
        let Some(_waiting) = caller.wait_for(callee) else { continue };
        let work = Work::Call { function: String::new(), input: Input::Payload(payload) };
        return match callee.ask(work, deadline).await? {
            Answer::Payload(bytes) => Ok(bytes),
            Answer::Json(text) => Ok(text.into_bytes()),
        };
    }
    let message = format!("{} waits for {} already", route.name, caller.service.name);
    Err(Failure::new(Reason::Deadlock, message))
}

fn check_size(payload: &[u8]) -> Result<(), Failure> {
    if payload.len() <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the payload has {} bytes, at most {MESSAGE_BYTES_MAX}", payload.len());
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
        | Reason::NotCallable
        | Reason::Completed
        | Reason::InitFailed
        | Reason::StartupTimeout
        | Reason::UnknownImport
        | Reason::ArtifactUnusable
        | Reason::CellFull => MessageError::Unavailable(failure.message),
    }
}
