//! How often what happened. Counts, and decides nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Columns of the list.
const COLUMNS: usize = 4;

/// Counters by name. Shared by all drivers, which run on one thread.
#[derive(Debug, Default)]
pub(crate) struct Totals(RefCell<BTreeMap<&'static str, u64>>);

impl Totals {
    /// Counts `count` more.
    pub(crate) fn add(&self, name: &'static str, count: u64) {
        *self.0.borrow_mut().entry(name).or_default() += count;
    }

    /// How many there were.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.borrow().get(name).copied().unwrap_or_default()
    }

    /// All of them, some in a line.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (index, (name, count)) in self.0.borrow().iter().enumerate() {
            let separator = if index % COLUMNS == 0 { "\n  " } else { "  " };
            // Writing into a string does not fail.
            let _ = write!(text, "{separator}{name:<24} {count:>9}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let totals = Totals::default();
        totals.add("calls", 2);
        totals.add("calls", 3);
        totals.add("kills", 1);
        assert_eq!((totals.get("calls"), totals.get("kills"), totals.get("none")), (5, 1, 0));
        let text = totals.text();
        assert!(text.contains("calls") && text.lines().count() == 2, "{text}");
    }
}
