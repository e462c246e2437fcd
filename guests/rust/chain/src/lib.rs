//! Passes a message on from service to service, and tells what each of them knows of it.
//!
//! A *context* is a line `{"at":"...","remaining_ms":N,"trace_id":"...","text":"..."}`: which instance
//! tells it, how long its caller still waits (`null`: nobody does), and the chain it belongs to.
//!
//! Calls:
//! - `relay NAME... | TEXT` calls the first NAME with the rest of the line, and answers that answer
//!   and a line with its own context, as it was when the call came. With no NAME: only the own context.
//!   So the last of the chain is on the first line. `NAME@MS` waits for MS milliseconds.
//! - `pass NAME... | TEXT` does the same with sends, so nothing comes back: answers the own context.
//! - `last` answers the context of the latest cast; empty: none yet.
//! - `slow MS` answers its context after so many milliseconds.
//! - `slow-timeout NAME MS TIMEOUT` calls NAME with `slow MS` and waits for TIMEOUT milliseconds.
//!
//! A failure is answered as an error, `NAME: ` and the name of its variant. Casts: the same; what they
//! answer is dropped.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::context::{remaining_ms, trace_id};
use solo::service::log::{Level, log};
use solo::service::messaging::{lookup, self_id};
use std::cell::RefCell;
use text::{describe, number, quote, receiver, word};

#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: relay NAME... | TEXT, pass NAME... | TEXT, last, slow MS, \
     slow-timeout NAME MS TIMEOUT";

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Chain;

impl Guest for Chain {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "chain started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        obey(&text).map(String::into_bytes)
    }

    fn handle_cast(payload: Vec<u8>) {
        let text = String::from_utf8_lossy(&payload);
        LAST.set(context(&text));
        if let Err(error) = obey(&text) {
            log(Level::Warn, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("chain ends: {reason}"));
    }
}

fn obey(text: &str) -> Result<String, String> {
    match word(text.trim()) {
        ("relay", rest) => {
            let (names, text) = chain(rest)?;
            let own = context(text);
            let (first, others) = word(names);
            if first.is_empty() {
                return Ok(own);
            }
            let answer = call(first, &format!("relay {others} | {text}"))?;
            Ok(format!("{answer}\n{own}"))
        }
        ("pass", rest) => {
            let (names, text) = chain(rest)?;
            let (first, others) = word(names);
            if !first.is_empty() {
                send(first, &format!("pass {others} | {text}"))?;
            }
            Ok(context(text))
        }
        ("last", "") => Ok(LAST.with_borrow(String::clone)),
        ("slow", ms) => {
            clock::sleep_ms(number("milliseconds", ms)?);
            Ok(context(text))
        }
        ("slow-timeout", rest) => match rest.split_whitespace().collect::<Vec<_>>().as_slice() {
            &[name, ms, timeout] => call(&format!("{name}@{timeout}"), &format!("slow {ms}")),
            _ => Err(COMMANDS.to_owned()),
        },
        _ => Err(COMMANDS.to_owned()),
    }
}

/// Splits `NAME... | TEXT`.
fn chain(text: &str) -> Result<(&str, &str), String> {
    let (names, text) = text.split_once('|').ok_or_else(|| COMMANDS.to_owned())?;
    Ok((names.trim(), text.trim()))
}

fn call(name: &str, payload: &str) -> Result<String, String> {
    let (name, timeout_ms) = receiver(name)?;
    lookup(name)
        .and_then(|service| service.call(payload.as_bytes(), timeout_ms))
        .map(|answer| String::from_utf8_lossy(&answer).into_owned())
        .map_err(|error| format!("{name}: {}", describe(error)))
}

fn send(name: &str, payload: &str) -> Result<(), String> {
    lookup(name)
        .and_then(|service| service.send(payload.as_bytes()))
        .map_err(|error| format!("{name}: {}", describe(error)))
}

/// What is known of the message at this moment, as one line.
fn context(text: &str) -> String {
    let remaining = remaining_ms().map_or_else(|| "null".to_owned(), |ms| ms.to_string());
    let (at, trace, text) = (quote(&self_id()), quote(&trace_id()), quote(text));
    format!(r#"{{"at":{at},"remaining_ms":{remaining},"trace_id":{trace},"text":{text}}}"#)
}

export!(Chain);
