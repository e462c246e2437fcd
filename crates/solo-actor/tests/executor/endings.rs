//! Actors that end, that panic, whose parts wake others when they are dropped, and the end of all.

use std::panic::resume_unwind;
use std::sync::OnceLock;

use super::*;

#[test]
fn ten_thousand_actors_leave_nothing_behind() {
    const ACTORS: usize = 10_000;
    let executor = executor(2);
    let alive = Alive::default();
    for _ in 0..3 {
        let actors: Vec<Actor> = (0..ACTORS)
            .map(|number| {
                let living = alive.one();
                user(executor.handle(), async move {
                    let _living = living;
                    match number % 3 {
                        0 => {}
                        1 => yield_now().await,
                        _ => sleep_once().await,
                    }
                })
            })
            .collect();
        wait_for("all end", || {
            actors.iter().for_each(Actor::wake);
            actors.iter().all(Actor::is_done)
        });
        assert_eq!(alive.count(), 0, "whoever has ended has been dropped");
    }
    stop(executor);
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        // Does not print.
        resume_unwind(Box::new("dropped"));
    }
}

/// S3: siblings go on.
#[test]
fn a_panic_ends_its_actor_alone() {
    let executor = executor(1);
    let alive = Alive::default();
    for _ in 0..100 {
        let [panics, panics_on_drop, sound] = [alive.one(), alive.one(), alive.one()];
        let actors = [
            user(executor.handle(), async move {
                let _living = panics;
                yield_now().await;
                resume_unwind(Box::new("polled"));
            }),
            user(executor.handle(), async move {
                let _living = panics_on_drop;
                let panics = PanicsOnDrop;
                yield_now().await;
                drop(panics);
            }),
            user(executor.handle(), async move {
                let _living = sound;
                yield_now().await;
            }),
        ];
        wait_for("all end", || actors.iter().all(Actor::is_done));
    }
    assert_eq!(alive.count(), 0);
    stop(executor);
}

/// A future that ends while it holds what panics when it is dropped.
struct HoldsBomb(Option<PanicsOnDrop>, #[expect(dead_code, reason = "dropped")] Living);

impl Future for HoldsBomb {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        assert!(self.0.is_some());
        Poll::Ready(())
    }
}

#[test]
fn a_panic_in_what_is_dropped_ends_no_thread() {
    let executor = executor(1);
    let alive = Alive::default();
    for _ in 0..100 {
        let actor = user(executor.handle(), HoldsBomb(Some(PanicsOnDrop), alive.one()));
        wait_for("it ends", || actor.is_done());
    }
    assert_eq!(alive.count(), 0);
    let actor = user(executor.handle(), yield_now());
    wait_for("the thread goes on", || actor.is_done());
    stop(executor);
}

/// Wakes an actor when it is dropped.
struct WakesOnDrop(Arc<OnceLock<Vec<Actor>>>, usize);

impl Drop for WakesOnDrop {
    fn drop(&mut self) {
        if let Some(actor) = self.0.get().and_then(|actors| actors.get(self.1)) {
            actor.wake();
            actor.interrupt();
        }
    }
}

/// Actors that sleep, each with a part that wakes the next one when it is dropped.
fn chain(handle: &Handle, alive: &Alive, length: usize) -> Arc<OnceLock<Vec<Actor>>> {
    let actors: Arc<OnceLock<Vec<Actor>>> = Arc::default();
    let chain = (0..length)
        .map(|number| {
            let wakes = WakesOnDrop(Arc::clone(&actors), number + 1);
            let living = alive.one();
            let life = async move {
                let (_living, _wakes) = (living, wakes);
                sleep_once().await;
            };
            handle.prepare(Weight::default(), Tier::User, None, life)
        })
        .collect();
    assert!(actors.set(chain).is_ok());
    actors
}

#[test]
fn what_is_dropped_may_wake_others() {
    let executor = executor(2);
    let alive = Alive::default();
    let actors = chain(executor.handle(), &alive, 1_000);
    let actors = actors.get().expect("set before");
    actors.iter().for_each(|actor| executor.handle().begin(actor));
    wait_for("all sleep", || actors.iter().all(|actor| actor.cpu().cpu_ns > 0));
    // Each wakes the next one by its end, one at the beginning each of them.
    wait_for("all end", || {
        actors[0].wake();
        actors.iter().all(Actor::is_done)
    });
    assert_eq!(alive.count(), 0);
    stop(executor);
}

/// What waits to run when the executor stops is dropped, and may wake what sleeps or waits beside it.
#[test]
fn what_is_dropped_at_the_end_may_wake_others() {
    for threads in [1, 2] {
        let executor = executor(threads);
        let handle = executor.handle();
        let alive = Alive::default();
        let actors = chain(handle, &alive, 500);
        let actors = actors.get().expect("set before");
        actors.iter().for_each(|actor| handle.begin(actor));
        wait_for("all sleep", || actors.iter().all(|actor| actor.cpu().cpu_ns > 0));
        // Nobody else runs while these do.
        let (began, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for _ in 0..threads {
            let (began, release) = (Arc::clone(&began), Arc::clone(&release));
            user(handle, async move {
                began.fetch_add(1, Ordering::Relaxed);
                while !release.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        wait_for("no thread is free", || began.load(Ordering::Relaxed) == threads);
        actors.iter().step_by(3).for_each(Actor::wake);
        let stopping = std::thread::spawn(move || executor.stop());
        // If it has not begun to stop by then, those that were woken run, and end all the same.
        std::thread::sleep(Duration::from_millis(20));
        release.store(true, Ordering::Relaxed);
        wait_for("the executor stops", || stopping.is_finished());
        let asleep = actors.iter().filter(|actor| !actor.is_done()).count();
        assert_eq!(alive.count(), asleep, "those that sleep go with the process");
        assert!(asleep <= 333, "those that were woken have ended");
        actors.iter().for_each(Actor::wake);
    }
}

/// Actors that compute are asked to give way until the last one has.
#[test]
fn a_busy_executor_stops() {
    for round in 0..100 {
        let epoch = Epoch::default();
        let executor = epoch.start(2);
        let handle = executor.handle();
        let never = Arc::new(AtomicBool::new(false));
        let hogs: Vec<Actor> = (0..1 + round % 4)
            .map(|_| user(handle, epoch.clone().hog(handle.clone(), Arc::clone(&never))))
            .collect();
        if round % 2 == 0 {
            wait_for("hogs run", || hogs.iter().all(|hog| hog.cpu().cpu_ns > 0));
        }
        stop(executor);
    }
}

#[test]
fn an_idle_executor_stops() {
    for _ in 0..100 {
        stop(executor(2));
    }
}

/// An executor that is dropped ends its threads without being waited for.
#[test]
fn a_dropped_executor_ends_its_actors() {
    let epoch = Epoch::default();
    let executor = epoch.start(2);
    let alive = Alive::default();
    let handle = executor.handle().clone();
    for _ in 0..10 {
        let hog = epoch.clone().hog(handle.clone(), Arc::default());
        let living = alive.one();
        user(&handle, async move {
            let _living = living;
            hog.await;
        });
    }
    wait_for("they are there", || alive.count() == 10);
    drop(executor);
    wait_for("all are dropped", || alive.count() == 0);
    // Nobody will run it, and nobody keeps it.
    drop(user(&handle, {
        let living = alive.one();
        async move { drop(living) }
    }));
    wait_for("it is dropped", || alive.count() == 0);
}
