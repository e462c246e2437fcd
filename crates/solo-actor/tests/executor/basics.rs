//! Messages, deadlines, and actors woken among busy ones.

use std::sync::OnceLock;
use std::sync::mpsc;

use solo_actor::core::{Quota, QuotaMode};

use super::*;

#[test]
fn messages_between_many_actors_all_arrive() {
    const ACTORS: usize = 200;
    const ROUNDS: usize = 200;
    let executor = executor(2);
    let mailboxes: Vec<_> = (0..ACTORS).map(|_| mailbox()).collect();
    let actors: Arc<OnceLock<Vec<Actor>>> = Arc::default();
    let handle = executor.handle();
    let prepared: Vec<Actor> = (0..ACTORS)
        .map(|index| {
            let (mailboxes, actors) = (mailboxes.clone(), Arc::clone(&actors));
            let life = async move {
                for _ in 0..ROUNDS {
                    let Note(number) = next(&mailboxes[index]).await;
                    let to = (index * 7 + number) % ACTORS;
                    let pushed = mailboxes[to].push(Note(number + 1), usize::MAX);
                    assert!(pushed.is_ok());
                    actors.get().expect("set before")[to].wake();
                }
            };
            handle.prepare(Weight::default(), Tier::User, None, life)
        })
        .collect();
    actors.set(prepared.clone()).expect("once");
    prepared.iter().for_each(|actor| handle.begin(actor));
    // Enough for each to end, whatever way the numbers take.
    for (mailbox, actor) in mailboxes.iter().zip(&prepared) {
        for number in 0..ROUNDS {
            assert!(mailbox.push(Note(number), usize::MAX).is_ok());
            actor.wake();
        }
    }
    wait_for("every actor ends", || prepared.iter().all(Actor::is_done));
    assert!(prepared.iter().all(|actor| actor.cpu().cpu_ns > 0));
    stop(executor);
}

#[test]
fn an_actor_woken_from_outside_runs_among_hogs() {
    let epoch = Epoch::default();
    let executor = epoch.start(2);
    let handle = executor.handle();
    let halt = Arc::new(AtomicBool::new(false));
    let hogs: Vec<Actor> = (0..20)
        .map(|_| user(handle, epoch.clone().hog(handle.clone(), Arc::clone(&halt))))
        .collect();
    let mailbox = mailbox();
    let (answers, answered) = mpsc::sync_channel(ANSWERS_MAX);
    let server = {
        let mailbox = Arc::clone(&mailbox);
        async move {
            loop {
                let Note(number) = next(&mailbox).await;
                answers.send(number).ok();
            }
        }
    };
    let server = user(handle, server);
    for number in 0..100 {
        assert!(mailbox.push(Note(number), usize::MAX).is_ok());
        server.wake();
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(number));
    }
    wait_for("every hog ran", || hogs.iter().all(|hog| hog.cpu().cpu_ns > 0));
    halt.store(true, Ordering::Relaxed);
    wait_for("every hog ends", || hogs.iter().all(Actor::is_done));
    stop(executor);
}

/// An actor that waits again and again, each time for `wait_ms`.
fn sleeper(handle: &Handle, waits_ms: Vec<u64>) -> Actor {
    let own: Arc<OnceLock<Actor>> = Arc::default();
    let life = {
        let own = Arc::clone(&own);
        async move {
            for wait_ms in waits_ms {
                let deadline_ns = clock::now_ns() + wait_ms * 1_000_000;
                poll_fn(|_| {
                    let now_ns = clock::now_ns();
                    if now_ns >= deadline_ns {
                        return Poll::Ready(());
                    }
                    own.get().expect("set before").wake_by(deadline_ns, now_ns);
                    Poll::Pending
                })
                .await;
            }
        }
    };
    let actor = handle.prepare(Weight::default(), Tier::User, None, life);
    own.set(actor.clone()).expect("once");
    handle.begin(&actor);
    actor
}

#[test]
fn a_deadline_wakes_whoever_waits_for_it() {
    let executor = executor(1);
    let actor = sleeper(executor.handle(), vec![30]);
    wait_for("it was woken", || actor.is_done());
    stop(executor);
}

#[test]
fn many_deadlines_are_all_kept() {
    let executor = executor(2);
    let sleepers: Vec<Actor> = (0..1_000)
        .map(|number| sleeper(executor.handle(), vec![number % 7, number % 50, 0, number % 3]))
        .collect();
    wait_for("all were woken", || sleepers.iter().all(Actor::is_done));
    stop(executor);
}

/// L1 in the small: what a quota does can be seen. How much it allows is tested with simulated time.
#[test]
fn quotas_throttle_or_are_watched() {
    let epoch = Epoch::default();
    let executor = epoch.start(2);
    let handle = executor.handle();
    let halt = Arc::new(AtomicBool::new(false));
    let [throttled, watched] = [QuotaMode::Throttle, QuotaMode::Watch].map(|mode| {
        let hog = epoch.clone().hog(handle.clone(), Arc::clone(&halt));
        let quota = Some(Quota { percent: 5, mode });
        handle.spawn(Weight::default(), Tier::User, quota, hog)
    });
    wait_for("both exceed their quotas", || {
        throttled.cpu().quota_exceeded >= 3 && watched.cpu().quota_exceeded >= 3
    });
    assert!(throttled.cpu().throttled_ns > 0);
    assert_eq!(watched.cpu().throttled_ns, 0);
    halt.store(true, Ordering::Relaxed);
    wait_for("both end", || throttled.is_done() && watched.is_done());
    stop(executor);
}

#[test]
fn an_actor_that_runs_can_be_interrupted() {
    let epoch = Epoch::default();
    let executor = epoch.start(1);
    let handle = executor.handle();
    for _ in 0..50 {
        let (halt, began) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let life = {
            let (epoch, handle) = (epoch.clone(), handle.clone());
            let (halt, began) = (Arc::clone(&halt), Arc::clone(&began));
            async move {
                began.store(true, Ordering::Release);
                epoch.hog(handle, halt).await;
            }
        };
        let actor = user(handle, life);
        wait_for("it runs", || began.load(Ordering::Acquire));
        halt.store(true, Ordering::Relaxed);
        actor.interrupt();
        wait_for("it ends", || actor.is_done());
        // Nothing to interrupt any more, and no harm.
        actor.interrupt();
    }
    stop(executor);
}

/// S1: killable at any time. One that owes more than a minute to its quota is not kept from ending.
#[test]
fn an_actor_that_waits_for_its_quota_can_be_interrupted() {
    let executor = executor(2);
    let handle = executor.handle();
    let halt = Arc::new(AtomicBool::new(false));
    let actors: Vec<Actor> = (0..2)
        .map(|_| {
            let halt = Arc::clone(&halt);
            let life = async move {
                let until_ns = clock::now_ns() + 1_000_000_000;
                while clock::now_ns() < until_ns {
                    std::hint::spin_loop();
                }
                while !halt.load(Ordering::Relaxed) {
                    yield_now().await;
                }
            };
            let quota = Some(Quota { percent: 1, mode: QuotaMode::Throttle });
            handle.spawn(Weight::default(), Tier::User, quota, life)
        })
        .collect();
    wait_for("the quotas are used up", || actors.iter().all(|a| a.cpu().quota_exceeded > 0));
    halt.store(true, Ordering::Relaxed);
    actors.iter().for_each(Actor::interrupt);
    wait_for("they end", || actors.iter().all(Actor::is_done));
    stop(executor);
}

#[test]
fn an_actor_begins_once() {
    let executor = executor(2);
    let runs = Arc::new(AtomicUsize::new(0));
    let life = {
        let runs = Arc::clone(&runs);
        async move {
            runs.fetch_add(1, Ordering::Relaxed);
            sleep_once().await;
        }
    };
    let actor = executor.handle().prepare(Weight::default(), Tier::User, None, life);
    actor.wake();
    assert!(!actor.is_done(), "it has not begun");
    executor.handle().begin(&actor);
    executor.handle().begin(&actor);
    wait_for("it runs", || runs.load(Ordering::Relaxed) == 1);
    executor.handle().begin(&actor);
    wait_for("it ends", || {
        actor.wake();
        actor.is_done()
    });
    executor.handle().begin(&actor);
    actor.wake();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    stop(executor);
}
