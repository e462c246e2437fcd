//! The actor of one instance: incarnation after incarnation, as its policy decides, until it is ended.
//!
//! Owns the store of the incarnation that lives. Handles one message at a time. It reports and
//! answers; which messages come, and what follows an exit, is decided elsewhere.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use solo_actor::{Next as Taken, current};
use solo_types::{Exit, ExitReason, InstanceState, LimitAction, RestartMode, ServiceKind};
use tokio::sync::Semaphore;
use tracing::debug;
use wasmtime::Engine;

use super::cell::Cell;
use super::clock;
use super::failure::{Failure, Fault, Reason};
use super::health;
use super::lifecycle::{Lifecycle, Next};
use super::message::{Chain, Envelope, Reply, Work};
use super::quota::QuotaWatch;
use super::route::Routes;
use super::runner::{Guest, Outcome, Parts};
use super::slot::{Ended, Family, Figures, FirstStart, Order, Slot, StopReason};
use super::storage::Storage;
use super::violations::Limit;
use super::warmth::Part;

/// How long one start may keep others waiting: usual ones take far less than a millisecond, and who
/// takes longer goes on without its permit.
const PERMIT_HELD_MAX: Duration = Duration::from_millis(100);

/// How long a start may take where limits do not kill: something that never gets ready must not look
/// like something that starts.
const STARTUP_CEILING: Duration = Duration::from_secs(60);

/// After how many messages in a row an instance looks at the clock: short ones never give way by
/// themselves, and the clock costs as much as a tenth of a short one.
const MESSAGES_PER_LOOK: u32 = 16;

/// Of the future around the one that lives, so much on either side of where it is polled.
const AROUND_BYTES: usize = 384;

/// What all instances of the cell share.
pub(crate) struct Shared {
    /// Runs the code.
    pub(crate) engine: Engine,
    /// Runs the actors.
    pub(crate) actors: solo_actor::Handle,
    /// Timers and health checks.
    pub(crate) io: tokio::runtime::Handle,
    /// Where the sockets of external programs are.
    pub(crate) programs: PathBuf,
    /// What services keep.
    pub(crate) storage: Arc<Storage>,
    /// Where messages go.
    pub(crate) routes: Arc<Routes>,
    /// Starts that are under way at one time: 500 at once would time each other out.
    pub(crate) start_permits: Semaphore,
    /// Starts children. Set once, when it is there.
    pub(crate) cell: OnceLock<Weak<Cell>>,
}

/// How an incarnation ended.
enum End {
    /// By itself.
    Fault(Fault),
    /// As ordered.
    Stopped { forced: bool },
}

/// Runs `slot` until it is ended, or until its first start fails.
pub(crate) async fn supervise(shared: Arc<Shared>, slot: Arc<Slot>) -> Ended {
    let seed = clock::unix_ms() ^ (Arc::as_ptr(&slot).addr() as u64);
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
            slot.enter(InstanceState::Failed, Some(exit.clone()));
            slot.watchers.tell(&slot.id, &exit, false);
            slot.first_start.send_replace(FirstStart::Failed(fault.start_failure()));
            return Ended { forced: false };
        }
        if let Some(family) = &slot.family {
            return leave(&slot, family, &exit);
        }
        let (state, delay_ms) = match lifecycle.on_exit(clock::monotonic_ms(), &exit) {
            Next::Restart { delay_ms } => (InstanceState::Restarting, Some(delay_ms)),
            Next::Complete => (InstanceState::Completed, None),
            Next::Fail => (InstanceState::Failed, None),
        };
        slot.enter(state, Some(exit.clone()));
        slot.watchers.tell(&slot.id, &exit, delay_ms.is_some());
        let Some(delay_ms) = delay_ms else { return rest(&slot).await };
        if ordered_within(&slot, Duration::from_millis(delay_ms)).await {
            return conclude(&slot, false);
        }
        slot.figures.restarts.fetch_add(1, Ordering::Relaxed);
        slot.enter(InstanceState::Starting, None);
    }
}

/// Answers everything that waits; nothing more will be handled.
pub(crate) fn refuse_waiting(slot: &Slot) {
    for envelope in slot.front.mailbox.close_and_clear() {
        drop(envelope.reply.send(Err(slot.closed())));
    }
}

/// A child ended: what follows is its group's business.
fn leave(slot: &Slot, family: &Family, exit: &Exit) -> Ended {
    let is_abnormal = exit.reason.is_abnormal();
    let state = if is_abnormal { InstanceState::Failed } else { InstanceState::Completed };
    let restarts = match family.mode {
        RestartMode::Permanent => !exit.permanent,
        RestartMode::Transient => is_abnormal && !exit.permanent,
        RestartMode::Temporary => false,
    };
    slot.enter(state, Some(exit.clone()));
    slot.watchers.tell(&slot.id, exit, restarts);
    Ended { forced: false }
}

/// It stays down and is still there to be seen, until it is ended.
async fn rest(slot: &Arc<Slot>) -> Ended {
    refuse_waiting(slot);
    let mut orders = slot.orders();
    // An error means that the slot is gone, which this actor itself prevents.
    let _ = orders.wait_for(|order| *order != Order::Run).await;
    Ended { forced: false }
}

/// It was ended.
fn conclude(slot: &Slot, forced: bool) -> Ended {
    let order = slot.order();
    if forced && let Order::Drain { .. } = order {
        let timeout_ms = slot.service.shutdown_timeout_ms;
        slot.violated(Limit::Shutdown, LimitAction::Kill, || {
            format!("not ended in time; shutdown_timeout_ms = {timeout_ms} unless said otherwise")
        });
    }
    // A program is ended in its midst, whoever asked; that is its ordinary way.
    let at_once = forced || slot.service.kind == ServiceKind::Command;
    let exit = order.reason().exit(at_once);
    slot.enter(InstanceState::Completed, Some(exit.clone()));
    slot.watchers.tell(&slot.id, &exit, false);
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
    if delay.is_zero() {
        return slot.order() != Order::Run;
    }
    let mut orders = slot.orders();
    let ordered = orders.wait_for(|order| *order != Order::Run);
    tokio::time::timeout(delay, ordered).await.is_ok()
}

/// What others want of the incarnation that lives, if it is to end now.
fn look(slot: &Slot) -> Option<End> {
    if let Some(fault) = slot.take_fault() {
        return Some(End::Fault(fault));
    }
    match slot.order() {
        Order::Run => None,
        // A program takes no messages and knows no `terminate`: waiting would be for nothing.
        _ if slot.service.kind == ServiceKind::Command => Some(End::Stopped { forced: false }),
        Order::Kill { .. } => Some(End::Stopped { forced: true }),
        Order::Drain { deadline, .. } => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(End::Stopped { forced: true });
            }
            let now_ns = solo_actor::clock::now_ns();
            let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            slot.wake_by(now_ns.saturating_add(left_ns), now_ns);
            None
        }
    }
}

/// One incarnation from start to end.
async fn live(shared: &Shared, slot: &Arc<Slot>, incarnation: u64) -> End {
    slot.renew();
    let parts = Parts {
        engine: shared.engine.clone(),
        actors: shared.actors.clone(),
        artifact: Arc::clone(&slot.artifact),
        slot: Arc::clone(slot),
        routes: Arc::clone(&shared.routes),
        cell: shared.cell.get().cloned().unwrap_or_default(),
        programs: shared.programs.clone(),
        storage: Arc::clone(&shared.storage),
        incarnation,
    };
    let mut quota = QuotaWatch::new(slot);
    // What a panic leaves half done is the store, and that is dropped next.
    let mut life = Box::pin(AssertUnwindSafe(incarnate(shared, parts)).catch_unwind());
    slot.warmth.note(Part::Life, &*life);
    let here = std::ptr::from_ref(&quota).addr();
    slot.warmth.note_range(Part::Around, here.wrapping_sub(AROUND_BYTES), 2 * AROUND_BYTES);
    let end = std::future::poll_fn(|context| {
        if slot.wants_attention()
            && let Some(end) = look(slot)
        {
            return Poll::Ready(end);
        }
        if let Some(quota) = &mut quota
            && let Some(fault) = quota.look(slot)
        {
            return Poll::Ready(End::Fault(fault));
        }
        let lived = life.as_mut().poll(context);
        lived.map(|end| end.unwrap_or_else(|_| End::Fault(Fault::host_panic())))
    })
    .await;
    // Before what it was handling is dropped with it, and answered by that.
    slot.set_last_words(match &end {
        End::Fault(fault) => fault.exit(),
        End::Stopped { forced } => slot.order().reason().exit(*forced),
    });
    slot.warmth.forget();
    drop(life);
    // Children end with the incarnation that started them, and before the next one.
    slot.groups.none().await;
    end
}

async fn incarnate(shared: &Shared, parts: Parts) -> End {
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
        return End::Fault(program.run().await);
    }
    let _checks = health::watch(&shared.io, &slot);
    serve(shared, &mut guest, &slot, incarnation).await
}

async fn start(shared: &Shared, parts: Parts) -> Result<Guest, Fault> {
    let slot = Arc::clone(&parts.slot);
    let timeout_ms = slot.service.startup_timeout_ms;
    // The semaphore is never closed; without a permit the start is only less fair to others.
    let permit = shared.start_permits.acquire().await.ok();
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let mut starting = Box::pin(Guest::start(parts));
    let held = PERMIT_HELD_MAX.min(Duration::from_millis(timeout_ms));
    if let Ok(started) = tokio::time::timeout(held, &mut starting).await {
        return started;
    }
    drop(permit);
    if let Ok(started) = tokio::time::timeout_at(deadline.into(), &mut starting).await {
        return started;
    }
    let action = slot.service.limit_action;
    slot.violated(Limit::Startup, action, || {
        format!("not ready within startup_timeout_ms = {timeout_ms}")
    });
    if action == LimitAction::Kill {
        return Err(Fault::startup_timeout(timeout_ms));
    }
    tokio::time::timeout(STARTUP_CEILING, starting)
        .await
        .unwrap_or_else(|_| Err(Fault::startup_timeout(timeout_ms)))
}

/// Handles messages until the mailbox is closed and empty.
async fn serve(shared: &Shared, guest: &mut Guest, slot: &Slot, incarnation: u64) -> End {
    let mut since_look = 0;
    loop {
        // Pending without a waker: whoever pushes wakes the actor.
        let next = std::future::poll_fn(|context| {
            ready!(guest.poll_under_way(context));
            match slot.front.mailbox.take() {
                Taken::Message(envelope) => Poll::Ready(Some(envelope)),
                Taken::Closed => Poll::Ready(None),
                Taken::Empty => guest.poll_asks(context),
            }
        });
        let Some(envelope) = next.await else { break };
        if envelope.is_stale() {
            continue;
        }
        if let Err(fault) = handle(guest, slot, incarnation, envelope).await {
            return End::Fault(fault);
        }
        since_look += 1;
        if since_look >= MESSAGES_PER_LOOK {
            since_look = 0;
            if current::should_yield(&shared.actors) {
                tokio::task::yield_now().await;
            }
        }
    }
    if let Err(fault) = guest.terminate(slot.order().reason()).await
        && fault.reason != ExitReason::Normal
    {
        slot.logger.line("warn", &format!("terminate failed: {}", fault.message));
    }
    End::Stopped { forced: false }
}

/// A message in the midst of being handled: answers when it is dropped, whatever ends it.
struct Handling<'a> {
    slot: &'a Slot,
    reply: Option<Reply>,
}

impl<'a> Handling<'a> {
    fn begin(slot: &'a Slot, reply: Reply, chain: Chain) -> Self {
        slot.front.is_busy.store(true, Ordering::Relaxed);
        slot.figures.begin(chain, current::now_ns());
        Self { slot, reply: Some(reply) }
    }

    fn end(&self, failed: bool) {
        self.slot.figures.end(failed);
        self.slot.front.is_busy.store(false, Ordering::Relaxed);
    }

    /// It was handled.
    fn finish(mut self, result: Result<super::message::Answer, Failure>) {
        let Some(reply) = self.reply.take() else { return };
        self.end(result.is_err());
        if let Some(Err(failure)) = reply.send(result) {
            let message = format!("a message was not handled: {}", failure.message);
            self.slot.logger.line("warn", &message);
        }
    }

    /// It ended the incarnation.
    fn crash(mut self, fault: &Fault) {
        if let Some(reply) = self.reply.take() {
            self.end(true);
            drop(reply.send(Err(Failure::crashed(&fault.exit()))));
        }
    }

    /// It was nothing.
    fn skip(mut self) {
        self.reply = None;
        self.slot.figures.rest();
        self.slot.front.is_busy.store(false, Ordering::Relaxed);
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.end(true);
            let exit = self.slot.last_words();
            let exit = exit.unwrap_or_else(|| Fault::host_panic().exit());
            drop(reply.send(Err(Failure::crashed(&exit))));
        }
    }
}

/// Handles one message.
async fn handle(
    guest: &mut Guest,
    slot: &Slot,
    incarnation: u64,
    envelope: Envelope,
) -> Result<(), Fault> {
    let Envelope { work, reply, chain } = envelope;
    if matches!(work, Work::Health) {
        let check = slot.service.health_check.as_ref();
        let outcome = guest.health(check.map_or("", |check| &check.function)).await?;
        drop(reply.send(outcome));
        return Ok(());
    }
    let handling = Handling::begin(slot, reply, chain);
    guest.begin(chain);
    let outcome: Outcome = match work {
        Work::Call { function, input } => guest.call(&function, input).await,
        Work::Cast { function, input } => guest.cast(&function, input).await,
        Work::Timer { incarnation: set_by, payload } if set_by == incarnation => {
            guest.timer(payload).await
        }
        Work::Down(down) if down.incarnation == incarnation => guest.down(*down).await,
        Work::Timer { .. } | Work::Down(_) | Work::Health => {
            handling.skip();
            return Ok(());
        }
    };
    match outcome {
        Ok(result) => handling.finish(result),
        Err(fault) => {
            handling.crash(&fault);
            return Err(fault);
        }
    }
    Ok(())
}

impl Figures {
    /// A message is being handled.
    fn begin(&self, chain: Chain, now_ns: u64) {
        let [first, second] = chain.trace.0;
        self.trace[0].store(first, Ordering::Relaxed);
        self.trace[1].store(second, Ordering::Relaxed);
        self.busy_since_ns.store(now_ns.max(1), Ordering::Relaxed);
    }

    /// It was.
    fn end(&self, failed: bool) {
        // One actor writes: no need for an atomic addition.
        let add = |figure: &AtomicU64| {
            figure.store(figure.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        };
        add(&self.handled);
        if failed {
            add(&self.errors);
        }
        self.rest();
    }

    fn rest(&self) {
        self.busy_since_ns.store(0, Ordering::Relaxed);
    }
}

impl Order {
    /// Why it ends.
    fn reason(self) -> StopReason {
        match self {
            Self::Drain { reason, .. } | Self::Kill { reason } => reason,
            Self::Run => StopReason::Killed,
        }
    }
}
