//! A histogram in letters: times in logarithmic buckets, Solo's beside the floor's. Pure.

use crate::figures::Quantity;
use crate::stats::float;

/// Buckets per factor of ten: each is a quarter wider than the one before.
const BUCKETS_PER_DECADE: i32 = 10;

/// Columns of the longest bar.
const BAR_COLUMNS: usize = 40;

/// Rows that are drawn at most; more than that would be six decades.
const ROWS_MAX: i32 = 60;

/// Draws `measured` and `floor` (seconds) over the same buckets, a line per bucket.
pub(crate) fn draw(measured: &[f64], floor: &[f64]) -> String {
    let all = || measured.iter().chain(floor).copied().filter(|value| *value > 0.0);
    let (Some(first), Some(last)) = (all().map(bucket).min(), all().map(bucket).max()) else {
        return String::new();
    };
    let last = last.min(first + ROWS_MAX);
    let count = |values: &[f64], wanted: i32| {
        values.iter().filter(|value| **value > 0.0 && bucket(**value).min(last) == wanted).count()
    };
    let rows: Vec<_> =
        (first..=last).map(|at| (at, count(measured, at), count(floor, at))).collect();
    let most = rows.iter().map(|(_, m, f)| *m.max(f)).max().unwrap_or(1).max(1);
    let mut text = format!("{:>21}  {:<47} floor\n", "time up to", "Solo");
    for (at, measured, floor) in rows {
        let upper = Quantity::Seconds.text(edge(at + 1));
        let line = format!("{upper:>21}  {:<47} {}", bar(measured, most), bar(floor, most));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn bar(count: usize, most: usize) -> String {
    if count == 0 {
        return String::new();
    }
    let columns = (count * BAR_COLUMNS).div_ceil(most);
    format!("{} {count}", "#".repeat(columns))
}

/// The bucket of a positive value. Out of range is the nearest: times do not get there.
#[expect(clippy::cast_possible_truncation, reason = "the logarithm of a time has two digits")]
fn bucket(value: f64) -> i32 {
    (value.log10() * f64::from(BUCKETS_PER_DECADE)).floor() as i32
}

/// Where a bucket begins.
fn edge(bucket: i32) -> f64 {
    10_f64.powf(f64::from(bucket) / f64::from(BUCKETS_PER_DECADE))
}

/// Columns per value, for a line of its own: how a value grows from level to level.
pub(crate) fn growth_bar(value: f64, most: f64) -> String {
    let columns =
        (1..=BAR_COLUMNS).filter(|column| float(*column) * most <= value * float(BAR_COLUMNS));
    "#".repeat(columns.count().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bucket() {
        let text = draw(&[0.001_1, 0.001_1, 0.002], &[0.000_9]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 5, "{text}");
        assert!(lines[1].ends_with(&format!("{} 1", "#".repeat(20))), "{text}");
        assert!(lines[2].ends_with(&format!("1.26 ms  {} 2", "#".repeat(40))), "{text}");
        assert!(lines[3].ends_with("1.58 ms"), "{text}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(draw(&[], &[]), "");
        assert_eq!(draw(&[0.0], &[]), "");
    }

    #[test]
    fn growth_is_relative_to_the_most() {
        assert_eq!(growth_bar(1.0, 2.0).len(), BAR_COLUMNS / 2);
        assert_eq!(growth_bar(0.0, 2.0).len(), 1);
    }
}
