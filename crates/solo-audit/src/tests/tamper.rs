//! Attacks on a trail: each is found and named by its first record, as far as that can be known.

use proptest::prelude::*;

use super::*;

/// Makes all hashes from `at` on anew, as who can write the files but has no key would.
fn rehash(lines: &mut [(PathBuf, String)], at: usize) {
    for index in at..lines.len() {
        let mut line = record(&lines[index].1);
        if let Some(before) = index.checked_sub(1) {
            let before = record(&lines[before].1);
            (line.seq, line.prev) = (before.seq + 1, before.hash);
        }
        // The header of a segment says the same in words.
        if let Some(hash) = line.details.get_mut("previous_hash") {
            *hash = line.prev.to_string();
        }
        line.hash = line.expected_hash().expect("JSON");
        lines[index].1 = serde_json::to_string(&line).expect("JSON");
    }
}

fn is_checkpoint(line: &(PathBuf, String)) -> bool {
    Checkpoint::of(&record(&line.1)).is_some()
}

#[test]
fn what_was_appended_verifies() {
    let written = Written::of(40);
    let keys = [key().public()];
    let check = TrailCheck { keys: &keys, kept: Some(written.head), through_seq: None };
    let summary = verify_trail(written.path(), &check).expect("in order");
    assert!(summary.segments > 3, "{summary:?}");
    assert!(summary.checkpoints >= 10, "{summary:?}");
    assert_eq!(summary.before, Head::start());
    assert_eq!(summary.summary.head, written.head);
    assert_eq!(summary.newest_checkpoint.as_ref(), Some(&written.kept));
    assert_eq!(objects(written.path()).len(), 40);
    let other = [CheckpointKey::from_bytes(&[8; 32]).public()];
    let check = TrailCheck { keys: &other, ..TrailCheck::default() };
    let error = verify_trail(written.path(), &check).expect_err("another key");
    assert!(matches!(error, AuditError::Forged { seq: 2, first_unproven: 1 }), "{error}");
    // Between two checkpoints there are never more records than promised.
    let lines = written.lines();
    let runs = lines.split(is_checkpoint).map(<[_]>::len);
    assert!(runs.max() <= usize::try_from(EVERY).ok());
}

#[test]
fn an_empty_directory_was_a_trail_once() {
    let directory = TempDir::new().expect("temporary directory");
    assert_eq!(chain(directory.path()), Some(("cut", 1)));
    let kept = Some(Written::of(3).kept);
    let opened = Trail::open(directory.path(), TrailOptions { kept, ..options() }, 1);
    assert_eq!(opened.err().map(|error| name(&error)), Some(("cut", 1)));
}

#[test]
fn keys_can_change() {
    let written = Written::of(9);
    let new = CheckpointKey::from_bytes(&[9; 32]);
    let changed = TrailOptions { key: new.clone(), ..options() };
    let refused = Trail::open(written.path(), changed.clone(), 1).expect_err("unknown key");
    assert!(matches!(refused, AuditError::Forged { .. }), "{refused}");
    let changed = TrailOptions { older_keys: vec![key().public()], ..changed };
    let mut trail = Trail::open(written.path(), changed, 1).expect("opens");
    trail.append_batch(&[entry(10)]).expect("appends");
    trail.close(2_000).expect("closes");
    let keys = [key().public(), new.public()];
    let check = TrailCheck { keys: &keys, ..TrailCheck::default() };
    verify_trail(written.path(), &check).expect("in order");
    assert!(matches!(signed(written.path()), Some(("forged", _))));
}

#[test]
fn a_promise_is_kept_under_other_options() {
    let written = Written::of(4);
    for every in [1_000, 1, 0, 7, 2] {
        let changed = TrailOptions { checkpoint_every: every, ..options() };
        let mut trail = Trail::open(written.path(), changed, 1).expect("opens");
        trail.append_batch(&vec![entry(1); 20]).expect("appends");
        let head = trail.head();
        drop(trail);
        assert_eq!(checked(written.path(), Some(head)), None, "every {every}");
    }
}

#[test]
fn callers_cannot_write_the_records_of_the_log() {
    let written = Written::of(2);
    let mut trail = Trail::open(written.path(), options(), 1).expect("opens");
    let head = trail.head();
    let forged = Entry { operation: "audit.retention".to_owned(), ..entry(1) };
    let refused = trail.append_batch(&[entry(3), forged.clone()]);
    assert!(matches!(refused, Err(AuditError::Reserved { .. })));
    let long = Entry { object: "x".repeat(70_000), ..entry(3) };
    assert!(matches!(trail.append_batch(&[long]), Err(AuditError::TooLong { .. })));
    assert_eq!(trail.head(), head);
    trail.append_batch(&[entry(3)]).expect("goes on");
    let single = written.path().join("single.jsonl");
    let mut log = AuditLog::open(&single).expect("opens");
    assert!(matches!(log.append_batch(&[forged]), Err(AuditError::Reserved { .. })));
}

#[test]
fn a_forged_checkpoint_is_found() {
    let written = Written::of(20);
    let mut lines = written.lines();
    let at = (6..lines.len()).find(|at| is_checkpoint(&lines[*at])).expect("a checkpoint");
    let before = record(&lines[at - 1].1).head();
    let attacker = CheckpointKey::from_bytes(&[66; 32]);
    let mut forged = marks::checkpoint(before, EVERY, 1, &attacker);
    // It may even claim the right key.
    forged.details.insert("key".to_owned(), hex::encode(&key().public().to_bytes()));
    let forged = Record::after(before, &forged).expect("a record");
    lines[at].1 = serde_json::to_string(&forged).expect("JSON");
    rehash(&mut lines, at + 1);
    written.write(&lines);
    assert_eq!(chain(written.path()), None);
    assert_eq!(signed(written.path()), Some(("forged", at as u64 + 1)));
}

#[test]
fn a_checkpoint_of_another_place_is_found() {
    let written = Written::of(30);
    let mut lines = written.lines();
    let places: Vec<usize> = (0..lines.len()).filter(|at| is_checkpoint(&lines[*at])).collect();
    let moved = record(&lines[places[1]].1);
    let at = places[3];
    let mut here = record(&lines[at].1);
    here.details = moved.details;
    here.at_unix_ms = moved.at_unix_ms;
    lines[at].1 = serde_json::to_string(&here).expect("JSON");
    rehash(&mut lines, at);
    written.write(&lines);
    assert_eq!(signed(written.path()), Some(("forged", at as u64 + 1)));
}

#[test]
fn a_promise_that_is_stretched_is_found() {
    // The number of records until the next checkpoint is signed as well.
    let written = Written::of(9);
    let mut lines = written.lines();
    let mut first = record(&lines[1].1);
    first.details.insert("every".to_owned(), "1000".to_owned());
    lines[1].1 = serde_json::to_string(&first).expect("JSON");
    rehash(&mut lines, 1);
    written.write(&lines);
    assert_eq!(signed(written.path()), Some(("forged", 2)));
}

#[test]
fn segments_that_change_places_or_go_are_found() {
    let written = Written::of(40);
    let segments = layout::segments(written.path()).expect("lists");
    assert!(segments.len() > 3);
    let aside = written.path().join("aside");
    for (at, segment) in segments.iter().enumerate() {
        fs::rename(&segment.path, &aside).expect("renames");
        let (found, with_kept) =
            (signed(written.path()), checked(written.path(), Some(written.head)));
        if at + 1 == segments.len() {
            // The newest one is like an end that was cut off.
            assert_eq!((found, with_kept), (None, Some(("cut", segment.first))));
        } else {
            assert_eq!(found, Some(("removed", segment.first)));
            assert_eq!(chain(written.path()), found);
        }
        let kept = (at + 1 == segments.len()).then(|| written.kept.clone());
        let opened = Trail::open(written.path(), TrailOptions { kept, ..options() }, 1);
        match at {
            // That the oldest was removed without leave is for the whole verification to find.
            0 => drop(opened.expect("opens")),
            _ => assert!(opened.is_err(), "segment {at}"),
        }
        fs::rename(&aside, &segment.path).expect("renames back");
    }
    for (one, other) in [(0, 1), (1, 2), (0, segments.len() - 1)] {
        let swap = || {
            fs::rename(&segments[one].path, &aside).expect("renames");
            fs::rename(&segments[other].path, &segments[one].path).expect("renames");
            fs::rename(&aside, &segments[other].path).expect("renames");
        };
        swap();
        assert_eq!(signed(written.path()), Some(("reordered", segments[one].first)));
        assert!(Trail::open(written.path(), options(), 1).is_err());
        swap();
    }
    assert_eq!(signed(written.path()), None);
}

#[test]
fn a_cut_between_segments_is_found() {
    let written = Written::of(40);
    let segments = layout::segments(written.path()).expect("lists");
    let text = fs::read(&segments[1].path).expect("reads");
    fs::write(&segments[1].path, &text[..text.len() - 3]).expect("writes");
    assert_eq!(signed(written.path()), Some(("cut", segments[2].first - 1)));
    assert!(Trail::open(written.path(), options(), 1).is_err());
    fs::write(&segments[1].path, b"").expect("writes");
    assert!(signed(written.path()).is_some());
    assert!(Trail::open(written.path(), options(), 1).is_err());
}

#[test]
fn merged_segments_are_found() {
    let written = Written::of(40);
    let segments = layout::segments(written.path()).expect("lists");
    let mut text = fs::read(&segments[1].path).expect("reads");
    text.extend(fs::read(&segments[2].path).expect("reads"));
    fs::write(&segments[1].path, text).expect("writes");
    fs::remove_file(&segments[2].path).expect("removes");
    assert_eq!(chain(written.path()), Some(("reordered", segments[2].first)));
}

#[test]
fn a_kept_checkpoint_is_checked_when_the_trail_is_opened() {
    let written = Written::of(40);
    let path = written.path().join("kept.json");
    assert_eq!(Checkpoint::read(&path).expect("none"), None);
    written.kept.write(&path).expect("writes");
    let kept = Checkpoint::read(&path).expect("reads").expect("a checkpoint");
    assert_eq!(kept, written.kept);
    kept.verify(&[key().public()]).expect("signed");
    let with = TrailOptions { kept: Some(kept), ..options() };
    drop(Trail::open(written.path(), with.clone(), 1).expect("opens"));
    // Cut off before the checkpoint: without it, that would be in order.
    let mut lines = written.lines();
    let at = usize::try_from(written.kept.head().seq).expect("fits") - 1;
    lines.truncate(at);
    written.write(&lines);
    let refused = Trail::open(written.path(), with.clone(), 1).expect_err("cut");
    assert_eq!(name(&refused), ("cut", at as u64 + 1));
    assert_eq!(checked(written.path(), Some(written.kept.head())), Some(("cut", at as u64 + 1)));
    drop(Trail::open(written.path(), options(), 5_000).expect("opens without"));
    // Another checkpoint is in its place now, or none.
    assert!(Trail::open(written.path(), with, 1).is_err());
    fs::write(&path, b"{}").expect("writes");
    assert!(matches!(Checkpoint::read(&path), Err(AuditError::Malformed { .. })));
}

#[test]
fn what_retention_removed_is_known_and_what_others_remove_is_found() {
    let written = Written::of(60);
    let before = layout::segments(written.path()).expect("lists");
    let mut trail = Trail::open(written.path(), options(), 1).expect("opens");
    let retention = Retention {
        keep_segments: 4,
        keep_from_seq: u64::MAX,
        principal: "owner",
        request_id: "r1",
        at_unix_ms: 9_000,
    };
    // A sink that was given nothing yet keeps everything.
    let lagging = Retention { keep_from_seq: 1, ..retention.clone() };
    assert_eq!(trail.prune(&lagging).expect("nothing to do").segments, 0);
    let pruned = trail.prune(&retention).expect("removes");
    assert_eq!(pruned.segments, before.len() - 4);
    assert_eq!(pruned.checkpoint.as_ref(), trail.newest_checkpoint());
    trail.append_batch(&[entry(61)]).expect("appends");
    drop(trail);
    let keys = [key().public()];
    let check = TrailCheck { keys: &keys, ..TrailCheck::default() };
    let summary = verify_trail(written.path(), &check).expect("in order");
    let left = layout::segments(written.path()).expect("lists");
    assert_eq!(left, before[before.len() - 4..]);
    assert_eq!((summary.segments, summary.before.seq), (4, left[0].first - 1));
    let records = Records::open(written.path(), 0, u64::MAX).expect("opens");
    let asked: Vec<Record> =
        records.map(|r| r.expect("follows")).filter(|r| r.request_id == "r1").collect();
    assert_eq!((asked.len(), asked[0].principal.as_str()), (1, "owner"));
    let gone = Follower::open(written.path(), 1).map(drop);
    assert!(matches!(gone, Err(AuditError::Removed { seq: 1 })));
    // One more is too much.
    fs::remove_file(&left[0].path).expect("removes");
    assert_eq!(signed(written.path()), Some(("removed", left[0].first)));
    assert_eq!(chain(written.path()), Some(("removed", left[0].first)));
}

#[test]
fn a_retention_without_a_signature_allows_nothing() {
    let written = Written::of(40);
    let segments = layout::segments(written.path()).expect("lists");
    let (before, _) = layout::start_of(&segments[1]).expect("a header");
    let forged = marks::retention(before, 1, "owner", "", 1);
    let forged = Record::after(written.head, &forged).expect("a record");
    let mut lines = written.lines();
    let newest = segments.last().expect("a segment").path.clone();
    lines.push((newest, serde_json::to_string(&forged).expect("JSON")));
    written.write(&lines);
    fs::remove_file(&segments[0].path).expect("removes");
    assert_eq!(chain(written.path()), None);
    assert_eq!(signed(written.path()), Some(("removed", 1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_changed_byte_is_found(count in 1_u64..30, pick: prop::sample::Index, flip in 1_u8..=255) {
        let written = Written::of(count);
        let lines = written.lines();
        let which = pick.index(lines.len());
        let file = &lines[which].0;
        let mut bytes = fs::read(file).expect("reads");
        let first_of_file = lines.iter().position(|(path, _)| path == file).expect("there");
        let before: usize = lines[first_of_file..which].iter().map(|(_, line)| line.len() + 1).sum();
        let at = before + pick.index(lines[which].1.len());
        bytes[at] ^= flip;
        fs::write(file, &bytes).expect("writes");
        let seq = which as u64 + 1;
        prop_assert_eq!(chain(written.path()), Some(("changed", seq)));
        prop_assert_eq!(signed(written.path()), Some(("changed", seq)));
    }

    #[test]
    fn removed_moved_and_doubled_records_are_found(
        count in 3_u64..30,
        from: prop::sample::Index,
        to: prop::sample::Index,
        how in 0..3,
    ) {
        let written = Written::of(count);
        let original = written.lines();
        let mut lines = original.clone();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        match how {
            0 => drop(lines.remove(from)),
            1 => {
                let text = lines[from].1.clone();
                lines[from].1 = std::mem::replace(&mut lines[to].1, text);
            }
            _ => lines.insert(to, (lines[to].0.clone(), original[from].1.clone())),
        }
        prop_assume!(lines != original);
        let differs = |at: &usize| original.get(*at).map(|l| &l.1) != lines.get(*at).map(|l| &l.1);
        let first = (0..).find(differs).expect("differs") as u64 + 1;
        written.write(&lines);
        match checked(written.path(), Some(written.head)) {
            Some(("removed" | "cut", seq)) => prop_assert!(how == 0 && seq == first),
            // The first record of a file says where the file begins.
            Some(("changed", seq)) => prop_assert_eq!(seq, first),
            Some(("reordered", seq)) => prop_assert_eq!(seq, first),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_trail_that_was_written_anew_is_found(
        count in 12_u64..40,
        pick: prop::sample::Index,
        drop_checkpoints: bool,
    ) {
        let written = Written::of(count);
        let mut lines = written.lines();
        // Some record of a caller with a checkpoint behind it.
        let newest = usize::try_from(written.kept.head().seq).expect("fits") - 1;
        let at = pick.index(newest);
        prop_assume!(record(&lines[at].1).operation == "deploy");
        let mut forged = record(&lines[at].1);
        forged.principal = "nobody".to_owned();
        lines[at].1 = serde_json::to_string(&forged).expect("JSON");
        let proven = (0..at).rev().find(|at| is_checkpoint(&lines[*at])).map_or(0, |at| at + 1);
        let next = (at..).find(|at| is_checkpoint(&lines[*at])).expect("there is") as u64 + 1;
        if drop_checkpoints {
            // One segment for all that follows, without what could not be signed.
            let mut rest = lines.split_off(at);
            rest.retain(|line| record(&line.1).operation == "deploy");
            let file = lines.last().map_or_else(|| rest[0].0.clone(), |line| line.0.clone());
            rest.iter_mut().for_each(|line| line.0.clone_from(&file));
            lines.extend(rest);
            for segment in layout::segments(written.path()).expect("lists") {
                if segment.path > file {
                    fs::remove_file(segment.path).expect("removes");
                }
            }
        }
        rehash(&mut lines, at);
        written.write(&lines);
        prop_assert_eq!(chain(written.path()), None, "the chain alone cannot show this");
        let keys = [key().public()];
        let check = TrailCheck { keys: &keys, ..TrailCheck::default() };
        match verify_trail(written.path(), &check) {
            Err(AuditError::Forged { seq, first_unproven }) => {
                prop_assert!(!drop_checkpoints);
                prop_assert_eq!((seq, first_unproven), (next, proven as u64 + 1));
            }
            Err(AuditError::Unsigned { first_unproven, .. }) => {
                prop_assert!(drop_checkpoints);
                prop_assert_eq!(first_unproven, proven as u64 + 1);
            }
            // So few records are left that no checkpoint is missing: what was kept tells.
            Ok(_) => prop_assert!(drop_checkpoints && (lines.len() - proven) as u64 <= EVERY),
            Err(other) => prop_assert!(false, "{}", other),
        }
        let kept = checked(written.path(), Some(written.kept.head()));
        prop_assert!(kept.is_some());
    }

    #[test]
    fn a_cut_is_found_with_what_was_kept(count in 1_u64..30, pick: prop::sample::Index) {
        let written = Written::of(count);
        let mut lines = written.lines();
        let at = pick.index(lines.len());
        lines.truncate(at);
        let file = lines.last().map(|line| line.0.clone());
        for segment in layout::segments(written.path()).expect("lists") {
            if file.as_ref().is_none_or(|file| segment.path > *file) {
                fs::remove_file(segment.path).expect("removes");
            }
        }
        written.write(&lines);
        let found = checked(written.path(), Some(written.head));
        prop_assert_eq!(found, Some(("cut", at as u64 + 1)));
        let with_checkpoint = checked(written.path(), Some(written.kept.head()));
        let expected = (at as u64) < written.kept.head().seq;
        prop_assert_eq!(with_checkpoint.is_some(), expected);
    }
}
