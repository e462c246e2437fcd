//! The executor with real threads. Nothing is measured here: tests wait for a state.
#![cfg(not(feature = "loom"))]

mod basics;
mod endings;
mod storms;
mod talkers;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use solo_actor::core::{Tier, Weight};
use solo_actor::{
    Actor, Executor, ExecutorOptions, Handle, Mailbox, MailboxBounds, Message, Next, clock, current,
};

/// So long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// More answers than any test gives.
const ANSWERS_MAX: usize = 10_000;

struct Note(usize);

impl Message for Note {
    fn bytes(&self) -> usize {
        1
    }
}

/// Counts the bells, as the epoch of an engine does: an actor that computes asks when it has changed.
#[derive(Clone, Default)]
struct Epoch(Arc<AtomicU64>);

impl Epoch {
    fn start(&self, threads: usize) -> Executor {
        let epoch = Arc::clone(&self.0);
        let bell = Arc::new(move || {
            epoch.fetch_add(1, Ordering::Relaxed);
        });
        let options = ExecutorOptions { threads, bell, around: Arc::new(|run| run()) };
        Executor::start(options).expect("threads")
    }

    /// Computes until `stop`, and gives way when asked. It asks when the epoch has changed, and else
    /// not.
    async fn hog(self, handle: Handle, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            self.compute(&handle).await;
        }
    }

    /// Computes until it must give way.
    async fn compute(&self, handle: &Handle) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            std::hint::spin_loop();
            let epoch = self.0.load(Ordering::Relaxed);
            if epoch != seen && current::should_yield(handle) {
                return yield_now().await;
            }
            seen = epoch;
        }
    }
}

fn executor(threads: usize) -> Executor {
    Epoch::default().start(threads)
}

fn mailbox() -> Arc<Mailbox<Note>> {
    let bounds = MailboxBounds { alert: 1 << 20, messages_max: 1 << 20, bytes_max: 1 << 30 };
    Arc::new(Mailbox::new(bounds))
}

async fn next(mailbox: &Mailbox<Note>) -> Note {
    poll_fn(|_| match mailbox.take() {
        Next::Message(note) => Poll::Ready(note),
        Next::Empty | Next::Closed => Poll::Pending,
    })
    .await
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sleeps once, until woken.
async fn sleep_once() {
    let mut slept = false;
    poll_fn(|_| if std::mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

fn user(handle: &Handle, life: impl Future<Output = ()> + Send + 'static) -> Actor {
    handle.spawn(Weight::default(), Tier::User, None, life)
}

#[track_caller]
fn wait_for(what: &str, state: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !state() {
        assert!(Instant::now() < until, "{what}: did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends an executor, and fails if that does not come to an end.
#[track_caller]
fn stop(executor: Executor) {
    let stopping = std::thread::spawn(move || executor.stop());
    wait_for("the executor stops", || stopping.is_finished());
    stopping.join().expect("no panic");
}

/// Counts what is alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Living(Arc<AtomicUsize>);

impl Alive {
    fn one(&self) -> Living {
        self.0.fetch_add(1, Ordering::Relaxed);
        Living(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
