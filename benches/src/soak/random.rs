//! Numbers from a seed, so that a run can be told from another and its choices repeated. Pure.

/// A source of numbers.
#[derive(Debug)]
pub(crate) struct Random(fastrand::Rng);

impl Random {
    /// The numbers of `seed`. Sources of neighbouring seeds have nothing in common.
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high.max(low))
    }

    /// The same for what indexes and counts.
    pub(crate) fn count(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(low.into(), high.into())).unwrap_or(high)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    /// One of `choices`; nothing of none.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let last = u64::try_from(choices.len()).unwrap_or(u64::MAX).checked_sub(1)?;
        let index = usize::try_from(self.between(0, last)).unwrap_or(0);
        choices.get(index).copied()
    }

    /// One of `choices`, as often as its weight says; nothing if all weigh nothing.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> Option<T> {
        let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut point = self.between(0, total.checked_sub(1)?);
        for (choice, weight) in choices {
            match point.checked_sub(u64::from(*weight)) {
                Some(left) => point = left,
                None => return Some(*choice),
            }
        }
        None
    }

    /// Letters and digits.
    pub(crate) fn text(&mut self, length: u32) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).filter_map(|_| self.pick(LETTERS)).map(char::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert!((3..=9).all(|number| numbers(7).contains(&number)));
        assert!(numbers(7).iter().all(|number| (3..=9).contains(number)));
    }

    #[test]
    fn weights_decide_how_often() {
        let mut random = Random::new(1);
        let drawn: Vec<_> =
            (0..1_000).filter_map(|_| random.weighted(&[('a', 9), ('b', 0), ('c', 1)])).collect();
        let count = |wanted| drawn.iter().filter(|drawn| **drawn == wanted).count();
        assert_eq!(drawn.len(), 1_000);
        assert_eq!(count('b'), 0);
        assert!((850..950).contains(&count('a')), "{}", count('a'));
        assert_eq!(random.weighted(&[('a', 0)]), None);
        assert_eq!(random.pick::<u8>(&[]), None);
        assert_eq!(random.text(40).len(), 40);
    }
}
