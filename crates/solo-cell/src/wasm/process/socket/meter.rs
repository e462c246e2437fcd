//! Bounds the processor time that serving one program takes, whatever it sends.
//!
//! The threads that serve are few and belong to all programs and services of a tenant.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::super::super::slot::Slot;

/// Of each period, so much is used for one program at most: a quarter of a processor, which is thousands of
/// requests a second, and leaves most of the threads to others.
const PERIOD: Duration = Duration::from_millis(100);
const SHARE: Duration = Duration::from_millis(25);

/// One step counts as no more than this: it took longer because the machine had others to run.
const STEP_MAX: Duration = Duration::from_millis(10);

/// What was used of the period. One per program.
#[derive(Debug)]
pub(super) struct Meter {
    period: Mutex<Period>,
    slot: Option<Arc<Slot>>,
}

#[derive(Debug)]
struct Period {
    began: Instant,
    used: Duration,
}

/// A future that waits for the next period when this one is used up.
pub(super) struct Metered<F> {
    meter: Arc<Meter>,
    pause: Option<Pin<Box<Sleep>>>,
    work: Pin<Box<F>>,
}

impl Meter {
    /// Nothing is used. What is used counts as processor time of `slot`.
    pub(super) fn new(slot: Option<Arc<Slot>>) -> Arc<Self> {
        let period = Mutex::new(Period { began: Instant::now(), used: Duration::ZERO });
        Arc::new(Self { period, slot })
    }

    /// `work`, held to what is left.
    pub(super) fn meter<F: Future>(self: &Arc<Self>, work: F) -> Metered<F> {
        Metered { meter: Arc::clone(self), pause: None, work: Box::pin(work) }
    }

    /// When the next period begins, if this one is used up.
    fn used_up(&self, now: Instant) -> Option<Instant> {
        let mut period = self.period.lock();
        if now.duration_since(period.began) >= PERIOD {
            *period = Period { began: now, used: Duration::ZERO };
        }
        (period.used >= SHARE).then(|| period.began + PERIOD)
    }

    fn use_up(&self, step: Duration) {
        let step = step.min(STEP_MAX);
        self.period.lock().used += step;
        if let Some(slot) = &self.slot {
            let step_us = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
            slot.figures.outside_us.fetch_add(step_us, Ordering::Relaxed);
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            let Some(until) = this.meter.used_up(Instant::now()) else { break };
            this.pause = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        let began = std::time::Instant::now();
        let polled = this.work.as_mut().poll(context);
        this.meter.use_up(began.elapsed());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_up_a_period_waits_for_the_next() {
        let meter = Meter::new(None);
        let now = Instant::now() + PERIOD;
        assert_eq!(meter.used_up(now), None);
        // One that takes long counts as a short one.
        meter.use_up(100 * STEP_MAX);
        assert_eq!(meter.used_up(now), None);
        meter.use_up(SHARE - STEP_MAX);
        assert_eq!(meter.used_up(now), None);
        meter.use_up(SHARE - 2 * STEP_MAX);
        let next = now + PERIOD;
        assert_eq!(meter.used_up(now), Some(next));
        assert_eq!(meter.used_up(next - Duration::from_nanos(1)), Some(next));
        assert_eq!(meter.used_up(next), None);
    }

    #[tokio::test]
    async fn work_that_was_held_up_is_done_in_the_end() {
        let meter = Meter::new(None);
        for _ in 0..3 {
            meter.use_up(STEP_MAX);
        }
        let began = Instant::now();
        assert_eq!(meter.meter(async { 7 }).await, 7);
        let until = meter.period.lock().began;
        assert!(until >= began, "a later period");
    }
}
