//! Times as text (RFC 3339). Knows no clock and no time zone but UTC.

/// Milliseconds from 1970 to the end of the year 9999, behind which the form has no years.
const UNIX_MS_END: u64 = 253_402_300_800_000;

const DAY_S: u64 = 86_400;

/// `2026-01-31T23:59:59.999Z`; none for a year that has not four digits.
pub(crate) fn rfc3339(unix_ms: u64) -> Option<String> {
    if unix_ms >= UNIX_MS_END {
        return None;
    }
    let (unix_s, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (unix_s / DAY_S, unix_s % DAY_S);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"))
}

/// Days since 1970-01-01 as a date. Counts years from March, so that the leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    // 1 March of the year 0 is 719,468 days before 1970; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_000_000_000_123, "2001-09-09T01:46:40.123Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (UNIX_MS_END - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_ms).as_deref(), Some(text));
        }
        assert_eq!(rfc3339(UNIX_MS_END), None);
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = date(0);
        for days in 1..200_000 {
            let (year, month, day) = date(days);
            let same_month = (year, month) == (before.0, before.1) && day == before.2 + 1;
            let next_month =
                day == 1 && before.2 >= 28 && (year * 12 + month) == (before.0 * 12 + before.1) + 1;
            assert!(same_month || next_month, "{days}");
            before = (year, month, day);
        }
    }
}
