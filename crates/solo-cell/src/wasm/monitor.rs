//! Watches: an instance learns when another one ends.
//!
//! A watch is kept at each instance that is watched, and by the watcher, whose end ends it. It is over
//! with its first message, which no bound of a mailbox refuses: it was promised.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use solo_types::Exit;

use super::message::{Down, Envelope, Trace, Work};
use super::slot::Slot;

/// Watches of one instance: each may become a message that no bound refuses.
const MONITORS_MAX: usize = 1_000;

/// One watch.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Arc<Slot>,
    /// Of the watcher.
    incarnation: u64,
    number: u64,
    /// Name of what is watched.
    service: String,
    is_over: AtomicBool,
}

/// The watches that others have on one instance.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<Arc<Watch>>>);

/// The watches that one incarnation has on others. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Monitors {
    slot: Arc<Slot>,
    incarnation: u64,
    last: u64,
    live: HashMap<u64, (Arc<Watch>, Vec<Arc<Slot>>)>,
}

impl Monitors {
    /// None so far.
    pub(crate) fn new(slot: Arc<Slot>, incarnation: u64) -> Self {
        Self { slot, incarnation, last: 0, live: HashMap::new() }
    }

    /// Watches all of `instances` of `service`. `None`: there are too many watches.
    pub(crate) fn watch(&mut self, service: &str, instances: &[Arc<Slot>]) -> Option<u64> {
        if self.live.len() >= MONITORS_MAX {
            return None;
        }
        self.last += 1;
        let watch = Arc::new(Watch {
            watcher: Arc::clone(&self.slot),
            incarnation: self.incarnation,
            number: self.last,
            service: service.to_owned(),
            is_over: AtomicBool::new(false),
        });
        let watched = instances.iter().filter(|slot| slot.watchers.add(slot, &watch));
        let watched: Vec<Arc<Slot>> = watched.map(Arc::clone).collect();
        if watched.is_empty() {
            watch.tell(String::new(), None, false);
        }
        self.live.insert(self.last, (watch, watched));
        Some(self.last)
    }

    /// Ends a watch. True: its message had not come.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let Some((watch, watched)) = self.live.remove(&number) else { return false };
        watched.iter().for_each(|slot| slot.watchers.remove(&watch));
        !watch.is_over.swap(true, Ordering::AcqRel)
    }

    /// Takes the message of a watch. False: it was ended meanwhile.
    pub(crate) fn take(&mut self, down: &Down) -> bool {
        if down.incarnation != self.incarnation {
            return false;
        }
        let Some((watch, watched)) = self.live.remove(&down.monitor) else { return false };
        watched.iter().for_each(|slot| slot.watchers.remove(&watch));
        true
    }
}

impl Drop for Monitors {
    fn drop(&mut self) {
        for (watch, watched) in self.live.values() {
            watched.iter().for_each(|slot| slot.watchers.remove(watch));
        }
    }
}

impl Watchers {
    /// False: the instance has ended for good.
    fn add(&self, slot: &Slot, watch: &Arc<Watch>) -> bool {
        let mut watches = self.0.lock();
        // Under the lock: who ends first says so and looks here then.
        let is_open = slot.is_open();
        if is_open {
            watches.push(Arc::clone(watch));
        }
        is_open
    }

    fn remove(&self, watch: &Arc<Watch>) {
        self.0.lock().retain(|other| !Arc::ptr_eq(other, watch));
    }

    /// The instance `id` ended: tells all who watch it.
    pub(crate) fn tell(&self, id: &str, exit: &Exit, restarts: bool) {
        let watches = std::mem::take(&mut *self.0.lock());
        for watch in watches {
            watch.tell(id.to_owned(), Some(exit.clone()), restarts);
        }
    }
}

impl Watch {
    fn tell(&self, instance: String, exit: Option<Exit>, restarts: bool) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        let down = Down {
            incarnation: self.incarnation,
            monitor: self.number,
            service: self.service.clone(),
            instance,
            exit,
            restarts,
        };
        self.watcher.push_promised(Envelope::cast(Work::Down(Box::new(down)), Trace::default()));
    }
}
