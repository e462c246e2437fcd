//! Which instances a service's messages go to.
//!
//! The kernel says it; this is the cell's copy. References keep the route that they found last and
//! look again only when the generation has changed, so that a message costs one atomic read here. It
//! holds what the kernel said and chooses among it; it does not start, stop or check anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use parking_lot::{Mutex, RwLock};

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
    /// Running sums of the weights of `instances`; empty: all the same.
    sums: Vec<u64>,
    /// Choices so far.
    choices: AtomicU64,
}

/// All routes of the cell.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Grows with each change.
    generation: AtomicU64,
    table: RwLock<Table>,
    /// Instances that wait for a change, by id.
    waiting: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
}

/// An instance stops waiting, however that comes about.
struct Waits<'a>(&'a Routes, &'a Slot);

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<String, Arc<Route>>,
    by_service: HashMap<Arc<str>, Arc<Route>>,
}

impl Routes {
    /// Replaces the route of a service. `None`: its name is not known any more.
    pub(crate) fn replace(&self, service: &str, route: Option<Route>) {
        let mut table = self.table.write();
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
        drop(table);
        self.announce();
    }

    /// Takes an instance that is gone out of its route; the name stays known.
    pub(crate) fn forget(&self, slot: &Arc<Slot>) {
        let mut table = self.table.write();
        let Some(route) = table.by_service.get(&slot.service.id) else { return };
        if !route.instances.iter().any(|instance| Arc::ptr_eq(instance, slot)) {
            return;
        }
        let left = route.weighted().filter(|(instance, _)| !Arc::ptr_eq(instance, slot));
        let (instances, weights): (Vec<_>, Vec<_>) =
            left.map(|(instance, weight)| (Arc::clone(instance), weight)).unzip();
        let smaller =
            Route::new(Arc::clone(&route.service), route.name.clone(), instances, &weights);
        let smaller = Arc::new(smaller);
        let is_named =
            table.by_name.get(&smaller.name).map(|named| named.service == smaller.service);
        if is_named == Some(true) {
            table.by_name.insert(smaller.name.clone(), Arc::clone(&smaller));
        }
        table.by_service.insert(Arc::clone(&smaller.service), smaller);
        drop(table);
        self.announce();
    }

    /// Has all references look again, though no route has changed.
    pub(crate) fn renew(&self) {
        self.announce();
    }

    /// Tells of a change. Whoever waits notes that first and looks then, so that none is missed.
    fn announce(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for waiting in self.waiting.lock().values() {
            waiting.wake();
        }
    }

    /// Waits until the generation is not `seen` any more. False: `until_ns` came first.
    pub(crate) async fn changed(&self, waiting: &Arc<Slot>, seen: u64, until_ns: u64) -> bool {
        self.waiting.lock().insert(Arc::clone(&waiting.id), Arc::clone(waiting));
        let _waits = Waits(self, waiting);
        std::future::poll_fn(|_| {
            // First, and by the clock itself: a table that changes all the time must not hide it.
            let now_ns = solo_actor::clock::now_ns();
            if now_ns >= until_ns {
                return Poll::Ready(false);
            }
            if self.generation.load(Ordering::SeqCst) != seen {
                return Poll::Ready(true);
            }
            waiting.wake_by(until_ns, now_ns);
            Poll::Pending
        })
        .await
    }

    /// Changes with each change of any route.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The route of a name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Route>> {
        self.table.read().by_name.get(name).map(Arc::clone)
    }

    /// The route of a service.
    pub(crate) fn by_service(&self, service: &str) -> Option<Arc<Route>> {
        self.table.read().by_service.get(service).map(Arc::clone)
    }

    /// Everything, by service id.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        let mut routes: Vec<_> = self.table.read().by_service.values().map(Arc::clone).collect();
        routes.sort_by(|a, b| a.service.cmp(&b.service));
        routes
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Self(routes, slot) = self;
        routes.waiting.lock().remove(&slot.id);
    }
}

impl Route {
    /// A route. `weights` are relative, one per instance; fewer, or all zero: all the same.
    pub(crate) fn new(
        service: Arc<str>,
        name: String,
        instances: Vec<Arc<Slot>>,
        weights: &[u32],
    ) -> Self {
        let uneven = weights.len() == instances.len()
            && weights.iter().any(|weight| *weight > 0)
            && weights.windows(2).any(|pair| pair[0] != pair[1]);
        let mut sum = 0;
        let sums = weights.iter().filter(|_| uneven).map(|weight| {
            sum += u64::from(*weight);
            sum
        });
        let sums = sums.collect();
        Self { service, name, instances, sums, choices: AtomicU64::new(0) }
    }

    /// The instances with their weights.
    fn weighted(&self) -> impl Iterator<Item = (&Arc<Slot>, u32)> {
        let weight = |index: usize| {
            let Some(sum) = self.sums.get(index) else { return 1 };
            let before = index.checked_sub(1).map_or(0, |before| self.sums[before]);
            u32::try_from(sum - before).unwrap_or(u32::MAX)
        };
        self.instances.iter().enumerate().map(move |(index, slot)| (slot, weight(index)))
    }

    /// Of two that are drawn by weight, the less loaded one that takes messages.
    ///
    /// # Errors
    /// `REPLACED`, `UNAVAILABLE` or `COMPLETED` when none does.
    pub(crate) fn choose(&self) -> Result<&Arc<Slot>, Failure> {
        // The common case needs no comparison: what is closed refuses by itself.
        if let [only] = self.instances.as_slice() {
            return Ok(only);
        }
        let open = || self.draw().filter(|slot| slot.is_open()).map(|slot| (slot, slot.load()));
        match open() {
            // None has less.
            Some((slot, 0)) => return Ok(slot),
            Some((slot, load)) => {
                return Ok(open()
                    .filter(|(_, other)| *other < load)
                    .map_or(slot, |(other, _)| other));
            }
            None => {}
        }
        if let Some((slot, _)) = open() {
            return Ok(slot);
        }
        let weighted = self.weighted().filter(|(slot, weight)| *weight > 0 && slot.is_open());
        let best = weighted.min_by_key(|(slot, _)| slot.load());
        let closed = || self.instances.iter().find(|slot| slot.is_replaced());
        best.map(|(slot, _)| slot).ok_or_else(|| match closed().or(self.instances.first()) {
            Some(slot) => slot.closed(),
            None => Failure::new(
                Reason::Replaced,
                format!("{} has no instance at the moment", self.name),
            ),
        })
    }

    /// An instance by weight. Numbers that are spread well, not secret ones: no lock, no entropy.
    fn draw(&self) -> Option<&Arc<Slot>> {
        let count = self.choices.fetch_add(1, Ordering::Relaxed);
        let mut random = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random ^= random >> 32;
        let total = self.sums.last().copied().unwrap_or(self.instances.len() as u64).max(1);
        let point = random % total;
        let index = if self.sums.is_empty() {
            usize::try_from(point).unwrap_or(0)
        } else {
            self.sums.partition_point(|sum| *sum <= point)
        };
        self.instances.get(index)
    }
}
