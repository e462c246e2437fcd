//! When what happens in a run. Pure.

use std::time::Duration;

/// Part of the run, in percent, that warms up.
const WARM_UP_PERCENT: u32 = 20;

/// It never takes longer.
const WARM_UP_MAX: Duration = Duration::from_secs(300);

/// Between two samples under load.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Quiet moments in a run, if it is neither short nor long.
const QUIET_MOMENTS: u32 = 20;

/// Between two quiet moments at least: there has to be noise, too.
const QUIET_EVERY_MIN: Duration = Duration::from_secs(5);

/// And at most.
const QUIET_EVERY_MAX: Duration = Duration::from_secs(90);

/// A run has one kill of the kernel in this time; shorter ones have none.
const KERNEL_KILL_EVERY: Duration = Duration::from_secs(15 * 60);

/// Kills of the kernel come within these parts of the run, in percent: a new kernel begins small,
/// and needs time to show that it does not grow.
const KERNEL_KILLS_PERCENT: (u32, u32) = (25, 60);

/// What happens at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The kernel is killed.
    KillKernel,
    /// The processes are looked at under load.
    Sample,
    /// Everything is quiet and compared; if it is measured, it is a plateau.
    Quiet { is_measured: bool },
}

/// A run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    total: Duration,
    kernel_kills: u32,
}

impl Plan {
    /// A run that takes so long. `kernel_kills`: as the time allows.
    pub(crate) fn new(total: Duration, kernel_kills: Option<u32>) -> Self {
        let as_time_allows = total.as_secs() / KERNEL_KILL_EVERY.as_secs();
        let as_time_allows = u32::try_from(as_time_allows).unwrap_or(u32::MAX);
        Self { total, kernel_kills: kernel_kills.unwrap_or(as_time_allows) }
    }

    pub(crate) fn total(&self) -> Duration {
        self.total
    }

    fn warm_up(&self) -> Duration {
        (self.total * WARM_UP_PERCENT / 100).min(WARM_UP_MAX)
    }

    /// Everything, in order. The last is a quiet moment at the end.
    pub(crate) fn events(&self) -> Vec<(Duration, Event)> {
        let (total, warm_up) = (self.total, self.warm_up());
        let quiet_every = (total / QUIET_MOMENTS).clamp(QUIET_EVERY_MIN, QUIET_EVERY_MAX);
        let repeat = |every: Duration, first: Duration| {
            std::iter::successors(Some(first), move |at| Some(*at + every))
                .take_while(move |at| *at < total)
        };
        let mut events: Vec<_> =
            repeat(SAMPLE_EVERY, SAMPLE_EVERY).map(|at| (at, Event::Sample)).collect();
        let warming = repeat(quiet_every, quiet_every).take_while(|at| *at < warm_up);
        events.extend(warming.map(|at| (at, Event::Quiet { is_measured: false })));
        events.extend(
            repeat(quiet_every, warm_up).map(|at| (at, Event::Quiet { is_measured: true })),
        );
        let (first, last) = KERNEL_KILLS_PERCENT;
        let span = total * (last - first) / 100;
        events.extend((0..self.kernel_kills).map(|number| {
            (total * first / 100 + span * number / self.kernel_kills, Event::KillKernel)
        }));
        events.push((total, Event::Quiet { is_measured: true }));
        events.sort_unstable();
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(minutes: u64, kills: usize, warm_up: u64, plateaus: std::ops::Range<usize>) {
        let plan = Plan::new(Duration::from_secs(minutes * 60), None);
        let events = plan.events();
        let count = |wanted| events.iter().filter(|(_, event)| *event == wanted).count();
        assert_eq!(count(Event::KillKernel), kills, "{minutes}");
        let measured = Event::Quiet { is_measured: true };
        assert!(plateaus.contains(&count(measured)), "{minutes}: {}", count(measured));
        let first = events.iter().find(|(_, event)| *event == measured);
        assert_eq!(first.map(|(at, _)| at.as_secs()), Some(warm_up));
        assert_eq!(events.last(), Some(&(plan.total(), measured)));
        assert!(events.is_sorted());
    }

    #[test]
    fn an_hour_and_a_few_minutes() {
        check(60, 4, 300, 35..40);
        check(2, 0, 24, 15..18);
        check(15, 1, 180, 15..18);
    }

    #[test]
    fn kills_of_the_kernel_leave_time_after_them() {
        let plan = Plan::new(Duration::from_secs(100), Some(2));
        let kills = plan.events().into_iter().filter(|(_, event)| *event == Event::KillKernel);
        let times: Vec<u64> = kills.map(|(at, _)| at.as_secs()).collect();
        assert_eq!(times, [25, 42]);
    }
}
