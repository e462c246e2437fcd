//! Which records somebody wants to see. Pure.

use crate::chain::Record;

/// A selection of records; what is `None` does not matter. The default selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The principal, as a whole.
    pub principal: Option<String>,
    /// The operation, as a whole.
    pub operation: Option<String>,
    /// What the object begins with.
    pub object_prefix: Option<String>,
    /// The outcome, as a whole or up to its `: ` (`refused` selects `refused: INVALID_NAME`).
    pub outcome: Option<String>,
    /// Not before this time, by the clock of the node.
    pub from_unix_ms: Option<u64>,
    /// Before this time.
    pub until_unix_ms: Option<u64>,
}

impl Filter {
    /// Whether a record is selected.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        is(&self.principal, &record.principal)
            && is(&self.operation, &record.operation)
            && self.object_prefix.as_deref().is_none_or(|prefix| record.object.starts_with(prefix))
            && self.outcome.as_deref().is_none_or(|outcome| is_outcome(outcome, &record.outcome))
            && self.from_unix_ms.is_none_or(|from| record.at_unix_ms >= from)
            && self.until_unix_ms.is_none_or(|until| record.at_unix_ms < until)
    }
}

fn is_outcome(wanted: &str, outcome: &str) -> bool {
    let rest = outcome.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::chain::{Entry, Head};

    fn check(filter: &Filter, expected: bool) {
        let entry = Entry {
            at_unix_ms: 1_000,
            principal: "owner".to_owned(),
            operation: "deploy".to_owned(),
            object: "shop-front".to_owned(),
            outcome: "refused: INVALID_NAME".to_owned(),
            request_id: String::new(),
            details: BTreeMap::new(),
        };
        let record = Record::after(Head::start(), &entry).expect("a record");
        assert_eq!(filter.matches(&record), expected, "{filter:?}");
    }

    #[test]
    fn each_part_selects() {
        let text = |text: &str| Some(text.to_owned());
        check(&Filter::default(), true);
        for (principal, expected) in [("owner", true), ("own", false), ("owner2", false)] {
            check(&Filter { principal: text(principal), ..Filter::default() }, expected);
        }
        for (operation, expected) in [("deploy", true), ("dep", false)] {
            check(&Filter { operation: text(operation), ..Filter::default() }, expected);
        }
        for (prefix, expected) in [("shop", true), ("", true), ("front", false)] {
            check(&Filter { object_prefix: text(prefix), ..Filter::default() }, expected);
        }
        for (outcome, expected) in
            [("refused", true), ("refused: INVALID_NAME", true), ("refuse", false), ("ok", false)]
        {
            check(&Filter { outcome: text(outcome), ..Filter::default() }, expected);
        }
        for (from, until, expected) in [
            (Some(1_000), None, true),
            (Some(1_001), None, false),
            (None, Some(1_001), true),
            (None, Some(1_000), false),
            (Some(1_000), Some(1_001), true),
        ] {
            let range = Filter { from_unix_ms: from, until_unix_ms: until, ..Filter::default() };
            check(&range, expected);
        }
    }

    #[test]
    fn all_parts_must_hold() {
        let filter = Filter {
            principal: Some("owner".to_owned()),
            operation: Some("kill".to_owned()),
            ..Filter::default()
        };
        check(&filter, false);
    }
}
