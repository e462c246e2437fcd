//! Health checks of one incarnation, at intervals, on the runtime for input and output.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::failure::Fault;
use super::faults::Life;
use super::message::{Chain, Envelope, Reply, Work};
use super::service::HealthCheck;
use super::slot::Slot;

/// The checks of one incarnation. Dropping it ends them.
pub(crate) struct Checks(AbortHandle);

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins the checks, if there are any. Ends the incarnation when too many failed in a row.
pub(crate) fn watch(io: &Handle, slot: &Arc<Slot>) -> Option<Checks> {
    let check = slot.service.health_check.clone()?;
    let (slot, life) = (Arc::clone(slot), slot.life());
    Some(Checks(io.spawn(repeat(slot, life, check)).abort_handle()))
}

async fn repeat(slot: Arc<Slot>, life: Life, check: HealthCheck) {
    let HealthCheck { interval, timeout, failures_max, .. } = check;
    let mut failures = 0;
    loop {
        tokio::time::sleep(interval).await;
        let (reply, answer) = oneshot::channel();
        slot.put_health(Envelope {
            work: Work::Health,
            reply: Reply::Outside(reply),
            chain: Chain::NONE,
        });
        let problem = match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(_))) => {
                failures = 0;
                continue;
            }
            Ok(Ok(Err(failure))) => failure.message,
            // Nobody takes it: the instance is being stopped.
            Ok(Err(_)) => return,
            Err(_) => format!("no answer within {} ms", timeout.as_millis()),
        };
        failures += 1;
        slot.logger
            .line("warn", &format!("health check {failures} of {failures_max} failed: {problem}"));
        if failures >= failures_max {
            slot.inject(life, Fault::unhealthy(failures, &problem));
            return;
        }
    }
}
