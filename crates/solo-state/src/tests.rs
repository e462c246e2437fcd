//! Over real files: what is kept, what is refused, and that a model says the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use solo_types::{Problem, ServiceId};

use crate::{Answer, Op, Page, Read, Rows, SERVICE_BYTES_MAX, Stores, VALUE_BYTES_MAX, of_service};

fn service(number: u64) -> ServiceId {
    format!("0000beef-{number}").parse().expect("an id")
}

fn set(key: &str, value: &[u8]) -> Op {
    Op::Set(vec![(key.to_owned(), value.to_vec())])
}

fn get(key: &str) -> Op {
    Op::Get(vec![key.to_owned()])
}

fn value(value: &[u8]) -> Result<Answer, Problem> {
    Ok(Answer::Values(vec![Some(value.to_vec())]))
}

fn add(key: &str, delta: i128) -> Op {
    Op::Increment { key: key.to_owned(), delta, range: (i64::MIN.into(), i64::MAX.into()) }
}

fn list(prefix: &str, after: Option<&str>, limit: usize) -> Op {
    Op::List { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit }
}

fn page(keys: &[&str], more: bool) -> Result<Answer, Problem> {
    Ok(Answer::Page(Page { keys: keys.iter().map(|&key| key.to_owned()).collect(), more }))
}

fn reason(answer: Result<Answer, Problem>) -> String {
    answer.expect_err("refused").reason
}

/// S5: what was answered is there for whoever opens the files next, also if nobody closed them.
#[tokio::test]
async fn what_was_answered_is_kept() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    let [a, b] = [service(1), service(2)];
    assert_eq!(stores.run(a, get("k")).await, Ok(Answer::Values(vec![None])));
    // Who only looks makes nothing.
    assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 0);
    assert_eq!(stores.run(a, set("k", b"one")).await, Ok(Answer::Done));
    assert_eq!(stores.run(b, set("k", b"two")).await, Ok(Answer::Done));
    // Another one over a copy, as after a `kill -9`: nothing was closed.
    let copy = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(home.path()).expect("readable") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    let again = Stores::start(copy.path()).expect("threads");
    assert_eq!(again.run(a, get("k")).await, value(b"one"));
    assert_eq!(again.run(b, get("k")).await, value(b"two"));
    // Those of one service are not another's.
    assert_eq!(stores.run(b, Op::Delete(vec!["k".into()])).await, Ok(Answer::Done));
    assert_eq!(stores.run(b, Op::Exists("k".into())).await, Ok(Answer::Is(false)));
    assert_eq!(stores.run(a, Op::Exists("k".into())).await, Ok(Answer::Is(true)));
}

#[tokio::test]
async fn keys_of_all_kinds_are_listed_in_pages() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    let id = service(1);
    assert_eq!(stores.run(id, list("", None, 10)).await, page(&[], false));
    let keys =
        ["a", "a\0", "a\0b", "a%", "a_", "ab", "ä", "b", "\u{10ffff}", "'; DROP TABLE entries; --"];
    let entries = keys.iter().map(|&key| (key.to_owned(), key.as_bytes().to_vec())).collect();
    assert_eq!(stores.run(id, Op::Set(entries)).await, Ok(Answer::Done));
    for key in keys {
        assert_eq!(stores.run(id, get(key)).await, value(key.as_bytes()), "{key:?}");
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(stores.run(id, list("", None, 10)).await, page(&sorted, false));
    assert_eq!(stores.run(id, list("", None, 9)).await, page(&sorted[..9], true));
    assert_eq!(stores.run(id, list("", Some(sorted[8]), 9)).await, page(&sorted[9..], false));
    assert_eq!(stores.run(id, list("a\0", None, 9)).await, page(&["a\0", "a\0b"], false));
    assert_eq!(stores.run(id, list("a", Some("a\0b"), 2)).await, page(&["a%", "a_"], true));
    assert_eq!(stores.run(id, list("c", None, 9)).await, page(&[], false));

    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let Ok(Answer::Rows(rows)) = stores.run(id, Op::Rows { after, limit: 3 }).await else {
            panic!("rows");
        };
        // What comes and goes meanwhile does not matter to the others.
        assert_eq!(stores.run(id, Op::Delete(vec![rows.keys[0].clone()])).await, Ok(Answer::Done));
        seen.extend(rows.keys);
        match rows.next {
            Some(next) => after = next,
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, sorted);
    let none = Ok(Answer::Rows(Rows { keys: Vec::new(), next: None }));
    assert_eq!(stores.run(id, Op::Rows { after: u64::MAX, limit: 3 }).await, none);
}

#[tokio::test]
async fn numbers_count_and_swaps_notice_others() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    let id = service(1);
    assert_eq!(stores.run(id, add("n", 5)).await, Ok(Answer::Number(5)));
    assert_eq!(stores.run(id, add("n", -7)).await, Ok(Answer::Number(-2)));
    assert_eq!(stores.run(id, get("n")).await, value(b"-2"));
    assert_eq!(reason(stores.run(id, add("n", i64::MIN.into())).await), "OUT_OF_RANGE");
    assert_eq!(stores.run(id, get("n")).await, value(b"-2"));
    assert_eq!(stores.run(id, set("n", b"x")).await, Ok(Answer::Done));
    assert_eq!(reason(stores.run(id, add("n", 1)).await), "NOT_A_NUMBER");
    // Beyond what is kept of a number.
    assert_eq!(stores.run(id, set("n", &[b'9'; 60])).await, Ok(Answer::Done));
    assert_eq!(reason(stores.run(id, add("n", 1)).await), "NOT_A_NUMBER");

    let swap = |version, value: &[u8]| Op::Swap { key: "s".into(), version, value: value.to_vec() };
    assert_eq!(
        stores.run(id, Op::Read("s".into())).await,
        Ok(Answer::Read(Read { version: 0, value: None }))
    );
    assert_eq!(stores.run(id, swap(0, b"1")).await, Ok(Answer::Swapped(None)));
    let Ok(Answer::Swapped(Some(now))) = stores.run(id, swap(0, b"2")).await else {
        panic!("it was changed");
    };
    assert_eq!(now.value.as_deref(), Some(&b"1"[..]));
    // The same value once more is a change.
    assert_eq!(stores.run(id, set("s", b"1")).await, Ok(Answer::Done));
    let Ok(Answer::Swapped(Some(later))) = stores.run(id, swap(now.version, b"2")).await else {
        panic!("it was changed");
    };
    assert_eq!(stores.run(id, swap(later.version, b"2")).await, Ok(Answer::Swapped(None)));
    assert_eq!(stores.run(id, get("s")).await, value(b"2"));
}

/// Two hundred at once lose nothing of what they add, and share commits.
#[tokio::test(flavor = "multi_thread")]
async fn many_add_to_one_number() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Arc::new(Stores::start(home.path()).expect("threads"));
    let adding: Vec<_> = (0..200)
        .map(|number| {
            let stores = Arc::clone(&stores);
            tokio::spawn(async move { stores.run(service(number % 3), add("n", 1)).await })
        })
        .collect();
    for one in adding {
        assert!(matches!(one.await, Ok(Ok(Answer::Number(_)))));
    }
    for (number, sum) in [(0, "67"), (1, "67"), (2, "66")] {
        assert_eq!(stores.run(service(number), get("n")).await, value(sum.as_bytes()));
    }
}

/// L1: a service keeps as much as it may and no more, and what is refused leaves nothing.
#[tokio::test]
async fn room_is_bounded() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    let id = service(1);
    let large = vec![7; VALUE_BYTES_MAX];
    let fit = SERVICE_BYTES_MAX / (VALUE_BYTES_MAX as u64 + 64 + 4);
    for number in 0..fit {
        let done = stores.run(id, set(&format!("k{number:03}"), &large)).await;
        assert_eq!(done, Ok(Answer::Done), "{number}");
    }
    assert_eq!(reason(stores.run(id, set("more", &large)).await), "STORAGE_FULL");
    let both = vec![("x".to_owned(), vec![1]), ("y".to_owned(), large.clone())];
    assert_eq!(reason(stores.run(id, Op::Set(both)).await), "STORAGE_FULL");
    assert_eq!(stores.run(id, Op::Exists("x".into())).await, Ok(Answer::Is(false)));
    // What makes it smaller, and what is already there.
    assert_eq!(stores.run(id, set("k000", &large)).await, Ok(Answer::Done));
    assert_eq!(stores.run(id, set("k000", b"")).await, Ok(Answer::Done));
    assert_eq!(stores.run(id, set("more", &large[..1 << 20])).await, Ok(Answer::Done));
    // Others have room.
    assert_eq!(stores.run(service(2), set("k", &large)).await, Ok(Answer::Done));
    let path = home.path().join(of_service(id));
    let size = std::fs::metadata(path).expect("there").len();
    assert!(size < SERVICE_BYTES_MAX + SERVICE_BYTES_MAX / 8, "{size}");
    let keys: Vec<String> = (1..6).map(|number| format!("k{number:03}")).collect();
    assert_eq!(reason(stores.run(id, Op::Get(keys.clone())).await), "TOO_MUCH_AT_ONCE");
    assert_eq!(stores.run(id, Op::Delete(keys)).await, Ok(Answer::Done));
    assert_eq!(stores.run(id, set("k001", &large)).await, Ok(Answer::Done));
}

/// A file that is none, or another version's, is told as what it is, and goes on being what it was.
#[tokio::test]
async fn damaged_files_are_told() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    let path = home.path().join(of_service(service(1)));
    std::fs::write(&path, vec![b'x'; 10_000]).expect("written");
    assert_eq!(reason(stores.run(service(1), get("k")).await), "STORAGE_DAMAGED");
    assert_eq!(reason(stores.run(service(1), set("k", b"v")).await), "STORAGE_DAMAGED");
    assert_eq!(std::fs::read(&path).expect("there"), vec![b'x'; 10_000]);
    let newer = rusqlite::Connection::open(home.path().join(of_service(service(2))));
    newer.expect("opened").pragma_update(None, "user_version", 2).expect("written");
    assert_eq!(reason(stores.run(service(2), set("k", b"v")).await), "STORAGE_UNAVAILABLE");
    // The others of the same threads go on.
    for number in 3..8 {
        assert_eq!(stores.run(service(number), set("k", b"v")).await, Ok(Answer::Done));
    }
}

/// More services than files may be open at a time.
#[tokio::test]
async fn many_services_take_turns() {
    let home = tempfile::tempdir().expect("a directory");
    let stores = Stores::start(home.path()).expect("threads");
    for round in 0..2_u8 {
        for number in 0..300 {
            let op = set("k", &[round]);
            assert_eq!(stores.run(service(number), op).await, Ok(Answer::Done));
        }
    }
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten().filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(home.path()))
    });
    // The last one is answered before another is closed for it.
    assert!(open.count() <= 2 * 3 * (128 + 1));
    for number in 0..300 {
        assert_eq!(stores.run(service(number), get("k")).await, value(&[1]));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Do(Op),
    Reopen,
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("ab"), Just("b"), Just("ba"), Just("c\0")].prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
    let entries = proptest::collection::vec((key(), bytes()), 0..4);
    let list =
        (prop_oneof![Just(""), Just("a"), Just("b")], proptest::option::of(key()), 1..5_usize);
    prop_oneof![
        4 => entries.prop_map(|entries| Step::Do(Op::Set(entries))),
        2 => proptest::collection::vec(key(), 0..3).prop_map(|keys| Step::Do(Op::Delete(keys))),
        2 => proptest::collection::vec(key(), 0..3).prop_map(|keys| Step::Do(Op::Get(keys))),
        1 => list.prop_map(|(prefix, after, limit)| {
            Step::Do(Op::List { prefix: prefix.to_owned(), after, limit })
        }),
        2 => (key(), -3..3_i128).prop_map(|(key, delta)| Step::Do(add(&key, delta))),
        1 => Just(Step::Reopen),
    ]
}

/// What a map answers; `None`: it refuses.
fn model(entries: &mut BTreeMap<String, Vec<u8>>, op: &Op) -> Option<Answer> {
    Some(match op {
        Op::Set(new) => {
            entries.extend(new.iter().cloned());
            Answer::Done
        }
        Op::Delete(keys) => {
            entries.retain(|key, _| !keys.contains(key));
            Answer::Done
        }
        Op::Get(keys) => Answer::Values(keys.iter().map(|key| entries.get(key).cloned()).collect()),
        Op::List { prefix, after, limit } => {
            let behind = |key: &&String| after.as_ref().is_none_or(|after| *key > after);
            let mut all: Vec<String> = entries
                .keys()
                .filter(|key| key.starts_with(prefix.as_str()))
                .filter(behind)
                .cloned()
                .collect();
            let more = all.len() > *limit;
            all.truncate(*limit);
            Answer::Page(Page { keys: all, more })
        }
        Op::Increment { key, delta, .. } => {
            let old = entries
                .get(key)
                .map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse::<i128>().ok())?;
            entries.insert(key.clone(), (old + delta).to_string().into_bytes());
            Answer::Number(old + delta)
        }
        Op::Exists(_) | Op::Rows { .. } | Op::Read(_) | Op::Swap { .. } => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_map_does(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let home = tempfile::tempdir().expect("a directory");
            let mut stores = Stores::start(home.path()).expect("threads");
            let mut entries = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Reopen => stores = Stores::start(home.path()).expect("threads"),
                    Step::Do(op) => {
                        let expected = model(&mut entries, &op);
                        prop_assert_eq!(stores.run(service(1), op).await.ok(), expected);
                    }
                }
            }
            Ok(())
        })?;
    }
}
