//! Does as it is told, well or badly: the victim of tests and of the soak.
//!
//! Calls:
//! - `echo TEXT` answers TEXT; `self` the id of the instance; `config KEY` an entry of the
//!   configuration; `secret KEY` a secret, which a service should keep to itself.
//! - `crash` traps; `exit CODE` ends the instance as a program does, 0 is a normal end.
//! - `spin MS` computes for that time on the clock and answers the steps it made; `sleep MS` waits.
//! - `grow BYTES` takes memory and writes to all of it. Answers the bytes held, or `refused`.
//!   `release` gives all back.
//! - `hold N` sets the counter; `count` adds one; `hold` only asks. All answer it; a restart sets it to 0.
//! - `send NAME N SIZE` makes N sends of SIZE bytes, which say nothing; `storm NAME MS SIZE` makes them
//!   for that time. Both answer `{"accepted":N,"refused":N,"error":"..."}`, with the first error.
//! - `call NAME PAYLOAD` answers the answer; `NAME@MS` waits for MS milliseconds.
//! - `timer MS TEXT` puts TEXT into the own mailbox later, answers its number; `cancel N` answers
//!   `true` or `false`.
//! - `log N` writes N lines.
//! - `casts` answers how many casts came.
//! - `terminate-call NAME` has `terminate` call NAME and log what came of it, as
//!   `call in terminate: ...`; `terminate-sleep MS` has it wait before it returns.
//!
//! An error of the host is answered as an error with the name of its variant. Casts: the same;
//! answers are dropped, and so is what is no command.
//!
//! The configuration entry `init` holds commands, one a line, that run at each start. Where one fails
//! `init` answers `retry`. Two more are for there: `permanent TEXT` and `retry TEXT` end it so.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use solo::service::messaging::{MessageError, lookup, self_id};
use solo::service::secrets;
use solo::service::timers::{cancel, send_after};
use std::cell::RefCell;
use std::hint::black_box;
use text::{describe, number, quote, receiver, word};

#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/config.rs"]
mod config;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

/// The way out, for `exit CODE`.
mod cli {
    wit_bindgen::generate!({
        inline: "
            package guests:cli;
            world cli {
                import wasi:cli/exit@0.2.0;
            }
            package wasi:cli@0.2.0 {
                interface exit {
                    exit-with-code: func(status-code: u8);
                }
            }
        ",
        generate_all,
    });
    pub use self::wasi::cli::exit::exit_with_code;
}

const COMMANDS: &str = "expected one of: echo TEXT, self, config KEY, secret KEY, crash, exit CODE, spin MS, \
     sleep MS, grow BYTES, release, hold [N], count, send NAME N SIZE, storm NAME MS SIZE, \
     call NAME PAYLOAD, timer MS TEXT, cancel N, log N, casts, terminate-call NAME, \
     terminate-sleep MS";

/// Steps between two looks at the clock: some microseconds.
const STEPS_PER_LOOK: u64 = 4_096;

/// What a message of `send` and `storm` is made of: no command begins so.
const FILLING: u8 = b'.';

/// The largest message of `send` and `storm`; the host takes no larger ones anyway.
const SIZE_MAX: usize = 64 << 20;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker::default());
}

#[derive(Default)]
struct Worker {
    count: i64,
    casts: u64,
    memory: Vec<Vec<u8>>,
    held_bytes: usize,
    terminate_call: Option<String>,
    terminate_sleep_ms: u64,
}

struct Service;

impl Guest for Service {
    fn init() -> Result<(), InitError> {
        let commands = config::get("init").map_err(InitError::Retry)?.unwrap_or_default();
        for command in commands.lines().filter(|line| !line.trim().is_empty()) {
            match word(command.trim()) {
                ("permanent", why) => return Err(InitError::Permanent(why.to_owned())),
                ("retry", why) => return Err(InitError::Retry(why.to_owned())),
                _ => obey(command).map_err(|why| InitError::Retry(format!("{command}: {why}")))?,
            };
        }
        log(Level::Info, "worker started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        obey(&text)
    }

    fn handle_cast(payload: Vec<u8>) {
        WORKER.with_borrow_mut(|worker| worker.casts += 1);
        if payload.first() == Some(&FILLING) {
            return;
        }
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Debug, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        let (target, sleep_ms) = WORKER
            .with_borrow_mut(|worker| (worker.terminate_call.take(), worker.terminate_sleep_ms));
        if let Some(target) = target {
            let outcome = match call(&target, b"echo from terminate") {
                Ok(answer) => format!("ok: {}", String::from_utf8_lossy(&answer)),
                Err(error) => error,
            };
            log(Level::Info, &format!("call in terminate: {outcome}"));
        }
        if sleep_ms > 0 {
            clock::sleep_ms(sleep_ms);
        }
        log(Level::Info, &format!("worker ends: {reason}"));
    }
}

fn obey(text: &str) -> Result<Vec<u8>, String> {
    let (command, rest) = word(text);
    let answer = match command.trim() {
        "echo" => return Ok(rest.as_bytes().to_vec()),
        "call" => {
            let (target, payload) = word(rest);
            return call(target, payload.as_bytes());
        }
        "self" => self_id(),
        "config" => config::get(rest.trim())?.ok_or("no such entry")?,
        "secret" => return secrets::get(rest.trim()).ok_or_else(|| "no such secret".to_owned()),
        "crash" => core::arch::wasm32::unreachable(),
        "exit" => {
            cli::exit_with_code(number("code", rest)?);
            return Err("the host did not end the instance".to_owned());
        }
        "spin" => spin(number("milliseconds", rest)?).to_string(),
        "sleep" => {
            clock::sleep_ms(number("milliseconds", rest)?);
            "slept".to_owned()
        }
        "send" => {
            let (target, count, payload) = sends(rest)?;
            send(target, &payload, |done| done < count)?
        }
        "storm" => {
            let (target, ms, payload) = sends(rest)?;
            let until = clock::in_ms(ms);
            send(target, &payload, |_| clock::now_ns() < until)?
        }
        "timer" => {
            let (ms, text) = word(rest);
            send_after(number("milliseconds", ms)?, text.as_bytes())?.to_string()
        }
        "cancel" => cancel(number("timer", rest)?).to_string(),
        "log" => {
            for line in 1..=number::<u64>("lines", rest)? {
                log(Level::Info, &format!("line {line}"));
            }
            "logged".to_owned()
        }
        command => return WORKER.with_borrow_mut(|worker| worker.obey(command, rest)),
    };
    Ok(answer.into_bytes())
}

impl Worker {
    /// The commands that change what the worker knows. They reach no one else.
    fn obey(&mut self, command: &str, rest: &str) -> Result<Vec<u8>, String> {
        let answer = match command {
            "grow" => self.grow(number("bytes", rest)?),
            "release" => {
                self.memory = Vec::new();
                self.held_bytes = 0;
                "0".to_owned()
            }
            "hold" => {
                if !rest.trim().is_empty() {
                    self.count = number("count", rest)?;
                }
                self.count.to_string()
            }
            "count" => {
                self.count = self.count.checked_add(1).ok_or("the count would overflow")?;
                self.count.to_string()
            }
            "casts" => self.casts.to_string(),
            "terminate-call" => {
                self.terminate_call = Some(rest.trim().to_owned());
                "noted".to_owned()
            }
            "terminate-sleep" => {
                self.terminate_sleep_ms = number("milliseconds", rest)?;
                "noted".to_owned()
            }
            _ => return Err(COMMANDS.to_owned()),
        };
        Ok(answer.into_bytes())
    }

    /// Takes so many bytes more. What was refused changes nothing.
    fn grow(&mut self, bytes: usize) -> String {
        let mut block = Vec::new();
        if self.memory.try_reserve(1).is_err() || block.try_reserve_exact(bytes).is_err() {
            return "refused".to_owned();
        }
        // Not zero: some hosts share one page of zeros until the first other byte is written.
        block.resize(bytes, 0xA5);
        self.memory.push(block);
        self.held_bytes += bytes;
        self.held_bytes.to_string()
    }
}

/// Reads `NAME N SIZE`: the target, the number, and a message of so many bytes.
fn sends(arguments: &str) -> Result<(&str, u64, Vec<u8>), String> {
    match *arguments.split_whitespace().collect::<Vec<_>>().as_slice() {
        [target, count, size] => {
            let size = number::<usize>("bytes", size)?.min(SIZE_MAX);
            Ok((target, number("number", count)?, vec![FILLING; size]))
        }
        _ => Err(COMMANDS.to_owned()),
    }
}

/// Sends the same message again and again while `more`, which is told how many were tried, says so.
fn send(target: &str, payload: &[u8], more: impl Fn(u64) -> bool) -> Result<String, String> {
    let target = lookup(target).map_err(describe)?;
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let mut first_error: Option<MessageError> = None;
    while more(accepted + refused) {
        match target.send(payload) {
            Ok(()) => accepted += 1,
            Err(error) => {
                refused += 1;
                first_error.get_or_insert(error);
            }
        }
    }
    let error = quote(&first_error.map(describe).unwrap_or_default());
    Ok(format!(r#"{{"accepted":{accepted},"refused":{refused},"error":{error}}}"#))
}

fn call(target: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
    let (name, timeout_ms) = receiver(target)?;
    let target = lookup(name).map_err(describe)?;
    target.call(payload, timeout_ms).map_err(describe)
}

/// Runs a chain of xorshift steps, each of which needs the one before, and returns their number.
fn spin(ms: u64) -> u64 {
    let until = clock::in_ms(ms);
    let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
    let mut steps = 0;
    while clock::now_ns() < until {
        for _ in 0..STEPS_PER_LOOK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state = black_box(state);
        steps += STEPS_PER_LOOK;
    }
    steps
}

export!(Service);
