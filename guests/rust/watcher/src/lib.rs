//! Watches other services and keeps what it is told of their end.
//!
//! Calls:
//! - `watch NAME` watches the instances behind NAME until the first of them ends. Answers the number
//!   of the watch; a failure is the error, by the name of its variant.
//! - `unwatch N` ends a watch. Answers `true` (its message had not come, and will not) or `false`.
//! - `downs` answers what came, oldest first, one JSON object a line:
//!   `{"monitor":N,"service":"...","instance":"...","reason":"...","message":"...","restarts":B}`.
//!   The latest 1,000 are kept.
//! - `stats` answers `{"open":N,"downs":N,"strays":N}`: watches that have not ended, downs in all, and
//!   those of them that no open watch explains, of which there must be none.
//! - `crash` traps.
//!
//! Casts: the same; answers are dropped.

use exports::solo::service::down_handler::{self, Down};
use exports::solo::service::handler::{self, InitError};
use solo::service::log::{Level, log};
use solo::service::messaging::{demonitor, lookup};
use std::cell::RefCell;
use std::collections::BTreeSet;
use text::{describe, number, word};

#[path = "../../shared/downs.rs"]
mod downs;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "watcher" });

const COMMANDS: &str = "expected one of: watch NAME, unwatch N, downs, stats, crash";

thread_local! {
    static WATCHES: RefCell<Watches> = RefCell::new(Watches::default());
}

/// What is watched, and what came of it.
#[derive(Default)]
struct Watches {
    open: BTreeSet<u64>,
    downs: downs::Downs,
    strays: u64,
}

struct Watcher;

impl handler::Guest for Watcher {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "watcher started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        let answer = match word(text.trim()) {
            ("watch", name) if !name.is_empty() => watch(name)?.to_string(),
            ("unwatch", monitor) => unwatch(number("watch", monitor)?).to_string(),
            ("downs", "") => WATCHES.with_borrow(|watches| watches.downs.lines()),
            ("stats", "") => WATCHES.with_borrow(Watches::stats),
            ("crash", "") => core::arch::wasm32::unreachable(),
            _ => return Err(COMMANDS.to_owned()),
        };
        Ok(answer.into_bytes())
    }

    fn handle_cast(payload: Vec<u8>) {
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Warn, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("watcher ends: {reason}"));
    }
}

impl down_handler::Guest for Watcher {
    fn handle_down(down: Down) {
        WATCHES.with_borrow_mut(|watches| {
            if !watches.open.remove(&down.monitor) {
                watches.strays += 1;
            }
            let line = watches.downs.add(&down);
            log(Level::Info, &format!("down: {line}"));
        });
    }
}

/// Watches a service. The watch does not need the reference any more: it ends by itself.
fn watch(name: &str) -> Result<u64, String> {
    let service = lookup(name).map_err(describe)?;
    let monitor = service.monitor().map_err(describe)?;
    WATCHES.with_borrow_mut(|watches| watches.open.insert(monitor));
    Ok(monitor)
}

/// Ends a watch. False: there is none, or its message is on the way.
fn unwatch(monitor: u64) -> bool {
    let ended = demonitor(monitor);
    if ended {
        WATCHES.with_borrow_mut(|watches| watches.open.remove(&monitor));
    }
    ended
}

impl Watches {
    fn stats(&self) -> String {
        let (open, downs, strays) = (self.open.len(), self.downs.received, self.strays);
        format!(r#"{{"open":{open},"downs":{downs},"strays":{strays}}}"#)
    }
}

export!(Watcher);
