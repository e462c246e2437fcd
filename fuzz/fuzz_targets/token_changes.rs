//! Fuzz target: real tokens, changed by who holds them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use solo_fuzz::token_changes::{Attack, check};

fuzz_target!(|attack: Attack| check(&attack));
