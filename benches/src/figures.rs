//! Numbers as people read them: a value in base units becomes three digits and a unit. Pure.

use serde::Serialize;

/// What a number measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    Seconds,
    Bytes,
    PerSecond,
    Count,
    /// A part of 1.
    Share,
    /// How many times something else.
    Ratio,
}

impl Quantity {
    /// `value` in the unit that suits it.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Seconds => match value {
                v if v < 0.9995e-6 => digits(v * 1e9, "ns"),
                v if v < 0.9995e-3 => digits(v * 1e6, "us"),
                v if v < 0.9995 => digits(v * 1e3, "ms"),
                v => digits(v, "s"),
            },
            Self::Bytes => match value {
                v if v < 1_023.5 => digits(v, "B"),
                v if v < 1_023.5 * 1_024.0 => digits(v / 1_024.0, "KiB"),
                v => digits(v / 1_048_576.0, "MiB"),
            },
            Self::PerSecond => match value {
                v if v < 999.5 => digits(v, "/s"),
                v => digits(v / 1e3, "k/s"),
            },
            Self::Count => format!("{value:.0}"),
            Self::Share => digits(value * 100.0, "%"),
            Self::Ratio => digits(value, "x"),
        }
    }
}

/// Three significant digits, at most two behind the point.
fn digits(value: f64, unit: &str) -> String {
    if value == 0.0 {
        return format!("0 {unit}");
    }
    let decimals = match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit_the_value() {
        let check = |quantity: Quantity, value, text| assert_eq!(quantity.text(value), text);
        check(Quantity::Seconds, 0.2e-6, "200 ns");
        check(Quantity::Seconds, 0.999_96e-6, "1.00 us");
        check(Quantity::Seconds, 12.34e-3, "12.3 ms");
        check(Quantity::Seconds, 0.1, "100 ms");
        check(Quantity::Seconds, 2.0, "2.00 s");
        check(Quantity::Bytes, 35.0 * 1024.0, "35.0 KiB");
        check(Quantity::Bytes, 5.0 * 1024.0 * 1024.0, "5.00 MiB");
        check(Quantity::PerSecond, 72_400.0, "72.4 k/s");
        check(Quantity::Count, 10_000.0, "10000");
        check(Quantity::Share, 0.024, "2.40 %");
        check(Quantity::Ratio, 0.5, "0.50 x");
    }
}
