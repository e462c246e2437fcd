//! Numbers that are counted over the whole node, as those see them who are not to know what happens
//! there: ids of services, cursors of records. Each stays what it is for, one number for one thing, and
//! says nothing about how many there are.
//!
//! A permutation by a key of the installation (a Feistel network of four rounds). It hides; it guards
//! nothing: whatever comes in is looked up and decided upon like any other number.

/// Bits of a number of a service: more than a node ever counts, and few digits to read.
const SERVICE_BITS: u32 = 40;

/// Bits of a cursor: what every reader of JSON reads exactly.
const CURSOR_BITS: u32 = 52;

const ROUNDS: u8 = 4;

/// The key.
pub(crate) struct Veil {
    services: [u8; 32],
    cursors: [u8; 32],
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Veil").finish_non_exhaustive()
    }
}

impl Veil {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self {
            services: blake3::derive_key("solo 2026-11-23 numbers of services", key),
            cursors: blake3::derive_key("solo 2026-11-23 cursors of records", key),
        }
    }

    /// The number of the service that is counted as `count`. Beyond 40 bits they are what they are.
    pub(crate) fn service(&self, count: u64) -> u64 {
        hide(&self.services, SERVICE_BITS, count)
    }

    /// A cursor as it is told; 0 stays 0.
    pub(crate) fn cursor(&self, cursor: u64) -> u64 {
        match cursor {
            0 => 0,
            cursor => hide(&self.cursors, CURSOR_BITS, cursor - 1) + 1,
        }
    }

    /// What [`Self::cursor`] told as `told`.
    pub(crate) fn cursor_of(&self, told: u64) -> u64 {
        match told {
            0 => 0,
            told => show(&self.cursors, CURSOR_BITS, told - 1) + 1,
        }
    }
}

fn hide(key: &[u8; 32], bits: u32, number: u64) -> u64 {
    let Some((mut left, mut right)) = halves(bits, number) else { return number };
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ mix(key, bits, round, right));
    }
    left << (bits / 2) | right
}

fn show(key: &[u8; 32], bits: u32, number: u64) -> u64 {
    let Some((mut left, mut right)) = halves(bits, number) else { return number };
    for round in (0..ROUNDS).rev() {
        (left, right) = (right ^ mix(key, bits, round, left), left);
    }
    left << (bits / 2) | right
}

fn halves(bits: u32, number: u64) -> Option<(u64, u64)> {
    let half = bits / 2;
    (number >> bits == 0).then_some((number >> half, number & ((1 << half) - 1)))
}

fn mix(key: &[u8; 32], bits: u32, round: u8, half: u64) -> u64 {
    let mut input = [0; 9];
    input[0] = round;
    input[1..].copy_from_slice(&half.to_le_bytes());
    let mut output = [0; 8];
    blake3::Hasher::new_keyed(key).update(&input).finalize_xof().fill(&mut output);
    u64::from_le_bytes(output) & ((1 << (bits / 2)) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_stay_apart_and_come_back() {
        let veil = Veil::new(&[7; 32]);
        let services: BTreeSet<u64> = (1..=10_000).map(|n| veil.service(n)).collect();
        assert_eq!(services.len(), 10_000);
        assert!(services.iter().all(|n| n >> SERVICE_BITS == 0));
        for cursor in [0, 1, 2, 3, 1_000, (1 << CURSOR_BITS) - 1, 1 << CURSOR_BITS, u64::MAX] {
            assert_eq!(veil.cursor_of(veil.cursor(cursor)), cursor);
        }
        assert_eq!(veil.cursor(0), 0);
        assert!((1..=10_000).all(|n| veil.cursor(n) != 0));
    }

    /// Neighbours say nothing about each other: of a thousand steps hardly one is short.
    #[test]
    fn gaps_do_not_count() {
        let veil = Veil::new(&[7; 32]);
        let near = |n: &u64| veil.service(*n).abs_diff(veil.service(n + 1)) < 1 << 30;
        assert!((1..1_000).filter(near).count() < 20);
        let near = |n: &u64| veil.cursor(*n).abs_diff(veil.cursor(n + 1)) < 1 << 42;
        assert!((1..1_000).filter(near).count() < 20);
        assert_ne!(veil.service(1), Veil::new(&[8; 32]).service(1));
    }
}
