//! Attacks on the forms, and a model of delivery in which process and sink die at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::chain::{Entry, Head, Record};

fn entry(number: u64, text: &str) -> Entry {
    Entry {
        at_unix_ms: 1_000 * number,
        principal: text.to_owned(),
        operation: text.to_owned(),
        object: text.to_owned(),
        outcome: text.to_owned(),
        request_id: text.to_owned(),
        details: BTreeMap::from([(text.to_owned(), text.to_owned())]),
    }
}

fn record(text: &str) -> Record {
    Record::after(Head::start(), &entry(1, text)).expect("a record")
}

/// The first `count` records of a log.
fn log(count: u64) -> Vec<Arc<Record>> {
    let mut head = Head::start();
    let mut records = Vec::new();
    for number in 1..=count {
        let record = Record::after(head, &entry(number, "text")).expect("a record");
        head = record.head();
        records.push(Arc::new(record));
    }
    records
}

fn options() -> QueueOptions {
    QueueOptions {
        records_max: 8,
        batch_records_max: 3,
        backoff_initial_ms: 100,
        backoff_max_ms: 1_000,
        ..QueueOptions::default()
    }
}

fn sent(step: Step) -> Vec<u64> {
    match step {
        Step::Send(batch) => batch.records.iter().map(|record| record.seq).collect(),
        other => panic!("{other:?}"),
    }
}

/// Reads a message as a receiver would: header, structured data, text.
fn parsed(message: &str) -> (Vec<&str>, BTreeMap<String, String>, &str) {
    let mut rest = message;
    let mut head = Vec::new();
    for _ in 0..6 {
        let (part, next) = rest.split_once(' ').expect("a part of the header");
        head.push(part);
        rest = next;
    }
    let mut values = BTreeMap::new();
    let (id, next) = rest.split_once(' ').expect("an id");
    assert_eq!(id, "[solo@32473");
    rest = next;
    loop {
        let (name, next) = rest.split_once("=\"").expect("a name");
        let mut value = String::new();
        let mut characters = next.char_indices();
        let end = loop {
            match characters.next().expect("an end") {
                (at, '"') => break at,
                (_, '\\') => {
                    let (_, escaped) = characters.next().expect("what is escaped");
                    assert!(matches!(escaped, '"' | '\\' | ']'));
                    value.push(escaped);
                }
                (_, ']') => panic!("not escaped"),
                (_, character) => value.push(character),
            }
        };
        values.insert(name.to_owned(), value);
        rest = &next[end + 1..];
        match rest.strip_prefix("] ") {
            Some(text) => return (head, values, text),
            None => rest = rest.strip_prefix(' ').expect("another value"),
        }
    }
}

#[test]
fn a_message_as_in_the_rfc() {
    let syslog = Syslog::new(&SyslogOptions {
        hostname: "node 1\n".to_owned(),
        process_id: "42".to_owned(),
        ..SyslogOptions::default()
    });
    let mut entry = entry(1, "x");
    entry.operation = "deploy".to_owned();
    entry.object = "a\"b]c\\d\ne".to_owned();
    entry.outcome = "refused: NO".to_owned();
    let record = Record::after(Head::start(), &entry).expect("a record");
    let message = syslog.message(&record);
    let start = "<108>1 1970-01-01T00:00:01.000Z node_1_ solo 42 deploy [solo@32473 principal=\"x\" \
                 operation=\"deploy\" object=\"a\\\"b\\]c\\\\d\\\\u000ae\" outcome=\"refused: NO\" ";
    assert!(message.starts_with(start), "{message}");
    let framed = octet_counted(&message);
    assert!(framed.starts_with(format!("{} <108>1 ", message.len()).as_bytes()));
    let other = Syslog::new(&SyslogOptions { facility: 200, ..SyslogOptions::default() });
    assert!(other.message(&self::record("ok")).starts_with("<109>1 "));
}

#[test]
fn what_does_not_fit_is_cut_and_says_so() {
    let options = SyslogOptions {
        hostname: "h".repeat(300),
        app_name: "a".repeat(300),
        process_id: "p".repeat(300),
        message_bytes_max: 0,
        ..SyslogOptions::default()
    };
    let syslog = Syslog::new(&options);
    for text in ["x", "\"", "\u{1b}", "é", "\u{1f600}"] {
        let mut record = record(&text.repeat(2_000));
        (record.seq, record.at_unix_ms) = (u64::MAX, 253_402_300_799_999);
        let message = syslog.message(&record);
        assert!(message.len() <= 2_048, "{}", message.len());
        let (_, values, text) = parsed(&message);
        assert_eq!(values.get("cut").map(String::as_str), Some("1"));
        assert_eq!(text, "too long for a message: see the audit log");
    }
}

#[test]
fn a_batch_for_a_webhook_and_for_a_command() {
    let records = log(3);
    let batch = Batch { records: records.clone(), attempt: 1 };
    let request = webhook_request("n\"1", &batch).expect("JSON");
    let again = webhook_request("n\"1", &Batch { attempt: 2, ..batch.clone() }).expect("JSON");
    assert_eq!(request, again);
    assert!(request.idempotency_key.starts_with("solo-audit-1-3-"));
    assert!(request.idempotency_key.bytes().all(|byte| byte.is_ascii_graphic()));
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&body["format"], &body["node"]), (&"solo-audit-1".into(), &"n\"1".into()));
    assert_eq!(body["records"][2], serde_json::to_value(&*records[2]).expect("JSON"));
    let lines = json_lines(&batch).expect("JSON");
    let directory = tempfile::TempDir::new().expect("temporary directory");
    let path = directory.path().join("copy.jsonl");
    std::fs::write(&path, lines).expect("writes");
    let summary = crate::verify(&path).expect("the copy verifies");
    assert_eq!((summary.records, summary.head), (3, records[2].head()));
}

#[test]
fn a_queue_is_bounded_and_hands_out_batches_in_order() {
    let records = log(20);
    let mut queue = DeliveryQueue::new(options(), Cursor::start(), 1);
    assert_eq!(queue.next_step(0), Step::Idle);
    assert_eq!(queue.offer(&records[3]), Offer::Gap { expected_seq: 1 });
    for record in &records[..8] {
        assert_eq!(queue.offer(record), Offer::Taken);
    }
    assert_eq!(queue.offer(&records[8]), Offer::Full);
    assert_eq!(queue.offer(&records[2]), Offer::Known);
    assert_eq!(queue.next_seq(), 9);
    assert_eq!(sent(queue.next_step(0)), [1, 2, 3]);
    assert_eq!(queue.next_step(0), Step::Busy);
    // What was handed out counts until it succeeds.
    assert_eq!(queue.offer(&records[8]), Offer::Full);
    let cursor = queue.succeeded().expect("was under way");
    assert_eq!(cursor, Cursor::behind(&records[2]));
    assert_eq!(queue.succeeded(), None);
    assert_eq!(queue.offer(&records[8]), Offer::Taken);
    assert_eq!(sent(queue.next_step(0)), [4, 5, 6]);
}

#[test]
fn bytes_are_bounded_too() {
    let records = log(200);
    let bytes = records[0].line_bytes();
    let bounds = QueueOptions {
        records_max: 1_000,
        bytes_max: 0,
        batch_records_max: 1_000,
        batch_bytes_max: 3 * bytes + 20,
        ..QueueOptions::default()
    };
    let mut queue = DeliveryQueue::new(bounds, Cursor::start(), 1);
    let taken = records.iter().take_while(|record| queue.offer(record) == Offer::Taken).count();
    let (waiting, waiting_bytes) = queue.waiting();
    assert_eq!(taken, waiting);
    assert!(waiting_bytes <= crate::chain::RECORD_BYTES_MAX, "{waiting_bytes}");
    assert_eq!(sent(queue.next_step(0)), [1, 2, 3]);
    let tiny = QueueOptions { batch_bytes_max: 0, ..bounds };
    let mut queue = DeliveryQueue::new(tiny, Cursor::start(), 1);
    assert_eq!(queue.offer(&records[0]), Offer::Taken);
    assert_eq!(queue.offer(&records[1]), Offer::Taken);
    assert_eq!(sent(queue.next_step(0)), [1], "one record always fits");
}

#[test]
fn a_failed_batch_rests_and_goes_out_again_the_same() {
    let records = log(6);
    let mut queue = DeliveryQueue::new(options(), Cursor::start(), 1);
    assert_eq!(queue.offer(&records[0]), Offer::Taken);
    assert_eq!(sent(queue.next_step(10)), [1]);
    queue.failed(10, None);
    queue.failed(10, None);
    assert_eq!(queue.lag(0).failures, 1, "only one was under way");
    for record in &records[1..] {
        assert_eq!(queue.offer(record), Offer::Taken);
    }
    let Step::WaitUntil { at_ms } = queue.next_step(11) else { panic!("rests") };
    assert!((90..=130).contains(&at_ms), "{at_ms}");
    assert_eq!(sent(queue.next_step(at_ms)), [1], "the same, though more would fit");
    // The sink may ask for longer, but not for ever.
    queue.failed(1_000, Some(u64::MAX));
    assert_eq!(queue.next_step(1_000), Step::WaitUntil { at_ms: 2_000 });
    let Step::Send(batch) = queue.next_step(2_000) else { panic!("rested") };
    assert_eq!(batch.attempt, 3);
    assert!(queue.succeeded().is_some());
    assert_eq!(sent(queue.next_step(2_000)), [2, 3, 4]);
}

#[test]
fn the_lag_is_that_of_the_oldest_record() {
    let records = log(6);
    let mut queue = DeliveryQueue::new(options(), Cursor::start(), 1);
    assert_eq!(queue.lag(9_000), Lag { records: 0, age_ms: 0, failures: 0 });
    // The log has it; it was not read for this sink yet.
    queue.log_moved(1, 1_000);
    queue.log_moved(6, 6_000);
    assert_eq!((queue.lag(9_000).records, queue.lag(9_000).age_ms), (6, 8_000));
    for record in &records[..4] {
        queue.offer(record);
    }
    assert_eq!(sent(queue.next_step(0)).len(), 3);
    assert_eq!(queue.lag(9_000).records, 6, "under way is not delivered");
    queue.succeeded();
    assert_eq!((queue.lag(9_000).records, queue.lag(9_000).age_ms), (3, 5_000));
    assert_eq!(queue.lag(0).age_ms, 0, "a clock that was set back");
    assert_eq!(sent(queue.next_step(0)), [4]);
    queue.succeeded();
    assert_eq!(queue.lag(9_000).records, 2);
    for record in &records[4..] {
        queue.offer(record);
    }
    assert_eq!(sent(queue.next_step(0)), [5, 6]);
    queue.succeeded();
    assert_eq!((queue.lag(9_000).records, queue.lag(9_000).age_ms), (0, 0));
    // After a long silence the age is that of the new record.
    queue.log_moved(7, 90_000);
    assert_eq!(queue.lag(91_000).age_ms, 1_000);
}

#[test]
fn a_cursor_is_read_as_it_was_written() {
    let directory = tempfile::TempDir::new().expect("temporary directory");
    let path = directory.path().join("cursor.json");
    assert_eq!(Cursor::read(&path).expect("none"), None);
    for record in log(3) {
        let cursor = Cursor::behind(&record);
        cursor.write(&path).expect("writes");
        assert_eq!(Cursor::read(&path).expect("reads"), Some(cursor));
    }
    for wrong in ["", "{}", "{\"seq\":1}", &"x".repeat(10_000)] {
        std::fs::write(&path, wrong).expect("writes");
        assert!(matches!(Cursor::read(&path), Err(crate::AuditError::Malformed { .. })));
    }
}

/// What happens to a sink and the process that feeds it.
#[derive(Debug, Clone, Copy)]
enum Event {
    Read,
    Send,
    /// Arrives and is confirmed.
    Arrive,
    /// Arrives, but the confirmation gets lost.
    ArriveUnheard,
    Fail,
    /// The cursor is written.
    Keep,
    Die,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_message_contains_another(text in any::<String>()) {
        let record = record(&text);
        let message = Syslog::new(&SyslogOptions {
            hostname: text.clone(),
            app_name: text.clone(),
            process_id: text.clone(),
            message_bytes_max: 1 << 20,
            ..SyslogOptions::default()
        }).message(&record);
        prop_assert!(!message.chars().any(char::is_control));
        let turns_text = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
        prop_assert!(!message.chars().any(turns_text));
        let (head, values, json) = parsed(&message);
        prop_assert!(head.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())));
        prop_assert!(json.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        prop_assert_eq!(&serde_json::from_str::<Record>(json).expect("JSON"), &record);
        let harmless = !text.chars().any(|c| c.is_control() || !c.is_ascii());
        if harmless && text.len() < 100 {
            prop_assert_eq!(&values["object"], &text);
        }
        // A stream of them falls apart at the right places.
        let mut stream = octet_counted(&message);
        stream.extend(octet_counted("<13>1 - - - - - -"));
        let space = stream.iter().position(|byte| *byte == b' ').expect("a count");
        let count: usize = std::str::from_utf8(&stream[..space]).expect("digits").parse().expect("a count");
        prop_assert_eq!(&stream[space + 1..space + 1 + count], message.as_bytes());
        prop_assert!(stream[space + 1 + count..].starts_with(b"17 <13>"));
    }

    #[test]
    fn everything_arrives_in_order_whatever_dies(
        events in prop::collection::vec(
            prop::sample::select(vec![
                Event::Read, Event::Read, Event::Read, Event::Send, Event::Send, Event::Arrive,
                Event::Arrive, Event::ArriveUnheard, Event::Fail, Event::Keep, Event::Die,
            ]),
            0..300,
        ),
        seed: u64,
    ) {
        let records = log(40);
        let mut kept = Cursor::start();
        let mut queue = DeliveryQueue::new(options(), kept, seed);
        let (mut under_way, mut arrived) = (None::<Batch>, BTreeSet::new());
        let mut now_ms = 0;
        for event in events {
            match event {
                Event::Read => {
                    let at = usize::try_from(queue.next_seq()).expect("fits") - 1;
                    if let Some(record) = records.get(at) {
                        let offer = queue.offer(record);
                        prop_assert!(matches!(offer, Offer::Taken | Offer::Full));
                    }
                }
                Event::Send => {
                    now_ms += 2_000;
                    if let Step::Send(batch) = queue.next_step(now_ms) {
                        prop_assert_eq!(batch.records[0].seq, queue.cursor().seq + 1);
                        under_way = Some(batch);
                    }
                }
                Event::Arrive | Event::ArriveUnheard => {
                    if let Some(batch) = under_way.take() {
                        arrived.extend(batch.records.iter().map(|record| record.seq));
                        if matches!(event, Event::Arrive) {
                            prop_assert!(queue.succeeded().is_some());
                        } else {
                            queue.failed(now_ms, None);
                        }
                    }
                }
                Event::Fail => {
                    under_way = None;
                    queue.failed(now_ms, None);
                }
                Event::Keep => kept = queue.cursor(),
                Event::Die => {
                    under_way = None;
                    queue = DeliveryQueue::new(options(), kept, seed);
                }
            }
            let (waiting, _) = queue.waiting();
            prop_assert!(waiting <= 8);
            // Nothing counts as delivered that did not arrive, nor anything before it.
            let delivered = queue.cursor().seq;
            prop_assert!((1..=delivered).all(|seq| arrived.contains(&seq)));
        }
        // In the end the sink works again: everything arrives.
        queue.failed(now_ms, None);
        while queue.cursor().seq < 40 {
            now_ms += 2_000;
            let at = usize::try_from(queue.next_seq()).expect("fits") - 1;
            if let Some(record) = records.get(at) {
                queue.offer(record);
            }
            if let Step::Send(batch) = queue.next_step(now_ms) {
                arrived.extend(batch.records.iter().map(|record| record.seq));
                queue.succeeded();
            }
        }
        prop_assert_eq!(arrived.len(), 40);
    }
}
