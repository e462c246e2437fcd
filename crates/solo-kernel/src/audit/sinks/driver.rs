//! The task of one sink: reads the log behind what has arrived, sends, keeps what has arrived, and
//! waits longer and longer when that fails.
//!
//! Never gives a record up, and never ends by itself. What it holds in memory is bounded by
//! [`DeliveryQueue`]; everything else waits in the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use solo_audit::sink::{Backoff, Batch, Cursor, DeliveryQueue, Offer, QueueOptions, Step};
use solo_audit::{AuditError, Follower, Record};
use tokio::sync::watch;
use tokio::time::Instant;

use super::state::{Change, Sink};
use super::transport::{Failure, Transport};
use crate::audit::Written;
use crate::clock;
use crate::kernel::Kernel;

/// A sink that takes longer for one batch counts as failed.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at what has arrived, each with a sync or two: what may be sent again after a
/// kill of the kernel.
const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// Wait after the first failure.
const RETRY_INITIAL_MS: u64 = 500;

/// Records and bytes that are in memory for one sink: what is sent next, and as much again.
const RECORDS_MAX: usize = 512;
const BYTES_MAX: usize = 1 << 20;

/// Records and bytes of one batch: what any receiver takes at a time.
const BATCH_RECORDS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The actor of one sink.
pub(crate) async fn run(kernel: Arc<Kernel>, sink: Arc<Sink>) -> Result<(), String> {
    let mut transport = Transport::new(&sink.settings.target, &kernel.node.to_string());
    let retry_max_ms = u64::try_from(sink.settings.retry_max.as_millis()).unwrap_or(u64::MAX);
    // Without chance sinks come back together, which is no harm.
    let seed = getrandom::u64().unwrap_or_default();
    let mut backoff = Backoff::new(RETRY_INITIAL_MS, retry_max_ms, seed);
    loop {
        let session = Session {
            kernel: &kernel,
            sink: &sink,
            written: kernel.audit.written(),
            retry_max_ms,
            seed,
        };
        let Err(failure) = session.work(&mut transport).await;
        let failures = tell_failure(&kernel, &sink, &failure);
        let asked_ms = failure.retry_after_ms.unwrap_or_default().min(retry_max_ms);
        let wait_ms = backoff.wait_ms(failures).max(asked_ms);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// Tells that the sink failed; how often in a row it has.
fn tell_failure(kernel: &Kernel, sink: &Sink, failure: &Failure) -> u32 {
    let name = sink.name();
    kernel.metrics.sinks.failed(name);
    let (change, failures) = sink.failed(&failure.why);
    if change == Change::Failing {
        tracing::warn!(sink = name, why = failure.why, "An audit sink fails");
        let text = format!("audit sink {name} fails: {}", failure.why);
        kernel.monitor.event("", "", "audit_sink_failing", &text);
    }
    failures
}

/// The log, open behind what was sent, and what of it is to be sent next.
#[derive(Debug)]
struct Reading {
    follower: Follower,
    queue: DeliveryQueue,
    /// Was read, and had no room.
    held: Option<Arc<Record>>,
    start_seq: u64,
}

impl Reading {
    /// Reads what there is room for. Blocks.
    fn fill(&mut self, through_seq: u64) -> Result<(), AuditError> {
        loop {
            let record = match self.held.take() {
                Some(record) => record,
                None => match self.follower.next_record(through_seq)? {
                    Some(record) => Arc::new(record),
                    None => return Ok(()),
                },
            };
            if self.queue.offer(&record) == Offer::Full {
                self.held = Some(record);
                return Ok(());
            }
        }
    }
}

/// From one failure to the next.
#[derive(Debug)]
struct Session<'a> {
    kernel: &'a Arc<Kernel>,
    sink: &'a Arc<Sink>,
    written: watch::Receiver<Written>,
    retry_max_ms: u64,
    seed: u64,
}

impl Session<'_> {
    async fn work(mut self, transport: &mut Transport) -> Result<Infallible, Failure> {
        clock::until(&mut self.written, |written| written.seq > 0).await;
        let resume = transport.resume(self.sink.kept(), self.sink.is_anew());
        let Ok(start) = tokio::time::timeout(SEND_TIMEOUT, resume).await else {
            return Err(transport.timed_out(SEND_TIMEOUT));
        };
        let mut reading = self.open(start?).await?;
        let mut settle_at = Instant::now() + SETTLE_EVERY;
        let clock_start = Instant::now();
        let now_ms = || u64::try_from(clock_start.elapsed().as_millis()).unwrap_or(u64::MAX);
        loop {
            let newest = *self.written.borrow_and_update();
            if reading.queue.next_seq() <= newest.seq {
                reading = self.fill(reading, newest.seq).await?;
            }
            self.sink.look(newest, reading.queue.lag(clock::unix_ms()));
            let wait = match reading.queue.next_step(now_ms()) {
                Step::Send(batch) => {
                    match self.send(transport, &batch).await {
                        Ok(()) => _ = reading.queue.succeeded(),
                        Err(failure) if failure.rewind => return Err(failure),
                        Err(failure) => {
                            reading.queue.failed(now_ms(), failure.retry_after_ms);
                            tell_failure(self.kernel, self.sink, &failure);
                        }
                    }
                    Duration::ZERO
                }
                Step::WaitUntil { at_ms } => {
                    Duration::from_millis(at_ms.saturating_sub(now_ms()).max(1))
                }
                Step::Busy | Step::Idle => Duration::MAX,
            };
            let sent = reading.queue.cursor();
            let unsettled = sent.seq > self.sink.delivered_seq();
            if unsettled && Instant::now() >= settle_at {
                self.settle(transport, sent).await?;
                settle_at = Instant::now() + SETTLE_EVERY;
            }
            if !wait.is_zero() {
                self.rest(wait, unsettled.then_some(settle_at)).await;
            }
        }
    }

    /// Waits until there may be something to do.
    async fn rest(&mut self, wait: Duration, settle_at: Option<Instant>) {
        // What is written meanwhile is of interest only to who waits for nothing else.
        let is_idle = wait == Duration::MAX;
        let retry_at = (!is_idle).then(|| Instant::now() + wait);
        let until = [retry_at, settle_at].into_iter().flatten().min();
        let sleep = tokio::time::sleep_until(until.unwrap_or_else(Instant::now));
        tokio::select! {
            // The log lives as long as the kernel does.
            _ = self.written.changed(), if is_idle => {}
            () = sleep, if until.is_some() => {}
        }
    }

    async fn send(&self, transport: &mut Transport, batch: &Batch) -> Result<(), Failure> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, transport.send(batch)).await;
        sent.unwrap_or_else(|_| Err(transport.timed_out(SEND_TIMEOUT)))
    }

    /// Asks what has arrived and keeps it.
    async fn settle(&self, transport: &mut Transport, sent: Cursor) -> Result<(), Failure> {
        let arrived = tokio::time::timeout(SEND_TIMEOUT, transport.arrived(sent)).await;
        let arrived = arrived.unwrap_or_else(|_| Err(transport.timed_out(SEND_TIMEOUT)));
        // Whatever it was, what was sent is in doubt.
        let arrived = arrived.map_err(|failure| Failure { rewind: true, ..failure })?;
        let Some(cursor) = arrived.filter(|cursor| cursor.seq > self.sink.delivered_seq()) else {
            return Ok(());
        };
        self.keep(cursor).await?;
        if self.sink.arrived(cursor) == Change::Recovered {
            let text = format!("audit sink {} works again", self.sink.name());
            tracing::info!(sink = self.sink.name(), "An audit sink works again");
            self.kernel.monitor.event("", "", "audit_sink_recovered", &text);
        }
        Ok(())
    }

    async fn keep(&self, cursor: Cursor) -> Result<(), Failure> {
        let sink = Arc::clone(self.sink);
        let kept = tokio::task::spawn_blocking(move || sink.keep(cursor)).await;
        kept.map_err(|error| Failure::broken(error.to_string()))?.map_err(Failure::from)
    }

    /// Opens the log behind `start`; where it does not fit, at the oldest record there is.
    async fn open(&self, start: Option<Cursor>) -> Result<Reading, Failure> {
        let newest_seq = self.written.borrow().seq;
        let fitting = start.filter(|start| start.seq <= newest_seq);
        if start.is_some() && fitting.is_none() {
            self.begin_anew();
        }
        let directory = self.kernel.audit.directory().to_owned();
        let opened = tokio::task::spawn_blocking(move || match fitting {
            Some(start) => match Follower::open_after(&directory, start.head()) {
                Err(AuditError::Removed { .. }) => oldest(&directory),
                opened => opened.map(|follower| (follower, start)),
            },
            None => oldest(&directory),
        });
        let opened = opened.await.map_err(|error| Failure::broken(error.to_string()))?;
        let (follower, begin) = opened?;
        if let Some(lost) = fitting.map(|start| begin.seq.saturating_sub(start.seq))
            && lost > 0
        {
            self.tell_lost(lost);
            self.keep(begin).await?;
        }
        let options = QueueOptions {
            records_max: RECORDS_MAX,
            bytes_max: BYTES_MAX,
            batch_records_max: BATCH_RECORDS_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
            backoff_initial_ms: RETRY_INITIAL_MS,
            backoff_max_ms: self.retry_max_ms,
        };
        let queue = DeliveryQueue::new(options, begin, self.seed);
        Ok(Reading { follower, queue, held: None, start_seq: begin.seq })
    }

    async fn fill(&self, mut reading: Reading, through_seq: u64) -> Result<Reading, Failure> {
        let filled = tokio::task::spawn_blocking(move || {
            let filled = reading.fill(through_seq);
            (reading, filled)
        });
        let (reading, filled) = filled.await.map_err(|error| Failure::broken(error.to_string()))?;
        match filled {
            Ok(()) => Ok(reading),
            // What the sink was given last is not in this log.
            Err(AuditError::Changed { seq }) if seq <= reading.start_seq => {
                self.begin_anew();
                Err(Failure::broken("the log is not the one that the sink was given"))
            }
            Err(error) => Err(Failure::from(error)),
        }
    }

    /// Another log, or an older copy of this one, is in its place: the sink is given all of it.
    fn begin_anew(&self) {
        self.sink.forget();
        let name = self.sink.name();
        tracing::warn!(
            sink = name,
            "An audit sink begins anew: the log is not the one that it knew"
        );
        let text = format!("audit sink {name} is sent the whole log: it is not the one it knew");
        self.kernel.monitor.event("", "", "audit_sink_restarted", &text);
    }

    fn tell_lost(&self, lost: u64) {
        let name = self.sink.name();
        self.sink.lost(lost);
        self.kernel.metrics.sinks.lost(name, lost);
        tracing::warn!(sink = name, lost, "Retention removed records that an audit sink lacks");
        let text = format!("retention removed {lost} records that audit sink {name} lacks");
        self.kernel.monitor.event("", "", "audit_sink_lost_records", &text);
    }
}

/// The log from its oldest record on.
fn oldest(directory: &std::path::Path) -> Result<(Follower, Cursor), AuditError> {
    let follower = Follower::open(directory, 0)?;
    let head = follower.head();
    Ok((follower, Cursor { seq: head.seq, hash: head.hash, at_unix_ms: 0 }))
}
