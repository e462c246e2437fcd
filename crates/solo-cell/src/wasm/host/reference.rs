//! References: what one instance may reach of others, and what it can do by that.
//!
//! A reference is made here alone: by `lookup` for services that the deployment granted, for children,
//! and for those that came with a message. What was not granted looks the same as what does not exist.
//! References of services go by name, so that they follow updates. One that was passed on is worth
//! what it is worth to the service that looked it up, less what was taken off on the way: when that one
//! loses its grant, or is gone, so does whoever holds it. Components and programs reach others by the same.

use std::sync::Arc;

use solo_actor::current;
use solo_types::bounds::{CALL_TIMEOUT_MS_MAX, MESSAGE_BYTES_MAX};

use super::super::failure::{Failure, Reason};
use super::super::grants::{Grants, Rights};
use super::super::group::Address;
use super::super::message::{Answer, Chain, Envelope, Input, Trace, Work};
use super::super::monitor::Monitors;
use super::super::route::{Route, Routes};
use super::super::slot::Slot;
use super::super::wait::Unsent;

/// Timeout of a call that states none, as the interface says.
const CALL_TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// A call to a service whose instances are being replaced waits so long for the next ones, if its
/// deadline allows.
const HOLD_NS_MAX: u64 = 10_000 * MS_NS;

/// A send that meets an instance which an update ends looks for the next one so often: each time it has
/// to find another route than before.
const SEND_TRIES_MAX: usize = 8;

/// Nanoseconds of a millisecond.
pub(super) const MS_NS: u64 = 1_000_000;

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

/// Who calls by a reference.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The instance.
    pub(crate) slot: &'a Arc<Slot>,
    /// What is there.
    pub(crate) routes: &'a Routes,
    /// What it handles: its deadline bounds the call.
    pub(crate) chain: Chain,
    /// `terminate` has begun.
    pub(crate) is_ending: bool,
}

impl ServiceRef {
    /// A reference to a child.
    pub(super) fn child(name: &str, address: Arc<Address>) -> Self {
        let rights = Rights { call: true, send: true, execute: false };
        let (generation, route) = (address.generation(), address.route());
        let target = Target::Child { generation, route, address };
        Self { name: Arc::from(name), mask: rights, rights, target }
    }

    /// A reference to the service of this name, for an instance of `slot`'s.
    ///
    /// # Errors
    /// `DENIED`: it was not granted, or there is none.
    pub(crate) fn lookup(routes: &Routes, slot: &Slot, name: String) -> Result<Self, Failure> {
        // First: what changes in between is looked up again.
        let generation = routes.generation();
        let source = slot.service.grants.clone();
        let rights = source.get(&name);
        let route = routes.by_name(&name);
        let (Some(rights), Some(route)) = (rights, route) else {
            return Err(denied(&name));
        };
        let target = Target::Named { generation, route, source };
        Ok(Self { name: Arc::from(name), mask: rights, rights, target })
    }

    /// The name that it was looked up by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What may be done with it.
    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    /// The same with no more rights than these.
    pub(super) fn attenuated(&self, limit: Rights) -> Self {
        let narrower = self.clone();
        Self { mask: self.mask.and(limit), rights: self.rights.and(limit), ..narrower }
    }

    /// Queues a message, which nobody waits for.
    ///
    /// # Errors
    /// `DENIED`, `OVERLOADED`, `REFUSED` (too large) and why there is nobody to take it.
    pub(crate) fn send(
        &mut self,
        routes: &Routes,
        function: String,
        input: Input,
        trace: Trace,
    ) -> Result<(), Failure> {
        check_size(input.bytes())?;
        let mut envelope = Envelope::cast(Work::Cast { function, input }, trace);
        let mut tries_left = SEND_TRIES_MAX;
        loop {
            tries_left -= 1;
            let (route, generation) = self.reach(routes, |rights| rights.send)?;
            let failure = match send(route, envelope) {
                Ok(()) => return Ok(()),
                Err((failure, unsent)) => {
                    envelope = *unsent;
                    failure
                }
            };
            // It met an instance that an update was just ending; by now there are others (U2).
            let changed = generation.is_some_and(|then| routes.generation() != then);
            if failure.reason != Reason::Replaced || !changed || tries_left == 0 {
                return Err(failure);
            }
        }
    }

    /// Queues a message and waits for its answer. To be polled by the actor of the caller alone, one call
    /// at a time.
    ///
    /// # Errors
    /// As [`ServiceRef::send`]; `TIMEOUT`, `CRASHED`, `DEADLOCK`; whatever the receiver answers.
    pub(crate) async fn call(
        &mut self,
        caller: Caller<'_>,
        function: String,
        input: Input,
        timeout_ms: Option<u32>,
    ) -> Result<Answer, Failure> {
        let Caller { slot, routes, chain, is_ending } = caller;
        if is_ending {
            let message = "the instance is ending: what it calls may wait for it, or end too";
            return Err(Failure::new(Reason::Unavailable, message));
        }
        check_size(input.bytes())?;
        let timeout_ms = timeout_ms.map_or(CALL_TIMEOUT_MS_DEFAULT, u64::from);
        let timeout_ns = timeout_ms.min(CALL_TIMEOUT_MS_MAX) * MS_NS;
        let now_ns = current::now_ns();
        let deadline_ns = (now_ns + timeout_ns).min(chain.deadline_ns);
        let hold_until_ns = deadline_ns.min(now_ns + HOLD_NS_MAX);
        let chain = Chain { deadline_ns, ..chain };
        let mut work = Work::Call { function, input };
        loop {
            let (route, generation) = self.reach(routes, |rights| rights.call)?;
            let (failure, unsent) = match call(slot, route, work, chain).await {
                Ok(answer) => return answer,
                Err(refused) => refused,
            };
            work = unsent;
            // Its instances are being replaced: the next ones will take it (U2).
            let changed = match generation.filter(|_| failure.reason == Reason::Replaced) {
                Some(then) => routes.changed(slot, then, hold_until_ns).await,
                None => false,
            };
            if !changed {
                return Err(failure);
            }
        }
    }

    /// Watches the instances behind it; answers the number of the watch.
    ///
    /// # Errors
    /// `DENIED`; `UNAVAILABLE`: there are too many watches.
    pub(crate) fn watch(
        &mut self,
        routes: &Routes,
        monitors: &mut Monitors,
    ) -> Result<u64, Failure> {
        // Who may reach it at all may know whether it is there.
        let (route, _) = self.reach(routes, |rights| rights.call || rights.send)?;
        monitors
            .watch(&route.name, &route.instances)
            .ok_or_else(|| Failure::new(Reason::Unavailable, "the instance has too many watches"))
    }

    /// The route behind it, if the right is there, and the generation of the routes that it is of; a
    /// child's is of none.
    fn reach(
        &mut self,
        routes: &Routes,
        right: impl Fn(Rights) -> bool,
    ) -> Result<(&Arc<Route>, Option<u64>), Failure> {
        let denied = || denied(&self.name);
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
) -> Result<Result<Answer, Failure>, (Failure, Work)> {
    // The chosen instance first; of several, one that does not wait for the caller will do.
    let first = match route.choose() {
        Ok(first) => first,
        Err(failure) => return Err((failure, work)),
    };
    let others = route.instances.iter().filter(|slot| slot.is_open() && !Arc::ptr_eq(slot, first));
    for callee in std::iter::once(first).chain(others) {
        match caller.call(callee, work, chain).await {
            Ok(answer) => return Ok(answer),
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

fn denied(name: &str) -> Failure {
    Failure::new(Reason::Denied, format!("{name} was not granted"))
}
