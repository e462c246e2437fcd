//! What was measured: rows for the table, and text that goes before it. Values only.

use serde::Serialize;

use crate::figures::Quantity;
use crate::stats::{Samples, Summary};
use crate::targets::{Target, Verdict};

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) quantity: Quantity,
    pub(crate) measured: Summary,
    pub(crate) target: Option<Target>,
    pub(crate) floor: Option<Floor>,
    /// How it stands to the target.
    pub(crate) verdict: Option<Verdict>,
    /// Measured by floor (floor by measured, where more is better), at p50.
    pub(crate) distance: Option<f64>,
}

/// The least that the same work costs here, measured in the same run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Floor {
    /// What was measured instead.
    pub(crate) what: String,
    pub(crate) summary: Summary,
}

/// Everything of one part of the run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Section {
    pub(crate) rows: Vec<Row>,
    /// Drawn before the table.
    pub(crate) pictures: Vec<Picture>,
}

/// A text with a title.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
}

impl Row {
    /// A row of `samples`; nothing if there are none.
    pub(crate) fn new(name: &str, quantity: Quantity, samples: &Samples) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            quantity,
            measured: samples.summary()?,
            target: None,
            floor: None,
            verdict: None,
            distance: None,
        })
    }

    /// Judges it.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.verdict = Some(target.judge(&self.measured));
        self.target = Some(target);
        self
    }

    /// Compares it.
    pub(crate) fn floor(mut self, what: &str, samples: &Samples) -> Self {
        let Some(summary) = samples.summary() else { return self };
        let (better, worse) = match self.quantity {
            Quantity::PerSecond => (self.measured.p50, summary.p50),
            _ => (summary.p50, self.measured.p50),
        };
        self.distance = (better > 0.0).then(|| worse / better);
        self.floor = Some(Floor { what: what.to_owned(), summary });
        self
    }
}

impl Section {
    pub(crate) fn row(&mut self, row: Option<Row>) {
        self.rows.extend(row);
    }

    pub(crate) fn picture(&mut self, title: &str, text: &str) {
        let lines = text.lines().map(str::to_owned).collect();
        self.pictures.push(Picture { title: title.to_owned(), lines });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        [value].into_iter().collect()
    }

    #[test]
    fn distance_is_how_much_worse() {
        let distance = |quantity, measured, floor| {
            let row = Row::new("x", quantity, &samples(measured)).expect("a sample");
            row.floor("y", &samples(floor)).distance
        };
        assert_eq!(distance(Quantity::Seconds, 6.0, 2.0), Some(3.0));
        assert_eq!(distance(Quantity::PerSecond, 2.0, 6.0), Some(3.0));
        assert_eq!(distance(Quantity::Seconds, 6.0, 0.0), None);
        assert!(Row::new("x", Quantity::Seconds, &Samples::default()).is_none());
    }
}
