//! Which segments of the audit log go. Pure: sizes, ages and a time come in.
//!
//! What a sink was not given stays, except beyond the hard bound. The segment that is written stays in
//! any case, so that each bound holds up to the size of one segment.

use super::settings::Retention;

/// Segments that go at a time: the log is not written meanwhile, and each costs a few milliseconds.
pub(super) const AT_ONCE_MAX: usize = 8;

/// What is known of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) first_seq: u64,
    pub(super) bytes: u64,
    /// Of its last record; for those that were looked at.
    pub(super) ended_unix_ms: Option<u64>,
}

/// How many of the oldest segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) remove: usize,
    /// Some sink was not given all of them.
    pub(super) undelivered: bool,
}

/// Decides. `segments`: oldest first; `delivered_seq`: what every sink has, [`u64::MAX`] without sinks.
pub(super) fn plan(
    segments: &[Size],
    retention: &Retention,
    delivered_seq: u64,
    now_unix_ms: u64,
) -> Plan {
    let may_go = segments.len().saturating_sub(1).min(AT_ONCE_MAX);
    let is_old = |size: &Size| match (retention.keep_ms, size.ended_unix_ms) {
        (Some(keep_ms), Some(ended)) => now_unix_ms.saturating_sub(ended) > keep_ms,
        _ => false,
    };
    let old = segments.iter().take(may_go).take_while(|size| is_old(size)).count();
    let wanted = old.max(beyond(segments, may_go, retention.keep_bytes));
    // A segment holds what is before the first record of the next.
    let delivered = |pair: &&[Size]| pair[1].first_seq.saturating_sub(1) <= delivered_seq;
    let delivered = segments.windows(2).take(may_go).take_while(delivered).count();
    let forced = beyond(segments, may_go, retention.hard_bytes);
    let remove = wanted.min(delivered).max(forced);
    Plan { remove, undelivered: remove > delivered }
}

/// How many of the oldest must go until the rest fits.
fn beyond(segments: &[Size], may_go: usize, bytes_max: Option<u64>) -> usize {
    let Some(bytes_max) = bytes_max else { return 0 };
    let mut bytes: u64 = segments.iter().map(|size| size.bytes).fold(0, u64::saturating_add);
    let too_many = |size: &&Size| {
        let goes = bytes > bytes_max;
        bytes = bytes.saturating_sub(size.bytes);
        goes
    };
    segments.iter().take(may_go).take_while(too_many).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten records and 100 bytes each; the first ended at 1,000, each further one 1,000 later.
    fn segments(count: u64) -> Vec<Size> {
        let segment = |number: u64| Size {
            first_seq: 10 * number + 1,
            bytes: 100,
            ended_unix_ms: Some(1_000 * (number + 1)),
        };
        (0..count).map(segment).collect()
    }

    fn removed(retention: Retention, delivered_seq: u64, now: u64) -> (usize, bool) {
        let Plan { remove, undelivered } = plan(&segments(6), &retention, delivered_seq, now);
        (remove, undelivered)
    }

    #[test]
    fn what_is_old_or_too_much_goes() {
        let old = Retention { keep_ms: Some(5_000), ..Retention::default() };
        assert_eq!(removed(old, u64::MAX, 6_000), (0, false));
        assert_eq!(removed(old, u64::MAX, 7_001), (2, false));
        assert_eq!(removed(old, u64::MAX, 0), (0, false), "a clock that was set back");
        let much = Retention { keep_bytes: Some(250), ..Retention::default() };
        assert_eq!(removed(much, u64::MAX, 0), (4, false));
        let both = Retention { keep_ms: Some(5_000), ..much };
        assert_eq!(removed(both, u64::MAX, 7_001), (4, false));
        assert_eq!(removed(Retention::default(), u64::MAX, u64::MAX), (0, false));
    }

    #[test]
    fn the_segment_that_is_written_stays() {
        let nothing =
            Retention { keep_bytes: Some(1), hard_bytes: Some(1), ..Retention::default() };
        assert_eq!(removed(nothing, u64::MAX, 0), (5, false));
        assert_eq!(plan(&[], &nothing, 0, 0).remove, 0);
        assert_eq!(plan(&segments(1), &nothing, 0, 0).remove, 0);
        assert_eq!(plan(&segments(100), &nothing, u64::MAX, 0).remove, AT_ONCE_MAX);
    }

    #[test]
    fn what_a_sink_was_not_given_stays_below_the_hard_bound() {
        let soft = Retention { keep_bytes: Some(100), ..Retention::default() };
        assert_eq!(removed(soft, 0, 0), (0, false));
        assert_eq!(removed(soft, 29, 0), (2, false), "record 30 is the last of the third");
        assert_eq!(removed(soft, 30, 0), (3, false));
        let hard = Retention { hard_bytes: Some(350), ..soft };
        assert_eq!(removed(hard, 0, 0), (3, true));
        assert_eq!(removed(hard, 30, 0), (3, false));
        assert_eq!(removed(hard, 40, 0), (4, false));
    }
}
