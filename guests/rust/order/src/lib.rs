//! Checks that messages of one sender come in the order in which it sent them, and that none is lost.
//!
//! Each instance is sender and receiver. A sender numbers what it sends to a receiver from 1 on, in a
//! *stream* of its own: one per receiver, a new one after a restart of the sender, and after a call
//! whose end says nothing on whether the message was handled (`timeout`, `crashed`, `failed`).
//!
//! Calls, as sender:
//! - `send NAME N [SIZE]` makes N sends, of SIZE bytes at least;
//! - `mix NAME N [SIZE]` makes every tenth of them a call.
//!
//! Both answer `{"accepted":N,"refused":N,"error":"..."}`, with the first error. What was refused was
//! not queued, so its number is used again.
//!
//! Calls, as receiver:
//! - `violations` answers how many messages came too late or twice, plus how many are missing. A message
//!   that comes late counts as both. 0: the order was kept. What is missing behind the last one that came
//!   shows in `received` only.
//! - `report` answers one line for each stream, the 1,000 latest:
//!   `{"stream":"...","first":N,"last":N,"received":N,"missing":N,"late":N}`. A receiver that started in the
//!   middle of a stream takes it from there.
//! - `received` answers how many numbered messages came.
//! - `reset` forgets what came.
//!
//! Only for receivers with one replica: several share the messages.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use solo::service::messaging::{MessageError, ServiceRef, lookup, self_id};
use std::cell::RefCell;
use std::collections::BTreeMap;
use text::{describe, number, quote};

#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: send NAME N [SIZE], mix NAME N [SIZE], violations, report, \
     received, reset";

/// What a numbered message begins with: `#STREAM NUMBER `, then filling.
const NUMBERED: char = '#';

/// Of `mix`: one message of so many is a call.
const CALL_EVERY: u64 = 10;

/// Streams that are kept, both ways. The one that was quiet for longest goes first.
const STREAMS_MAX: usize = 1_000;

/// The largest filling; the host takes no larger messages anyway.
const SIZE_MAX: usize = 64 << 20;

thread_local! {
    static ORDER: RefCell<Order> = RefCell::new(Order::default());
}

#[derive(Default)]
struct Order {
    /// By the receiver's name.
    outgoing: BTreeMap<String, Outgoing>,
    /// By the stream's name.
    incoming: BTreeMap<String, Incoming>,
    /// Messages and streams so far: tells which stream was quiet for longest.
    turns: u64,
    received: u64,
    violations: u64,
}

/// A stream to someone.
struct Outgoing {
    stream: String,
    sent: u64,
    used: u64,
}

/// A stream from someone.
struct Incoming {
    first: u64,
    last: u64,
    received: u64,
    missing: u64,
    late: u64,
    used: u64,
}

struct Service;

impl Guest for Service {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "order started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        if take(&payload) {
            return Ok(Vec::new());
        }
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let answer = ORDER.with_borrow_mut(|order| match *words.as_slice() {
            ["send", name, count] => order.send(name, count, "0", u64::MAX),
            ["send", name, count, size] => order.send(name, count, size, u64::MAX),
            ["mix", name, count] => order.send(name, count, "0", CALL_EVERY),
            ["mix", name, count, size] => order.send(name, count, size, CALL_EVERY),
            ["violations"] => Ok(order.violations.to_string()),
            ["received"] => Ok(order.received.to_string()),
            ["report"] => Ok(order.report()),
            ["reset"] => {
                order.incoming.clear();
                (order.received, order.violations) = (0, 0);
                Ok("reset".to_owned())
            }
            _ => Err(COMMANDS.to_owned()),
        })?;
        Ok(answer.into_bytes())
    }

    fn handle_cast(payload: Vec<u8>) {
        if take(&payload) {
            return;
        }
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Warn, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("order ends: {reason}"));
    }
}

/// Takes a numbered message. False: it is none.
fn take(payload: &[u8]) -> bool {
    let Some((stream, number)) = parse(payload) else { return false };
    ORDER.with_borrow_mut(|order| order.receive(stream, number));
    true
}

fn parse(payload: &[u8]) -> Option<(&str, u64)> {
    // The filling may be large: only the front is text.
    let mut parts = payload.splitn(3, |byte| *byte == b' ');
    let stream = str::from_utf8(parts.next()?).ok()?.strip_prefix(NUMBERED)?;
    Some((stream, str::from_utf8(parts.next()?).ok()?.parse().ok()?))
}

impl Order {
    fn receive(&mut self, stream: &str, number: u64) {
        self.turns += 1;
        self.received += 1;
        let turn = self.turns;
        if let Some(known) = self.incoming.get_mut(stream) {
            let before = known.missing + known.late;
            known.receive(number, turn);
            let violations = known.missing + known.late - before;
            if violations > 0 {
                self.violations += violations;
                log(Level::Error, &format!("out of order: {number} in {stream}"));
            }
            return;
        }
        make_room(&mut self.incoming, |stream| stream.used);
        let (first, last) = (number, number);
        let fresh = Incoming { first, last, received: 1, missing: 0, late: 0, used: turn };
        self.incoming.insert(stream.to_owned(), fresh);
    }

    fn report(&self) -> String {
        let line = |(stream, incoming): (&String, &Incoming)| {
            let Incoming { first, last, received, missing, late, .. } = incoming;
            format!(
                r#"{{"stream":{},"first":{first},"last":{last},"received":{received},"missing":{missing},"late":{late}}}"#,
                quote(stream)
            )
        };
        self.incoming.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Sends `count` numbered messages; one of `call_every` is a call.
    fn send(
        &mut self,
        name: &str,
        count: &str,
        size: &str,
        call_every: u64,
    ) -> Result<String, String> {
        let count: u64 = number("messages", count)?;
        let size = number::<usize>("bytes", size)?.min(SIZE_MAX);
        let target = lookup(name).map_err(describe)?;
        let (mut accepted, mut refused, mut first_error) = (0_u64, 0_u64, String::new());
        for turn in 1..=count {
            let outcome = self.send_one(name, &target, size, turn % call_every == 0);
            match outcome {
                Ok(()) => accepted += 1,
                Err(error) => {
                    refused += 1;
                    if first_error.is_empty() {
                        first_error = describe(error);
                    }
                }
            }
        }
        let error = quote(&first_error);
        Ok(format!(r#"{{"accepted":{accepted},"refused":{refused},"error":{error}}}"#))
    }

    fn send_one(
        &mut self,
        name: &str,
        target: &ServiceRef,
        size: usize,
        is_call: bool,
    ) -> Result<(), MessageError> {
        self.turns += 1;
        if !self.outgoing.contains_key(name) {
            make_room(&mut self.outgoing, |stream| stream.used);
        }
        let turn = self.turns;
        let outgoing = self.outgoing.entry(name.to_owned()).or_insert_with(|| Outgoing {
            // The time tells a stream from those before a restart, whose id was the same.
            stream: format!("{}@{}.{turn}", self_id(), clock::now_ns()),
            sent: 0,
            used: turn,
        });
        outgoing.used = turn;
        let mut payload =
            format!("{NUMBERED}{} {} ", outgoing.stream, outgoing.sent + 1).into_bytes();
        payload.resize(payload.len().max(size), b'.');
        let outcome =
            if is_call { target.call(&payload, None).map(drop) } else { target.send(&payload) };
        match &outcome {
            Ok(()) => outgoing.sent += 1,
            Err(MessageError::Timeout | MessageError::Crashed(_) | MessageError::Failed(_)) => {
                drop(self.outgoing.remove(name))
            }
            Err(_) => {}
        }
        outcome
    }
}

impl Incoming {
    fn receive(&mut self, number: u64, turn: u64) {
        self.received += 1;
        self.used = turn;
        if number > self.last {
            self.missing += number - self.last - 1;
            self.last = number;
        } else {
            self.late += 1;
        }
    }
}

/// Forgets the stream that was quiet for longest, if there are too many for one more.
fn make_room<T>(streams: &mut BTreeMap<String, T>, used: impl Fn(&T) -> u64) {
    if streams.len() < STREAMS_MAX {
        return;
    }
    let oldest =
        streams.iter().min_by_key(|(_, stream)| used(stream)).map(|(name, _)| name.clone());
    if let Some(name) = oldest {
        streams.remove(&name);
    }
}

export!(Service);
