//! The experiments with processes of `rusm-otp`: Rust futures on tokio with mailboxes and supervisors.
//!
//! No WebAssembly and no isolation are in these figures. Its processes yield by themselves only: a hog
//! that does not would stop all others, so the hogs here yield after each millisecond by hand.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rusm_otp::{Context, ExitReason, Pid, Runtime, Strategy};
use tokio::runtime::Builder;

use super::{Experiment, HOGS, Order, Scale, pause, processors};
use crate::machine::pss;
use crate::sheet::Sheet;
use crate::stats::float;

/// How long a hog computes before it yields: the slice of Solo's cell.
const SLICE: Duration = Duration::from_millis(1);

/// Between two crashes.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls until one is answered. A restart that takes so many has failed.
const ATTEMPTS_MAX: usize = 1_000_000;

/// Processes of the experiment `idle`.
const IDLE: usize = 10_000;

/// Sender of a message that wants no answer. Pids count from 0.
const NOBODY: u64 = u64::MAX - 1;

/// Sender of the message that crashes.
const CRASH: u64 = u64::MAX;

/// Name of the process that is crashed.
const CRASHER: &str = "crasher";

/// Measures.
///
/// # Errors
/// A message is lost.
pub(super) fn measure(order: &Order, scale: &'static Scale) -> anyhow::Result<Sheet> {
    match order.experiment {
        Experiment::Talk => in_runtime(1, |runtime| talk(runtime, scale)),
        Experiment::Hogs => in_runtime(processors(), |runtime| hogs(runtime, scale)),
        Experiment::Crash => in_runtime(processors(), |runtime| crash(runtime, scale)),
        Experiment::Start => in_runtime(processors(), |runtime| start(runtime, scale)),
        Experiment::Idle => in_runtime(processors(), idle),
        Experiment::Growth => in_runtime(1, |runtime| growth(runtime, scale)),
        Experiment::Weights => bail!("its processes have no weights"),
    }
}

fn in_runtime<F>(threads: usize, body: impl FnOnce(Runtime) -> F) -> anyhow::Result<Sheet>
where
    F: Future<Output = anyhow::Result<Sheet>> + Send + 'static,
{
    let mut builder =
        if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let tokio = builder.worker_threads(threads).enable_all().build()?;
    // Spawned, so that the client is on a worker as the processes are.
    let measured = tokio.block_on(async {
        let runtime = Runtime::new();
        tokio::spawn(body(runtime)).await
    });
    let sheet = measured.context("an experiment panicked")?;
    // Hogs have no end; the process has.
    tokio.shutdown_background();
    sheet
}

/// 64 bytes, `from` at their beginning.
fn message(from: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(&from.to_le_bytes());
    bytes
}

fn sender(message: &[u8]) -> Pid {
    let bytes = message.first_chunk().copied().unwrap_or_default();
    Pid::from_raw(u64::from_le_bytes(bytes))
}

/// Answers what has a sender, drops what has none.
async fn echo(runtime: Runtime, mut context: Context) {
    while let Some(bytes) = context.recv().await.message() {
        let from = sender(&bytes);
        if from.raw() != NOBODY {
            runtime.send(from, bytes);
        }
    }
}

fn spawn_echo(runtime: &Runtime) -> Pid {
    let own = runtime.clone();
    runtime.spawn(move |context| echo(own, context)).pid()
}

/// Runs `body` in a process that calls others, until it ends.
async fn in_process<F, T>(runtime: &Runtime, body: impl FnOnce(Context) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (done, result) = tokio::sync::oneshot::channel();
    let handle = runtime.spawn(|context| {
        let body = body(context);
        async {
            // The receiver waits for it below.
            let _ = done.send(body.await);
        }
    });
    handle.join().await;
    result.await.context("a process ended early")?
}

/// One call.
async fn call(runtime: &Runtime, context: &mut Context, to: Pid) -> anyhow::Result<()> {
    ensure!(runtime.send(to, message(context.pid().raw())), "nobody is there");
    context.recv().await.message().context("no answer")?;
    Ok(())
}

/// The time of one of `count` calls.
async fn calls(
    runtime: &Runtime,
    context: &mut Context,
    count: u32,
    mut to: impl FnMut() -> Pid,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for _ in 0..count {
        call(runtime, context, to()).await?;
    }
    Ok(began.elapsed() / count.max(1))
}

async fn talk(runtime: Runtime, scale: &'static Scale) -> anyhow::Result<Sheet> {
    let target = spawn_echo(&runtime);
    let count = scale.per_batch;
    let own = runtime.clone();
    in_process(&runtime, move |mut context| async move {
        let mut sheet = Sheet::default();
        for batch in 0..=scale.batches {
            let began = Instant::now();
            for _ in 0..count {
                own.send(target, message(NOBODY));
            }
            let sent = began.elapsed();
            call(&own, &mut context, target).await?;
            let handled = began.elapsed();
            let called = calls(&own, &mut context, count, || target).await?;
            // The first batch warms up.
            if batch > 0 {
                sheet.push_time("send", sent / count);
                sheet.push_time("send.handled", handled / count);
                sheet.push_time("call", called);
            }
        }
        for _ in 0..scale.single_calls {
            sheet.push_time("call.each", calls(&own, &mut context, 1, || target).await?);
        }
        Ok(sheet)
    })
    .await
}

async fn hogs(runtime: Runtime, scale: &'static Scale) -> anyhow::Result<Sheet> {
    let target = spawn_echo(&runtime);
    let mut sheet = paced(&runtime, target, scale, "quiet.call").await?;
    for _ in 0..HOGS {
        runtime.spawn(|_| async {
            loop {
                let began = Instant::now();
                while began.elapsed() < SLICE {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    sheet.merge(&paced(&runtime, target, scale, "hogs.call").await?);
    Ok(sheet)
}

async fn paced(
    runtime: &Runtime,
    target: Pid,
    scale: &'static Scale,
    name: &'static str,
) -> anyhow::Result<Sheet> {
    let own = runtime.clone();
    in_process(runtime, move |mut context| async move {
        let mut sheet = Sheet::default();
        let began = Instant::now();
        for number in 0..scale.paced_calls {
            tokio::time::sleep(pause(number)).await;
            sheet.push_time(name, calls(&own, &mut context, 1, || target).await?);
            if began.elapsed() > scale.paced_for {
                break;
            }
        }
        Ok(sheet)
    })
    .await
}

async fn crash(runtime: Runtime, scale: &'static Scale) -> anyhow::Result<Sheet> {
    let supervisor = runtime.supervisor(Strategy::OneForOne).max_restarts(0);
    // A short window, as it remembers all restarts of it.
    supervisor.within(Duration::from_millis(1)).child(start_crasher).start();
    let own = runtime.clone();
    in_process(&runtime, move |mut context| async move {
        let mut sheet = Sheet::default();
        let mut old = find_crasher(&own, &mut context, None).await?;
        for _ in 0..scale.crashes {
            tokio::time::sleep(PAUSE).await;
            let began = Instant::now();
            let monitor = own.monitor(context.pid(), old);
            own.send(old, message(CRASH));
            // As a caller would: it hears of the end, and calls whom the name stands for next.
            let _ = (monitor, context.recv().await);
            old = find_crasher(&own, &mut context, Some(old)).await?;
            sheet.push_time("crash", began.elapsed());
        }
        Ok(sheet)
    })
    .await
}

/// A process that echoes, and crashes when it is told to.
fn start_crasher(runtime: &Runtime) -> rusm_otp::ProcessHandle {
    let own = runtime.clone();
    let handle = runtime.spawn(move |mut context| async move {
        while let Some(bytes) = context.recv().await.message() {
            let from = sender(&bytes);
            if from.raw() == CRASH {
                own.exit(context.pid(), ExitReason::Crashed);
                std::future::pending::<()>().await;
            }
            own.send(from, bytes);
        }
    });
    runtime.register(CRASHER, handle.pid());
    handle
}

/// Calls the crasher until one that is not `old` answers; who that is.
async fn find_crasher(
    runtime: &Runtime,
    context: &mut Context,
    old: Option<Pid>,
) -> anyhow::Result<Pid> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(found) = runtime.whereis(CRASHER).filter(|found| Some(*found) != old) {
            call(runtime, context, found).await?;
            return Ok(found);
        }
        tokio::task::yield_now().await;
    }
    bail!("the crasher does not come back")
}

async fn start(runtime: Runtime, scale: &'static Scale) -> anyhow::Result<Sheet> {
    let own = runtime.clone();
    in_process(&runtime, move |mut context| async move {
        let mut sheet = Sheet::default();
        for _ in 0..scale.starts {
            sheet.push_time("start", start_one(&own, &mut context).await?);
        }
        Ok(sheet)
    })
    .await
}

/// From nothing until it has said that it is there.
async fn start_one(runtime: &Runtime, context: &mut Context) -> anyhow::Result<Duration> {
    let (own, parent) = (runtime.clone(), context.pid());
    let began = Instant::now();
    runtime.spawn(move |context| async move {
        own.send(parent, message(NOBODY));
        echo(own, context).await;
    });
    context.recv().await.message().context("no word of the new one")?;
    Ok(began.elapsed())
}

async fn idle(runtime: Runtime) -> anyhow::Result<Sheet> {
    let own = runtime.clone();
    in_process(&runtime, move |mut context| async move {
        let before = pss(std::process::id())?;
        let all: Vec<Pid> = (0..IDLE).map(|_| spawn_echo(&own)).collect();
        for target in &all {
            call(&own, &mut context, *target).await?;
        }
        let mut sheet = Sheet::default();
        let after = pss(std::process::id())?;
        sheet.push("idle.bytes", (after - before) / float(all.len()));
        Ok(sheet)
    })
    .await
}

/// All actors, once there are so many.
type Actors = Arc<OnceLock<Vec<Pid>>>;

async fn growth(runtime: Runtime, scale: &'static Scale) -> anyhow::Result<Sheet> {
    let mut sheet = Sheet::default();
    let empty = pss(std::process::id())?;
    for level in scale.levels.iter().copied() {
        let actors = Actors::default();
        let all: Vec<Pid> = (0..level).map(|_| spawn_hopper(&runtime, &actors)).collect();
        ensure!(actors.set(all.clone()).is_ok(), "the actors are known already");
        let own = runtime.clone();
        let measured =
            in_process(&runtime, move |context| at_level(own, context, all, scale, empty));
        sheet.merge(&measured.await?);
        for pid in actors.get().into_iter().flatten() {
            runtime.kill(*pid);
        }
    }
    Ok(sheet)
}

async fn at_level(
    runtime: Runtime,
    mut context: Context,
    all: Vec<Pid>,
    scale: &'static Scale,
    empty: f64,
) -> anyhow::Result<Sheet> {
    let mut sheet = Sheet::default();
    let level = all.len();
    let mut draw = Draw(1);
    for round in 0..=scale.rounds {
        let called =
            calls(&runtime, &mut context, scale.per_batch, || all[draw.below(level)]).await?;
        let began = Instant::now();
        let first = all[draw.below(level)];
        runtime.send(first, hop(context.pid(), scale.hops, draw.below(usize::MAX)));
        context.recv().await.message().context("no end of the hops")?;
        let hopped = began.elapsed() / scale.hops;
        if round > 0 {
            sheet.push_time(&format!("call.{level}"), called);
            sheet.push_time(&format!("message.{level}"), hopped);
        }
    }
    sheet.push(
        &format!("memory.{level}"),
        (pss(std::process::id())? - empty).max(0.0) / float(level),
    );
    for _ in 0..scale.starts_at_level {
        sheet.push_time(&format!("start.{level}"), start_one(&runtime, &mut context).await?);
    }
    Ok(sheet)
}

/// A hop: whom to tell in the end, how many are left, what draws the next one.
fn hop(from: Pid, left: u32, draw: usize) -> Vec<u8> {
    let mut bytes = message(from.raw());
    bytes[8..12].copy_from_slice(&left.to_le_bytes());
    bytes[16..24].copy_from_slice(&(draw as u64).to_le_bytes());
    bytes
}

/// A process that sends a hop on, and answers a call (which has no hops left).
fn spawn_hopper(runtime: &Runtime, actors: &Actors) -> Pid {
    let (own, actors) = (runtime.clone(), Arc::clone(actors));
    let body = move |mut context: Context| async move {
        while let Some(mut bytes) = context.recv().await.message() {
            let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
            let left = u32::from_le_bytes(part(8, 12).try_into().unwrap_or_default());
            let mut draw = Draw(u64::from_le_bytes(part(16, 24).try_into().unwrap_or_default()));
            let next = match (left.checked_sub(1), actors.get()) {
                (Some(left), Some(actors)) => {
                    bytes[8..12].copy_from_slice(&left.to_le_bytes());
                    let next = actors[draw.below(actors.len())];
                    bytes[16..24].copy_from_slice(&draw.0.to_le_bytes());
                    next
                }
                _ => sender(&bytes),
            };
            own.send(next, bytes);
        }
    };
    runtime.spawn(body).pid()
}

/// Draws numbers, always the same ones; good enough to visit actors in no order.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_reach_all() {
        let mut draw = Draw(7);
        let seen: std::collections::HashSet<usize> = (0..1_000).map(|_| draw.below(10)).collect();
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn a_sender_is_found_again() {
        assert_eq!(sender(&message(42)).raw(), 42);
        assert_eq!(sender(&[]).raw(), 0);
    }
}
