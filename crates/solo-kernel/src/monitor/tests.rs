//! Tests of the record keeper.

use super::*;

fn monitor() -> (tempfile::TempDir, Arc<Monitor>) {
    let directory = tempfile::tempdir().expect("tempdir");
    let monitor = Monitor::open(directory.path().join("records.jsonl")).expect("open");
    (directory, monitor)
}

fn log(monitor: &Monitor, service: &str, message: &str) {
    let body = Body::Log {
        level: "info".into(),
        source: "log".into(),
        message: message.to_owned(),
        trace_id: String::new(),
    };
    let (service, instance) = (service.to_owned(), String::new());
    monitor.append(vec![NewRecord { at: 1, service, instance, body, position: None }]);
}

fn all(service: &str) -> Filter {
    Filter { service: service.into(), logs: true, events: true }
}

#[test]
fn a_watcher_reads_each_record_once_and_resumes() {
    let (_directory, monitor) = monitor();
    for n in 0..10 {
        log(&monitor, "a", &n.to_string());
        log(&monitor, "b", "other");
    }
    let mut position = Position::default();
    let first = monitor.read(&all("a"), &mut position, 4);
    let second = monitor.read(&all("a"), &mut Position::after(position.cursor), 100);
    assert_eq!((first.records.len(), second.records.len()), (4, 6));
    assert_eq!((first.missed, second.missed), (0, 0));
}

#[test]
fn a_flood_throws_away_its_own_lines_only_and_tells_how_many() {
    let (_directory, monitor) = monitor();
    log(&monitor, "quiet", "precious");
    log(&monitor, "loud", "first");
    let mut position = Position::default();
    assert_eq!(monitor.read(&all("loud"), &mut position, 100).records.len(), 1);
    for n in 0..5_000 {
        log(&monitor, "loud", &n.to_string());
    }
    let page = monitor.read(&all("loud"), &mut position, 10_000);
    assert_eq!((page.records.len(), page.missed), (1_000, 4_000));
    assert_eq!(monitor.read(&all("loud"), &mut position, 10).missed, 0);
    let quiet = monitor.read(&all("quiet"), &mut Position::default(), 10);
    assert_eq!(quiet.records.len(), 1);
}

#[test]
fn a_resumed_watcher_is_told_that_it_missed_something() {
    let (_directory, monitor) = monitor();
    for n in 0..3_000 {
        log(&monitor, "a", &n.to_string());
    }
    assert!(monitor.read(&all("a"), &mut Position::after(10), 10).missed >= 1);
    assert_eq!(monitor.read(&all("a"), &mut Position::after(2_500), 10).missed, 0);
}

#[test]
fn tail_gives_the_newest() {
    let (_directory, monitor) = monitor();
    for n in 0..20 {
        log(&monitor, "a", &n.to_string());
    }
    assert_eq!(monitor.log_tail("a", 2), ["info: 18", "info: 19"]);
    assert_eq!(monitor.log_tail("nobody", 2), Vec::<String>::new());
}

#[test]
fn numbering_goes_on_after_a_restart_and_a_torn_line() {
    let (directory, monitor) = monitor();
    let path = directory.path().join("records.jsonl");
    log(&monitor, "a", "one");
    monitor.append(vec![NewRecord::missed(1, "cell", 3, ("inc".into(), 77))]);
    drop(monitor);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("open");
    std::io::Write::write_all(&mut file, b"{\"n\":3,\"t\":").expect("write");
    let monitor = Monitor::open(path.clone()).expect("open again");
    assert_eq!(monitor.last_report("inc"), 77);
    assert_eq!(*monitor.latest().borrow(), 2);
    log(&monitor, "a", "after");
    drop(monitor);
    let monitor = Monitor::open(path).expect("open once more");
    assert_eq!(monitor.log_tail("a", 10), ["info: one", "info: after"]);
}

#[test]
fn the_file_stays_bounded() {
    let (directory, monitor) = monitor();
    let long = "x".repeat(8_000);
    for _ in 0..12_000 {
        log(&monitor, "a", &long);
    }
    let size = std::fs::metadata(directory.path().join("records.jsonl")).expect("file").len();
    assert!(size < 64 << 20, "{size}");
}

/// A watcher of all services is told exactly what it missed, of rings old and new.
#[test]
fn a_watcher_of_all_is_told_what_it_missed() {
    let (_directory, monitor) = monitor();
    for name in ["a", "b"] {
        log(&monitor, name, "first");
    }
    let everything = all("");
    let mut position = Position::default();
    assert_eq!(monitor.read(&everything, &mut position, 100).records.len(), 2);
    for n in 0..1_500 {
        log(&monitor, "a", &n.to_string());
        log(&monitor, "new", &n.to_string());
    }
    let (mut missed, mut read) = (0, 0);
    loop {
        let page = monitor.read(&everything, &mut position, 256);
        if page.records.is_empty() && page.missed == 0 {
            break;
        }
        missed += page.missed;
        read += page.records.len();
    }
    assert_eq!((missed, read), (1_000, 2_000));
}

/// One service among many: its records only, in order, whatever the others do.
#[test]
fn a_name_is_read_without_the_others() {
    let (_directory, monitor) = monitor();
    for n in 0..50 {
        log(&monitor, &format!("other-{n}"), "noise");
        monitor.event("one", "", "ready", &n.to_string());
        log(&monitor, "one", &n.to_string());
    }
    let mut position = monitor.tail(&all("one"), 10);
    let page = monitor.read(&all("one"), &mut position, 4);
    let cursors: Vec<u64> = page.records.iter().map(|record| record.cursor).collect();
    assert_eq!(cursors.len(), 4);
    assert!(cursors.is_sorted());
    assert_eq!(monitor.read(&all("one"), &mut position, 100).records.len(), 6);
    log(&monitor, "other-1", "noise");
    assert_eq!(monitor.read(&all("one"), &mut position, 100).records.len(), 0);
    assert_eq!(position.cursor, *monitor.latest().borrow());
}

/// A service whose code a child ran has not failed with it.
#[test]
fn the_end_of_a_child_is_no_failure_of_a_service() {
    let name = |instance: &str| {
        let exit = Some(wire::Exit { reason: "trap".into(), ..wire::Exit::default() });
        let change = wire::StateChange { state: "failed".into(), restarts: 0, exit };
        let position = ("inc".to_owned(), 1);
        match NewRecord::change(1, "0000beef-1", instance, &change, position).map(|new| new.body) {
            Some(Body::Event { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(name("0000beef-1-1"), "failed");
    assert_eq!(name("0000beef-9-1.3"), "exited");
}

/// SPEC section 5: a limit that was exceeded is an event that names it.
#[test]
fn a_violation_is_an_event_and_a_line_keeps_its_trace() {
    let (directory, monitor) = monitor();
    monitor.name_service("0000beef-1", "hog");
    let violation = wire::Violation {
        limit: "max_memory_bytes".into(),
        action: "throttle".into(),
        count: 3,
        message: "16 MiB were wanted".into(),
    };
    let position = |n| ("inc".to_owned(), n);
    let (service, child) = ("0000beef-1".to_owned(), "0000beef-9-1.4".to_owned());
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".to_owned();
    let line = |trace_id: &str| wire::Log {
        level: "info".into(),
        message: "hello".into(),
        source: "log".into(),
        trace_id: trace_id.to_owned(),
    };
    monitor.append(vec![
        NewRecord::violation(1, service.clone(), child.clone(), &violation, position(1)),
        NewRecord::log(1, service.clone(), child, line(&trace_id), position(2)),
        NewRecord::log(1, service, String::new(), line("no trace"), position(3)),
    ]);
    drop(monitor);
    let monitor = Monitor::open(directory.path().join("records.jsonl")).expect("open again");
    let page = monitor.read(&all("hog"), &mut Position::default(), 10);
    let [event, traced, plain] = page.records.as_slice() else { panic!("{page:?}") };
    assert_eq!(event.instance, "0000beef-9-1.4", "a child keeps its own id");
    let Body::Event { name, message, details } = &event.body else { panic!("{event:?}") };
    assert_eq!(name, "limit_exceeded");
    assert!(message.starts_with("max_memory_bytes was exceeded 3 times"), "{message}");
    assert_eq!((details["action"].as_str(), details["count"].as_str()), ("throttle", "3"));
    assert!(matches!(&traced.body, Body::Log { trace_id: found, .. } if *found == trace_id));
    assert!(matches!(&plain.body, Body::Log { trace_id, .. } if trace_id.is_empty()));
}
