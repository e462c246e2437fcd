//! Never returns from `init`: the startup timeout has to end it.

use exports::solo::service::handler::{Guest, InitError};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct HangOnInit;

impl Guest for HangOnInit {
    fn init() -> Result<(), InitError> {
        loop {
            std::hint::black_box(());
        }
    }

    fn handle_call(_payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Err("never started".to_owned())
    }

    fn handle_cast(_payload: Vec<u8>) {}

    fn terminate(_reason: String) {}
}

export!(HangOnInit);
