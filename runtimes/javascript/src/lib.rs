//! JavaScript services: QuickJS-NG, given its source when an instance starts.
//!
//! `prepare` runs once, when the component is built: the engine starts and runs the prelude, and what is then in
//! memory is the beginning of every instance. Nothing of the machine (clock, random numbers) may be asked for
//! before `load`.

mod engine;
mod errors;
mod host;
mod modules;
mod rejections;
// The rules of the check before a start are those of the start.
#[path = "../../../crates/solo-source/src/resolve.rs"]
mod resolve;
mod turns;
mod urls;

use exports::solo::runtime::source::{Down, Failure, Guest as Source, Loaded, Module};

wit_bindgen::generate!({
    path: ["../../wit/solo-service.wit", "../../wit/runtime/solo-runtime.wit"],
    inline: "
        package runtimes:javascript;
        world javascript {
            import solo:service/messaging@0.1.0;
            import solo:service/functions@0.1.0;
            import solo:service/context@0.1.0;
            import solo:service/log@0.1.0;
            import solo:service/timers@0.1.0;
            import solo:service/secrets@0.1.0;
            import wasi:clocks/wall-clock@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.0;
            import wasi:random/random@0.2.0;
            import wasi:config/store@0.2.0-draft;
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            export solo:runtime/source@0.1.0;
            export prepare: func();
        }
        package wasi:io@0.2.0 {
            interface poll {
                resource pollable { block: func(); }
            }
        }
        package wasi:clocks@0.2.0 {
            interface wall-clock {
                record datetime { seconds: u64, nanoseconds: u32 }
                now: func() -> datetime;
            }
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                now: func() -> u64;
                subscribe-duration: func(when: u64) -> pollable;
            }
        }
        package wasi:random@0.2.0 {
            interface random { get-random-bytes: func(len: u64) -> list<u8>; }
        }
        package wasi:config@0.2.0-draft {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
        }
        package wasi:keyvalue@0.2.0-draft2 {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<string> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<string>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
            }
        }
    ",
    generate_all,
});

struct Runtime;

impl Guest for Runtime {
    fn prepare() {
        engine::prepare();
    }
}

impl Source for Runtime {
    fn load(entry: String, modules: Vec<Module>) -> Result<Loaded, Failure> {
        engine::with(|engine| engine.load(&entry, modules))
    }

    fn init() -> Result<(), Failure> {
        engine::with(|engine| engine.optional("init", Vec::new()).map(drop))
    }

    fn call(function: String, arguments: String) -> Result<String, Failure> {
        engine::with(|engine| engine.call(&function, &arguments))
    }

    fn handle(payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        engine::with(|engine| engine.handle(payload))
    }

    fn handle_down(down: Down) -> Result<(), Failure> {
        engine::with(|engine| engine.down(&down))
    }

    fn tick() -> Result<(), Failure> {
        engine::with(engine::Engine::tick)
    }

    fn terminate(reason: String) {
        // What goes wrong now nobody can do anything about; it was logged.
        let _ = engine::with(|engine| engine.terminate(&reason));
    }

    fn export_state() -> Result<Option<Vec<u8>>, Failure> {
        engine::with(engine::Engine::export_state)
    }

    fn import_state(state: Vec<u8>) -> Result<(), Failure> {
        engine::with(|engine| engine.import_state(state))
    }
}

export!(Runtime);
