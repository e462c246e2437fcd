//! Bytes of artifacts: how many a tenant has of its quota, and the node of its disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use solo_types::{Problem, ProblemKind, Usage};

/// All artifacts together; a disk that is full stops everything, a full store only new code.
pub(super) const STORE_BYTES_MAX: u64 = 32 << 30;

/// Bytes of all artifacts of the node, those on their way included. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeRoom(pub(super) Arc<AtomicU64>);

/// The same of one tenant.
#[derive(Debug)]
pub(super) struct Room {
    used: Arc<AtomicU64>,
    node: NodeRoom,
    /// What `used` may come to.
    quota: AtomicU64,
}

impl Room {
    /// With so many bytes that are there already.
    pub(super) fn new(node: NodeRoom, used: u64) -> Self {
        node.0.fetch_add(used, Ordering::Relaxed);
        Self { used: Arc::new(AtomicU64::new(used)), node, quota: AtomicU64::new(u64::MAX) }
    }

    pub(super) fn set_quota(&self, bytes: Option<u64>) {
        self.quota.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes room for one upload.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `STORE_FULL`.
    pub(super) fn claim(&self, bytes: u64) -> Result<Claim, Problem> {
        let quota = self.quota.load(Ordering::Relaxed);
        take(&self.used, bytes, quota)
            .map_err(|used| Usage::exceeded("artifact_bytes", quota, used.saturating_add(bytes)))?;
        if take(&self.node.0, bytes, STORE_BYTES_MAX).is_err() {
            give_back(&self.used, bytes);
            let cause = "all artifacts together have 32 GiB, which is the limit";
            return Err(Problem::new(ProblemKind::ResourceExhausted, "STORE_FULL", cause).remedy(
                "kill services that are not needed; what nothing uses is removed after a day",
            ));
        }
        Ok(Claim { used: Arc::clone(&self.used), node: self.node.clone(), bytes })
    }

    /// Gives back what an artifact had that is gone.
    pub(super) fn give_back(&self, bytes: u64) {
        give_back(&self.used, bytes);
        give_back(&self.node.0, bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The files go with their tenant.
        give_back(&self.node.0, self.used());
    }
}

/// Takes `bytes` of what `max` is left of, or tells what is taken already.
fn take(used: &AtomicU64, bytes: u64, max: u64) -> Result<u64, u64> {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(bytes).filter(|sum| *sum <= max)
    })
}

fn give_back(used: &AtomicU64, bytes: u64) {
    let less = |used: u64| Some(used.saturating_sub(bytes));
    // Never an error: the closure always answers.
    let _before = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// Room for one upload. Given back unless it is kept.
#[derive(Debug)]
pub(super) struct Claim {
    used: Arc<AtomicU64>,
    node: NodeRoom,
    bytes: u64,
}

impl Claim {
    pub(super) fn keep(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        give_back(&self.used, self.bytes);
        give_back(&self.node.0, self.bytes);
    }
}
