//! Crashes in the way it is told to, so that the restart policy has something to do.
//!
//! Calls and casts: `panic`, `unreachable`, `divide` and `overflow-stack` end the instance with a
//! trap; anything else does not, and a call answers `ok`. The text of a panic goes to the log.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use std::hint::black_box;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct Crasher;

impl Guest for Crasher {
    fn init() -> Result<(), InitError> {
        std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
        log(Level::Info, "crasher started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        obey(&payload);
        Ok(b"ok".to_vec())
    }

    fn handle_cast(payload: Vec<u8>) {
        obey(&payload);
    }

    fn terminate(_reason: String) {}
}

fn obey(command: &[u8]) {
    match command.trim_ascii() {
        b"panic" => panic!("told to panic"),
        b"unreachable" => core::arch::wasm32::unreachable(),
        b"divide" => {
            black_box(1_i32 / black_box(0));
        }
        b"overflow-stack" => {
            black_box(descend(1));
        }
        _ => {}
    }
}

/// Calls itself until the stack is used up. `black_box` keeps the compiler from making a loop of it.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if black_box(depth) == 0 { 0 } else { descend(depth + 1) + black_box(frame)[0] }
}

export!(Crasher);
