//! How costs grow with the number of actors: the ratios of the table, and a plot of them. Pure, but
//! for writing the file.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::svg::{Chart, Line, draw};
use super::{Found, SYSTEMS};
use crate::figures::Quantity;
use crate::measure::System;
use crate::sheet::Sheet;
use crate::stats::float;

/// What grows: its name in a sheet, the title of its chart, what its numbers are.
const MEASURES: [(&str, &str, Quantity); 4] = [
    ("message", "One message: sent on, received, handled", Quantity::Seconds),
    ("call", "One call and its answer", Quantity::Seconds),
    ("start", "Start of one more", Quantity::Seconds),
    ("memory", "Memory per actor", Quantity::Bytes),
];

/// The number of actors that others are compared with.
const FEW: usize = 10;

/// Curves of all systems.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    levels: Vec<usize>,
    curves: Vec<Curve>,
}

/// One system, one measure: the median at each level, in base units; none where it is not known.
#[derive(Debug, Serialize)]
struct Curve {
    system: System,
    measure: &'static str,
    quantity: Quantity,
    values: Vec<Option<f64>>,
}

impl Growth {
    /// Collects the curves, and adds the ratio of each level to the lowest one to the sheets, as
    /// `MEASURE.ratio.LEVEL`.
    pub(super) fn of(found: &mut Found, levels: &[usize]) -> Self {
        let mut curves = Vec::new();
        for (measure, _, quantity) in MEASURES {
            for system in SYSTEMS {
                let Some(sheet) = found.sheets.get_mut(&system) else { continue };
                let values: Vec<Option<f64>> =
                    levels.iter().map(|level| at(sheet, measure, *level)).collect();
                if values.iter().all(Option::is_none) {
                    continue;
                }
                add_ratios(sheet, measure, levels);
                curves.push(Curve { system, measure, quantity, values });
            }
        }
        Self { levels: levels.to_vec(), curves }
    }

    /// Draws them into the file at `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.svg())
            .with_context(|| format!("failed to write {}", path.display()))
    }

    fn svg(&self) -> String {
        let chart = |(measure, title, quantity): (&'static str, &'static str, Quantity)| {
            let line = |curve: &Curve| Line {
                name: curve.system.name(),
                points: (self.levels.iter().map(|level| float(*level)))
                    .zip(&curve.values)
                    .filter_map(|(level, value)| Some((level, (*value).filter(|v| *v > 0.0)?)))
                    .collect(),
            };
            let curves = self.curves.iter().filter(|curve| curve.measure == measure);
            Chart { title, quantity, lines: curves.map(line).collect() }
        };
        draw("How costs grow with the number of actors", &MEASURES.map(chart))
    }
}

fn at(sheet: &Sheet, measure: &str, level: usize) -> Option<f64> {
    sheet.summary(&format!("{measure}.{level}")).map(|summary| summary.p50)
}

fn add_ratios(sheet: &mut Sheet, measure: &str, levels: &[usize]) {
    let Some(few) = at(sheet, measure, FEW).filter(|few| *few > 0.0) else { return };
    for level in levels.iter().copied().filter(|level| *level > FEW) {
        if let Some(value) = at(sheet, measure, level) {
            sheet.push(&format!("{measure}.ratio.{level}"), value / few);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_ten_actors() {
        let mut found = Found::default();
        let mut sheet = Sheet::default();
        for (level, value) in [(10, 2e-7), (100, 3e-7), (10_000, 5e-7)] {
            sheet.push(&format!("message.{level}"), value);
        }
        found.sheets.insert(System::Solo, sheet);
        let growth = Growth::of(&mut found, &[10, 100, 1_000, 10_000]);
        let sheet = &found.sheets[&System::Solo];
        let ratio = |level: usize| {
            sheet.summary(&format!("message.ratio.{level}")).map(|summary| summary.p50)
        };
        assert!(ratio(10_000).is_some_and(|ratio| (ratio - 2.5).abs() < 1e-9));
        assert_eq!((ratio(10), ratio(1_000)), (None, None));
        assert_eq!(growth.curves.len(), 1);
        assert_eq!(growth.curves[0].values[2], None);
        assert!(growth.svg().contains("Solo"));
    }
}
