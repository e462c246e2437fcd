//! Declares in `init` that it can never start: marked failed, not restarted.

use exports::solo::service::handler::{Guest, InitError};

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

struct RefuseOnInit;

impl Guest for RefuseOnInit {
    fn init() -> Result<(), InitError> {
        Err(InitError::Permanent("told to refuse".to_owned()))
    }

    fn handle_call(_payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Err("never started".to_owned())
    }

    fn handle_cast(_payload: Vec<u8>) {}

    fn terminate(_reason: String) {}
}

export!(RefuseOnInit);
