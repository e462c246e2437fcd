//! Computes without a pause, so that preemption and fairness have something to do.
//!
//! Calls: `spin MS` counts for about that many milliseconds (it has no clock: the figure is a rough
//! constant), `spin forever` never answers, `fib N` computes the Nth Fibonacci number the slow way.
//! Casts: the same, answers dropped.

use exports::solo::service::handler::{Guest, InitError};
use solo::service::log::{Level, log};
use std::hint::black_box;

wit_bindgen::generate!({ path: "../../../wit", world: "service" });

const COMMANDS: &str = "expected one of: spin MILLISECONDS, spin forever, fib N";

/// Steps of the spin loop in one millisecond, roughly, on a core of 3 GHz.
const STEPS_PER_MS: u64 = 400_000;

/// fib(93) is the largest that fits 64 bits, and no one lives long enough to see it computed.
const FIB_MAX: u32 = 93;

struct CpuHog;

impl Guest for CpuHog {
    fn init() -> Result<(), InitError> {
        log(Level::Info, "cpu-hog started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        let answer = match text.trim().split_once(' ') {
            Some(("spin", "forever")) => loop {
                spin(STEPS_PER_MS);
            },
            Some(("spin", ms)) => {
                let ms: u32 = ms
                    .trim()
                    .parse()
                    .map_err(|_| format!("not a number of milliseconds: {ms}; {COMMANDS}"))?;
                spin(STEPS_PER_MS * u64::from(ms))
            }
            Some(("fib", n)) => match n.trim().parse() {
                Ok(n) if n <= FIB_MAX => fib(n),
                _ => return Err(format!("not a number from 0 to {FIB_MAX}: {n}; {COMMANDS}")),
            },
            _ => return Err(COMMANDS.to_owned()),
        };
        Ok(answer.to_string().into_bytes())
    }

    fn handle_cast(payload: Vec<u8>) {
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Warn, &error);
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("cpu-hog ends: {reason}"));
    }
}

/// Runs a chain of xorshift steps, each of which needs the one before, and returns its end.
fn spin(steps: u64) -> u64 {
    let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fib(n - 1) + fib(n - 2) }
}

export!(CpuHog);
