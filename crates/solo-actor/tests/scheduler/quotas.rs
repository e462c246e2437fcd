//! Hard quotas.

use proptest::prelude::*;
use solo_actor::core::{QUOTA_PERIOD_NS, Quota, QuotaMode, SLICE_NS, Tier};

use super::sim::{GRAIN_NS, Life, Sim};
use super::{SECOND_NS, cases, processors, weight};

/// Often enough to see each period, and at different places of it.
const SAMPLE_NS: u64 = 37_000_000;

fn limited(sim: &mut Sim, weight: u64, percent: u8, mode: QuotaMode, life: Life) -> usize {
    sim.add(0, (weight, Tier::User, Some(Quota { percent, mode })), life)
}

proptest! {
    #![proptest_config(cases(48))]

    /// In any stretch of time: its part of each period that has begun in it, and the slice that was not
    /// over when the quota was.
    #[test]
    fn a_throttled_actor_never_gets_more(
        processors in processors(),
        limits in prop::collection::vec((weight(1, 18), 1..=100_u8, 100_000..5_000_000_u64), 1..8),
        hogs in 0..6_usize,
    ) {
        let mut sim = Sim::new(processors);
        let actors: Vec<(usize, u64)> = limits
            .iter()
            .map(|(weight, percent, burst_ns)| {
                // Some compute without a break, some with one.
                let life = match burst_ns % 2 {
                    0 => Life::Hog,
                    _ => Life::Sleeper { burst_ns: *burst_ns, pause_ns: *burst_ns / 3 },
                };
                let mode = QuotaMode::Throttle;
                (limited(&mut sim, *weight, *percent, mode, life), u64::from(*percent))
            })
            .collect();
        for _ in 0..hogs {
            sim.user(1_024, Life::Hog);
        }
        let mut samples: Vec<(u64, Vec<u64>)> = Vec::new();
        while sim.now_ns < 4 * SECOND_NS {
            sim.run_until(sim.now_ns + SAMPLE_NS);
            let used = actors.iter().map(|(actor, _)| sim.cpu_ns(*actor)).collect();
            for (began_ns, before) in &samples {
                let periods = (sim.now_ns - began_ns).div_ceil(QUOTA_PERIOD_NS) + 1;
                for ((number, percent), before) in actors.iter().zip(before) {
                    let allowed_ns = periods * QUOTA_PERIOD_NS / 100 * percent;
                    let got_ns = sim.cpu_ns(*number) - before;
                    prop_assert!(got_ns <= allowed_ns + SLICE_NS + GRAIN_NS, "{} ns", got_ns);
                }
            }
            samples.push((sim.now_ns, used));
        }
    }

    /// One that has a processor for itself gets what its quota allows, and the periods are counted.
    #[test]
    fn a_throttled_actor_gets_its_quota(percent in 1..=99_u8, weight in weight(1, 18)) {
        let mut sim = Sim::new(1);
        let actor = limited(&mut sim, weight, percent, QuotaMode::Throttle, Life::Hog);
        sim.run_until(10 * SECOND_NS);
        let due_ns = 10 * SECOND_NS / 100 * u64::from(percent);
        let got_ns = sim.cpu_ns(actor);
        prop_assert!(got_ns + 2 * SLICE_NS >= due_ns, "got {} of {}", got_ns, due_ns);
        let entity = &sim.actors[actor].entity;
        prop_assert!((99..=101).contains(&entity.exceeded()), "{} periods", entity.exceeded());
        let free_ns = 10 * SECOND_NS - got_ns;
        prop_assert!(free_ns.abs_diff(entity.throttled_ns()) <= QUOTA_PERIOD_NS);
    }

    /// One that is only watched runs on; each period counts.
    #[test]
    fn a_watched_actor_runs_on(percent in 1..=90_u8) {
        let mut sim = Sim::new(1);
        let actor = limited(&mut sim, 1_024, percent, QuotaMode::Watch, Life::Hog);
        sim.run_until(5 * SECOND_NS);
        prop_assert!(sim.cpu_ns(actor) + 2 * SLICE_NS >= 5 * SECOND_NS);
        let entity = &sim.actors[actor].entity;
        prop_assert!((49..=50).contains(&entity.exceeded()), "{} periods", entity.exceeded());
        prop_assert_eq!(entity.throttled_ns(), 0);
    }
}
