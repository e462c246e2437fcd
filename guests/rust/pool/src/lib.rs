//! Spreads its messages over children that it supervises: the example of docs/guests.md.
//!
//! Configuration: `code`, the service whose code the children run (no entry: `worker`), and `size`, how
//! many there are (no entry: 3).
//!
//! Calls: whatever it is; a child answers. A child that is overloaded, down or too slow is passed over
//! for the next one, so a message may be handled twice: only for messages where that does no harm.
//! Casts: the same with sends; one that no child takes is logged and dropped.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::children::{
    AutoShutdown, ChildError, ChildSpec, Group, Options, Restart, Strategy,
};
use solo::service::context::remaining_ms;
use solo::service::log::{Level, log};
use solo::service::messaging::{MessageError, ServiceRef};
use std::cell::RefCell;
use text::{describe, number};

#[path = "../../shared/config.rs"]
mod config;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

thread_local! {
    static POOL: RefCell<Option<Pool>> = const { RefCell::new(None) };
}

/// The children. They live as long as the group, and the group as long as this.
struct Pool {
    workers: Vec<ServiceRef>,
    next: usize,
    _group: Group,
}

struct Service;

impl Guest for Service {
    fn init() -> Result<(), InitError> {
        let code = config::get("code").map_err(InitError::Retry)?;
        let size = config::get("size").map_err(InitError::Retry)?;
        let size = number("size", size.as_deref().unwrap_or("3")).map_err(InitError::Permanent)?;
        let pool = Pool::start(code.as_deref().unwrap_or("worker"), size)
            .map_err(|error| InitError::Retry(format!("no worker: {error:?}")))?;
        POOL.set(Some(pool));
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        POOL.with_borrow_mut(|pool| pool.as_mut().ok_or("not started")?.call(&payload))
    }

    fn handle_cast(payload: Vec<u8>) {
        let sent =
            POOL.with_borrow_mut(|pool| pool.as_mut().is_some_and(|pool| pool.send(&payload)));
        if !sent {
            log(Level::Warn, "no worker took a message");
        }
    }

    fn terminate(_reason: String) {}
}

impl Pool {
    fn start(code: &str, size: usize) -> Result<Self, ChildError> {
        let group = Group::new(Options {
            strategy: Strategy::OneForOne,
            max_restarts: 3,
            window_ms: 5_000,
            auto_shutdown: AutoShutdown::Never,
        });
        let start = |number| {
            group.spawn(&ChildSpec {
                name: format!("worker-{number}"),
                code: code.to_owned(),
                restart: Restart::Permanent,
                significant: false,
                shutdown_ms: 1_000,
                config: Vec::new(),
            })
        };
        let workers = (1..=size).map(start).collect::<Result<_, _>>()?;
        Ok(Self { workers, next: 0, _group: group })
    }

    /// Asks one worker after the other. Each gets an equal part of the time that the caller still waits.
    fn call(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut last = "there are no workers".to_owned();
        for left in (1..=self.workers.len() as u64).rev() {
            let timeout_ms = remaining_ms().map(|ms| u32::try_from(ms / left).unwrap_or(u32::MAX));
            match self.turn().call(payload, timeout_ms) {
                Ok(answer) => return Ok(answer),
                // What the worker itself says is the answer.
                Err(MessageError::Failed(why)) => return Err(why),
                // The message may be the reason: no other worker must crash of it.
                Err(MessageError::Crashed(why)) => return Err(format!("crashed: {why}")),
                Err(error) => last = describe(error),
            }
        }
        Err(last)
    }

    fn send(&mut self, payload: &[u8]) -> bool {
        (0..self.workers.len()).any(|_| self.turn().send(payload).is_ok())
    }

    /// The worker whose turn it is.
    fn turn(&mut self) -> &ServiceRef {
        self.next = (self.next + 1) % self.workers.len();
        &self.workers[self.next]
    }
}

export!(Service);
