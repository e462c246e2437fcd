//! `solo:service/timers`: messages of an instance to itself.
//!
//! Timers belong to an incarnation: they end with it, and one that had fired but was not handled is
//! skipped by the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::super::message::{Envelope, Trace, Work};
use super::super::slot::Slot;
use super::ComponentState;
use super::bindings::solo::service::timers::Host;

/// Timers of one instance, as the interface says.
const TIMERS_MAX: usize = 1_000;

/// Bytes that the payloads of all timers of an instance may have: the largest message once.
const PAYLOADS_BYTES_MAX: usize = solo_types::bounds::MESSAGE_BYTES_MAX;

/// Longest delay: beyond ten years it is a mistake, and timers end with the instance.
const DELAY_MS_MAX: u64 = 10 * 365 * 24 * 3_600_000;

/// The timers of one incarnation. Dropping it ends them.
pub(super) struct Timers {
    slot: Arc<Slot>,
    incarnation: u64,
    live: Arc<Mutex<Live>>,
}

#[derive(Default)]
struct Live {
    last_id: u64,
    timers: HashMap<u64, Timer>,
    payload_bytes: usize,
}

struct Timer {
    task: AbortHandle,
    payload_bytes: usize,
}

impl Timers {
    pub(super) fn new(slot: Arc<Slot>, incarnation: u64) -> Self {
        Self { slot, incarnation, live: Arc::default() }
    }

    fn set(&self, delay_ms: u64, payload: Vec<u8>) -> Result<u64, String> {
        let mut live = self.live.lock();
        if live.timers.len() >= TIMERS_MAX {
            return Err(format!("the instance has {TIMERS_MAX} timers already"));
        }
        if !self.slot.has_room(payload.len()) {
            return Err("max_memory_bytes of the service has no room for the payload".to_owned());
        }
        if live.payload_bytes + payload.len() > PAYLOADS_BYTES_MAX {
            return Err(format!("the payloads of all timers exceed {PAYLOADS_BYTES_MAX} bytes"));
        }
        live.last_id += 1;
        let id = live.last_id;
        let payload_bytes = payload.len();
        live.payload_bytes += payload_bytes;
        self.slot.figures.host_bytes.store(live.payload_bytes as u64, Ordering::Relaxed);
        let delay = Duration::from_millis(delay_ms.min(DELAY_MS_MAX));
        let firing = fire(
            Arc::clone(&self.slot),
            Arc::clone(&self.live),
            self.incarnation,
            id,
            delay,
            payload,
        );
        // Under the lock, so that a timer that fires at once finds itself.
        let task = tokio::spawn(firing).abort_handle();
        live.timers.insert(id, Timer { task, payload_bytes });
        Ok(id)
    }

    fn cancel(&self, id: u64) -> bool {
        let removed = self.live.lock().remove(id, &self.slot);
        removed.inspect(|timer| timer.task.abort()).is_some()
    }
}

impl Live {
    fn remove(&mut self, id: u64, slot: &Slot) -> Option<Timer> {
        let timer = self.timers.remove(&id)?;
        self.payload_bytes -= timer.payload_bytes;
        slot.figures.host_bytes.store(self.payload_bytes as u64, Ordering::Relaxed);
        Some(timer)
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        for timer in self.live.lock().timers.values() {
            timer.task.abort();
        }
        self.slot.figures.host_bytes.store(0, Ordering::Relaxed);
    }
}

async fn fire(
    slot: Arc<Slot>,
    live: Arc<Mutex<Live>>,
    incarnation: u64,
    id: u64,
    delay: Duration,
    payload: Vec<u8>,
) {
    tokio::time::sleep(delay).await;
    if live.lock().remove(id, &slot).is_none() {
        return;
    }
    let work = Work::Timer { incarnation, payload };
    if let Err(failure) = slot.push(Envelope::cast(work, Trace::default())) {
        slot.logger
            .line("warn", &format!("the message of timer {id} was dropped: {}", failure.message));
    }
}

impl Host for ComponentState {
    fn send_after(
        &mut self,
        delay_ms: u64,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<u64, String>> {
        Ok(self.timers.set(delay_ms, payload))
    }

    fn cancel(&mut self, timer: u64) -> wasmtime::Result<bool> {
        Ok(self.timers.cancel(timer))
    }
}
