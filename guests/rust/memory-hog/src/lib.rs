//! Takes memory and keeps it, so that the memory limit has something to do.
//!
//! Calls: `grow N` takes N MiB more and writes to each page, `forever` takes without end, `held`
//! only asks, `release` gives all back to the allocator (a WebAssembly memory never shrinks). All
//! answer the MiB held, as text. Where the host refuses memory, `grow` answers an error and keeps
//! what it got, and `forever` traps. Casts: the same.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: grow MEBIBYTES, forever, held, release";
const MEBIBYTE: usize = 1 << 20;

thread_local! {
    static HELD: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

struct MemoryHog;

impl Guest for MemoryHog {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "memory-hog started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        HELD.with_borrow_mut(|held| {
            obey(text.trim(), held)?;
            Ok(held.len().to_string().into_bytes())
        })
    }

    fn handle_cast(payload: Vec<u8>) {
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Warn, &error);
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("memory-hog ends: {reason}"));
    }
}

fn obey(command: &str, held: &mut Vec<Vec<u8>>) -> Result<(), String> {
    match command.split_once(' ').unwrap_or((command, "")) {
        ("held", "") => Ok(()),
        ("release", "") => {
            held.clear();
            Ok(())
        }
        ("forever", "") => {
            while take(held) {}
            core::arch::wasm32::unreachable()
        }
        ("grow", count) => {
            let count: u32 = count
                .trim()
                .parse()
                .map_err(|_| format!("not a number of MiB: {count}; {COMMANDS}"))?;
            for _ in 0..count {
                if !take(held) {
                    return Err(format!("the host refused memory at {} MiB", held.len()));
                }
            }
            Ok(())
        }
        _ => Err(COMMANDS.to_owned()),
    }
}

/// Takes one MiB more and fills it. False: the host refused.
fn take(held: &mut Vec<Vec<u8>>) -> bool {
    let mut block = Vec::new();
    if held.try_reserve(1).is_err() || block.try_reserve_exact(MEBIBYTE).is_err() {
        return false;
    }
    // Not zero: some hosts share one page of zeros until the first other byte is written.
    block.resize(MEBIBYTE, 0xA5);
    held.push(block);
    true
}

export!(MemoryHog);
