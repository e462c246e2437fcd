//! Numbers from JSON: exactly, or not at all.

use serde_json::Value;

use super::mismatch::{Mismatch, mismatch};

/// Reads an integer; a number with a fraction or an exponent is none, whatever its value.
pub(super) fn integer<T: Bounds>(json: &Value, name: &str) -> Result<T, Mismatch> {
    let number = json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from));
    let number =
        number.or_else(|| if size_of::<T>() == 8 { decimal(json.as_str()?) } else { None });
    let Some(number) = number else { return Err(mismatch(name, json)) };
    T::try_from(number).map_err(|_| {
        let (min, max) = (T::MIN_VALUE, T::MAX_VALUE);
        Mismatch::new(format!("expected {name} ({min} to {max}), got {number}"))
    })
}

/// Reads a string of decimal digits, with a minus sign or none. 20 digits are enough for 64 bits.
fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Integers that know their range.
pub(super) trait Bounds: TryFrom<i128> {
    const MIN_VALUE: i128;
    const MAX_VALUE: i128;
}

macro_rules! bounds {
    ($($ty:ty)*) => {$(
        impl Bounds for $ty {
            const MIN_VALUE: i128 = <$ty>::MIN as i128;
            const MAX_VALUE: i128 = <$ty>::MAX as i128;
        }
    )*};
}

bounds!(i8 u8 i16 u16 i32 u32 i64 u64);

/// Reads an `f64`.
pub(super) fn float64(json: &Value) -> Result<f64, Mismatch> {
    match json.as_str() {
        Some("NaN") => Ok(f64::NAN),
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        _ => json.as_f64().ok_or_else(|| {
            mismatch("f64 (a number, \"NaN\", \"Infinity\" or \"-Infinity\")", json)
        }),
    }
}

/// Reads an `f32`: the nearest one, as the number was written in decimal digits anyway.
pub(super) fn float32(json: &Value) -> Result<f32, Mismatch> {
    let wide = float64(json)
        .map_err(|_| mismatch("f32 (a number, \"NaN\", \"Infinity\" or \"-Infinity\")", json))?;
    #[expect(clippy::cast_possible_truncation, reason = "rounds; overflow is checked below")]
    let narrow = wide as f32;
    if wide.is_finite() && narrow.is_infinite() {
        return Err(mismatch("f32 (up to 3.4e38)", json));
    }
    Ok(narrow)
}
