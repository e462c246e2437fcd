//! The memory limit of one incarnation: the sum over all memories and tables of its store, and what the
//! host keeps for it.
//!
//! Going over it is an error where limits kill: the instance ends with the reason `limit`, which
//! people can see, instead of with whatever its allocator makes of a -1. Where limits throttle it is
//! that -1; where they warn it is granted, up to what the address space has.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use solo_types::LimitAction;
use wasmtime::ResourceLimiter;

use super::slot::{MEMORY_CEILING_BYTES, Slot};
use super::violations::Limit;
use super::warmth::Part;

/// Of a fiber's stack, so much at its end is used with each message.
const STACK_BYTES: usize = 2_048;

/// Bytes of one element of a table on the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// More memory than the limit allows was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max_memory_bytes = {limit_bytes} exceeded: {resource} would make it {wanted_bytes} bytes")]
pub(crate) struct LimitExceeded {
    /// `memory` or `table`.
    pub(crate) resource: &'static str,
    /// What the instance would have had.
    pub(crate) wanted_bytes: u64,
    /// What it may have.
    pub(crate) limit_bytes: u64,
}

/// Keeps the sum, and shows it in the figures of the slot. One per store.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    slot: Arc<Slot>,
    used_bytes: u64,
    /// The guest runs: `memory.grow` may fail. Before, it could not start with less.
    is_started: bool,
}

impl MemoryBudget {
    /// Nothing is used so far.
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, used_bytes: 0, is_started: false }
    }

    /// The instance was made; from now on it grows.
    pub(crate) fn started(&mut self) {
        self.is_started = true;
    }

    fn grow(&mut self, resource: &'static str, more_bytes: u64) -> wasmtime::Result<bool> {
        let (slot, service) = (&self.slot, &self.slot.service);
        let host_bytes = slot.figures.host_bytes.load(Ordering::Relaxed);
        let queued_bytes = slot.front.mailbox.bytes() as u64 + host_bytes;
        let guest_bytes = self.used_bytes.saturating_add(more_bytes);
        let wanted_bytes = guest_bytes.saturating_add(queued_bytes);
        if wanted_bytes > service.max_memory_bytes {
            let limit_bytes = service.max_memory_bytes;
            let exceeded = LimitExceeded { resource, wanted_bytes, limit_bytes };
            let action = service.limit_action;
            slot.violated(Limit::Memory, action, || exceeded.to_string());
            let is_refused = action == LimitAction::Throttle && self.is_started;
            if is_refused {
                return Ok(false);
            }
            if action != LimitAction::Warn || wanted_bytes > MEMORY_CEILING_BYTES {
                return Err(exceeded.into());
            }
        }
        self.used_bytes = guest_bytes;
        self.show(guest_bytes);
        Ok(true)
    }

    fn show(&self, bytes: u64) {
        self.slot.figures.memory_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        self.show(0);
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if !self.is_started {
            // On the fiber's stack: the code that makes the instance is a little below its end.
            let here = std::ptr::from_ref(&current).addr();
            self.slot.warmth.note_range(Part::Stack, here, STACK_BYTES);
        }
        // Beyond what the memory itself declares: an ordinary -1, as the standard says.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow("memory", desired.saturating_sub(current) as u64)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current) as u64;
        self.grow("table", elements.saturating_mul(TABLE_ELEMENT_BYTES))
    }
}
