//! Runs trees of tasks that really panic, on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use solo_types::{InstanceState, RestartMode, RestartPolicy};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::Strategy;

/// What children did, in order: `+name` for a start, `-name` for a graceful end.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().expect("no panic while writing").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic while writing"))
    }
}

/// Children that write a diary and panic on demand.
struct Stage {
    diary: Diary,
    panic: watch::Sender<String>,
}

impl Stage {
    fn new() -> Self {
        Self { diary: Diary::default(), panic: watch::channel(String::new()).0 }
    }

    fn child(&self, name: &str) -> ChildSpec {
        let (diary, panic) = (self.diary.clone(), self.panic.clone());
        ChildSpec::worker(name, RestartMode::Permanent, 1_000, move |context| {
            let (diary, mut panic) = (diary.clone(), panic.subscribe());
            async move {
                let name = context.name().to_owned();
                diary.write(format!("+{name}"));
                tokio::select! {
                    () = context.stop_requested() => diary.write(format!("-{name}")),
                    _ = async {
                        // Only a wish from after the start counts.
                        loop {
                            panic.changed().await?;
                            if *panic.borrow() == name {
                                return Ok::<(), watch::error::RecvError>(());
                            }
                        }
                    } => panic!("{name} was asked to"),
                }
                Ok(())
            }
        })
    }

    async fn panic(&self, name: &str) {
        self.panic.send_replace(name.to_owned());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn spec(strategy: Strategy, children: Vec<ChildSpec>) -> SupervisorSpec {
    SupervisorSpec { name: "root".to_owned(), strategy, policy: RestartPolicy::default(), children }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_later_actors() {
    let stage = Stage::new();
    let children = vec![stage.child("a"), stage.child("b"), stage.child("c")];
    let tree = start(spec(Strategy::RestForOne, children)).expect("starts");
    settle().await;
    assert_eq!(stage.diary.take(), ["+a", "+b", "+c"]);
    stage.panic("b").await;
    assert_eq!(stage.diary.take(), ["-c", "+b", "+c"]);
    let node = tree.snapshot();
    let seen: Vec<_> = node.children.iter().map(|c| (c.name.as_str(), c.restarts)).collect();
    assert_eq!(seen, [("a", 0), ("b", 1), ("c", 1)]);
    assert_eq!(node.children[1].last_error.as_deref(), Some("panicked: b was asked to"));
    assert_eq!(tree.shutdown(Duration::from_secs(5)).await, SupervisorEnd::Stopped);
    assert_eq!(stage.diary.take(), ["-c", "-b", "-a"]);
    assert_eq!(tree.snapshot().state, InstanceState::Completed);
}

#[tokio::test(start_paused = true)]
async fn one_for_one_leaves_the_siblings_alone_and_waits_longer_each_time() {
    let stage = Stage::new();
    let children = vec![stage.child("a"), stage.child("b")];
    let tree = start(spec(Strategy::OneForOne, children)).expect("starts");
    settle().await;
    stage.diary.take();
    stage.panic("a").await;
    assert_eq!(stage.diary.take(), ["+a"]);
    stage.panic("a").await;
    assert_eq!(tree.snapshot().children[0].state, InstanceState::Restarting);
    assert_eq!(stage.diary.take(), [""; 0]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(stage.diary.take(), ["+a"]);
    assert_eq!(tree.snapshot().children[1].restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn children_come_and_go_while_the_tree_runs() {
    let stage = Stage::new();
    let below = SupervisorSpec { name: "below".to_owned(), ..spec(Strategy::OneForOne, vec![]) };
    let children = vec![stage.child("a"), ChildSpec::supervisor(below, 5_000)];
    let tree = start(spec(Strategy::OneForOne, children)).expect("starts");
    settle().await;
    tree.add_child("below", stage.child("x")).await.expect("adds below");
    tree.add_child("", stage.child("b")).await.expect("adds at the root");
    settle().await;
    assert_eq!(stage.diary.take(), ["+a", "+x", "+b"]);
    let taken = tree.add_child("below", stage.child("x")).await;
    assert_eq!(taken, Err(TreeError::NameTaken { name: "x".to_owned() }));
    let node = tree.snapshot();
    assert_eq!(node.children[1].strategy, Some(Strategy::OneForOne));
    assert_eq!(node.children[1].children[0].name, "x");

    tree.remove_child("below", "x").await.expect("removes");
    assert_eq!(stage.diary.take(), ["-x"]);
    assert!(tree.snapshot().children[1].children.is_empty());
    let gone = tree.remove_child("below", "x").await;
    assert_eq!(gone, Err(TreeError::UnknownChild { name: "x".to_owned() }));
    let nowhere = tree.remove_child("a", "x").await;
    assert_eq!(nowhere, Err(TreeError::UnknownSupervisor { path: "a".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_can_be_removed() {
    let stage = Stage::new();
    let tree = start(spec(Strategy::OneForOne, vec![stage.child("a")])).expect("starts");
    settle().await;
    stage.panic("a").await;
    stage.panic("a").await;
    stage.diary.take();
    tree.remove_child("", "a").await.expect("removes");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stage.diary.take(), [""; 0]);
    assert!(tree.snapshot().children.is_empty());
}

#[tokio::test(start_paused = true)]
async fn giving_up_climbs_the_tree() {
    let crashing = ChildSpec::worker("crashing", RestartMode::Permanent, 0, |_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err("as always".to_owned())
    });
    let stage = Stage::new();
    let below = SupervisorSpec {
        name: "below".to_owned(),
        ..spec(Strategy::OneForOne, vec![stage.child("a"), crashing])
    };
    let policy = RestartPolicy { max_restarts: 1, window_ms: 60_000, ..RestartPolicy::default() };
    let children = vec![stage.child("first"), ChildSpec::supervisor(below, 5_000)];
    let tree = start(SupervisorSpec { policy, ..spec(Strategy::OneForOne, children) });
    let tree = tree.expect("starts");
    let end = tokio::time::timeout(Duration::from_secs(60), tree.wait()).await;
    assert_eq!(end, Ok(SupervisorEnd::GaveUp));
    // The lower supervisor was started twice; each time it stopped its sibling when it gave up.
    assert_eq!(stage.diary.take(), ["+first", "+a", "-a", "+a", "-a", "-first"]);
    assert_eq!(tree.snapshot().state, InstanceState::Failed);
    assert_eq!(tree.add_child("", stage.child("late")).await, Err(TreeError::Ending));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_is_aborted_in_its_time() {
    let stubborn = ChildSpec::worker("stubborn", RestartMode::Permanent, 300, |_| async {
        std::future::pending::<()>().await;
        Ok(())
    });
    let stage = Stage::new();
    let tree = start(spec(Strategy::OneForOne, vec![stage.child("a"), stubborn])).expect("starts");
    settle().await;
    let before = Instant::now();
    assert_eq!(tree.shutdown(Duration::from_secs(5)).await, SupervisorEnd::Stopped);
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_millis(400), "{took:?}");
    assert_eq!(stage.diary.take(), ["+a", "-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_out_of_time_aborts_everything() {
    struct Flag(Arc<Mutex<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            *self.0.lock().expect("no panic while writing") = true;
        }
    }
    let dropped = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&dropped);
    let stubborn = ChildSpec::worker("stubborn", RestartMode::Permanent, u64::MAX, move |_| {
        let flag = Flag(Arc::clone(&shared));
        async move {
            let _flag = flag;
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    let below =
        SupervisorSpec { name: "below".to_owned(), ..spec(Strategy::OneForOne, vec![stubborn]) };
    let children = vec![ChildSpec::supervisor(below, u64::MAX)];
    let tree = start(spec(Strategy::OneForOne, children)).expect("starts");
    settle().await;
    assert_eq!(tree.shutdown(Duration::from_millis(50)).await, SupervisorEnd::Aborted);
    settle().await;
    assert!(*dropped.lock().expect("no panic while writing"), "the worker two levels below ended");
}

#[tokio::test(start_paused = true)]
async fn the_tree_stops_with_its_last_handle() {
    let stage = Stage::new();
    let tree = start(spec(Strategy::OneForOne, vec![stage.child("a")])).expect("starts");
    settle().await;
    let other = tree.clone();
    drop(tree);
    settle().await;
    assert_eq!(other.snapshot().state, InstanceState::Running);
    drop(other);
    settle().await;
    assert_eq!(stage.diary.take(), ["+a", "-a"]);
}

#[tokio::test(start_paused = true)]
async fn modes_hold_in_the_shell_too() {
    let end = |name: &str, mode, result: Result<(), &'static str>| {
        ChildSpec::worker(name, mode, 0, move |_| async move { result.map_err(str::to_owned) })
    };
    let children = vec![
        end("transient", RestartMode::Transient, Ok(())),
        end("temporary", RestartMode::Temporary, Err("once")),
    ];
    let tree = start(spec(Strategy::OneForOne, children)).expect("starts");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let node = tree.snapshot();
    assert_eq!(node.state, InstanceState::Running);
    assert_eq!(node.children[0].state, InstanceState::Completed);
    assert_eq!(node.children[1].state, InstanceState::Failed);
    assert_eq!(node.children[1].last_error.as_deref(), Some("once"));
}

#[tokio::test(start_paused = true)]
async fn a_large_group_starts_and_stops_without_recursion() {
    let idle = |index: usize| {
        let name = format!("worker-{index}");
        ChildSpec::worker(&name, RestartMode::Permanent, 1_000, |context| async move {
            context.stop_requested().await;
            Ok(())
        })
    };
    let tree = start(spec(Strategy::RestForOne, (0..2_000).map(idle).collect())).expect("starts");
    settle().await;
    let running =
        tree.snapshot().children.iter().filter(|c| c.state == InstanceState::Running).count();
    assert_eq!(running, 2_000);
    assert_eq!(tree.shutdown(Duration::from_secs(60)).await, SupervisorEnd::Stopped);
}

#[tokio::test]
async fn wrong_specifications_are_refused() {
    let stage = Stage::new();
    let twice = vec![stage.child("a"), stage.child("a")];
    let refused = start(spec(Strategy::OneForOne, twice)).map(|_| ());
    assert_eq!(refused, Err(TreeError::NameTaken { name: "a".to_owned() }));
    for name in ["", "a/b"] {
        let refused = start(spec(Strategy::OneForOne, vec![stage.child(name)])).map(|_| ());
        assert_eq!(refused, Err(TreeError::IllegalName { name: name.to_owned() }));
    }
    let mut deep = spec(Strategy::OneForOne, vec![]);
    for _ in 0..20 {
        deep = spec(Strategy::OneForOne, vec![ChildSpec::supervisor(deep, 0)]);
    }
    assert!(matches!(start(deep).map(|_| ()), Err(TreeError::TooDeep { .. })));
}
