//! The decisions of the scheduler, driven by simulated processors: shares by weight (SPEC section 5,
//! `cpu_shares`), that nobody starves (L2), that system-tier actors go ahead (S1), and quotas.
#![cfg(not(feature = "loom"))]

mod fairness;
mod parts;
mod progress;
mod quotas;
mod sim;

use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;

/// Weights from 2 to 2^`bits_max`, as many small ones as large ones.
fn weight(bits_min: u32, bits_max: u32) -> impl Strategy<Value = u64> {
    (bits_min..bits_max, 0.0..1.0_f64).prop_map(|(bits, part)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
        let weight = (2.0_f64.powi(bits.cast_signed()) * (1.0 + part)) as u64;
        weight
    })
}

fn processors() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), Just(2), Just(4)]
}

/// A case takes up to 50 ms.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("small")
}
