//! Fuzz target: bytes in the place of requests, and of what cells tell.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| solo_fuzz::requests::check(bytes));
