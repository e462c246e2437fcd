//! Choices between threads: where a woken actor goes, whom it interrupts, from whom to pull, and where
//! a new actor begins in virtual time.
//!
//! Threads are known by their numbers; what they run and what waits there first comes as a
//! [`place`](super::place) in the order of all actors, `u64::MAX` for nothing.

use super::{CANDIDATES_MAX, PULL_MARGIN, START_STEP, WAKE_CREDIT};

/// [`PULL_MARGIN`] between places.
const PULL_PLACES: u64 = PULL_MARGIN / 2;

/// The thread to interrupt for an actor that ran on `last`: the one whose actor can best wait, or that
/// has none. The first of equals: where it ran before.
pub fn target(last: usize, threads: usize, running: impl Fn(usize) -> u64) -> usize {
    let candidates = (0..threads.min(CANDIDATES_MAX)).map(|step| (last + step) % threads);
    let best = candidates
        .map(|candidate| (running(candidate), candidate))
        .reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map_or(0, |(_, thread)| thread)
}

/// Whether an actor at `place` interrupts the one that runs.
#[must_use]
pub fn deserves_ring(place: u64, running: u64) -> bool {
    place < running
}

/// Which of the `others` (heads and numbers) has the first actor that waits.
#[must_use]
pub fn first(others: impl Iterator<Item = (u64, usize)>) -> (u64, usize) {
    others.fold((u64::MAX, 0), |best, other| if other.0 < best.0 { other } else { best })
}

/// From which thread to take what runs next, given the first that waits elsewhere; `None`: from the own
/// queue.
#[must_use]
pub fn victim((head, thread): (u64, usize), own_head: u64) -> Option<usize> {
    // A thread that has nothing takes whatever there is.
    let margin = if own_head == u64::MAX { 0 } else { PULL_PLACES };
    (own_head.saturating_sub(head) > margin).then_some(thread)
}

/// Virtual time at which a new actor begins, when all are at `clock` and the last new one began at
/// `last_start`. Ahead of the others like one that wakes, unless many begin: then behind each other.
#[must_use]
pub fn start(clock: u64, last_start: u64) -> u64 {
    let earliest = clock.saturating_sub(WAKE_CREDIT);
    let latest = clock.saturating_add(WAKE_CREDIT);
    last_start.saturating_add(START_STEP).clamp(earliest, latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_woken_actor_goes_to_whom_it_disturbs_least() {
        let running = [5, 9, u64::MAX, 9];
        assert_eq!(target(0, 4, |thread| running[thread]), 2);
        assert_eq!(target(1, 2, |thread| running[thread]), 1);
        assert_eq!(target(3, 4, |_| 7), 3, "of equals the one where it ran");
        assert_eq!(target(7, 4, |_| 7), 3, "a number from another time is no harm");
    }

    #[test]
    fn little_is_not_worth_a_pull() {
        assert_eq!(victim((10, 1), 10 + PULL_PLACES), None);
        assert_eq!(victim((10, 1), 11 + PULL_PLACES), Some(1));
        assert_eq!(victim((10, 1), u64::MAX), Some(1));
        assert_eq!(victim(first(std::iter::empty()), u64::MAX), None);
        assert_eq!(victim((u64::MAX - 1, 1), u64::MAX), Some(1), "better than nothing");
    }

    #[test]
    fn new_actors_line_up() {
        let clock = 10 * WAKE_CREDIT;
        assert_eq!(start(clock, 0), clock - WAKE_CREDIT);
        assert_eq!(start(clock, clock), clock + START_STEP);
        assert_eq!(start(clock, 2 * clock), clock + WAKE_CREDIT);
        assert_eq!(start(u64::MAX, u64::MAX), u64::MAX);
    }
}
