//! The executor with real threads.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use solo_actor::core::{Tier, Weight};
use solo_actor::{
    Actor, Executor, ExecutorOptions, Mailbox, MailboxBounds, Message, Next, clock, current,
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Note(usize);

impl Message for Note {
    fn bytes(&self) -> usize {
        1
    }
}

fn executor(threads: usize) -> Executor {
    let options = ExecutorOptions { threads, bell: Arc::new(|| {}), around: Arc::new(|run| run()) };
    Executor::start(options).expect("threads")
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

#[test]
fn messages_between_many_actors_all_arrive() {
    const ACTORS: usize = 200;
    const ROUNDS: usize = 200;
    let executor = executor(2);
    let mailboxes: Vec<_> = (0..ACTORS).map(|_| mailbox()).collect();
    let actors: Arc<std::sync::OnceLock<Vec<Actor>>> = Arc::default();
    let (done, all_done) = mpsc::channel();
    let handle = executor.handle();
    let prepared: Vec<Actor> = (0..ACTORS)
        .map(|index| {
            let (mailboxes, actors, done) = (mailboxes.clone(), Arc::clone(&actors), done.clone());
            let life = async move {
                for _ in 0..ROUNDS {
                    let Note(number) = next(&mailboxes[index]).await;
                    let to = (index * 7 + number) % ACTORS;
                    let pushed = mailboxes[to].push(Note(number + 1), usize::MAX);
                    assert!(pushed.is_ok());
                    actors.get().expect("set before")[to].wake();
                }
                done.send(index).ok();
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
    for _ in 0..ACTORS {
        all_done.recv_timeout(PATIENCE).expect("every actor ends");
    }
    assert!(prepared.iter().all(|actor| actor.is_done() || actor.cpu().cpu_ns > 0));
    executor.stop();
}

/// Computes for 20 us and gives way when asked.
async fn hog(handle: solo_actor::Handle, stop: Arc<AtomicBool>, rounds: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let until = clock::now_ns() + 20_000;
        while clock::now_ns() < until {
            std::hint::spin_loop();
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        if current::should_yield(&handle) {
            yield_now().await;
        }
    }
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

#[test]
fn an_actor_woken_from_outside_runs_among_hogs() {
    let executor = executor(2);
    let handle = executor.handle();
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    for _ in 0..20 {
        let hog = hog(handle.clone(), Arc::clone(&stop), Arc::clone(&rounds));
        handle.spawn(Weight::default(), Tier::User, None, hog);
    }
    let mailbox = mailbox();
    let taken = Arc::new(AtomicUsize::new(0));
    let (answers, answered) = mpsc::channel();
    let server = {
        let (mailbox, taken) = (Arc::clone(&mailbox), Arc::clone(&taken));
        async move {
            loop {
                let Note(number) = next(&mailbox).await;
                taken.fetch_add(1, Ordering::Relaxed);
                answers.send(number).ok();
            }
        }
    };
    let server = handle.spawn(Weight::default(), Tier::User, None, server);
    for number in 0..100 {
        assert!(mailbox.push(Note(number), usize::MAX).is_ok());
        server.wake();
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(number));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(rounds.load(Ordering::Relaxed) > 0);
    executor.stop();
}

#[test]
fn a_deadline_wakes_whoever_waits_for_it() {
    let executor = executor(1);
    let handle = executor.handle();
    let own: Arc<std::sync::OnceLock<Actor>> = Arc::default();
    let (done, is_done) = mpsc::channel();
    let life = {
        let own = Arc::clone(&own);
        async move {
            let deadline_ns = clock::now_ns() + 30_000_000;
            poll_fn(|_| {
                let now_ns = clock::now_ns();
                if now_ns >= deadline_ns {
                    return Poll::Ready(());
                }
                own.get().expect("set before").wake_by(deadline_ns, now_ns);
                Poll::Pending
            })
            .await;
            done.send(()).ok();
        }
    };
    let actor = handle.prepare(Weight::default(), Tier::User, None, life);
    own.set(actor.clone()).expect("once");
    handle.begin(&actor);
    is_done.recv_timeout(PATIENCE).expect("it was woken");
    executor.stop();
}
