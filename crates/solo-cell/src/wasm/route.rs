//! Which instances a service's messages go to.
//!
//! Readers take no lock: a table is replaced as a whole. It holds what the kernel said and chooses
//! among it; it does not start, stop or check anything.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::failure::{Failure, Reason};
use super::slot::Slot;

/// The instances of one service.
#[derive(Debug)]
pub(crate) struct Route {
    /// `NODE-SERVICE`.
    pub(crate) service: Arc<str>,
    /// Its name.
    pub(crate) name: String,
    /// In the kernel's order. May be empty while an update replaces them.
    pub(crate) instances: Vec<Arc<Slot>>,
}

/// All routes of the cell.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: ArcSwap<Table>,
    /// Held while a new table is made.
    writer: Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Table {
    by_name: HashMap<String, Arc<Route>>,
    by_service: HashMap<Arc<str>, Arc<Route>>,
}

impl Routes {
    /// Replaces the route of a service. `None`: its name is not known any more.
    pub(crate) fn replace(&self, service: &str, route: Option<Route>) {
        let _writer = self.writer.lock();
        let mut table = Table::clone(&self.table.load());
        if let Some(old) = table.by_service.remove(service)
            && table.by_name.get(&old.name).is_some_and(|named| named.service == old.service)
        {
            table.by_name.remove(&old.name);
        }
        if let Some(route) = route {
            let route = Arc::new(route);
            table.by_name.insert(route.name.clone(), Arc::clone(&route));
            table.by_service.insert(Arc::clone(&route.service), route);
        }
        self.table.store(Arc::new(table));
    }

    /// Takes an instance that is gone out of its route; the name stays known.
    pub(crate) fn forget(&self, slot: &Arc<Slot>) {
        let route = self.by_service(&slot.service.id);
        let Some(route) = route.filter(|r| r.instances.iter().any(|i| Arc::ptr_eq(i, slot))) else {
            return;
        };
        let _writer = self.writer.lock();
        let mut table = Table::clone(&self.table.load());
        // Read again: the kernel may have replaced it meanwhile.
        let route = table.by_service.get(&slot.service.id).map_or(route, Arc::clone);
        let instances =
            route.instances.iter().filter(|i| !Arc::ptr_eq(i, slot)).map(Arc::clone).collect();
        let smaller = Arc::new(Route {
            service: Arc::clone(&route.service),
            name: route.name.clone(),
            instances,
        });
        if table.by_name.get(&route.name).is_some_and(|named| named.service == route.service) {
            table.by_name.insert(route.name.clone(), Arc::clone(&smaller));
        }
        if table.by_service.contains_key(&slot.service.id) {
            table.by_service.insert(Arc::clone(&route.service), smaller);
        }
        self.table.store(Arc::new(table));
    }

    /// The route of a name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Route>> {
        self.table.load().by_name.get(name).map(Arc::clone)
    }

    /// The route of a service.
    pub(crate) fn by_service(&self, service: &str) -> Option<Arc<Route>> {
        self.table.load().by_service.get(service).map(Arc::clone)
    }

    /// Everything, by service id.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        let mut routes: Vec<_> = self.table.load().by_service.values().map(Arc::clone).collect();
        routes.sort_by(|a, b| a.service.cmp(&b.service));
        routes
    }
}

impl Route {
    /// The least loaded instance that takes messages.
    ///
    /// # Errors
    /// `UNAVAILABLE` or `COMPLETED` when none does.
    pub(crate) fn choose(&self) -> Result<&Arc<Slot>, Failure> {
        // The common case needs no comparison: what is closed refuses by itself.
        if let [only] = self.instances.as_slice() {
            return Ok(only);
        }
        let open = self.instances.iter().filter(|slot| slot.is_open());
        open.min_by_key(|slot| slot.load()).ok_or_else(|| match self.instances.first() {
            Some(slot) => slot.closed(),
            None => Failure::new(
                Reason::Unavailable,
                format!("{} has no instance at the moment", self.name),
            ),
        })
    }
}
