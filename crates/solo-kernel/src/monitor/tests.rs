//! Tests of the record keeper.

use super::*;

fn monitor() -> (tempfile::TempDir, Arc<Monitor>) {
    let directory = tempfile::tempdir().expect("tempdir");
    let monitor = Monitor::open(directory.path().join("records.jsonl")).expect("open");
    (directory, monitor)
}

fn log(monitor: &Monitor, service: &str, message: &str) {
    let body =
        Body::Log { level: "info".into(), source: "log".into(), message: message.to_owned() };
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
