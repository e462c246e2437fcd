//! Preemption and the account of CPU time.
//!
//! A thread advances the engine's epoch every millisecond, so that each running guest gives way and
//! can be ended. It ticks only while a guest runs: an idle cell costs no wake-ups. The executor that
//! polls the guests is not known here.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use wasmtime::{Engine, EngineWeak};

use super::slot::Figures;

/// Time slice of a guest, and so the longest time until it notices that it is to end.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running guest until the thread parks: messages in quick succession should not
/// wake it each time.
const IDLE_TICKS_MAX: u32 = 10;

/// Knows whether guests run.
#[derive(Debug)]
pub(crate) struct Ticker {
    running: AtomicUsize,
    parked: AtomicBool,
    thread: Thread,
}

impl Ticker {
    /// Starts the thread. It ends by itself once the engine is gone.
    ///
    /// # Errors
    /// If the machine has no more threads.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Arc<Self>> {
        let engine = engine.weak();
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Arc<Self>>(1);
        let handle = thread::Builder::new().name("epoch".into()).spawn(move || {
            if let Ok(ticker) = receiver.recv() {
                ticker.run(&engine);
            }
        })?;
        let ticker = Arc::new(Self {
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            thread: handle.thread().clone(),
        });
        // The thread waits for just this message, so that it cannot be gone or full.
        let _ = sender.send(Arc::clone(&ticker));
        Ok(ticker)
    }

    fn run(&self, engine: &EngineWeak) {
        let mut idle_ticks = 0;
        loop {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle_ticks = 0;
            } else if idle_ticks < IDLE_TICKS_MAX {
                idle_ticks += 1;
            } else {
                self.park();
                idle_ticks = 0;
            }
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        // A guest that came in before `parked` was seen does not unpark: look once more.
        while self.running.load(Ordering::SeqCst) == 0 && self.parked.load(Ordering::SeqCst) {
            // The time limit only serves the end of the process: the engine may be gone.
            thread::park_timeout(Duration::from_secs(5));
            if self.running.load(Ordering::SeqCst) == 0 {
                break;
            }
        }
        self.parked.store(false, Ordering::SeqCst);
    }

    fn enter(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(self)
    }
}

/// A guest is being polled.
struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A future that runs a guest: keeps the ticker going and counts the time of each poll. A panic
/// inside becomes `None`.
pub(crate) struct Metered<'a, T> {
    inner: Pin<Box<dyn Future<Output = Option<T>> + Send + 'a>>,
    ticker: Arc<Ticker>,
    figures: Arc<Figures>,
}

impl<'a, T: 'a> Metered<'a, T> {
    /// Wraps `inner`.
    pub(crate) fn new(
        inner: impl Future<Output = T> + Send + 'a,
        ticker: Arc<Ticker>,
        figures: Arc<Figures>,
    ) -> Self {
        // What a panic leaves half done is the store, and that is dropped next.
        let inner = AssertUnwindSafe(inner).catch_unwind().map(Result::ok);
        Self { inner: Box::pin(inner), ticker, figures }
    }
}

impl<T> Future for Metered<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let started = Instant::now();
        let running = this.ticker.enter();
        let result = this.inner.as_mut().poll(context);
        drop(running);
        let spent_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cpu: &AtomicU64 = &this.figures.cpu_ns;
        // One task writes; readers may see the figure of a moment ago.
        cpu.store(cpu.load(Ordering::Relaxed).wrapping_add(spent_ns), Ordering::Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ticks_while_a_guest_runs_and_wakes_from_its_rest() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).expect("a thread");
        for _ in 0..2 {
            let deadline = Instant::now() + Duration::from_secs(5);
            while !ticker.parked.load(Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "the ticker does not come to rest");
                thread::sleep(TICK);
            }
            let running = ticker.enter();
            assert!(!ticker.parked.load(Ordering::SeqCst));
            drop(running);
        }
    }

    #[test]
    fn a_panic_is_contained() {
        let ticker = Ticker::start(&Engine::default()).expect("a thread");
        let metered: Metered<'_, ()> =
            Metered::new(async { panic!("on purpose") }, ticker, Arc::new(Figures::default()));
        assert_eq!(metered.now_or_never(), Some(None));
    }
}
