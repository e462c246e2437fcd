//! Those who watch others, and parents with their children.

use crate::soak::household::Household;
use crate::soak::services::{PROCESSES_MAX, Role};
use crate::soak::shared::Outcome;

/// Watches that are open at one time.
const WATCHES_MAX: usize = 12;

/// How groups are supervised.
const STRATEGIES: [&str; 3] = ["one-for-one", "one-for-all", "rest-for-one"];

impl Household {
    /// The watcher watches the worker once more.
    pub(super) async fn watch(&mut self) -> Outcome {
        if self.known.watches.len() >= WATCHES_MAX {
            return self.unwatch().await;
        }
        let payload = format!("watch {}", self.name(Role::Worker));
        let number = self.number(Role::Watcher, &payload).await?;
        self.link.count("watches of services", 1);
        self.known.watches.push(number);
        Ok(())
    }

    /// It ends a watch, of which it hears nothing then.
    pub(super) async fn unwatch(&mut self) -> Outcome {
        if let Some(number) = self.random.pick(&self.known.watches) {
            self.expect(Role::Watcher, &format!("unwatch {number}"), "true").await?;
            self.known.watches.retain(|watch| *watch != number);
            self.expect(Role::Watcher, &format!("unwatch {number}"), "false").await?;
        }
        self.downs().await
    }

    /// The watcher hears once per watch of the worker's end.
    pub(super) async fn watched_crash(&mut self) -> Outcome {
        for _ in 0..self.random.between(1, 3) {
            self.watch().await?;
        }
        self.crash(Role::Worker, "crash", "unreachable").await?;
        self.downs().await
    }

    /// Watches end with the watcher.
    pub(super) async fn watcher_crash(&mut self) -> Outcome {
        self.watch().await?;
        self.crash(Role::Watcher, "crash", "unreachable").await?;
        self.downs().await?;
        self.crash(Role::Worker, "crash", "unreachable").await?;
        self.downs().await
    }

    /// Waits until the watcher has heard what it should, and of nothing else.
    async fn downs(&self) -> Outcome {
        let (open, downs) = (self.known.watches.len(), self.known.downs);
        let wanted = format!(r#"{{"open":{open},"downs":{downs},"strays":0}}"#);
        let watcher = self.name(Role::Watcher);
        self.link
            .until(&watcher, &format!("downs, {wanted}"), async || {
                Ok((self.text(Role::Watcher, "stats").await? == wanted).then_some(()))
            })
            .await
    }

    /// Children are started, crash, are started again, and go with their group.
    pub(super) async fn family(&mut self) -> Outcome {
        let strategy = self.random.pick(&STRATEGIES).unwrap_or(STRATEGIES[0]);
        let group = self.open(strategy, 100).await?;
        let children: Vec<String> =
            (1..=self.random.between(1, 4)).map(|n| format!("c{n}")).collect();
        for child in &children {
            self.spawn(group, child, "permanent").await?;
            self.expect(Role::Parent, &format!("call {group} {child} echo x"), "x").await?;
        }
        let choices: Vec<&String> = children.iter().collect();
        let Some(victim) = self.random.pick(&choices) else { return Ok(()) };
        let is_watched = self.random.chance(50);
        if is_watched {
            self.number(Role::Parent, &format!("monitor {group} {victim}")).await?;
        }
        if self.random.chance(70) {
            self.child_crash(group, victim).await?;
            for child in &children {
                self.child_answers(group, child, "echo x", "x").await?;
            }
        }
        if self.random.chance(30) {
            self.expect(Role::Parent, &format!("stop {group} {victim}"), "stopped").await?;
        } else if self.random.chance(30) {
            let payload = format!("send {group} {victim} spin 600000");
            self.expect(Role::Parent, &payload, "sent").await?;
        }
        self.drop_group(group).await
    }

    /// A child that crashes too often ends its group, and that its parent.
    pub(super) async fn family_fails(&mut self) -> Outcome {
        let group = self.open("one-for-one", 0).await?;
        self.spawn(group, "only", "permanent").await?;
        self.spawn(group, "other", "temporary").await?;
        let payload = format!("call {group} only crash");
        match self.link.call(&self.name(Role::Parent), &payload).await? {
            Err(refusal)
                if refusal.reason == "REFUSED" && refusal.cause.starts_with("crashed: ") => {}
            // The end of the group may come before the answer.
            Err(refusal) if refusal.reason == "CRASHED" => {}
            other => return Err(self.broken(Role::Parent, format!("{payload:?}: {other:?}"))),
        }
        self.link.count("groups that failed", 1);
        self.restarted(Role::Parent);
        self.settled(Role::Parent).await?;
        self.expect(Role::Parent, "downs", "").await?;
        let group = self.open("one-for-one", 1).await?;
        self.drop_group(group).await
    }

    /// Children end with their parent's incarnation.
    pub(super) async fn parent_crash(&mut self) -> Outcome {
        self.some_children().await?;
        self.crash(Role::Parent, "crash", "unreachable").await?;
        let group = self.open("rest-for-one", 1).await?;
        self.drop_group(group).await
    }

    /// Children end with their parent, gracefully and at once.
    pub(super) async fn parent_killed(&mut self) -> Outcome {
        self.some_children().await?;
        let force = self.random.chance(50);
        self.kill(Role::Parent, force).await?;
        self.deploy(Role::Parent).await
    }

    /// Children have children.
    pub(super) async fn grandchildren(&mut self) -> Outcome {
        let group = self.open("one-for-one", 100).await?;
        let (parent, worker) = (self.name(Role::Parent), self.name(Role::Worker));
        let init = format!(
            "init=open one-for-all 5 1000 never\nspawn 1 leaf {worker} permanent false 100"
        );
        let payload = format!("spawn {group} middle {parent} permanent false 500 {init}");
        self.expect(Role::Parent, &payload, "spawned").await?;
        self.link.count("children", 2);
        self.child_answers(group, "middle", "call 1 leaf echo deep", "deep").await?;
        if self.random.chance(50) {
            self.child_crash(group, "middle").await?;
            self.child_answers(group, "middle", "call 1 leaf echo deeper", "deeper").await?;
        }
        if self.random.chance(30) {
            self.crash(Role::Parent, "crash", "unreachable").await
        } else {
            self.drop_group(group).await
        }
    }

    /// One child more than there may be is refused.
    pub(super) async fn too_many_children(&mut self) -> Outcome {
        let group = self.open("one-for-one", 1).await?;
        let (parent, worker) = (self.name(Role::Parent), self.name(Role::Worker));
        for number in 1..=PROCESSES_MAX {
            self.spawn(group, &format!("c{number}"), "temporary").await?;
        }
        let payload = format!("spawn {group} more {worker} temporary false 100");
        let answer = self.link.call(&parent, &payload).await?;
        self.refused(Role::Parent, answer, "REFUSED", "limit: ")?;
        self.drop_group(group).await
    }

    async fn some_children(&mut self) -> Outcome {
        for _ in 0..self.random.between(1, 2) {
            let group = self.open("one-for-all", 5).await?;
            for child in ["one", "two"] {
                self.spawn(group, child, "transient").await?;
            }
            if self.random.chance(30) {
                let payload = format!("send {group} one spin 600000");
                self.expect(Role::Parent, &payload, "sent").await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, strategy: &str, max_restarts: u32) -> Outcome<u64> {
        self.known.groups += 1;
        let group = self.known.groups;
        let payload = format!("open {strategy} {max_restarts} 10000 never");
        self.expect(Role::Parent, &payload, &group.to_string()).await?;
        self.link.count("groups", 1);
        Ok(group)
    }

    async fn spawn(&self, group: u64, child: &str, restart: &str) -> Outcome {
        let worker = self.name(Role::Worker);
        let payload = format!("spawn {group} {child} {worker} {restart} false 200");
        let parent = self.name(Role::Parent);
        // Children of the plays before may still be ending.
        self.link
            .until(&parent, "room for a child", async || {
                match self.link.call(&parent, &payload).await? {
                    Ok(answer) if answer == "spawned" => Ok(Some(())),
                    Err(refusal) if refusal.cause.starts_with("limit: ") => Ok(None),
                    other => Err(self.broken(Role::Parent, format!("{payload:?}: {other:?}"))),
                }
            })
            .await?;
        self.link.count("children", 1);
        Ok(())
    }

    async fn child_crash(&self, group: u64, child: &str) -> Outcome {
        let payload = format!("call {group} {child} crash");
        let answer = self.link.call(&self.name(Role::Parent), &payload).await?;
        self.link.count("crashes of children", 1);
        self.refused(Role::Parent, answer, "REFUSED", "crashed: ")
    }

    /// Waits until a child that may be on its way back answers so.
    async fn child_answers(
        &self,
        group: u64,
        child: &str,
        payload: &str,
        expected: &str,
    ) -> Outcome {
        let (parent, payload) =
            (self.name(Role::Parent), format!("call {group} {child} {payload}"));
        self.link
            .until(&parent, "a child's answer", async || {
                match self.link.call(&parent, &payload).await? {
                    Ok(answer) if answer == expected => Ok(Some(())),
                    Err(refusal) if is_away(&refusal.cause) => Ok(None),
                    other => Err(self.broken(Role::Parent, format!("{payload:?}: {other:?}"))),
                }
            })
            .await
    }

    async fn drop_group(&self, group: u64) -> Outcome {
        self.expect(Role::Parent, &format!("drop {group}"), "dropped").await
    }
}

/// Whether a child is being ended or started, or was at the moment of the call.
fn is_away(cause: &str) -> bool {
    ["unavailable: ", "crashed: "].iter().any(|start| cause.starts_with(start))
}
