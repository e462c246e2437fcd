//! Wake-ups from many sides at once.

use super::*;

/// Threads outside of the executor.
const OUTSIDE: usize = 4;

#[test]
fn a_storm_of_messages_from_outside_is_taken() {
    const ACTORS: usize = 100;
    const MESSAGES: usize = 20_000;
    let executor = executor(2);
    let taken = Arc::new(AtomicUsize::new(0));
    let servers: Vec<(Arc<Mailbox<Note>>, Actor)> = (0..ACTORS)
        .map(|_| {
            let (mailbox, taken) = (mailbox(), Arc::clone(&taken));
            let inbox = Arc::clone(&mailbox);
            let life = async move {
                loop {
                    let Note(count) = next(&inbox).await;
                    taken.fetch_add(count, Ordering::Relaxed);
                }
            };
            (mailbox, user(executor.handle(), life))
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..OUTSIDE {
            let servers = &servers;
            scope.spawn(move || {
                for message in 0..MESSAGES {
                    let (mailbox, server) = &servers[(message * 31 + thread) % ACTORS];
                    assert!(mailbox.push(Note(1), usize::MAX).is_ok());
                    server.wake();
                }
            });
        }
    });
    wait_for("all are taken", || taken.load(Ordering::Relaxed) == OUTSIDE * MESSAGES);
    stop(executor);
}

/// Wakes, interrupts and deadlines hit actors in all their states while they start and end.
#[test]
fn a_storm_of_wake_ups_loses_no_actor() {
    const ACTORS: usize = 2_000;
    let epoch = Epoch::default();
    let executor = epoch.start(2);
    let handle = executor.handle();
    let alive = Alive::default();
    let own: Arc<std::sync::OnceLock<Vec<Actor>>> = Arc::default();
    let actors: Vec<Actor> = (0..ACTORS)
        .map(|number| {
            let (living, epoch, of_epoch) = (alive.one(), epoch.clone(), handle.clone());
            let own = Arc::clone(&own);
            let tier = if number % 10 == 0 { Tier::System } else { Tier::User };
            let life = async move {
                let _living = living;
                for round in 0..5 {
                    if number % 100 == 0 {
                        epoch.compute(&of_epoch).await;
                    }
                    let actors = own.get().expect("set before");
                    let now_ns = clock::now_ns();
                    actors[number].wake_by(now_ns + (1 << (20 + round)), now_ns);
                    actors[(number * 17 + round) % ACTORS].wake();
                    sleep_once().await;
                }
            };
            handle.prepare(Weight::new(2 << (number % 16)), tier, None, life)
        })
        .collect();
    own.set(actors.clone()).expect("once");
    let (actors, done) = (&actors, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..OUTSIDE {
            scope.spawn(move || {
                actors[thread * ACTORS / OUTSIDE..][..ACTORS / OUTSIDE]
                    .iter()
                    .for_each(|actor| handle.begin(actor));
                while !done.load(Ordering::Relaxed) {
                    for (number, actor) in actors.iter().enumerate() {
                        match (number + thread) % 5 {
                            0 => actor.interrupt(),
                            _ => actor.wake(),
                        }
                    }
                }
            });
        }
        wait_for("all end", || actors.iter().all(Actor::is_done));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(alive.count(), 0);
    stop(executor);
}
