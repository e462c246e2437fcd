//! SPEC section 5 on programs: each limit, exceeded by a program, with what each action does.

use solo_api::{Client, v1};

use crate::harness::{Requests, Solo, eventually};
use crate::programs::{log, logged, program};

const NONE: v1::ProgramInterface = v1::ProgramInterface::None;

/// Starts `code` and waits until its instance is told to have exceeded `limit` by `action`.
async fn exceeding(
    client: &Client,
    (name, code): (&str, &str),
    limits: v1::Limits,
    (limit, action): (&str, v1::LimitAction),
) -> v1::InstanceStatus {
    let mut request = program(name, code, NONE);
    request.limits = Some(limits);
    client.deploy(request).await.expect(name);
    eventually("the limit is exceeded", || async {
        let instance = client.status(name).await.ok()?.instances.into_iter().next()?;
        let told = |one: &v1::LimitViolation| one.limit == limit && one.action() == action;
        instance.violations.iter().any(told).then_some(instance)
    })
    .await
}

/// With `throttle` what is beyond is refused or slowed down, with `warn` it is told of; the program goes on.
#[tokio::test]
async fn what_is_not_killed_goes_on() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let processes = |action: v1::LimitAction| v1::Limits {
        max_processes: Some(5),
        limit_exceeded_action: action.into(),
        ..v1::Limits::default()
    };
    let forks =
        "#!/bin/sh\nsleep 0.2\nfor i in 1 2 3 4 5 6 7 8; do sleep 1001 & done\necho all\nwait\n";
    let shell = "#!/usr/bin/python3\nimport os, time\ncount = 0\nfor i in range(20):\n  try:\n    if os.fork() == 0: time.sleep(1001)\n    count += 1\n  except OSError: pass\nprint('made', count, flush=True)\ntime.sleep(1001)\n";
    let throttle = (v1::LimitAction::Throttle, "max_processes");
    exceeding(&client, ("refused", shell), processes(throttle.0), (throttle.1, throttle.0)).await;
    logged(&solo, "refused", "made").await;
    // The group has room for a second thread of the init, for a moment at each start.
    let made =
        log(&solo, "refused").iter().any(|line| ["made 4", "made 5"].contains(&line.as_str()));
    assert!(made, "{:?}", log(&solo, "refused"));
    let warn = v1::LimitAction::Warn;
    exceeding(&client, ("told", forks), processes(warn), ("max_processes", warn)).await;
    logged(&solo, "told", "all").await;
    let limits = v1::Limits {
        max_memory_bytes: Some(16 << 20),
        limit_exceeded_action: warn.into(),
        ..v1::Limits::default()
    };
    let eats = "#!/usr/bin/python3\nimport time\nx = b'x' * (40 << 20)\nprint('has it', flush=True)\ntime.sleep(1001)\n";
    exceeding(&client, ("eats", eats), limits, ("max_memory_bytes", warn)).await;
    for name in ["refused", "told", "eats"] {
        let status = client.status(name).await.expect("status");
        assert_eq!((status.state(), status.restarts), (v1::ServiceState::Running, 0), "{name}");
    }
    solo.down().await;
}

/// A program that burns processors is held to its quota, whatever it starts.
#[tokio::test]
async fn a_burner_of_processors_is_slowed_down() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let limits = v1::Limits { cpu_quota_percent: Some(10), ..v1::Limits::default() };
    let burns = "#!/bin/sh\nsleep 0.2\nwhile :; do :; done &\nwhile :; do :; done\n";
    let throttle = v1::LimitAction::Throttle;
    let instance =
        exceeding(&client, ("burner", burns), limits, ("cpu_quota_percent", throttle)).await;
    assert!(instance.throttled_us > 0, "{instance:?}");
    let status = client.status("burner").await.expect("status");
    assert_eq!(status.state(), v1::ServiceState::Running);
    solo.down().await;
}

/// Descriptors are bounded for each process; who leaks them is refused more, and nobody else notices.
#[tokio::test]
async fn a_leak_of_descriptors_is_the_programs_own() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let leaks = "#!/usr/bin/python3\nimport os, time\ncount = 0\ntry:\n  while True:\n    os.open('/dev/null', os.O_RDONLY)\n    count += 1\nexcept OSError as error:\n  print(error.strerror, flush=True)\ntime.sleep(1001)\n";
    client.deploy(program("leak", leaks, NONE)).await.expect("deployed");
    logged(&solo, "leak", "Too many open files").await;
    client.deploy(program("other", "#!/bin/sh\necho fine\n", NONE)).await.expect("deployed");
    logged(&solo, "other", "fine").await;
    solo.down().await;
}

/// Processes that nobody waits for count as the program's own, until it does; those without a parent are waited
/// for by the init.
#[tokio::test]
async fn zombies_are_counted_and_orphans_are_buried() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let limits = v1::Limits { max_processes: Some(20), ..v1::Limits::default() };
    let kill = v1::LimitAction::Kill;
    let zombies = "#!/usr/bin/python3\nimport os, time\ntime.sleep(0.2)\nwhile True:\n  if os.fork() == 0: os._exit(0)\n";
    exceeding(&client, ("zombies", zombies), limits, ("max_processes", kill)).await;
    let orphans = "#!/usr/bin/python3\nimport os, time\nfor i in range(300):\n  child = os.fork()\n  if child == 0:\n    if os.fork() == 0: os._exit(0)\n    os._exit(0)\n  os.waitpid(child, 0)\n  time.sleep(0.001)\nprint('all are gone', flush=True)\ntime.sleep(1001)\n";
    let mut request = program("orphans", orphans, NONE);
    request.limits = Some(limits);
    client.deploy(request).await.expect("deployed");
    logged(&solo, "orphans", "all are gone").await;
    solo.down().await;
}

/// What a program wrote is read to the end, however soon it is gone, and whether or not it got ready. Fewer lines
/// than a log keeps: which of two pipes is read first is nobody's promise.
#[tokio::test]
async fn the_last_words_of_a_program_are_read() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    for number in 0..5 {
        let name = format!("brief-{number}");
        let code = "#!/bin/sh\nseq 1 700\necho last words >&2\nexit 7\n";
        let mut request = program(&name, code, NONE);
        request.restart = Some(v1::RestartPolicy {
            mode: v1::RestartMode::Temporary.into(),
            ..v1::RestartPolicy::default()
        });
        if number % 2 == 1 {
            let when = Some(v1::program_readiness::When::Notify(true));
            let ready = Some(v1::ProgramReadiness { when });
            request.program = request.program.map(|program| v1::Program { ready, ..program });
        }
        // Whether it is told of depends on which is seen first.
        let _ = client.deploy(request).await;
        logged(&solo, &name, "last words").await;
        assert!(log(&solo, &name).contains(&"700".to_owned()), "{name}");
    }
    solo.down().await;
}

/// A flood of log lines is cut, told of, and leaves the log to the others.
#[tokio::test]
async fn a_flood_of_lines_is_cut() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let flood = "#!/bin/sh\nyes 'a line that nobody needs'\n";
    client.deploy(program("flood", flood, NONE)).await.expect("deployed");
    let binary = "#!/bin/sh\nhead -c 10000000 /dev/urandom\nhead -c 3000000 /dev/zero\necho\necho done >&2\n";
    client.deploy(program("binary", binary, NONE)).await.expect("deployed");
    logged(&solo, "flood", "dropped").await;
    client.deploy(program("other", "#!/bin/sh\necho fine\n", NONE)).await.expect("deployed");
    logged(&solo, "other", "fine").await;
    logged(&solo, "binary", "done").await;
    assert!(log(&solo, "binary").iter().all(|line| line.len() < 100_000), "lines are bounded");
    solo.down().await;
}

/// SPEC section 5: a program that takes more than it may is ended or refused, told of, and leaves the others
/// alone.
#[tokio::test]
async fn programs_are_held_to_their_limits() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let once = v1::RestartPolicy {
        mode: v1::RestartMode::Temporary.into(),
        ..v1::RestartPolicy::default()
    };
    let bombs = [
        (
            "memory",
            "#!/bin/sh\nsleep 0.2\ntail -n 1 /dev/zero\n",
            "max_memory_bytes",
            v1::Limits { max_memory_bytes: Some(32 << 20), ..v1::Limits::default() },
        ),
        (
            "files",
            "#!/bin/sh\nsleep 0.2\ncat /dev/zero > /dev/shm/a\n",
            "max_memory_bytes",
            v1::Limits { max_memory_bytes: Some(16 << 20), ..v1::Limits::default() },
        ),
        (
            "forks",
            "#!/bin/sh\nsleep 0.2\nbomb() { bomb | bomb & }\nbomb\nsleep 1000\n",
            "max_processes",
            v1::Limits { max_processes: Some(20), ..v1::Limits::default() },
        ),
    ];
    for (name, code, limit, limits) in bombs {
        let mut request = program(name, code, NONE);
        request.limits = Some(limits);
        request.restart = Some(once);
        client.deploy(request).await.expect(name);
        let status = eventually("it is ended", || async {
            let status = client.status(name).await.ok()?;
            (status.state() == v1::ServiceState::Failed).then_some(status)
        })
        .await;
        let instance = &status.instances[0];
        let exit = instance.last_exit.clone().expect("an exit");
        assert_eq!(exit.reason, "limit", "{name}: {exit:?}");
        assert!(exit.message.contains(limit), "{name}: {exit:?}");
        assert!(instance.violations.iter().any(|one| one.limit == limit), "{name}: {instance:?}");
    }
    solo.down().await;
}
