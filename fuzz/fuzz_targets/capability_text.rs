//! Fuzz target: texts in the place of capabilities, patterns and objects.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| solo_fuzz::capability_text::check(bytes));
