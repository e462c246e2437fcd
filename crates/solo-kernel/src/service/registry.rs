//! Who is there: services by name and by id, and names that are being deployed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use solo_api::cell::v1 as wire;
use solo_types::{Problem, ProblemKind};

use super::Service;
use super::state::replica_number;

/// Services of one node; SPEC section 9 wants 10,000. Each has an actor: their supervisor takes more.
const SERVICES_MAX: usize = 20_000;

type Key = (String, String);

#[derive(Debug, Default)]
struct Tables {
    by_name: BTreeMap<Key, Arc<Service>>,
    by_id: HashMap<String, Arc<Service>>,
}

/// The registry. Lookups share a read lock, which is held for the lookup alone.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tables: RwLock<Tables>,
    reserved: Mutex<HashSet<Key>>,
}

/// A name that is being deployed. Free again when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    registry: Arc<Registry>,
    key: Key,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registry.reserved.lock().remove(&self.key);
    }
}

impl Registry {
    /// Reserves a name for a deployment.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        tenant: &str,
        name: &str,
    ) -> Result<Reservation, Problem> {
        let key = (tenant.to_owned(), name.to_owned());
        let mut reserved = self.reserved.lock();
        let tables = self.tables.read();
        if tables.by_name.contains_key(&key) {
            return Err(Problem::new(
                ProblemKind::AlreadyExists,
                "NAME_IN_USE",
                format!("there is a service {name} already"),
            )
            .remedy("update it, kill it first, or choose another name")
            .field("name"));
        }
        if tables.by_name.len() + reserved.len() >= SERVICES_MAX {
            return Err(Problem::new(
                ProblemKind::ResourceExhausted,
                "TOO_MANY_SERVICES",
                "the node has as many services as it can have",
            )
            .remedy("kill services that are not needed"));
        }
        if !reserved.insert(key.clone()) {
            return Err(Problem::new(
                ProblemKind::Aborted,
                "NAME_BUSY",
                format!("a service {name} is being deployed right now"),
            )
            .remedy("wait for that deployment, then update, or choose another name")
            .field("name"));
        }
        Ok(Reservation { registry: Arc::clone(self), key })
    }

    /// Makes a service known.
    pub(crate) fn insert(&self, service: &Arc<Service>) {
        let mut tables = self.tables.write();
        let key = (service.tenant.name.to_string(), service.name.to_string());
        tables.by_name.insert(key, Arc::clone(service));
        tables.by_id.insert(service.id.to_string(), Arc::clone(service));
    }

    /// Forgets a service.
    pub(crate) fn remove(&self, service: &Service) {
        let mut tables = self.tables.write();
        tables.by_name.remove(&(service.tenant.name.to_string(), service.name.to_string()));
        tables.by_id.remove(&service.id.to_string());
    }

    pub(crate) fn find(&self, tenant: &str, name: &str) -> Option<Arc<Service>> {
        self.tables.read().by_name.get(&(tenant.to_owned(), name.to_owned())).cloned()
    }

    pub(crate) fn find_id(&self, id: &str) -> Option<Arc<Service>> {
        self.tables.read().by_id.get(id).cloned()
    }

    /// Takes what a cell reports of an instance. Children are their parents' business: a service
    /// whose code they run does not change with them.
    pub(crate) fn instance_changed(&self, service: &str, id: &str, change: wire::StateChange) {
        if let Some(service) = self.find_id(service)
            && let Some(number) = replica_number(service.id, id)
        {
            service.with_state(|state| state.instance_changed(number, id, change));
        }
    }

    /// All services, by tenant and name.
    pub(crate) fn all(&self) -> Vec<Arc<Service>> {
        self.tables.read().by_name.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.tables.read().by_name.len()
    }

    /// Whether a deployment is under way: then a cell may host what the registry does not know yet.
    pub(crate) fn deploying(&self) -> bool {
        !self.reserved.lock().is_empty()
    }
}
