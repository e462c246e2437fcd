//! What can be asked for, and the checks that need no storage.

use solo_types::{Problem, ProblemKind};

use crate::{BATCH_BYTES_MAX, BATCH_KEYS_MAX, KEY_BYTES_MAX, PAGE_KEYS_MAX, VALUE_BYTES_MAX};

/// One operation. It is done as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Answers [`Answer::Values`], in the order of the keys.
    Get(Vec<String>),
    /// Answers [`Answer::Is`].
    Exists(String),
    /// Of keys that come twice, the last value counts. Answers [`Answer::Done`].
    Set(Vec<(String, Vec<u8>)>),
    /// Keys that are not there do not matter. Answers [`Answer::Done`].
    Delete(Vec<String>),
    /// Keys in the order of their bytes. Answers [`Answer::Page`].
    List {
        /// With which they begin.
        prefix: String,
        /// Only keys behind this one.
        after: Option<String>,
        /// At most so many, and [`PAGE_KEYS_MAX`].
        limit: usize,
    },
    /// Keys in an order of their own that a number can go on in. Answers [`Answer::Rows`].
    Rows {
        /// As [`Rows::next`] said; 0: from the beginning.
        after: u64,
        /// At most so many, and [`PAGE_KEYS_MAX`].
        limit: usize,
    },
    /// Adds to a number, which is kept as decimal text; what is not there is 0. Answers [`Answer::Number`].
    Increment {
        /// Of the number.
        key: String,
        /// What is added.
        delta: i128,
        /// The smallest and the largest result that is kept.
        range: (i128, i128),
    },
    /// Answers [`Answer::Read`].
    Read(String),
    /// Sets a value if nobody has changed it since it was read. Answers [`Answer::Swapped`].
    Swap {
        /// Of the value.
        key: String,
        /// Of the value as it was read.
        version: u64,
        /// The new one.
        value: Vec<u8>,
    },
}

/// A value and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Counts up with each change of the service's entries; 0: there is no value.
    pub version: u64,
    /// `None`: there is none.
    pub value: Option<Vec<u8>>,
}

/// Some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their bytes.
    pub keys: Vec<String>,
    /// There are more behind the last one.
    pub more: bool,
}

/// Some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// In no order that means something.
    pub keys: Vec<String>,
    /// There are more from here.
    pub next: Option<u64>,
}

/// What an operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is on disk.
    Done,
    /// Whether it is there.
    Is(bool),
    /// `None` for each that is not there.
    Values(Vec<Option<Vec<u8>>>),
    /// Some keys.
    Page(Page),
    /// Some keys.
    Rows(Rows),
    /// The new number.
    Number(i128),
    /// A value.
    Read(Read),
    /// `Some`: it was changed, and this is what is there.
    Swapped(Option<Read>),
}

impl Answer {
    /// Bytes of values and keys.
    pub(crate) fn bytes(&self) -> usize {
        let of_read = |read: &Read| read.value.as_ref().map_or(0, Vec::len);
        match self {
            Self::Values(values) => values.iter().flatten().map(Vec::len).sum(),
            Self::Page(Page { keys, .. }) | Self::Rows(Rows { keys, .. }) => {
                keys.iter().map(String::len).sum()
            }
            Self::Read(read) | Self::Swapped(Some(read)) => of_read(read),
            Self::Done | Self::Is(_) | Self::Number(_) | Self::Swapped(None) => 0,
        }
    }
}

impl Op {
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Set(_) | Self::Delete(_) | Self::Increment { .. } | Self::Swap { .. } => true,
            Self::Get(_)
            | Self::Exists(_)
            | Self::List { .. }
            | Self::Rows { .. }
            | Self::Read(_) => false,
        }
    }

    /// Bytes of memory that it brings with it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Get(keys) | Self::Delete(keys) => keys.iter().map(String::len).sum(),
            Self::Set(entries) => entries.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Exists(key) | Self::Read(key) | Self::Increment { key, .. } => key.len(),
            Self::List { prefix, after, .. } => {
                prefix.len() + after.as_ref().map_or(0, String::len)
            }
            Self::Rows { .. } => 0,
            Self::Swap { key, value, .. } => key.len() + value.len(),
        }
    }

    /// Checks sizes.
    ///
    /// # Errors
    /// `INVALID_KEY`, `INVALID_VALUE`, `TOO_MUCH_AT_ONCE`.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.bytes() > BATCH_BYTES_MAX {
            return Err(too_much(&format!("they have more than {BATCH_BYTES_MAX} bytes")));
        }
        match self {
            Self::Get(keys) | Self::Delete(keys) => {
                check_count(keys.len())?;
                keys.iter().try_for_each(|key| check_key(key))
            }
            Self::Set(entries) => {
                check_count(entries.len())?;
                entries.iter().try_for_each(|(key, value)| {
                    check_key(key)?;
                    check_value(value)
                })
            }
            Self::Exists(key) | Self::Read(key) | Self::Increment { key, .. } => check_key(key),
            Self::Swap { key, value, .. } => {
                check_key(key)?;
                check_value(value)
            }
            Self::List { prefix, after, limit } => {
                for text in [Some(prefix), after.as_ref()].into_iter().flatten() {
                    if text.len() > KEY_BYTES_MAX {
                        return Err(long_key(text.len()));
                    }
                }
                check_limit(*limit)
            }
            Self::Rows { limit, .. } => check_limit(*limit),
        }
    }
}

fn check_count(keys: usize) -> Result<(), Problem> {
    if keys > BATCH_KEYS_MAX {
        return Err(too_much(&format!("there are {keys} of them, at most {BATCH_KEYS_MAX}")));
    }
    Ok(())
}

fn check_limit(keys: usize) -> Result<(), Problem> {
    if keys == 0 || keys > PAGE_KEYS_MAX {
        let rule = format!("a page has 1 to {PAGE_KEYS_MAX} keys, not {keys}");
        return Err(Problem::invalid("INVALID_LIMIT", "limit", &rule));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Problem> {
    match key.len() {
        0 => Err(Problem::invalid("INVALID_KEY", "key", "a key has at least one character")),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(long_key(bytes)),
    }
}

fn long_key(bytes: usize) -> Problem {
    let rule = format!("a key has at most {KEY_BYTES_MAX} bytes, not {bytes}");
    Problem::invalid("INVALID_KEY", "key", &rule)
}

fn check_value(value: &[u8]) -> Result<(), Problem> {
    if value.len() > VALUE_BYTES_MAX {
        let rule = format!("a value has at most {VALUE_BYTES_MAX} bytes, not {}", value.len());
        return Err(Problem::invalid("INVALID_VALUE", "value", &rule));
    }
    Ok(())
}

/// Keys and values of one operation are more than is handed over at once.
pub(crate) fn too_much(what: &str) -> Problem {
    let cause = format!("these are too many keys or values for one operation: {what}");
    Problem::new(ProblemKind::InvalidArgument, "TOO_MUCH_AT_ONCE", cause)
        .remedy("ask for them in several operations")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(op: &Op) -> Option<String> {
        op.check().err().map(|problem| problem.reason)
    }

    #[test]
    fn sizes_are_checked_at_their_bounds() {
        let key = |bytes| "k".repeat(bytes);
        let list = |prefix, limit| Op::List { prefix, after: None, limit };
        for good in [
            Op::Get(vec![key(KEY_BYTES_MAX)]),
            Op::Get(Vec::new()),
            Op::Set(vec![(key(1), vec![0; VALUE_BYTES_MAX])]),
            Op::Delete(vec![key(1); BATCH_KEYS_MAX]),
            list(String::new(), 1),
            list(key(KEY_BYTES_MAX), PAGE_KEYS_MAX),
        ] {
            assert_eq!(reason(&good), None);
        }
        let swap = Op::Swap { key: key(1), version: 0, value: vec![0; VALUE_BYTES_MAX + 1] };
        for (bad, why) in [
            (Op::Get(vec![key(KEY_BYTES_MAX + 1)]), "INVALID_KEY"),
            (Op::Get(vec![String::new()]), "INVALID_KEY"),
            (Op::Read(String::new()), "INVALID_KEY"),
            (Op::Exists(key(KEY_BYTES_MAX + 1)), "INVALID_KEY"),
            (Op::Set(vec![(key(1), vec![0; VALUE_BYTES_MAX + 1])]), "INVALID_VALUE"),
            (swap, "INVALID_VALUE"),
            (Op::Set(vec![(key(1), vec![0; VALUE_BYTES_MAX]); 4]), "TOO_MUCH_AT_ONCE"),
            (Op::Delete(vec![key(1); BATCH_KEYS_MAX + 1]), "TOO_MUCH_AT_ONCE"),
            (list(key(KEY_BYTES_MAX + 1), 1), "INVALID_KEY"),
            (list(String::new(), 0), "INVALID_LIMIT"),
            (list(String::new(), PAGE_KEYS_MAX + 1), "INVALID_LIMIT"),
        ] {
            assert_eq!(reason(&bad).as_deref(), Some(why));
        }
    }
}
