//! Actors that wake each other for ever must not keep a thread from others (L2).

use std::sync::OnceLock;

use super::*;

/// Computes for so many slices and ends.
fn finite(handle: &Handle, epoch: &Epoch, slices: usize) -> Actor {
    let (epoch, of_epoch) = (epoch.clone(), handle.clone());
    user(handle, async move {
        for _ in 0..slices {
            epoch.compute(&of_epoch).await;
        }
    })
}

/// Two actors of `tier` that wake each other until `halt`. The first one computes as long as it may
/// each time if `rides`.
fn talkers(
    handle: &Handle,
    tier: Tier,
    halt: &Arc<AtomicBool>,
    rides: Option<&Epoch>,
) -> Vec<Actor> {
    let pair: Arc<OnceLock<Vec<Actor>>> = Arc::default();
    let actors: Vec<Actor> = (0..2)
        .map(|number| {
            let (pair, halt) = (Arc::clone(&pair), Arc::clone(halt));
            let (epoch, handle_2) = (rides.cloned(), handle.clone());
            let life = async move {
                while !halt.load(Ordering::Relaxed) {
                    pair.get().expect("set before")[1 - number].wake();
                    if let (0, Some(epoch)) = (number, &epoch) {
                        let seen = epoch.0.load(Ordering::Relaxed);
                        while epoch.0.load(Ordering::Relaxed) == seen
                            || !current::should_yield(&handle_2)
                        {
                            std::hint::spin_loop();
                        }
                    }
                    sleep_once().await;
                }
                pair.get().expect("set before")[1 - number].wake();
            };
            handle.prepare(Weight::default(), tier, None, life)
        })
        .collect();
    pair.set(actors.clone()).expect("once");
    actors.iter().for_each(|actor| handle.begin(actor));
    actors
}

fn check(threads: usize, tier: Tier, rides: bool) {
    let epoch = Epoch::default();
    let executor = epoch.start(threads);
    let handle = executor.handle();
    let halt = Arc::new(AtomicBool::new(false));
    let pairs: Vec<Actor> =
        (0..threads).flat_map(|_| talkers(handle, tier, &halt, rides.then_some(&epoch))).collect();
    wait_for("they talk", || pairs.iter().all(|actor| actor.cpu().cpu_ns > 0));
    // Of the system tier one slice in 21 is left.
    let slices = if tier == Tier::System { 10 } else { 100 };
    let others: Vec<Actor> = (0..3).map(|_| finite(handle, &epoch, slices)).collect();
    wait_for("the others end", || others.iter().all(Actor::is_done));
    assert!(!pairs.iter().any(Actor::is_done));
    halt.store(true, Ordering::Relaxed);
    wait_for("the talkers end", || pairs.iter().all(Actor::is_done));
    stop(executor);
}

#[test]
fn two_that_talk_for_ever_do_not_starve_others() {
    check(1, Tier::User, false);
    check(2, Tier::User, false);
}

#[test]
fn one_that_rides_on_the_slices_of_another_does_not_starve_others() {
    check(1, Tier::User, true);
    check(2, Tier::User, true);
}

/// S1: the system tier goes ahead, and even when it never rests the user tier gets its part.
#[test]
fn system_tier_actors_that_talk_for_ever_do_not_starve_the_user_tier() {
    check(1, Tier::System, false);
    check(2, Tier::System, true);
}

/// S1: a system-tier actor is served while user-tier actors talk and compute.
#[test]
fn a_system_tier_actor_is_served_among_talkers() {
    let epoch = Epoch::default();
    let executor = epoch.start(1);
    let handle = executor.handle();
    let halt = Arc::new(AtomicBool::new(false));
    let mut busy = talkers(handle, Tier::User, &halt, None);
    busy.extend((0..5).map(|_| user(handle, epoch.clone().hog(handle.clone(), Arc::clone(&halt)))));
    let served = Arc::new(AtomicUsize::new(0));
    let life = {
        let served = Arc::clone(&served);
        async move {
            loop {
                served.fetch_add(1, Ordering::Relaxed);
                sleep_once().await;
            }
        }
    };
    let system = handle.spawn(Weight::new(2), Tier::System, None, life);
    for count in 1..200 {
        wait_for("it is served", || served.load(Ordering::Relaxed) >= count);
        system.wake();
    }
    halt.store(true, Ordering::Relaxed);
    wait_for("the others end", || busy.iter().all(Actor::is_done));
    stop(executor);
}
