//! The parts on their own: order in a queue, and the largest and smallest numbers.

use proptest::prelude::*;
use solo_actor::core::{
    Entity, Picked, Processor, Quota, QuotaMode, RunQueue, Tier, Turn, Weight, place, start,
    target, victim,
};

use super::cases;

fn tier() -> impl Strategy<Value = Tier> {
    prop_oneof![Just(Tier::System), Just(Tier::User)]
}

fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63), any::<u64>()]
}

fn entity() -> impl Strategy<Value = Entity> {
    let mode = prop_oneof![Just(QuotaMode::Throttle), Just(QuotaMode::Watch)];
    let quota = prop::option::of((any::<u8>(), mode));
    (extreme(), tier(), quota).prop_map(|(weight, tier, quota)| {
        let quota = quota.map(|(percent, mode)| Quota { percent, mode });
        Entity::new(Weight::new(weight), tier, quota)
    })
}

proptest! {
    #![proptest_config(cases(256))]

    /// By tier, then by virtual time, then in the order in which they came.
    #[test]
    fn a_queue_is_sorted_and_stable(actors in prop::collection::vec((tier(), 0..8_u64), 0..60)) {
        let mut queue = RunQueue::default();
        for (number, (tier, virtual_time)) in actors.iter().enumerate() {
            let mut entity = Entity::new(Weight::default(), *tier, None);
            entity.start(*virtual_time);
            queue.push(number, &mut entity, 0);
        }
        let mut expected: Vec<usize> = (0..actors.len()).collect();
        expected.sort_by_key(|number| actors[*number]);
        for number in expected {
            let (tier, virtual_time) = actors[number];
            prop_assert_eq!(queue.head(), place(tier, virtual_time));
            let picked = Picked::Runs { actor: number, tier, virtual_time };
            prop_assert_eq!(queue.pick(Turn::Usual, 0), Some(picked));
        }
        prop_assert_eq!((queue.head(), queue.pick(Turn::User, 0)), (u64::MAX, None));
    }

    /// What goes in comes out, and what has a head can be taken, whatever the numbers.
    #[test]
    fn extreme_numbers_do_no_harm(
        steps in prop::collection::vec((0..7_u8, 0..4_usize, extreme()), 1..80),
        mut entities in prop::collection::vec(entity(), 4),
    ) {
        let mut queue = RunQueue::default();
        let mut processor = Processor::default();
        let mut clock = 0;
        let mut waiting = 0;
        for (step, actor, number) in steps {
            let entity = &mut entities[actor];
            match step {
                0 => entity.wake(number),
                1 => entity.charge(number, clock),
                2 => entity.keep_up(number, clock),
                3 => entity.start(start(number, clock)),
                4 => {
                    queue.push(actor, entity, clock);
                    waiting += 1;
                }
                5 => {
                    processor.end_slice(number);
                    let turn = processor.turn();
                    prop_assert_eq!(queue.is_empty(), queue.head() == u64::MAX);
                    let has_one = !queue.is_empty();
                    let picked = queue.pick(turn, clock);
                    prop_assert!(picked.is_some() || !has_one);
                    waiting -= u32::from(picked.is_some());
                    if let Some(Picked::Runs { tier, .. }) = picked {
                        processor.begin_slice(turn, tier, number);
                    }
                }
                _ => {
                    clock = number;
                    processor.next_up(queue.head(), number).admits(entity);
                    entity.note_throttled(number);
                    processor.calls_for_help(actor, number, clock);
                    prop_assert!(victim((number, 1), u64::MAX).is_some() || number == u64::MAX);
                    prop_assert!(target(actor, 3, |_| number) < 3);
                }
            }
        }
        // All but those whose quota never comes back.
        while queue.pick(Turn::Usual, u64::MAX).is_some() {
            waiting -= 1;
        }
        prop_assert_eq!(waiting, 0);
    }

    #[test]
    fn an_actor_that_waits_is_never_taken_for_none(tier in tier(), virtual_time in extreme()) {
        prop_assert!(place(tier, virtual_time) < u64::MAX);
    }
}
