//! Asks in `init` for another start, each time: restarted until the intensity is exceeded.

use exports::solo::service::handler::{Guest, InitError};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct RetryOnInit;

impl Guest for RetryOnInit {
    fn init() -> Result<(), InitError> {
        Err(InitError::Retry("told to ask for another start".to_owned()))
    }

    fn handle_call(_payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Err("never started".to_owned())
    }

    fn handle_cast(_payload: Vec<u8>) {}

    fn terminate(_reason: String) {}
}

export!(RetryOnInit);
