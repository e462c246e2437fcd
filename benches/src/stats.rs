//! Samples and what they come to. Pure.

use std::time::Duration;

use serde::Serialize;

/// Values of one kind, in base units: seconds, bytes, calls per second, or a plain count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

/// What samples come to. Percentiles by nearest rank: each is a value that occurred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) n: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64());
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    /// What they come to; nothing if there are none.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(max)
        };
        Some(Summary { n: sorted.len(), min, p50: percentile(50), p99: percentile(99), max })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Least squares: by how much y grows per x. Nothing for fewer than two different x.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = float(points.len());
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in points {
        covariance += (x - mean_x) * (y - mean_y);
        variance += (x - mean_x) * (x - mean_x);
    }
    (variance > 0.0).then(|| covariance / variance)
}

/// A count as a float; exact for all counts that occur here.
pub(crate) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let summary = |n: usize| (1..=n).rev().map(float).collect::<Samples>().summary();
        let expect = |n, p50, p99| Some(Summary { n, min: 1.0, p50, p99, max: float(n) });
        assert_eq!(summary(0), None);
        assert_eq!(summary(1), expect(1, 1.0, 1.0));
        assert_eq!(summary(5), expect(5, 3.0, 5.0));
        assert_eq!(summary(100), expect(100, 50.0, 99.0));
        assert_eq!(summary(1_000), expect(1_000, 500.0, 990.0));
    }

    #[test]
    fn slopes() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(1.0, 1.0)]), None);
        assert_eq!(slope(&[(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]), Some(2.0));
    }
}
