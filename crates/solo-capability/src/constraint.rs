//! Constraints: until when, how many times, how often.
//!
//! Pure values without a clock and without state. How much of them is used up is kept in a
//! [`crate::Ledger`]. More constraints are narrower, and two sets of them intersect in a third.

use std::collections::BTreeMap;

use crate::ModelError;

/// Latest expiry: the year 9999, where text forms of times end.
pub(crate) const EXPIRES_AT_MAX: u64 = 253_402_300_799;

/// Most uses that a constraint can count: enough for ever, and far from an overflow.
pub const USES_MAX: u64 = 1_000_000_000_000;

/// For how long uses are counted before counting begins anew.
///
/// A window begins at a whole second, minute, hour or day of UTC, so that it can be told without
/// state when the next one does. Across the border of two windows twice the uses can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Per {
    /// A rate.
    Second,
    /// A rate.
    Minute,
    /// A rate.
    Hour,
    /// A rate.
    Day,
    /// A count.
    Ever,
}

impl Per {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Ever];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Ever => "ever",
        }
    }

    /// Reads a name, or its short form: `second` or `1s`, `minute` or `1m`, `hour` or `1h`, `day` or
    /// `1d`, `ever`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let short = |per: Self| match per {
            Self::Second => "1s",
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::Ever => "ever",
        };
        Self::ALL.into_iter().find(|per| text == per.as_str() || text == short(*per))
    }

    /// How long a window is; `None`: there is one for ever.
    fn seconds(self) -> Option<u64> {
        match self {
            Self::Second => Some(1),
            Self::Minute => Some(60),
            Self::Hour => Some(3_600),
            Self::Day => Some(86_400),
            Self::Ever => None,
        }
    }

    /// The window that a moment is in; later ones have greater numbers.
    pub(crate) fn window(self, now_unix_s: u64) -> u64 {
        self.seconds().map_or(0, |seconds| now_unix_s / seconds)
    }

    /// First second behind a window; `None`: it does not end.
    pub(crate) fn end_of(self, window: u64) -> Option<u64> {
        Some(window.saturating_add(1).saturating_mul(self.seconds()?))
    }
}

/// What a capability is bound to beside objects and rights. The default is bound to nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Constraints {
    expires_at_unix_s: Option<u64>,
    /// At most one entry per kind of window, so that it is bounded.
    uses_max: BTreeMap<Per, u64>,
}

impl Constraints {
    /// Adds an expiry: the first second in which it is not valid any more. An earlier one stays.
    ///
    /// # Errors
    /// [`ModelError::Expiry`]: later than the year 9999.
    pub fn until(mut self, unix_s: u64) -> Result<Self, ModelError> {
        if unix_s > EXPIRES_AT_MAX {
            return Err(ModelError::Expiry);
        }
        self.expires_at_unix_s = min_of(self.expires_at_unix_s, Some(unix_s));
        Ok(self)
    }

    /// Adds a bound on uses, 1 to [`USES_MAX`]. A smaller one of the same kind stays.
    ///
    /// # Errors
    /// [`ModelError::Uses`]: out of bounds.
    pub fn uses(mut self, uses_max: u64, per: Per) -> Result<Self, ModelError> {
        if !(1..=USES_MAX).contains(&uses_max) {
            return Err(ModelError::Uses);
        }
        let bound = self.uses_max.entry(per).or_insert(uses_max);
        *bound = uses_max.min(*bound);
        Ok(self)
    }

    /// First second in which it is not valid any more; `None`: it does not expire.
    #[must_use]
    pub fn expires_at_unix_s(&self) -> Option<u64> {
        self.expires_at_unix_s
    }

    /// The bounds on uses.
    #[must_use]
    pub fn uses_max(&self) -> &BTreeMap<Per, u64> {
        &self.uses_max
    }

    /// Tells whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now_unix_s: u64) -> bool {
        self.expires_at_unix_s.is_some_and(|expires_at| now_unix_s >= expires_at)
    }

    /// Tells whether it allows nothing that `other` does not. Bounds of different kinds are not
    /// compared: `5/ever` is not told to be within `10/day`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let in_time = match (self.expires_at_unix_s, other.expires_at_unix_s) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(others)) => own <= others,
        };
        let in_number = |(per, others)| self.uses_max.get(per).is_some_and(|own| own <= others);
        in_time && other.uses_max.iter().all(in_number)
    }

    /// Both together.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut uses_max = self.uses_max.clone();
        for (per, others) in &other.uses_max {
            let bound = uses_max.entry(*per).or_insert(*others);
            *bound = *others.min(bound);
        }
        Self {
            expires_at_unix_s: min_of(self.expires_at_unix_s, other.expires_at_unix_s),
            uses_max,
        }
    }
}

/// The smaller of two bounds, where `None` is no bound.
pub(crate) fn min_of(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
