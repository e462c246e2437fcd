//! A counter: the smallest service with state. The count lives in the instance's memory, so a
//! restart sets it to 0.
//!
//! Calls: `get`, `add N`, `reset`; each answers the count as text, anything else is an error that
//! lists them. Casts: `add N`; anything else is logged and dropped.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use std::sync::atomic::{AtomicI64, Ordering};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: get, add N, reset";

static COUNT: AtomicI64 = AtomicI64::new(0);

struct Counter;

impl Guest for Counter {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "counter started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        let count = match text.trim() {
            "get" => COUNT.load(Ordering::Relaxed),
            "reset" => {
                COUNT.store(0, Ordering::Relaxed);
                0
            }
            command => add(command)?,
        };
        Ok(count.to_string().into_bytes())
    }

    fn handle_cast(payload: Vec<u8>) {
        let text = String::from_utf8_lossy(&payload);
        if let Err(error) = add(text.trim()) {
            log(Level::Warn, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        let count = COUNT.load(Ordering::Relaxed);
        log(Level::Info, &format!("counter ends at {count}: {reason}"));
    }
}

/// Runs `add N` and returns the new count. The count does not change on an error.
fn add(command: &str) -> Result<i64, String> {
    let amount = match command.split_once(' ') {
        Some(("add", amount)) => amount.trim(),
        _ => return Err(COMMANDS.to_owned()),
    };
    let amount: i64 =
        amount.parse().map_err(|_| format!("not a 64-bit whole number: {amount}; {COMMANDS}"))?;
    let count =
        COUNT.load(Ordering::Relaxed).checked_add(amount).ok_or("the count would overflow")?;
    COUNT.store(count, Ordering::Relaxed);
    Ok(count)
}

export!(Counter);
