//! `kill -9` between any two steps: what was acknowledged is there, and the trail goes on.

use super::*;
use crate::steps::Steps;

/// More steps than anything here has.
const STEPS_MAX: usize = 40;

fn open(directory: &Path, left: Option<usize>) -> Result<Trail, AuditError> {
    Trail::open_in_steps(directory, options(), 1, Steps { left })
}

/// The trail verifies, has just these entries, and takes further ones.
fn check_goes_on(directory: &Path, expected: &[String]) {
    let trail = open(directory, None).expect("opens again");
    assert_eq!(objects(directory), expected);
    assert_eq!(signed(directory), None);
    drop(trail);
    let mut trail = open(directory, None).expect("opens once more");
    for number in 900..912 {
        trail.append_batch(&[entry(number)]).expect("appends");
    }
    trail.close(9_999).expect("closes");
    assert_eq!(signed(directory), None);
    assert_eq!(objects(directory).len(), expected.len() + 12);
    let unnamed = fs::read_dir(directory)
        .expect("lists")
        .any(|entry| entry.expect("an entry").file_name().to_string_lossy().ends_with(files::NEW));
    assert!(!unnamed, "nothing without a name is left");
}

fn expected(count: u64) -> Vec<String> {
    (1..=count).map(|number| format!("service-{number}")).collect()
}

#[test]
fn beginning_a_trail_survives_at_every_step() {
    let mut stops = 0;
    for left in 0..STEPS_MAX {
        let directory = TempDir::new().expect("temporary directory");
        let stopped = open(directory.path(), Some(left)).is_err();
        stops += usize::from(stopped);
        check_goes_on(directory.path(), &[]);
        if !stopped {
            assert!(stops >= 7, "{stops}");
            return;
        }
    }
    panic!("never finished");
}

#[test]
fn rotation_survives_at_every_step() {
    let mut stops = 0;
    for left in 0..STEPS_MAX {
        let directory = TempDir::new().expect("temporary directory");
        let mut trail = open(directory.path(), None).expect("opens");
        let mut acknowledged = 0;
        let mut stopped = false;
        trail.steps.left = Some(left);
        for number in 1..=40 {
            match trail.append_batch(&[entry(number)]) {
                Ok(_) => acknowledged = number,
                Err(_) => {
                    stopped = true;
                    assert!(matches!(
                        trail.append_batch(&[entry(number)]),
                        Err(AuditError::Poisoned)
                    ));
                    break;
                }
            }
        }
        drop(trail);
        stops += usize::from(stopped);
        check_goes_on(directory.path(), &expected(acknowledged));
        if !stopped {
            assert!(stops >= 12, "at least two rotations: {stops}");
            return;
        }
    }
    panic!("never finished");
}

#[test]
fn retention_survives_at_every_step() {
    let mut stops = 0;
    for left in 0..STEPS_MAX {
        let written = Written::of(60);
        let mut trail = open(written.path(), None).expect("opens");
        trail.steps.left = Some(left);
        let retention = Retention {
            keep_segments: 2,
            keep_from_seq: u64::MAX,
            principal: "owner",
            request_id: "",
            at_unix_ms: 1,
        };
        let stopped = trail.prune(&retention).is_err();
        drop(trail);
        assert_eq!(signed(written.path()), None, "after step {left}");
        stops += usize::from(stopped);
        let mut trail = open(written.path(), None).expect("opens");
        trail.prune(&retention).expect("removes the rest");
        drop(trail);
        let left = objects(written.path());
        check_goes_on(written.path(), &left);
        if !stopped {
            assert!(stops >= 3, "{stops}");
            return;
        }
    }
    panic!("never finished");
}

#[test]
fn taking_over_a_single_file_survives_at_every_step() {
    for count in [0, 1, 30] {
        let mut finished = false;
        for left in 0..STEPS_MAX {
            let directory = TempDir::new().expect("temporary directory");
            let path = directory.path().join(layout::SINGLE_FILE);
            let mut log = AuditLog::open(&path).expect("opens");
            let entries: Vec<Entry> = (1..=count).map(entry).collect();
            log.append_batch(&entries).expect("appends");
            assert!(matches!(open(directory.path(), None), Err(AuditError::InUse { .. })));
            let head = log.head();
            drop(log);
            finished = open(directory.path(), Some(left)).is_ok();
            check_goes_on(directory.path(), &expected(count));
            assert_eq!(checked(directory.path(), Some(head)), None);
            assert!(!path.exists());
            if finished {
                break;
            }
        }
        assert!(finished);
    }
}

#[test]
fn a_single_file_beside_segments_is_refused() {
    let written = Written::of(3);
    let single = written.path().join(layout::SINGLE_FILE);
    fs::write(&single, b"").expect("writes");
    assert!(matches!(open(written.path(), None), Err(AuditError::Layout { .. })));
    fs::remove_file(single).expect("removes");
    let trail = open(written.path(), None).expect("opens");
    assert!(matches!(open(written.path(), None), Err(AuditError::InUse { .. })));
    drop(trail);
}

#[test]
fn a_torn_end_is_cut_off() {
    let written = Written::of(10);
    let newest = layout::segments(written.path()).expect("lists").pop().expect("a segment");
    let whole = fs::read(&newest.path).expect("reads");
    let header = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for length in header..whole.len() {
        fs::write(&newest.path, &whole[..length]).expect("writes");
        let torn = whole[length - 1] != b'\n';
        assert_eq!(signed(written.path()).map(|found| found.0), torn.then_some("cut"));
        let trail = open(written.path(), None).expect("opens");
        assert_eq!(trail.torn_bytes() > 0, torn);
        drop(trail);
        assert_eq!(signed(written.path()), None);
    }
}

#[test]
fn a_disk_that_fails_poisons_the_trail() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        return;
    }
    let written = Written::of(2);
    let mut trail = open(written.path(), None).expect("opens");
    let head = trail.head();
    trail.writer.replace_file(fs::OpenOptions::new().write(true).open(full).expect("opens"));
    assert!(matches!(trail.append_batch(&[entry(3)]), Err(AuditError::Io { step: "write", .. })));
    assert!(matches!(trail.append_batch(&[entry(3)]), Err(AuditError::Poisoned)));
    assert!(matches!(trail.checkpoint(1), Err(AuditError::Poisoned)));
    assert_eq!(trail.head(), head);
    drop(trail);
    check_goes_on(written.path(), &expected(2));
}

/// The writer of [`a_killed_process_loses_nothing_that_it_acknowledged`], in a process of its own.
const WRITER: &str = "SOLO_AUDIT_TEST_WRITER";

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    if let Some(directory) = std::env::var_os(WRITER) {
        write_until_killed(Path::new(&directory));
    }
    let directory = TempDir::new().expect("temporary directory");
    let mut written = 0;
    for lines in [1, 2, 3, 5, 8, 13, 21, 34] {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture"])
            .arg("tests::crash::a_killed_process_loses_nothing_that_it_acknowledged")
            .env(WRITER, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let numbers = output.lines().map_while(Result::ok);
        let numbers = numbers.filter_map(|line| line.strip_prefix("wrote ")?.parse::<u64>().ok());
        let acknowledged = numbers.take(lines).last().expect("at least one");
        child.kill().expect("kills");
        child.wait().expect("ends");
        let there = objects(directory.path());
        assert!(there.len() as u64 >= acknowledged, "{} < {acknowledged}", there.len());
        assert!(acknowledged >= written);
        drop(open(directory.path(), None).expect("opens again"));
        assert_eq!(signed(directory.path()), None);
        let there = objects(directory.path());
        written = there.len() as u64;
        assert_eq!(there, expected(written), "in order, none twice");
    }
}

#[expect(clippy::exit, reason = "the process is this test's own")]
fn write_until_killed(directory: &Path) -> ! {
    use std::io::Write as _;

    let mut trail = open(directory, None).expect("opens");
    let written = objects(directory).len() as u64;
    let mut out = std::io::stdout();
    // A bound, should nobody kill it.
    for number in written + 1..written + 5_000 {
        trail.append_batch(&[entry(number)]).expect("appends");
        // Who reads may have gone.
        let _told = writeln!(out, "wrote {number}").and_then(|()| out.flush());
    }
    std::process::exit(1)
}
