//! The memory limit of one incarnation: the sum over all memories and tables of its store.
//!
//! Going over it is an error, not a failed `memory.grow`: the instance ends with the reason
//! `limit`, which people can see, instead of with whatever its allocator makes of a -1.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use super::slot::Figures;

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
    limit_bytes: u64,
    used_bytes: u64,
    figures: Arc<Figures>,
}

impl MemoryBudget {
    /// Nothing is used so far.
    pub(crate) fn new(limit_bytes: u64, figures: Arc<Figures>) -> Self {
        Self { limit_bytes, used_bytes: 0, figures }
    }

    fn grow(&mut self, resource: &'static str, more_bytes: u64) -> wasmtime::Result<bool> {
        let wanted_bytes = self.used_bytes.saturating_add(more_bytes);
        if wanted_bytes > self.limit_bytes {
            let limit_bytes = self.limit_bytes;
            return Err(LimitExceeded { resource, wanted_bytes, limit_bytes }.into());
        }
        self.used_bytes = wanted_bytes;
        self.show(wanted_bytes);
        Ok(true)
    }

    fn show(&self, bytes: u64) {
        let memory: &AtomicU64 = &self.figures.memory_bytes;
        memory.store(bytes, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let figures = Arc::new(Figures::default());
        let mut budget = MemoryBudget::new(1_000, Arc::clone(&figures));
        assert!(budget.memory_growing(0, 500, None).is_ok_and(|grown| grown));
        assert!(budget.table_growing(0, 50, Some(100)).is_ok_and(|grown| grown));
        assert_eq!(figures.memory_bytes.load(Ordering::Relaxed), 900);
        let error = budget.memory_growing(500, 601, None).expect_err("over the limit");
        assert_eq!(
            error.downcast_ref::<LimitExceeded>(),
            Some(&LimitExceeded { resource: "memory", wanted_bytes: 1_001, limit_bytes: 1_000 })
        );
        assert!(budget.memory_growing(500, 600, None).is_ok_and(|grown| grown));
        drop(budget);
        assert_eq!(figures.memory_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn its_own_maximum_is_no_violation() {
        let mut budget = MemoryBudget::new(1_000, Arc::new(Figures::default()));
        assert!(budget.memory_growing(0, 5_000, Some(100)).is_ok_and(|grown| !grown));
    }
}
