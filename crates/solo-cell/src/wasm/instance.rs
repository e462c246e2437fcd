//! The task of one instance: incarnation after incarnation, as its policy decides, until it is ended.
//!
//! Owns the store of the incarnation that lives. Handles one message at a time. It reports and
//! answers; which messages come, and what follows an exit, is decided elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use solo_types::{ExitReason, InstanceState, ServiceKind};
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::debug;
use wasmtime::Engine;

use super::clock;
use super::failure::{Failure, Fault, Reason};
use super::lifecycle::{Lifecycle, Next};
use super::message::{Envelope, Input, Reply, Work};
use super::route::Routes;
use super::runner::{Guest, Parts};
use super::service::HealthCheck;
use super::slot::{Ended, FirstStart, Order, Slot, StopReason};
use super::ticker::{Metered, Ticker};

/// How long one start may keep others waiting: usual ones take far less than a millisecond, and who
/// takes longer goes on without its permit.
const PERMIT_HELD_MAX: Duration = Duration::from_millis(100);

/// What all instances of the cell share.
pub(crate) struct Shared {
    /// Runs the code.
    pub(crate) engine: Engine,
    /// Preempts it.
    pub(crate) ticker: Arc<Ticker>,
    /// Where messages go.
    pub(crate) routes: Arc<Routes>,
    /// Starts that are under way at one time: 500 at once would time each other out.
    pub(crate) start_permits: Semaphore,
}

/// How an incarnation ended.
enum End {
    /// By itself.
    Fault(Fault),
    /// As ordered.
    Stopped { forced: bool },
}

/// Runs `slot` until the kernel ends it, or until its first start fails.
pub(crate) async fn supervise(shared: Arc<Shared>, slot: Arc<Slot>) -> Ended {
    let seed = clock::unix_ms() ^ (Arc::as_ptr(&slot) as usize as u64);
    let mut lifecycle = Lifecycle::new(slot.service.restart, seed);
    let mut incarnation = 0;
    loop {
        incarnation += 1;
        let end = live(&shared, &slot, incarnation).await;
        slot.logger.flush();
        let fault = match end {
            End::Fault(fault) => fault,
            End::Stopped { forced } => return conclude(&slot, forced),
        };
        let exit = fault.exit();
        debug!(instance = %slot.id, reason = exit.reason.as_str(), message = %exit.message, "Incarnation ended");
        if matches!(*slot.first_start.borrow(), FirstStart::Pending) {
            slot.take_back();
            slot.enter(InstanceState::Failed, Some(exit));
            slot.first_start.send_replace(FirstStart::Failed(fault.start_failure()));
            return Ended { forced: false };
        }
        match lifecycle.on_exit(clock::monotonic_ms(), &exit) {
            Next::Restart { delay_ms } => {
                slot.enter(InstanceState::Restarting, Some(exit));
                if ordered_within(&slot, Duration::from_millis(delay_ms)).await {
                    return conclude(&slot, false);
                }
                slot.figures.restarts.fetch_add(1, Ordering::Relaxed);
                slot.enter(InstanceState::Starting, None);
            }
            Next::Complete => {
                slot.enter(InstanceState::Completed, Some(exit));
                return rest(&slot).await;
            }
            Next::Fail => {
                slot.enter(InstanceState::Failed, Some(exit));
                return rest(&slot).await;
            }
        }
    }
}

/// Answers everything that waits; nothing more will be handled.
pub(crate) fn refuse_waiting(slot: &Slot) {
    for envelope in slot.mailbox.close_and_clear() {
        if let Some(reply) = envelope.reply {
            // The caller may have gone away.
            let _ = reply.send(Err(slot.closed()));
        }
    }
}

/// It stays down and is still there to be seen, until the kernel ends it.
async fn rest(slot: &Arc<Slot>) -> Ended {
    refuse_waiting(slot);
    let mut orders = slot.orders();
    // An error means that the slot is gone, which this task itself prevents.
    let _ = orders.wait_for(|order| *order != Order::Run).await;
    Ended { forced: false }
}

/// It was ended.
fn conclude(slot: &Slot, forced: bool) -> Ended {
    let reason = match *slot.orders().borrow() {
        Order::Drain { reason, .. } | Order::Kill { reason } => reason,
        Order::Run => StopReason::Killed,
    };
    // A program is ended in its midst, whoever asked; that is its ordinary way.
    let at_once = forced || slot.service.kind == ServiceKind::Command;
    slot.enter(InstanceState::Completed, Some(reason.exit(at_once)));
    slot.first_start.send_if_modified(|first| {
        let pending = matches!(first, FirstStart::Pending);
        if pending {
            let message = "the instance was ended while it started";
            *first = FirstStart::Failed(Failure::new(Reason::Unavailable, message));
        }
        pending
    });
    Ended { forced }
}

/// Waits; true when an order came in the meantime.
async fn ordered_within(slot: &Slot, delay: Duration) -> bool {
    let mut orders = slot.orders();
    let ordered = orders.wait_for(|order| *order != Order::Run);
    tokio::time::timeout(delay, ordered).await.is_ok()
}

/// Resolves when the instance is to end at once.
async fn forced(mut orders: watch::Receiver<Order>) {
    loop {
        let order = *orders.borrow_and_update();
        let changed = match order {
            Order::Run => orders.changed().await,
            Order::Kill { .. } => return,
            Order::Drain { deadline, .. } => {
                match tokio::time::timeout_at(deadline.into(), orders.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                }
            }
        };
        if changed.is_err() {
            // The slot holds the sender, and the task holds the slot.
            return std::future::pending().await;
        }
    }
}

/// One incarnation from start to end.
async fn live(shared: &Shared, slot: &Arc<Slot>, incarnation: u64) -> End {
    // Outlives the incarnation, so that its last caller learns of its end at once.
    let current: Mutex<Option<Reply>> = Mutex::new(None);
    let parts = Parts {
        engine: shared.engine.clone(),
        artifact: Arc::clone(&slot.artifact),
        slot: Arc::clone(slot),
        routes: Arc::clone(&shared.routes),
        incarnation,
    };
    let life = Metered::new(
        incarnate(shared, parts, &current),
        Arc::clone(&shared.ticker),
        Arc::clone(&slot.figures),
    );
    // Whichever comes first, the incarnation with its store is dropped before the next line.
    let end = tokio::select! {
        biased;
        () = forced(slot.orders()) => End::Stopped { forced: true },
        end = life => end.unwrap_or_else(|| End::Fault(Fault::host_panic())),
    };
    if slot.figures.busy.swap(false, Ordering::Relaxed) {
        slot.figures.handled.fetch_add(1, Ordering::Relaxed);
        slot.figures.errors.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(reply) = current.into_inner() {
        let exit = match &end {
            End::Fault(fault) => fault.exit(),
            End::Stopped { forced } => StopReason::Killed.exit(*forced),
        };
        // The caller may have gone away.
        let _ = reply.send(Err(Failure::crashed(&exit)));
    }
    end
}

async fn incarnate(shared: &Shared, parts: Parts, current: &Mutex<Option<Reply>>) -> End {
    let slot = Arc::clone(&parts.slot);
    let incarnation = parts.incarnation;
    let mut guest = match start(shared, parts).await {
        Ok(guest) => guest,
        Err(fault) => return End::Fault(fault),
    };
    slot.enter(InstanceState::Running, None);
    slot.first_start.send_if_modified(|first| {
        let pending = matches!(first, FirstStart::Pending);
        if pending {
            *first = FirstStart::Ready;
        }
        pending
    });
    if let Guest::Program(program) = guest {
        // A program takes no messages and knows no `terminate`: waiting for it would be for nothing.
        let mut orders = slot.orders();
        return tokio::select! {
            biased;
            _ = orders.wait_for(|order| *order != Order::Run) => End::Stopped { forced: false },
            fault = program.run() => End::Fault(fault),
        };
    }
    tokio::select! {
        biased;
        fault = watch_health(&slot) => End::Fault(fault),
        end = serve(&mut guest, &slot, incarnation, current) => end,
    }
}

async fn start(shared: &Shared, parts: Parts) -> Result<Guest, Fault> {
    let timeout_ms = parts.slot.service.startup_timeout_ms;
    // The semaphore is never closed; without a permit the start is only less fair to others.
    let permit = shared.start_permits.acquire().await.ok();
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let mut starting = Box::pin(Guest::start(parts));
    let held = PERMIT_HELD_MAX.min(Duration::from_millis(timeout_ms));
    if let Ok(started) = tokio::time::timeout(held, &mut starting).await {
        return started;
    }
    drop(permit);
    tokio::time::timeout_at(deadline.into(), starting)
        .await
        .unwrap_or_else(|_| Err(Fault::startup_timeout(timeout_ms)))
}

/// Handles messages until the mailbox is closed and empty.
async fn serve(
    guest: &mut Guest,
    slot: &Slot,
    incarnation: u64,
    current: &Mutex<Option<Reply>>,
) -> End {
    while let Some(envelope) = slot.mailbox.next().await {
        if envelope.is_stale(Instant::now) {
            continue;
        }
        if let Err(fault) = handle(guest, slot, incarnation, envelope, current).await {
            return End::Fault(fault);
        }
        // Short messages never give way by themselves.
        tokio::task::consume_budget().await;
    }
    let reason = match *slot.orders().borrow() {
        Order::Drain { reason, .. } | Order::Kill { reason } => reason,
        Order::Run => StopReason::Killed,
    };
    if let Err(fault) = guest.terminate(reason).await
        && fault.reason != ExitReason::Normal
    {
        slot.logger.line("warn", &format!("terminate failed: {}", fault.message));
    }
    End::Stopped { forced: false }
}

/// Handles one message.
async fn handle(
    guest: &mut Guest,
    slot: &Slot,
    incarnation: u64,
    envelope: Envelope,
    current: &Mutex<Option<Reply>>,
) -> Result<(), Fault> {
    let Envelope { work, reply, .. } = envelope;
    let figures = &slot.figures;
    *current.lock() = reply;
    let counts = !matches!(work, Work::Health);
    figures.busy.store(counts, Ordering::Relaxed);
    let result = match work {
        Work::Call { function, input } => guest.call(&function, input).await?,
        Work::Cast { function, input } => guest.cast(&function, input).await?,
        Work::Timer { incarnation: set_by, payload } => {
            if set_by != incarnation {
                figures.busy.store(false, Ordering::Relaxed);
                return Ok(());
            }
            guest.cast("", Input::Payload(payload)).await?
        }
        Work::Health => {
            let check = slot.service.health_check.as_ref();
            guest.health(check.map_or("", |check| &check.function)).await?
        }
    };
    figures.busy.store(false, Ordering::Relaxed);
    if counts {
        figures.handled.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            figures.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
    match (current.lock().take(), result) {
        // The caller may have gone away.
        (Some(reply), result) => drop(reply.send(result)),
        (None, Err(failure)) => {
            slot.logger.line("warn", &format!("a message was not handled: {}", failure.message));
        }
        (None, Ok(_)) => {}
    }
    Ok(())
}

/// Puts the health check at intervals; resolves when too many failed in a row.
async fn watch_health(slot: &Slot) -> Fault {
    let Some(check) = &slot.service.health_check else {
        return std::future::pending().await;
    };
    let HealthCheck { interval, timeout, failures_max, .. } = check;
    let mut failures = 0;
    loop {
        tokio::time::sleep(*interval).await;
        let (reply, answer) = oneshot::channel();
        slot.mailbox.put_health(Envelope {
            work: Work::Health,
            reply: Some(reply),
            deadline: None,
        });
        let problem = match tokio::time::timeout(*timeout, answer).await {
            Ok(Ok(Ok(_))) => {
                failures = 0;
                continue;
            }
            Ok(Ok(Err(failure))) => failure.message,
            // Nobody takes it: the instance is being stopped.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => format!("no answer within {} ms", timeout.as_millis()),
        };
        failures += 1;
        slot.logger
            .line("warn", &format!("health check {failures} of {failures_max} failed: {problem}"));
        if failures >= *failures_max {
            return Fault::unhealthy(failures, &problem);
        }
    }
}
