//! Time that passes: WASI's monotonic clock, in the few words that the guests need.
//!
//! Each guest that wants it includes this file (`#[path]`). Its imports become imports of the guest.

#![allow(dead_code, reason = "no guest needs all of it")]

wit_bindgen::generate!({
    inline: "
        package guests:clock;
        world clock {
            import wasi:clocks/monotonic-clock@0.2.0;
        }
        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                now: func() -> u64;
                subscribe-duration: func(when: u64) -> pollable;
            }
        }
        package wasi:io@0.2.0 {
            interface poll {
                resource pollable { block: func(); }
            }
        }
    ",
    generate_all,
});

use wasi::clocks::monotonic_clock;

const NS_PER_MS: u64 = 1_000_000;

/// Nanoseconds since a moment that the host chose.
pub fn now_ns() -> u64 {
    monotonic_clock::now()
}

/// The moment in `ms` milliseconds, as [`now_ns`] tells it.
pub fn in_ms(ms: u64) -> u64 {
    now_ns().saturating_add(ms.saturating_mul(NS_PER_MS))
}

/// Waits without computing. The instance handles nothing else meanwhile.
pub fn sleep_ms(ms: u64) {
    monotonic_clock::subscribe_duration(ms.saturating_mul(NS_PER_MS)).block();
}
