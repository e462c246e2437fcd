//! Reading while it is written, from anywhere, across segments.

use proptest::prelude::*;

use super::*;

#[test]
fn records_begin_anywhere() {
    let written = Written::of(40);
    let all: Vec<u64> = Records::open(written.path(), 0, u64::MAX)
        .expect("opens")
        .map(|record| record.expect("follows").seq)
        .collect();
    assert_eq!(all, (1..=written.head.seq).collect::<Vec<_>>());
    for from in 1..=written.head.seq {
        let records = Records::open(written.path(), from, from + 2).expect("opens");
        let seqs: Vec<u64> = records.map(|record| record.expect("follows").seq).collect();
        assert_eq!(seqs, (from..=written.head.seq.min(from + 2)).collect::<Vec<_>>());
    }
    let filter = Filter { object_prefix: Some("service-3".to_owned()), ..Filter::default() };
    let records = Records::open(written.path(), 0, u64::MAX).expect("opens");
    let selected = records.map(|record| record.expect("follows")).filter(|r| filter.matches(r));
    assert_eq!(selected.count(), 11);
}

#[test]
fn a_follower_sees_what_is_written_later() {
    let written = Written::of(1);
    let mut trail = Trail::open(written.path(), options(), 1).expect("opens");
    let mut follower = Follower::open_after(written.path(), written.head).expect("opens");
    assert_eq!(follower.next_record(u64::MAX).expect("nothing"), None);
    let mut seen = Vec::new();
    for number in 2..40 {
        trail.append_batch(&[entry(number)]).expect("appends");
        // Not yet acknowledged: not shown.
        let held = follower.next_record(follower.head().seq).expect("nothing");
        assert_eq!(held, None);
        while let Some(record) = follower.next_record(trail.head().seq).expect("follows") {
            seen.push(record.seq);
        }
        assert_eq!(follower.head(), trail.head());
    }
    assert_eq!(seen, (written.head.seq + 1..=trail.head().seq).collect::<Vec<_>>());
    assert!(layout::segments(written.path()).expect("lists").len() > 3);
}

#[test]
fn a_follower_waits_for_the_end_of_a_line() {
    let written = Written::of(1);
    let newest = layout::segments(written.path()).expect("lists").pop().expect("a segment");
    let whole = fs::read(&newest.path).expect("reads");
    let last = record(&written.lines().pop().expect("a line").1);
    for length in (0..whole.len()).rev().take(120) {
        fs::write(&newest.path, &whole[..length]).expect("writes");
        let mut follower = Follower::open(written.path(), last.seq).expect("opens");
        assert_eq!(follower.next_record(u64::MAX).expect("nothing yet"), None);
        fs::write(&newest.path, &whole).expect("writes");
        assert_eq!(follower.next_record(u64::MAX).expect("follows"), Some(last.clone()));
    }
}

#[test]
fn a_follower_notices_what_does_not_follow() {
    let written = Written::of(20);
    let other = Head { hash: Head::start().hash, ..written.kept.head() };
    let mut follower = Follower::open_after(written.path(), other).expect("opens");
    let mut trail = Trail::open(written.path(), options(), 1).expect("opens");
    trail.append_batch(&[entry(21)]).expect("appends");
    let error = follower.next_record(u64::MAX).expect_err("another record");
    assert_eq!(name(&error), ("changed", other.seq));
    // Behind the end there is nothing, and nothing is wrong.
    let end = trail.head();
    let mut follower = Follower::open_after(written.path(), end).expect("opens");
    assert_eq!(follower.next_record(u64::MAX).expect("nothing"), None);
    // A file that shrinks.
    let newest = layout::segments(written.path()).expect("lists").pop().expect("a segment");
    fs::write(&newest.path, b"").expect("writes");
    assert!(matches!(follower.next_record(u64::MAX), Err(AuditError::Cut { .. })));
}

#[test]
fn a_follower_that_retention_overtook_says_so() {
    let written = Written::of(20);
    let mut follower = Follower::open(written.path(), 1).expect("opens");
    assert_eq!(follower.next_record(1).expect("follows").map(|record| record.seq), Some(1));
    let mut trail = Trail::open(written.path(), options(), 1).expect("opens");
    for number in 21..80 {
        trail.append_batch(&[entry(number)]).expect("appends");
    }
    let retention = Retention {
        keep_segments: 1,
        keep_from_seq: u64::MAX,
        principal: "owner",
        request_id: "",
        at_unix_ms: 1,
    };
    trail.prune(&retention).expect("removes");
    let end = loop {
        match follower.next_record(u64::MAX) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("not the end"),
            Err(error) => break name(&error),
        }
    };
    assert_eq!(end, ("removed", follower.head().seq + 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reading_ends_before_what_was_changed(count in 2_u64..30, pick: prop::sample::Index) {
        let written = Written::of(count);
        let mut lines = written.lines();
        let at = pick.index(lines.len());
        let text = lines[at].1.replacen("\"at_unix_ms\":", "\"at_unix_ms\":9", 1);
        lines[at].1 = text;
        written.write(&lines);
        let Ok(records) = Records::open(written.path(), 0, u64::MAX) else {
            // The very first line of the oldest segment.
            return Ok(());
        };
        let read: Vec<_> = records.collect();
        prop_assert_eq!(read.len(), at + 1);
        prop_assert!(read[..at].iter().all(Result::is_ok));
        let found = read[at].as_ref().map_err(name).map(|record| record.seq);
        prop_assert_eq!(found, Err(("changed", at as u64 + 1)));
    }
}
