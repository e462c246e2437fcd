//! Values of flags: sizes, durations, numbers, pairs and capabilities.
//!
//! Pure text in, values out. Each parser is made for one field of the API and names it in its
//! errors. Refuses what is not a value at all (negative, fractional, overflowing); what is a value
//! and out of bounds is the kernel's to refuse.

use std::collections::BTreeSet;

use clap::ValueEnum;
use solo_api::v1;
use solo_types::Right;

use super::Failure;

/// Reads a whole number.
pub(crate) fn number<T: TryFrom<u64>>(
    field: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = digits(field, text, "a whole number")?;
        T::try_from(number).map_err(|_| format!("{field} is too large: {text}"))
    }
}

/// Reads a size: bytes, or a number with `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`.
pub(crate) fn size(
    field: &'static str,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];
    move |text| with_unit(field, text, &UNITS, "bytes, or a number with KiB, MiB or GiB")
}

/// Reads a duration in milliseconds: a number of them, or with `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn milliseconds(
    field: &'static str,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    const UNITS: [(&str, u64); 6] =
        [("", 1), ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    move |text| with_unit(field, text, &UNITS, "milliseconds, or a number with ms, s, m, h or d")
}

/// Reads a duration in seconds: a number of them, or with `s`, `m`, `h` or `d`.
pub(crate) fn seconds(
    field: &'static str,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    const UNITS: [(&str, u64); 5] = [("", 1), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    move |text| with_unit(field, text, &UNITS, "seconds, or a number with s, m, h or d")
}

/// Reads `KEY=VALUE`; the value may hold more `=`.
pub(crate) fn pair(
    field: &'static str,
) -> impl Fn(&str) -> Result<(String, String), String> + Clone + Send + Sync + 'static {
    move |text| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{field} is not KEY=VALUE: {text}")),
    }
}

/// Reads `NAME` or `KEY=NAME`: a secret, and under what key a service finds it.
pub(crate) fn secret_reference(text: &str) -> Result<v1::SecretReference, String> {
    let (key, secret) = match text.split_once('=') {
        None => ("", text),
        Some(("", _)) => return Err(format!("secrets is not NAME or KEY=NAME: {text}")),
        Some(pair) => pair,
    };
    Ok(v1::SecretReference { secret: secret.to_owned(), key: key.to_owned() })
}

/// Refuses a key that is given twice: of two values one would be lost silently.
pub(crate) fn check_unique(flag: &str, pairs: &[(String, String)]) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    match pairs.iter().find(|(key, _)| !known.insert(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Failure::usage(
            format!("{flag} names the key {key:?} more than once"),
            "give each key once",
        )),
    }
}

/// Reads `RIGHT[,RIGHT]=OBJECT`, for example `call,send=service:counter`.
pub(crate) fn capability(text: &str) -> Result<v1::CapabilityRequest, String> {
    let wrong = || format!("capabilities: not RIGHT[,RIGHT]=service:NAME: {text}");
    let (rights, object) = text.split_once('=').ok_or_else(wrong)?;
    if object.is_empty() {
        return Err(wrong());
    }
    let rights = rights
        .split(',')
        .map(|right| RightName::from_str(right, false).map(RightName::number).map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    Ok(v1::CapabilityRequest { object: object.to_owned(), rights })
}

/// A right, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RightName {
    Read,
    Call,
    Send,
    Kill,
    Execute,
    Grant,
}

impl RightName {
    /// The right itself.
    pub(crate) fn right(self) -> Right {
        match self {
            Self::Read => Right::Read,
            Self::Call => Right::Call,
            Self::Send => Right::Send,
            Self::Kill => Right::Kill,
            Self::Execute => Right::Execute,
            Self::Grant => Right::Grant,
        }
    }

    /// The number on the wire.
    pub(crate) fn number(self) -> i32 {
        let right = match self {
            Self::Read => v1::Right::Read,
            Self::Call => v1::Right::Call,
            Self::Send => v1::Right::Send,
            Self::Kill => v1::Right::Kill,
            Self::Execute => v1::Right::Execute,
            Self::Grant => v1::Right::Grant,
        };
        right as i32
    }
}

fn with_unit(
    field: &'static str,
    text: &str,
    units: &[(&str, u64)],
    expected: &str,
) -> Result<u64, String> {
    let text = text.trim();
    let end = text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |last| last + 1);
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    if number.starts_with('-') {
        return Err(format!("{field} is negative: {text}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{field} is not {expected}: {text}"));
    };
    digits(field, number, expected)?
        .checked_mul(*factor)
        .ok_or_else(|| format!("{field} is too large: {text}"))
}

fn digits(field: &'static str, text: &str, expected: &str) -> Result<u64, String> {
    if text.starts_with('-') {
        return Err(format!("{field} is negative: {text}"));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{field} is not {expected}: {text:?}"));
    }
    text.parse().map_err(|_| format!("{field} is too large: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("268435456", Ok(256 << 20)),
            ("64KiB", Ok(64 << 10)),
            ("64 mib", Ok(64 << 20)),
            ("1GiB", Ok(1 << 30)),
            ("1MB", Ok(1_000_000)),
            ("", Err("f is not bytes, or a number with KiB, MiB or GiB: \"\"")),
            ("MiB", Err("f is not bytes, or a number with KiB, MiB or GiB: \"\"")),
            ("1.5GiB", Err("f is not bytes, or a number with KiB, MiB or GiB: \"1.5\"")),
            ("1TiB", Err("f is not bytes, or a number with KiB, MiB or GiB: 1TiB")),
            ("-5", Err("f is negative: -5")),
            ("-5MiB", Err("f is negative: -5MiB")),
            ("99999999999GiB", Err("f is too large: 99999999999GiB")),
            ("99999999999999999999", Err("f is too large: 99999999999999999999")),
        ] {
            assert_eq!(size("f")(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in
            [("100", 100), ("100ms", 100), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(milliseconds("f")(text), Ok(expected), "{text}");
        }
        for (text, expected) in [("90", 90), ("90s", 90), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(seconds("f")(text), Ok(expected), "{text}");
        }
        assert_eq!(milliseconds("f")("-1s"), Err("f is negative: -1s".to_owned()));
        assert!(seconds("f")("5ms").is_err());
        assert!(milliseconds("f")("five").is_err());
    }

    #[test]
    fn numbers_name_their_field() {
        assert_eq!(number::<u32>("replicas")("3"), Ok(3));
        assert_eq!(number::<u32>("replicas")("-1"), Err("replicas is negative: -1".to_owned()));
        assert!(number::<u32>("replicas")("5000000000").is_err());
        assert!(number::<u32>("replicas")("2.5").is_err());
        assert!(number::<u32>("replicas")("+2").is_err());
    }

    #[test]
    fn capabilities() {
        let capability_of_two = capability("call,send=service:counter").expect("legal");
        assert_eq!(capability_of_two.object, "service:counter");
        assert_eq!(capability_of_two.rights, [v1::Right::Call as i32, v1::Right::Send as i32]);
        for text in ["", "call", "call=", "=service:x", "fly=service:x", "call,=service:x"] {
            assert!(capability(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_given_once() {
        let pairs = |keys: &[&str]| -> Vec<_> {
            keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect()
        };
        assert_eq!(check_unique("--label", &pairs(&["a", "b"])), Ok(()));
        let failure = check_unique("--label", &pairs(&["a", "b", "a"])).expect_err("twice");
        assert_eq!(failure.exit_code(), 2);
        let cause = failure.problem().map(|problem| problem.cause.clone());
        assert_eq!(cause.as_deref(), Some("--label names the key \"a\" more than once"));
    }

    #[test]
    fn secrets() {
        let read = |text| secret_reference(text).map(|read| (read.key, read.secret));
        assert_eq!(read("db"), Ok((String::new(), "db".to_owned())));
        assert_eq!(read("password=db"), Ok(("password".to_owned(), "db".to_owned())));
        assert!(read("=db").is_err());
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("config")("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("config")("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("config")("=b").is_err());
        assert!(pair("config")("a").is_err());
    }
}
