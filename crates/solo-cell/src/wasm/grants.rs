//! What services may do to others, as the kernel says it.
//!
//! One table per service of the cell, which its instances, the children that run its code and every
//! reference that came from it share: what the kernel takes away is gone from all of them at once, and
//! when a service is gone, so is everything that it passed on. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use solo_api::cell::v1 as wire;

/// What a service may do to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Call it.
    pub(crate) call: bool,
    /// Send to it.
    pub(crate) send: bool,
    /// Start children from its code.
    pub(crate) execute: bool,
}

impl Rights {
    /// What both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            call: self.call && other.call,
            send: self.send && other.send,
            execute: self.execute && other.execute,
        }
    }
}

/// What a service may do to others, by their names. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants(Arc<RwLock<HashMap<String, Rights>>>);

impl Grants {
    /// A table of its own.
    pub(crate) fn new(grants: HashMap<String, Rights>) -> Self {
        Self(Arc::new(RwLock::new(grants)))
    }

    /// The rights on the service of this name, if there are any.
    pub(crate) fn get(&self, name: &str) -> Option<Rights> {
        self.0.read().get(name).copied()
    }

    fn replace(&self, grants: HashMap<String, Rights>) {
        *self.0.write() = grants;
    }

    fn take(&self) -> HashMap<String, Rights> {
        std::mem::take(&mut self.0.write())
    }
}

/// The tables of all services that have instances here, by service.
#[derive(Debug, Default)]
pub(crate) struct Tables(Mutex<HashMap<Arc<str>, Grants>>);

impl Tables {
    /// The table of a service, which now says what `own` says.
    pub(crate) fn share(&self, service: &Arc<str>, own: &Grants) -> Grants {
        let table = self.0.lock().entry(Arc::clone(service)).or_default().clone();
        table.replace(own.take());
        table
    }

    /// Replaces what a service may do. Without instances there is nothing to replace.
    pub(crate) fn replace(&self, service: &str, grants: HashMap<String, Rights>) {
        if let Some(table) = self.0.lock().get(service) {
            table.replace(grants);
        }
    }

    /// Ends everything that a service may do, and what others have from it. False: that was nothing.
    pub(crate) fn end(&self, service: &str) -> bool {
        let table = self.0.lock().remove(service);
        table.is_some_and(|table| !table.take().is_empty())
    }
}

/// Reads what a service may do to others.
pub(crate) fn rights_by_name(grants: Vec<wire::Grant>) -> HashMap<String, Rights> {
    let rights = |grant: wire::Grant| {
        let rights = Rights { call: grant.call, send: grant.send, execute: grant.execute };
        (grant.service, rights)
    };
    grants.into_iter().map(rights).collect()
}
