//! Traps in `init`: never becomes ready, and each start is a crash.

use exports::solo::service::handler::{Guest, InitError};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct CrashOnInit;

impl Guest for CrashOnInit {
    fn init() -> Result<(), InitError> {
        core::arch::wasm32::unreachable()
    }

    fn handle_call(_payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Err("never started".to_owned())
    }

    fn handle_cast(_payload: Vec<u8>) {}

    fn terminate(_reason: String) {}
}

export!(CrashOnInit);
