//! Every interleaving of the parts that threads share, with up to three preemptions in each:
//! `cargo test --release -p solo-actor --features loom --test loom`.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, Thread};
use solo_actor::core::{Entity, Picked, Tier, Turn, Weight, deserves_ring, place};
use solo_actor::model::{
    Doorbell, Finished, Level, Rest, Sleepers, Station, TaskState, TimerLevels,
};
use solo_actor::{Mailbox, MailboxBounds, Message, Next};

/// More finds nothing that fewer did not find, and takes minutes.
const PREEMPTIONS_MAX: usize = 3;

const BOUNDS: MailboxBounds = MailboxBounds { alert: 8, messages_max: 8, bytes_max: 64 };

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

struct Note;

impl Message for Note {
    fn bytes(&self) -> usize {
        1
    }
}

fn started() -> TaskState {
    let state = TaskState::new();
    assert!(state.start());
    state
}

/// One that sleeps.
fn asleep() -> TaskState {
    let state = started();
    state.begin();
    assert_eq!(state.finish(), Finished::Sleeps);
    state
}

fn entity(virtual_time: u64) -> Entity {
    let mut entity = Entity::new(Weight::default(), Tier::User, None);
    entity.start(virtual_time);
    entity
}

/// A thread's worth of actor: whoever schedules it adds one, and there must never be two.
struct Scheduled(AtomicUsize);

impl Scheduled {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn add(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::AcqRel), 0, "scheduled by one alone");
    }

    fn take(&self) -> bool {
        self.0.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[test]
fn a_message_is_taken_by_an_actor_that_was_woken_for_it() {
    check(|| {
        let shared = Arc::new((Mailbox::new(BOUNDS), asleep(), Scheduled::new()));
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (mailbox, state, scheduled) = &*shared;
                let mut taken = 0;
                while taken < 2 {
                    if !scheduled.take() {
                        thread::park();
                        continue;
                    }
                    state.begin();
                    while let Next::Message(Note) = mailbox.take() {
                        taken += 1;
                    }
                    if state.finish() == Finished::RunsAgain {
                        scheduled.add();
                    }
                }
            })
        };
        let push = |shared: &(Mailbox<Note>, TaskState, Scheduled), worker: &Thread| {
            let (mailbox, state, scheduled) = shared;
            assert!(mailbox.push(Note, usize::MAX).is_ok());
            if state.wake() {
                scheduled.add();
                worker.unpark();
            }
        };
        let other = {
            let (shared, worker) = (Arc::clone(&shared), worker.thread().clone());
            thread::spawn(move || push(&shared, &worker))
        };
        push(&shared, worker.thread());
        other.join().expect("no panic");
        // It would sleep for ever if a wake-up was lost: loom calls that a deadlock.
        worker.join().expect("no panic");
        assert_eq!(shared.0.depth(), 0);
    });
}

/// What is written before a wake-up is seen by a run after it, without a lock.
#[test]
fn the_run_after_a_wake_up_sees_what_was_done_before_it() {
    check(|| {
        // It is about to run, so that both may wake it while it does.
        let shared = Arc::new((started(), Scheduled::new(), [0; 2].map(AtomicUsize::new)));
        shared.1.add();
        let wakers = [0, 1].map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (state, scheduled, notes) = &*shared;
                notes[number].store(1, Ordering::Relaxed);
                if state.wake() {
                    scheduled.add();
                }
            })
        });
        let (state, scheduled, notes) = &*shared;
        let mut seen = 0;
        let mut run = || {
            while scheduled.take() {
                state.begin();
                seen = notes.iter().map(|note| note.load(Ordering::Relaxed)).sum();
                if state.finish() == Finished::RunsAgain {
                    scheduled.add();
                }
            }
        };
        run();
        wakers.into_iter().for_each(|waker| waker.join().expect("no panic"));
        run();
        assert_eq!(seen, 2);
    });
}

#[test]
fn an_actor_that_ends_is_not_scheduled_again() {
    check(|| {
        let state = Arc::new(started());
        let waker = {
            let state = Arc::clone(&state);
            thread::spawn(move || state.wake())
        };
        state.begin();
        state.end();
        assert!(!waker.join().expect("no panic"), "it was scheduled or ran all the time");
        assert!(state.is_done() && !state.wake());
    });
}

#[test]
fn an_actor_starts_once() {
    check(|| {
        let state = Arc::new(TaskState::new());
        let other = {
            let state = Arc::clone(&state);
            thread::spawn(move || u32::from(state.wake()) + u32::from(state.start()))
        };
        let started = u32::from(state.start());
        assert_eq!(started + other.join().expect("no panic"), 1);
    });
}

/// Threads, what waits for them, and who sleeps.
struct Threads {
    stations: Vec<Station<u64>>,
    sleepers: Sleepers,
    done: AtomicBool,
}

impl Threads {
    fn new(count: usize) -> Arc<Self> {
        let stations = (0..count).map(|_| Station::new()).collect();
        Arc::new(Self { stations, sleepers: Sleepers::new(), done: AtomicBool::new(false) })
    }

    /// As `Shared::submit_from_outside` does.
    fn submit(&self, target: usize, virtual_time: u64, threads: &[Thread]) {
        let station = &self.stations[target];
        let place = station.push(virtual_time, &mut entity(virtual_time), 0).expect("it is open");
        if let Some(sleeper) = self.sleepers.take(target) {
            threads[sleeper].unpark();
        } else if deserves_ring(place, station.running()) {
            station.doorbell.ring();
        }
    }

    /// As the loop of a worker does, until `count` were run in all.
    fn work(&self, index: usize, ran: &AtomicUsize, count: usize) {
        while !self.done.load(Ordering::Acquire) {
            if self.run_one(index) {
                if ran.fetch_add(1, Ordering::AcqRel) + 1 == count {
                    self.done.store(true, Ordering::Release);
                }
                continue;
            }
            self.stations[index].rest();
            self.sleepers.enter(index);
            let has_work = self.stations.iter().any(|station| station.head() != u64::MAX);
            if !has_work && !self.done.load(Ordering::Acquire) && !self.looks_out(index) {
                thread::park();
            }
            self.sleepers.leave(index);
        }
    }

    /// One look instead of twenty microseconds of them.
    fn looks_out(&self, index: usize) -> bool {
        let Some(_lookout) = self.sleepers.look_out(index) else { return false };
        self.stations.iter().any(|station| station.head() != u64::MAX)
    }

    fn run_one(&self, index: usize) -> bool {
        self.stations[index].doorbell.hear();
        let others = (0..self.stations.len()).filter(|other| *other != index);
        let mut given = others.filter_map(|other| self.stations[other].give(0));
        given.next().or_else(|| self.stations[index].take(Turn::Usual, 0).0).is_some()
    }
}

#[test]
fn a_thread_does_not_sleep_while_work_waits() {
    check(|| {
        let threads = Threads::new(1);
        let worker = {
            let threads = Arc::clone(&threads);
            thread::spawn(move || threads.work(0, &AtomicUsize::new(0), 2))
        };
        let handles = [worker.thread().clone()];
        threads.submit(0, 1, &handles);
        threads.submit(0, 2, &handles);
        worker.join().expect("no panic");
    });
}

/// Two that add at the same time wake each a thread, or find that none sleeps.
#[test]
fn of_two_threads_one_takes_what_waits_at_the_other() {
    check(|| {
        let threads = Threads::new(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let workers = [0, 1].map(|index| {
            let (threads, ran) = (Arc::clone(&threads), Arc::clone(&ran));
            thread::spawn(move || threads.work(index, &ran, 1))
        });
        let handles = [0, 1].map(|index: usize| workers[index].thread().clone());
        threads.submit(0, 1, &handles);
        // One of the two ends by itself; a stop wakes both.
        while !threads.done.load(Ordering::Acquire) {
            thread::yield_now();
        }
        handles.iter().for_each(Thread::unpark);
        workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

/// An actor that goes before what runs interrupts it or is chosen itself.
#[test]
fn who_goes_first_rings_or_is_chosen() {
    const FIRST: u64 = 1_000_000;
    const SECOND: u64 = 2_000_000;
    check(|| {
        let threads = Threads::new(1);
        let station = &threads.stations[0];
        // What ran until now came before both.
        station.push(0, &mut entity(0), 0);
        station.take(Turn::Usual, 0);
        station.push(SECOND, &mut entity(SECOND), 0);
        let other = {
            let threads = Arc::clone(&threads);
            thread::spawn(move || threads.submit(0, FIRST, &[]))
        };
        station.doorbell.hear();
        let (picked, _) = station.take(Turn::Usual, 0);
        other.join().expect("no panic");
        let Some(Picked::Runs { actor, .. }) = picked else { panic!("one waits") };
        assert!(actor == FIRST || station.doorbell.is_rung());
    });
}

/// The same for a thread that runs what it took from another one.
#[test]
fn who_goes_first_rings_a_thread_that_pulled() {
    const FIRST: u64 = 1_000_000;
    const SECOND: u64 = 2_000_000;
    check(|| {
        let threads = Threads::new(2);
        let station = &threads.stations[0];
        station.push(0, &mut entity(0), 0);
        station.take(Turn::Usual, 0);
        threads.stations[1].push(SECOND, &mut entity(SECOND), 0);
        let other = {
            let threads = Arc::clone(&threads);
            thread::spawn(move || threads.submit(0, FIRST, &[]))
        };
        station.doorbell.hear();
        threads.stations[1].give(0).expect("it waits there");
        if station.runs(place(Tier::User, SECOND)) {
            station.doorbell.ring();
        }
        other.join().expect("no panic");
        assert!(station.doorbell.is_rung());
    });
}

/// A ring is found where it is looked for: by the thread before it chooses, or by what it runs then.
#[test]
fn a_ring_is_not_lost() {
    check(|| {
        let shared = Arc::new((Doorbell::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let ringers = [0, 1].map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (doorbell, reasons, bells) = &*shared;
                reasons.fetch_add(1, Ordering::Relaxed);
                if doorbell.ring() {
                    bells.fetch_add(1, Ordering::Release);
                }
            })
        });
        let (doorbell, reasons, bells) = &*shared;
        doorbell.hear();
        let seen = reasons.load(Ordering::Relaxed);
        ringers.into_iter().for_each(|ringer| ringer.join().expect("no panic"));
        assert!(seen == 2 || doorbell.is_rung());
        // And what runs is made to look, unless that was done before it was chosen.
        assert!(bells.load(Ordering::Acquire) >= 1);
    });
}

/// An actor that sleeps until a deadline has a timer, or is about to run.
#[test]
fn a_deadline_is_not_missed() {
    const WAIT_NS: u64 = 1 << 30;
    check(|| {
        let timers: Mutex<Vec<Level>> = Mutex::new(Vec::new());
        let shared = Arc::new((asleep(), Scheduled::new(), TimerLevels::new(), timers));
        let wake = |state: &TaskState, scheduled: &Scheduled| {
            if state.wake() {
                scheduled.add();
            }
        };
        let clock = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (state, scheduled, levels, timers) = &*shared;
                for _ in 0..2 {
                    let due = timers.lock().expect("no panic").pop();
                    if let Some(level) = due {
                        levels.fired(level);
                        wake(state, scheduled);
                    }
                }
            })
        };
        let (state, scheduled, levels, timers) = &*shared;
        // Each time for a nearer deadline, so that there are several.
        let mut wait_ns = WAIT_NS;
        let mut run = || {
            while scheduled.take() {
                state.begin();
                wait_ns /= 2;
                if let Some(level) = levels.arm(wait_ns) {
                    assert!(level.wait_ns() <= wait_ns, "in time");
                    timers.lock().expect("no panic").push(level);
                }
                if state.finish() == Finished::RunsAgain {
                    scheduled.add();
                }
            }
        };
        wake(state, scheduled);
        run();
        wake(state, scheduled);
        run();
        clock.join().expect("no panic");
        run();
        let set = timers.lock().expect("no panic").len();
        assert!(set >= 1 && set == levels.set(), "{set} timers");
    });
}

/// The clock thread does not rest while somebody needs it.
#[test]
fn nobody_needs_a_thread_that_rests() {
    check(|| {
        let shared = Arc::new((Rest::new(), AtomicBool::new(false)));
        let clock = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (rest, needed) = &*shared;
                while !needed.load(Ordering::Relaxed) {
                    rest.begin();
                    if !needed.load(Ordering::Relaxed) {
                        thread::park();
                    }
                    rest.end();
                }
            })
        };
        let (rest, needed) = &*shared;
        needed.store(true, Ordering::Relaxed);
        if rest.ends() {
            clock.thread().unpark();
        }
        clock.join().expect("no panic");
    });
}
