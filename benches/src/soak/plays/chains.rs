//! Chains of calls and sends through several services, and those that wait for themselves.

use std::time::Duration;

use super::calls::LONG_MS;
use crate::soak::household::Household;
use crate::soak::services::Role;
use crate::soak::shared::Outcome;

/// What a service of a chain knows of it.
#[derive(Debug, serde::Deserialize)]
struct Context {
    remaining_ms: Option<u64>,
    trace_id: String,
    text: String,
}

impl Household {
    fn chain(&self) -> [String; 3] {
        [Role::First, Role::Second, Role::Third].map(|role| self.name(role))
    }

    /// All services of a chain see one trace, and less time from one to the next.
    pub(super) async fn relay(&mut self) -> Outcome {
        let [_, second, third] = self.chain();
        let text = self.random.text(30);
        let answer = self.text(Role::First, &format!("relay {second} {third} | {text}")).await?;
        self.link.count("calls between services", 2);
        let contexts: Result<Vec<Context>, _> = answer.lines().map(serde_json::from_str).collect();
        let wrong = || self.broken(Role::First, format!("a chain came to {answer}"));
        let contexts = contexts.map_err(|_| wrong())?;
        // The last of the chain comes first.
        let times: Vec<_> = contexts.iter().map(|context| context.remaining_ms).collect();
        let same = contexts.iter().all(|one| one.text == text && one.trace_id.len() == 32)
            && contexts.windows(2).all(|two| two[0].trace_id == two[1].trace_id);
        if contexts.len() == 3 && same && times.is_sorted() && times[0].is_some() {
            return Ok(());
        }
        Err(wrong())
    }

    /// A call that waits for itself is answered at once.
    pub(super) async fn deadlock(&mut self) -> Outcome {
        let [first, second, third] = self.chain();
        let cycles = [
            format!("relay {first} | x"),
            format!("relay {second} {first} | x"),
            format!("relay {second} {third} {first} | x"),
            format!("relay {second} {third} {second} | x"),
        ];
        let index = self.random.count(0, 3) as usize;
        let answer = self.link.call(&first, &cycles[index]).await?;
        self.link.count("deadlocks", 1);
        self.refused(Role::First, answer, "REFUSED", "deadlock")
    }

    /// Two chains in opposite directions at once: each comes through or is a deadlock.
    pub(super) async fn opposite_relays(&mut self) -> Outcome {
        let [first, second, third] = self.chain();
        let (there, back) =
            (format!("relay {second} {third} | x"), format!("relay {second} {first} | x"));
        let (one, other) =
            tokio::join!(self.link.call(&first, &there), self.link.call(&third, &back));
        for (role, answer) in [(Role::First, one?), (Role::Third, other?)] {
            match answer {
                Ok(answer) if answer.lines().count() == 3 => {}
                Err(refusal) if refusal.cause.contains("deadlock") => {
                    self.link.count("deadlocks", 1);
                }
                other => return Err(self.broken(role, format!("a chain came to {other:?}"))),
            }
        }
        Ok(())
    }

    /// A chain that is too slow ends with its first timeout.
    pub(super) async fn slow_chain(&mut self) -> Outcome {
        let [first, second, _] = self.chain();
        let payload = format!("slow-timeout {second} {LONG_MS} 20");
        let answer = self.link.call(&first, &payload).await?;
        self.refused(Role::First, answer, "REFUSED", "timeout")?;
        self.text(Role::Second, "last").await.map(drop)
    }

    /// A chain of sends arrives.
    pub(super) async fn pass(&mut self) -> Outcome {
        let [_, second, third] = self.chain();
        let text = self.random.text(20);
        self.text(Role::First, &format!("pass {second} {third} | {text}")).await?;
        self.link
            .until(&third, "the end of a chain of sends", async || {
                let last = self.text(Role::Third, "last").await?;
                Ok(last.contains(&text).then_some(()))
            })
            .await?;
        // So that nothing is under way any more.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}
