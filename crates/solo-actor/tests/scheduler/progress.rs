//! Nobody starves, no processor sleeps while there is work, and the system tier goes ahead.

use proptest::prelude::*;
use solo_actor::core::{BACKLOG_NS, PULL_MARGIN, SLICE_NS, SYSTEM_STREAK_NS, Tier, WAKE_CREDIT};

use super::sim::{GRAIN_NS, Life, ROUSE_NS, Sim};
use super::{SECOND_NS, cases, float, number, processors, weight};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Hog,
    Sleeper { burst_ns: u64, pause_ns: u64 },
    Talkers { burst_ns: u64 },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Hog),
        (1_000..5_000_000_u64, 100_000..20_000_000_u64)
            .prop_map(|(burst_ns, pause_ns)| Kind::Sleeper { burst_ns, pause_ns }),
        (500..2_000_000_u64).prop_map(|burst_ns| Kind::Talkers { burst_ns }),
    ]
}

/// Adds them; answers their weights.
fn add(sim: &mut Sim, kinds: &[(u64, Kind)]) -> Vec<u64> {
    let mut weights = Vec::new();
    for (weight, kind) in kinds {
        let id = weights.len();
        weights.push(*weight);
        match *kind {
            Kind::Hog => sim.user(*weight, Life::Hog),
            Kind::Sleeper { burst_ns, pause_ns } => {
                sim.user(*weight, Life::Sleeper { burst_ns, pause_ns })
            }
            Kind::Talkers { burst_ns } => {
                weights.push(*weight);
                sim.user(*weight, Life::Talker { burst_ns, peer: id + 1 });
                sim.user(*weight, Life::Talker { burst_ns, peer: id })
            }
        };
    }
    weights
}

/// How long an actor can have to wait.
///
/// `v` is its virtual time: at most that of all, and a slice of its own beyond it. While it waits, every
/// thread runs actors that are not further than `v` and the margin of pulling (else it would take this
/// one), or that were woken in a slice and are a slice of their own ahead. Each of them was behind the
/// virtual time of all by two of the longest steps at the most, or by the wake credit. So each of them
/// runs for no longer than brings it from there to there, and for the slice that it is in; all threads
/// share that, after the slices that they are in.
fn wait_bound_ns(weights: &[u64], own: usize, processors: usize) -> f64 {
    let slice_virtual = |weight: u64| float(SLICE_NS + GRAIN_NS) * 64.0 / float(weight);
    let step = weights.iter().map(|weight| slice_virtual(*weight)).fold(0.0, f64::max);
    let others = weights.iter().enumerate().filter(|(other, _)| *other != own);
    let ahead_ns: f64 = others
        .map(|(_, weight)| {
            let behind = 2.0 * step.max(float(WAKE_CREDIT));
            let until = slice_virtual(weights[own]) + slice_virtual(*weight) + float(PULL_MARGIN);
            (behind + until) * float(*weight) / 64.0 + float(SLICE_NS + GRAIN_NS)
        })
        .sum();
    ahead_ns / float(number(processors)) + 2.0 * float(SLICE_NS + GRAIN_NS + ROUSE_NS)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_actor_runs_within_its_bound(
        processors in processors(),
        kinds in prop::collection::vec((weight(6, 13), kind()), 1..25),
    ) {
        let mut sim = Sim::new(processors);
        let weights = add(&mut sim, &kinds);
        sim.run_until(10 * SECOND_NS);
        for own in 0..weights.len() {
            let bound_ns = wait_bound_ns(&weights, own, processors);
            let waited_ns = sim.waited_max_ns(own);
            prop_assert!(
                float(waited_ns) <= bound_ns,
                "weight {} waited {} ns, bound {}",
                weights[own],
                waited_ns,
                bound_ns
            );
        }
    }

    /// Beyond the backlog rule, which is looked at when an actor gives way: twice, where the first call
    /// brought somebody who found that what waited was just taken, and something waits again.
    #[test]
    fn no_processor_sleeps_while_an_actor_waits(
        processors in 2..9_usize,
        kinds in prop::collection::vec((weight(6, 13), kind()), 1..12),
    ) {
        let mut sim = Sim::new(processors);
        add(&mut sim, &kinds);
        sim.run_until(10 * SECOND_NS);
        let bound_ns = 2 * (SLICE_NS + GRAIN_NS) + BACKLOG_NS + ROUSE_NS;
        prop_assert!(sim.wasted_max_ns <= bound_ns, "{} ns", sim.wasted_max_ns);
    }

    /// One that uses less than its share runs as soon as the actor that it interrupts asks.
    #[test]
    fn a_modest_actor_is_served_at_once(
        processors in processors(),
        hogs in 1..30_u64,
        burst_us in 1..20_u64,
    ) {
        let mut sim = Sim::new(processors);
        for _ in 0..hogs {
            sim.user(1_024, Life::Hog);
        }
        let burst_ns = burst_us * 1_000;
        let pause_ns = 2 * burst_ns * (hogs + 1);
        let modest = sim.user(1_024, Life::Sleeper { burst_ns, pause_ns });
        sim.run_until(SECOND_NS);
        sim.forget_waits();
        sim.run_until(5 * SECOND_NS);
        prop_assert!(sim.waited_max_ns(modest) <= GRAIN_NS.max(ROUSE_NS));
    }

    #[test]
    fn the_system_tier_goes_ahead_and_leaves_the_user_tier_its_part(
        processors in processors(),
        system in 0..10_usize,
        users in 1..10_u64,
    ) {
        let mut sim = Sim::new(processors);
        let users: Vec<usize> = (0..users).map(|_| sim.user(1_024, Life::Hog)).collect();
        let hogs: Vec<usize> =
            (0..system).map(|_| sim.add(0, (1_024, Tier::System, None), Life::Hog)).collect();
        let life = Life::Sleeper { burst_ns: 20_000, pause_ns: 3_000_000 };
        let sleeper = sim.add(0, (1_024, Tier::System, None), life);
        sim.run_until(SECOND_NS);
        sim.forget_waits();
        let before: Vec<u64> = (0..sim.actors.len()).map(|actor| sim.cpu_ns(actor)).collect();
        sim.run_until(11 * SECOND_NS);
        let got = |actors: &[usize]| -> f64 {
            actors.iter().map(|actor| float(sim.cpu_ns(*actor) - before[*actor])).sum()
        };
        let all_ns = 10.0 * 1e9;
        let streak = float(SYSTEM_STREAK_NS);
        let system_part = streak / (streak + float(SLICE_NS + GRAIN_NS));
        let ahead = float(number(system.min(processors))) * all_ns;
        prop_assert!(got(&hogs) >= 0.98 * system_part * ahead - 3e6, "system got {}", got(&hogs));
        // What the system tier does not take is all theirs; of what it takes, one slice in 21 on each
        // processor where one of them waits, so at least on one.
        let free = float(number(processors.saturating_sub(system).min(users.len()))) * all_ns;
        let granted = if system >= processors { 0.95 * (1.0 - system_part) * all_ns } else { 0.0 };
        prop_assert!(got(&users) >= 0.95 * free + granted - 3e6, "users got {}", got(&users));
        let rounds = number(users.len()) + 1;
        let bound_ns = rounds * (SYSTEM_STREAK_NS + 2 * (SLICE_NS + GRAIN_NS));
        for user in &users {
            prop_assert!(sim.waited_max_ns(*user) <= bound_ns, "{}", sim.waited_max_ns(*user));
        }
        // Behind others of its tier, and behind a slice that was left to the user tier.
        let others = number(system.div_ceil(processors)) + 1;
        let bound_ns = match system {
            0 => GRAIN_NS.max(ROUSE_NS),
            _ => (2 * others + 1) * (SLICE_NS + GRAIN_NS),
        };
        prop_assert!(sim.waited_max_ns(sleeper) <= bound_ns, "{}", sim.waited_max_ns(sleeper));
    }
}
