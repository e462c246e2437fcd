//! Programs under `kill -9` of anything at any moment: of what is over, nothing is left.
//!
//! `SOLO_TEST_SEED` repeats the choices of a run; the seed is printed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use solo_api::v1::ProgramInterface::None as NONE;

use crate::harness::{Requests, Solo, eventually};
use crate::isolation::groups;
use crate::model::{Random, seed};
use crate::programs::program;

/// Deaths of one run.
const ROUNDS: usize = 16;

/// Nothing has changed for so long: the pool is full, and nobody ends any more.
const QUIET: Duration = Duration::from_millis(300);

/// Whoever looks for sandboxes without a service has done so twice, and starts afresh in between.
const LOOKS: Duration = Duration::from_secs(30);

/// What there is of a Solo on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    processes: usize,
    mounts: usize,
    groups: usize,
    /// Sockets, pid files and directories of cells.
    files: usize,
}

impl Census {
    fn take(solo: &Solo) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("readable");
        let home = solo.home().display().to_string();
        Self {
            processes: solo.descendants().len(),
            mounts: mounts.lines().filter(|line| line.contains(&home)).count(),
            groups: groups(solo.home()).len(),
            files: files(&solo.home().join("run")).len(),
        }
    }

    async fn quiet(solo: &Solo) -> Self {
        eventually("it is quiet", || async {
            let first = Self::take(solo);
            tokio::time::sleep(QUIET).await;
            (Self::take(solo) == first).then_some(first)
        })
        .await
    }
}

fn files(below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| [vec![path.clone()], files(&path)].concat()).collect()
}

/// Which process dies: an id, of whom may be gone by now.
fn victim(solo: &Solo, random: &mut Random) -> Option<i32> {
    let run = solo.home().join("run");
    let of = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    match random.below(8) {
        0 => Some(solo.heart_pid()),
        1 | 2 => of(&run.join("kernel.pid")),
        3 => of(&run.join("cells/wasm-default.pid")),
        _ => {
            let cells = std::fs::read_dir(run.join("cells")).ok()?.flatten();
            let mut inits: Vec<_> = cells
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
                .filter(|path| path.to_string_lossy().contains("/process-"))
                .collect();
            inits.sort();
            (!inits.is_empty()).then(|| inits.swap_remove(random.below(inits.len())))
        }
        .and_then(|path| of(&path)),
    }
}

/// R1, C3: whoever dies while programs are started and ended, all that is left belongs to a service.
#[tokio::test]
async fn deaths_at_any_moment_leave_nothing_of_programs() {
    let seed = seed();
    eprintln!("SOLO_TEST_SEED={seed}");
    let mut random = Random(seed.max(1));
    let mut solo = Solo::start().await;
    // Nobody else's sleeps are so long.
    let long = 10_000_000 + std::process::id();
    let code = format!("#!/bin/sh\nsleep {long} &\nsetsid sleep {long} &\nexec sleep {long}\n");
    let client = solo.answering().await;
    client.deploy(program("first", code.as_str(), NONE)).await.expect("deployed");
    client.kill("first", true).await.expect("killed");
    let before = Census::quiet(&solo).await;
    for round in 0..ROUNDS {
        let client = solo.answering().await;
        let forced: Vec<bool> = (0..3).map(|_| random.below(2) == 0).collect();
        let work = async {
            for (number, forced) in forced.into_iter().enumerate() {
                let name = format!("p-{round}-{number}");
                // Whether it is done is decided by who dies when.
                let _ = client.deploy(program(&name, code.as_str(), NONE)).await;
                if number != 1 {
                    let _ = client.kill(&name, forced).await;
                }
            }
        };
        let delay = Duration::from_millis(random.below(60) as u64);
        let heart = solo.heart_pid();
        let death = async {
            tokio::time::sleep(delay).await;
            let victim = victim(&solo, &mut random);
            if let Some(pid) = victim {
                // It may be gone already.
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            victim
        };
        let ((), victim) = tokio::join!(work, death);
        if victim == Some(heart) {
            solo.kill_heart().await;
            solo.up().await;
        }
    }
    let client = solo.answering().await;
    eventually("all services are killed", || async {
        let names = client.names().await;
        for name in &names {
            let _ = client.kill(name, true).await;
        }
        names.is_empty().then_some(())
    })
    .await;
    // What a dying kernel was about to give to nobody is found by the second look at the latest.
    let since = Instant::now();
    let mut now = Census::quiet(&solo).await;
    while now != before && since.elapsed() < LOOKS {
        now = Census::quiet(&solo).await;
    }
    assert_eq!(now, before, "{:?}", files(&solo.home().join("run")));
    let home = solo.home().to_owned();
    solo.down().await;
    assert_eq!(groups(&home), Vec::<std::path::PathBuf>::new());
    let sleeps = std::fs::read_dir("/proc").expect("/proc").flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line == format!("sleep\0{long}\0").into_bytes()
    });
    assert_eq!(sleeps.count(), 0);
}
