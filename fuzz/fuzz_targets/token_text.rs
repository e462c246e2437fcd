//! Fuzz target: bytes in the place of a token.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| solo_fuzz::token_text::check(bytes));
