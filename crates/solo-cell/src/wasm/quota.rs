//! What follows when an instance uses up its hard quota of processor time. The scheduler counts, and
//! holds it back where limits throttle; this reports, and ends the instance where limits kill.

use solo_actor::core::QUOTA_PERIOD_NS;
use solo_actor::current;
use solo_types::LimitAction;

use super::failure::Fault;
use super::slot::Slot;
use super::violations::Limit;

/// Periods in a row that end an instance: one second. A burst is no offence.
const PERIODS_MAX: u32 = 10;

/// Looks at the quota of one incarnation.
#[derive(Debug)]
pub(crate) struct QuotaWatch {
    seen: u64,
    in_a_row: u32,
    last_ns: u64,
}

impl QuotaWatch {
    /// `None`: there is no quota.
    pub(crate) fn new(slot: &Slot) -> Option<Self> {
        let seen = slot.cpu().quota_exceeded;
        (slot.service.cpu_quota_percent > 0).then_some(Self { seen, in_a_row: 0, last_ns: 0 })
    }

    /// Looks; answers how the incarnation ends, if it does.
    pub(crate) fn look(&mut self, slot: &Slot) -> Option<Fault> {
        let exceeded = slot.cpu().quota_exceeded;
        if exceeded == self.seen {
            return None;
        }
        self.seen = exceeded;
        let now_ns = current::now_ns();
        let is_in_a_row = now_ns.saturating_sub(self.last_ns) <= 2 * QUOTA_PERIOD_NS;
        self.in_a_row = if is_in_a_row { self.in_a_row + 1 } else { 1 };
        self.last_ns = now_ns;
        let percent = slot.service.cpu_quota_percent;
        let message = || format!("more than cpu_quota_percent = {percent} of a processor");
        let action = slot.service.limit_action;
        let kills = action == LimitAction::Kill && self.in_a_row >= PERIODS_MAX;
        let shown = if action == LimitAction::Kill && !kills { LimitAction::Warn } else { action };
        slot.violated(Limit::Cpu, shown, message);
        kills.then(|| Fault::limit(format!("{} for a second", message())))
    }
}
