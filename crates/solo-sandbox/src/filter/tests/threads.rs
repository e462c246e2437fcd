//! Whom a filter holds for: one thread, or all.

use std::sync::mpsc::sync_channel;
use std::thread;

use nix::libc;

use super::{answers, call};
use crate::{FilterError, Policy};

/// How threads are filtered: 0 not at all, 2 by a program.
fn mode(status: &std::path::Path) -> i32 {
    let status = std::fs::read_to_string(status).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    line.and_then(|mode| mode.trim().parse().ok()).expect("a mode")
}

#[test]
fn a_filter_holds_for_one_thread_and_what_it_starts() {
    let own = || mode("/proc/thread-self/status".as_ref());
    let before = own();
    let filtered = thread::spawn(move || {
        assert_eq!(call(libc::SYS_unshare, [0; 5]), 0);
        Policy::Program.filter().expect("compiled").install().expect("in force");
        let started = thread::spawn(move || (own(), call(libc::SYS_unshare, [0; 5])));
        (own(), call(libc::SYS_unshare, [0; 5]), started.join().expect("it ends"))
    });
    let filtered = filtered.join().expect("it ends");
    assert_eq!(filtered, (2, libc::EPERM, (2, libc::EPERM)));
    assert_eq!((own(), call(libc::SYS_unshare, [0; 5])), (before, 0));
}

#[test]
fn a_filter_everywhere_holds_for_threads_that_were_there() {
    let test = "threads::a_filter_everywhere_holds_for_threads_that_were_there";
    let answers = answers(test, Policy::Cell, |answers| {
        // This thread and the first one, which waits for it.
        for task in std::fs::read_dir("/proc/self/task").expect("threads") {
            let task = task.expect("a thread").path();
            answers.insert(answers.len().to_string(), mode(&task.join("status")));
        }
    });
    let Some((bare, filtered)) = answers else { return };
    assert!(filtered.len() >= 2 && filtered.values().all(|mode| *mode == 2), "{filtered:?}");
    assert_ne!(bare, filtered);
}

#[test]
fn a_filter_is_everywhere_or_nowhere() {
    let test = "threads::a_filter_is_everywhere_or_nowhere";
    let answers = answers(test, Policy::Program, |answers| {
        let cell = Policy::Cell.filter().expect("compiled");
        let (ready, is_ready) = sync_channel(1);
        let (end, is_end) = sync_channel::<()>(1);
        let thread = thread::spawn(move || {
            cell.install().expect("in force");
            ready.send(()).expect("somebody waits");
            let _ = is_end.recv();
        });
        is_ready.recv().expect("it is ready");
        let refused = cell.install_everywhere();
        assert!(matches!(refused, Err(FilterError::Install(_))), "{refused:?}");
        drop(end);
        thread.join().expect("it ends");
        // A cell cannot make sockets of the internet; this thread still can.
        answers.insert("TCP".to_owned(), call(libc::SYS_socket, [2, 1, 0, 0, 0]));
    });
    let Some((bare, filtered)) = answers else { return };
    assert_eq!((bare["TCP"], filtered["TCP"]), (0, 0));
}
