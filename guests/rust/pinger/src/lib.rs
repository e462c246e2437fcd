//! Drives another service: calls it again and again by a timer, and counts the outcomes.
//!
//! Calls:
//! - `start TARGET INTERVAL_MS PAYLOAD` begins the loop with both counts at 0, and replaces one that
//!   runs. The payload may be empty and may hold spaces. Answers `started`.
//! - `stop` ends the loop and keeps the counts. Answers `stopped`.
//! - `stats` answers `{"ok":N,"failed":N,"last_error":"..."}`; no error so far is `""`.
//! - `ask TARGET PAYLOAD` makes one call and answers its answer; its failure is the error.
//! - `tell TARGET PAYLOAD` makes one send. Answers `sent`.
//! - `pass TARGET NAME PAYLOAD` calls TARGET and passes its own reference of NAME along; `pass-send` one
//!   that can only be sent by; `tell-pass` sends instead of calling.
//! - `use PAYLOAD` takes the reference that came with the message, keeps it, and calls by it; `keep` only
//!   keeps it; `kept PAYLOAD` calls by the one that it kept, `kept-send PAYLOAD` sends. None: the error
//!   `nothing was passed`.
//!
//! At most one call of the loop is under way: a slow target makes the loop slower, never longer.
//! Casts are the loop's own timers; anything else is logged and dropped.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use solo::service::messaging::{MessageError, Rights, ServiceRef, lookup, received};
use solo::service::timers::{cancel, send_after};
use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: start TARGET INTERVAL_MS PAYLOAD, stop, stats, \
     ask TARGET PAYLOAD, tell TARGET PAYLOAD, pass TARGET NAME PAYLOAD, use PAYLOAD, keep, kept PAYLOAD";

/// What a timer of the loop says, with the number of the loop that set it after it.
const TICK: &str = "tick ";

thread_local! {
    static PINGER: RefCell<Pinger> = RefCell::new(Pinger::default());
    /// What somebody passed.
    static KEPT: RefCell<Option<ServiceRef>> = const { RefCell::new(None) };
}

/// The loop and what came of it.
#[derive(Default)]
struct Pinger {
    running: Option<Loop>,
    /// How many loops were started: tells a timer of this loop from a late one of an earlier loop.
    loops: u64,
    ok: u64,
    failed: u64,
    last_error: String,
}

struct Loop {
    target_name: String,
    /// None: not looked up yet, or the last call said that the target is gone.
    target: Option<ServiceRef>,
    interval_ms: u64,
    payload: Vec<u8>,
    timer: u64,
}

struct Service;

impl Guest for Service {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "pinger started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        let (command, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match command {
            "start" => PINGER.with_borrow_mut(|pinger| pinger.start(rest)),
            "stop" => PINGER.with_borrow_mut(Pinger::stop),
            "stats" => Ok(PINGER.with_borrow(Pinger::stats)),
            "ask" => {
                let (target, payload) = rest.split_once(' ').unwrap_or((rest, ""));
                let target = lookup(target).map_err(describe)?;
                target.call(payload.as_bytes(), None).map_err(describe)
            }
            "tell" => {
                let (target, payload) = rest.split_once(' ').unwrap_or((rest, ""));
                let target = lookup(target).map_err(describe)?;
                target.send(payload.as_bytes()).map_err(describe)?;
                Ok(b"sent".to_vec())
            }
            "pass" | "pass-send" | "tell-pass" => pass(command, rest),
            "use" => {
                keep()?;
                kept(|target| target.call(rest.as_bytes(), None))
            }
            "keep" => keep().map(|()| b"kept".to_vec()),
            "kept" => kept(|target| target.call(rest.as_bytes(), None)),
            "kept-send" => kept(|target| target.send(rest.as_bytes()).map(|()| b"sent".to_vec())),
            _ => Err(COMMANDS.to_owned()),
        }
    }

    fn handle_cast(payload: Vec<u8>) {
        let text = String::from_utf8_lossy(&payload);
        if text == "keep" {
            // There is nobody to tell.
            let _ = keep();
            return;
        }
        match text.strip_prefix(TICK).and_then(|number| number.parse().ok()) {
            Some(number) => PINGER.with_borrow_mut(|pinger| pinger.tick(number)),
            None => log(Level::Warn, &format!("cast dropped: {text}")),
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("pinger ends: {reason}"));
    }
}

/// `TARGET NAME PAYLOAD`
fn pass(command: &str, arguments: &str) -> Result<Vec<u8>, String> {
    let mut words = arguments.splitn(3, ' ');
    let (Some(target), Some(name)) = (words.next(), words.next()) else {
        return Err(COMMANDS.to_owned());
    };
    let payload = words.next().unwrap_or_default().as_bytes();
    let target = lookup(target).map_err(describe)?;
    let own = lookup(name).map_err(describe)?;
    let passed = match command {
        "pass-send" => own.attenuate(Rights::SEND),
        _ => own,
    };
    match command {
        "tell-pass" => target.send_with(payload, &[&passed]).map(|()| b"sent".to_vec()),
        _ => target.call_with(payload, &[&passed], None),
    }
    .map_err(describe)
}

/// Keeps the reference that came with the message.
fn keep() -> Result<(), String> {
    let passed = received().into_iter().next().ok_or("nothing was passed")?;
    KEPT.with_borrow_mut(|kept| *kept = Some(passed));
    Ok(())
}

fn kept(act: impl FnOnce(&ServiceRef) -> Result<Vec<u8>, MessageError>) -> Result<Vec<u8>, String> {
    KEPT.with_borrow(|kept| act(kept.as_ref().ok_or("nothing was passed")?).map_err(describe))
}

impl Pinger {
    fn start(&mut self, arguments: &str) -> Result<Vec<u8>, String> {
        let mut words = arguments.splitn(3, ' ');
        let (Some(target), Some(interval)) = (words.next(), words.next()) else {
            return Err(COMMANDS.to_owned());
        };
        let interval_ms: u64 = match interval.parse() {
            Ok(ms) if ms > 0 => ms,
            _ => return Err(format!("not a positive number of milliseconds: {interval}")),
        };
        self.stop()?;
        self.loops += 1;
        (self.ok, self.failed) = (0, 0);
        self.last_error.clear();
        self.running = Some(Loop {
            target_name: target.to_owned(),
            target: None,
            interval_ms,
            payload: words.next().unwrap_or_default().as_bytes().to_vec(),
            timer: send_after(interval_ms, &self.tick_payload())?,
        });
        Ok(b"started".to_vec())
    }

    fn stop(&mut self) -> Result<Vec<u8>, String> {
        if let Some(running) = self.running.take() {
            cancel(running.timer);
        }
        Ok(b"stopped".to_vec())
    }

    /// One turn of the loop: sets the next timer first, so that the interval does not grow by the
    /// time of the call, then calls.
    fn tick(&mut self, number: u64) {
        if number != self.loops {
            return;
        }
        let next = self.tick_payload();
        let Some(running) = &mut self.running else { return };
        match send_after(running.interval_ms, &next) {
            Ok(timer) => running.timer = timer,
            Err(error) => {
                log(Level::Error, &format!("the loop ends, no timer: {error}"));
                self.last_error = error;
                self.running = None;
                return;
            }
        }
        match running.call() {
            Ok(()) => self.ok += 1,
            Err(error) => {
                self.failed += 1;
                log(Level::Warn, &format!("call failed: {error}"));
                self.last_error = error;
            }
        }
    }

    fn tick_payload(&self) -> Vec<u8> {
        format!("{TICK}{}", self.loops).into_bytes()
    }

    fn stats(&self) -> Vec<u8> {
        let Self { ok, failed, last_error, .. } = self;
        format!(r#"{{"ok":{ok},"failed":{failed},"last_error":{}}}"#, quote(last_error))
            .into_bytes()
    }
}

impl Loop {
    /// Calls the target once. After a failure the next call looks it up again.
    fn call(&mut self) -> Result<(), String> {
        let target = match self.target.take() {
            Some(target) => target,
            None => lookup(&self.target_name).map_err(describe)?,
        };
        target.call(&self.payload, None).map_err(describe)?;
        self.target = Some(target);
        Ok(())
    }
}

fn describe(error: MessageError) -> String {
    match error {
        MessageError::Denied => "denied".to_owned(),
        MessageError::Overloaded => "overloaded".to_owned(),
        MessageError::Timeout => "timeout".to_owned(),
        MessageError::Crashed(why) => format!("crashed: {why}"),
        MessageError::Unavailable(why) => format!("unavailable: {why}"),
        MessageError::Deadlock => "deadlock".to_owned(),
        MessageError::Failed(why) => format!("failed: {why}"),
    }
}

/// The text as a JSON string.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

export!(Service);
