//! Attacks on the log: every kind of tampering must be found, and named by its first record.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn entry(number: u64) -> Entry {
    Entry {
        at_unix_ms: 1_000 + number,
        principal: "owner".to_owned(),
        operation: "deploy".to_owned(),
        object: format!("service-{number}"),
        outcome: "ok".to_owned(),
        request_id: String::new(),
        details: BTreeMap::from([("text".to_owned(), "quote \" line \n end é".to_owned())]),
    }
}

/// A log of `count` records in batches of up to 3.
fn written(count: u64) -> (TempDir, PathBuf, Head) {
    let dir = TempDir::new().expect("temporary directory");
    let path = dir.path().join("audit.log");
    let mut log = AuditLog::open(&path).expect("opens");
    let entries: Vec<Entry> = (1..=count).map(entry).collect();
    for batch in entries.chunks(3) {
        log.append_batch(batch).expect("appends");
    }
    let head = log.head();
    assert_eq!(head.seq, count);
    (dir, path, head)
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("reads");
    text.lines().map(str::to_owned).collect()
}

fn write_lines(path: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).expect("writes");
}

fn name(error: &AuditError) -> (&'static str, u64) {
    match error {
        AuditError::Changed { seq } => ("changed", *seq),
        AuditError::Removed { seq } => ("removed", *seq),
        AuditError::Reordered { seq } => ("reordered", *seq),
        AuditError::Cut { seq } => ("cut", *seq),
        _ => ("other", 0),
    }
}

/// Verifies without a head, and checks that opening refuses the same.
fn verdict(path: &Path) -> Option<(&'static str, u64)> {
    let verdict = verify(path).err().map(|error| name(&error));
    if verdict.is_some_and(|(what, _)| what != "cut") {
        assert_eq!(AuditLog::open(path).err().map(|error| name(&error)), verdict);
    }
    verdict
}

#[test]
fn what_was_appended_verifies_and_goes_on_after_reopening() {
    let (_dir, path, head) = written(7);
    let summary = verify(&path).expect("in order");
    assert_eq!((summary.records, summary.head), (7, head));
    assert_eq!((summary.first_at_unix_ms, summary.last_at_unix_ms), (1_001, 1_007));
    let mut log = AuditLog::open(&path).expect("opens again");
    assert_eq!((log.head(), log.torn_bytes()), (head, 0));
    assert_eq!(log.append_batch(&[entry(8), entry(9)]).expect("appends"), 9);
    assert_eq!(log.append_batch(&[]).expect("nothing"), 9);
    assert_eq!(verify_head(&path, head).expect("in order").records, 9);
    let mode = fs::metadata(&path).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first: Record = serde_json::from_str(&lines(&path)[0]).expect("JSON");
    assert_eq!((first.seq, first.object.as_str()), (1, "service-1"));
}

#[test]
fn an_empty_log_verifies() {
    let (_dir, path, head) = written(0);
    assert_eq!(verify(&path).expect("in order").head, head);
    assert!(matches!(verify(&path.with_extension("other")), Err(AuditError::Io { .. })));
}

#[test]
fn two_writers_are_refused() {
    let (_dir, path, _) = written(1);
    let _log = AuditLog::open(&path).expect("opens");
    assert!(matches!(AuditLog::open(&path), Err(AuditError::InUse { .. })));
}

#[test]
fn entries_that_do_not_fit_change_nothing() {
    let (_dir, path, head) = written(2);
    let mut log = AuditLog::open(&path).expect("opens");
    let long = Entry { object: "x".repeat(70_000), ..entry(3) };
    let refused = log.append_batch(&[entry(3), long]);
    assert!(matches!(refused, Err(AuditError::TooLong { .. })));
    let refused = log.append_batch(&vec![entry(3); 2_000]);
    assert!(matches!(refused, Err(AuditError::BatchTooLarge { .. })));
    assert_eq!(verify(&path).expect("in order").head, head);
    assert_eq!(log.append_batch(&[entry(3)]).expect("appends"), 3);
}

#[test]
fn a_disk_that_fails_poisons_the_log() {
    // Every write to this device fails as on a full disk.
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        return;
    }
    let (_dir, path, head) = written(2);
    let mut log = AuditLog::open(&path).expect("opens");
    log.replace_file(fs::OpenOptions::new().write(true).open(full).expect("opens"));
    assert!(matches!(log.append_batch(&[entry(3)]), Err(AuditError::Io { step: "write", .. })));
    assert!(matches!(log.append_batch(&[entry(3)]), Err(AuditError::Poisoned)));
    assert_eq!(log.head(), head);
}

#[test]
fn a_line_without_end_is_endless_for_nobody() {
    let (_dir, path, _) = written(2);
    let mut text = fs::read(&path).expect("reads");
    text.extend(std::iter::repeat_n(b'x', 10 << 20));
    fs::write(&path, text).expect("writes");
    assert_eq!(verdict(&path), Some(("changed", 3)));
}

#[test]
fn a_log_written_anew_is_found_with_its_head() {
    let (_dir, path, head) = written(4);
    fs::remove_file(&path).expect("removes");
    let mut log = AuditLog::open(&path).expect("opens");
    let forged: Vec<Entry> =
        (1..=4).map(|number| Entry { principal: "nobody".to_owned(), ..entry(number) }).collect();
    log.append_batch(&forged).expect("appends");
    assert!(verify(&path).is_ok(), "a chain alone cannot show this");
    assert_eq!(verify_head(&path, head).map_err(|error| name(&error)).err(), Some(("changed", 4)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_is_found(count in 1_u64..8, at: prop::sample::Index, flip in 1_u8..=255) {
        let (_dir, path, _) = written(count);
        let mut bytes = fs::read(&path).expect("reads");
        let at = at.index(bytes.len());
        let seq = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let was = bytes[at];
        bytes[at] ^= flip;
        fs::write(&path, &bytes).expect("writes");
        let last_end = was == b'\n' && at + 1 == bytes.len();
        let expected = if last_end { ("cut", seq) } else { ("changed", seq) };
        prop_assert_eq!(verdict(&path), Some(expected));
    }

    #[test]
    fn a_record_made_anew_is_found_by_the_next(count in 2_u64..8, pick: prop::sample::Index) {
        let (_dir, path, head) = written(count);
        let mut all = lines(&path);
        let at = pick.index(all.len() - 1);
        let mut record: Record = serde_json::from_str(&all[at]).expect("JSON");
        record.principal = "nobody".to_owned();
        record.hash = record.expected_hash().expect("JSON");
        all[at] = serde_json::to_string(&record).expect("JSON");
        write_lines(&path, &all);
        prop_assert_eq!(verdict(&path), Some(("changed", at as u64 + 1)));
        prop_assert!(verify_head(&path, head).is_err());
    }

    #[test]
    fn a_removed_record_is_found(count in 2_u64..8, pick: prop::sample::Index) {
        let (_dir, path, head) = written(count);
        let mut all = lines(&path);
        let at = pick.index(all.len());
        all.remove(at);
        write_lines(&path, &all);
        if at as u64 + 1 < count {
            prop_assert_eq!(verdict(&path), Some(("removed", at as u64 + 1)));
        }
        let with_head = verify_head(&path, head).expect_err("found");
        prop_assert_eq!(name(&with_head).1, at as u64 + 1);
    }

    #[test]
    fn moved_and_doubled_records_are_found(
        count in 2_u64..8,
        from: prop::sample::Index,
        to: prop::sample::Index,
        doubled: bool,
    ) {
        let (_dir, path, _) = written(count);
        let mut all = lines(&path);
        let (from, to) = (from.index(all.len()), to.index(all.len()));
        prop_assume!(from != to);
        let before = all.clone();
        if doubled {
            all.insert(to + usize::from(to > from), before[from].clone());
        } else {
            all.swap(from, to);
        }
        let first = (0..all.len()).find(|at| before.get(*at) != all.get(*at)).expect("differs");
        write_lines(&path, &all);
        prop_assert_eq!(verdict(&path), Some(("reordered", first as u64 + 1)));
    }

    #[test]
    fn an_inserted_or_foreign_record_is_found(count in 1_u64..8, pick: prop::sample::Index) {
        let (_dir, path, _) = written(count);
        let (_other_dir, other, _) = written(0);
        let mut log = AuditLog::open(&other).expect("opens");
        let foreign = Entry { principal: "nobody".to_owned(), ..entry(1) };
        log.append_batch(&vec![foreign; 9]).expect("appends");
        let mut all = lines(&path);
        let at = pick.index(all.len());
        all[at] = lines(&other)[at].clone();
        write_lines(&path, &all);
        match verdict(&path) {
            // In the last place of all nothing links to it; in the first it fits by itself.
            None => prop_assert_eq!((at as u64, count), (0, 1)),
            Some((what, seq)) => {
                prop_assert_eq!(what, "changed");
                prop_assert!(seq == at as u64 || seq == at as u64 + 1, "{} for {}", seq, at);
            }
        }
    }

    #[test]
    fn a_cut_is_found_and_repaired_only_where_a_power_loss_explains_it(
        count in 1_u64..8,
        at: prop::sample::Index,
    ) {
        let (_dir, path, head) = written(count);
        let bytes = fs::read(&path).expect("reads");
        let at = at.index(bytes.len());
        fs::write(&path, &bytes[..at]).expect("writes");
        let complete = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let torn = at > 0 && bytes[at - 1] != b'\n';
        prop_assert_eq!(verdict(&path), torn.then_some(("cut", complete + 1)));
        let with_head = verify_head(&path, head).expect_err("found");
        prop_assert_eq!(name(&with_head), ("cut", complete + 1));
        // Opening cuts off the torn line, and goes on behind what is complete.
        let mut log = AuditLog::open(&path).expect("opens");
        prop_assert_eq!(log.torn_bytes() > 0, torn);
        prop_assert_eq!(log.append_batch(&[entry(99)]).expect("appends"), complete + 1);
        prop_assert_eq!(verify(&path).expect("in order").records, complete + 1);
    }
}
