//! The time of day, for records and rows (decisions take monotonic time instead), and waiting for a
//! level.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until `level` holds; false when nobody can make it hold any more. Holds no lock afterwards.
pub(crate) async fn until<T>(
    receiver: &mut watch::Receiver<T>,
    level: impl FnMut(&T) -> bool,
) -> bool {
    receiver.wait_for(level).await.is_ok()
}
