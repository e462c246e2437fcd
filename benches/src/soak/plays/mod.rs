//! What a driver does: plays, each a few operations whose answers it knows.
//!
//! A play leaves nothing under way: when it ends, what it started has ended or is about to.

mod calls;
mod chains;
mod changes;
mod ends;
mod families;
mod floods;
mod looks;

pub(crate) use looks::count as count_nodes;

use super::household::Household;
use super::shared::Outcome;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    Echo,
    Count,
    Burst,
    Sends,
    Between,
    Timeout,
    Spin,
    Timers,
    Gateway,
    Crash,
    Exit,
    CalleeCrash,
    TimersLost,
    Runaway,
    Frail,
    Terminate,
    Storm,
    Flood,
    Stuck,
    TooMuchMemory,
    Order,
    OrderBothWays,
    Relay,
    Deadlock,
    OppositeRelays,
    SlowChain,
    Pass,
    Watch,
    Unwatch,
    WatchedCrash,
    WatcherCrash,
    Family,
    FamilyFails,
    ParentCrash,
    ParentKilled,
    Grandchildren,
    TooManyChildren,
    Redeploy,
    RollingUpdate,
    RecreateUpdate,
    FailingUpdate,
    Replicas,
    OrderUpdate,
    Passing,
    PassingUpdate,
    FailingDeploy,
    Fresh,
    Records,
    Look,
    Lines,
}

/// How often each is drawn, relative to the others.
const PLAYS: [(Play, u32); 50] = [
    (Play::Echo, 16),
    (Play::Count, 8),
    (Play::Burst, 6),
    (Play::Sends, 8),
    (Play::Between, 8),
    (Play::Timeout, 4),
    (Play::Spin, 3),
    (Play::Timers, 5),
    (Play::Gateway, 3),
    (Play::Crash, 8),
    (Play::Exit, 4),
    (Play::CalleeCrash, 4),
    (Play::TimersLost, 2),
    (Play::Runaway, 1),
    (Play::Frail, 2),
    (Play::Terminate, 1),
    (Play::Storm, 3),
    (Play::Flood, 3),
    (Play::Stuck, 1),
    (Play::TooMuchMemory, 4),
    (Play::Order, 6),
    (Play::OrderBothWays, 3),
    (Play::Relay, 6),
    (Play::Deadlock, 4),
    (Play::OppositeRelays, 3),
    (Play::SlowChain, 2),
    (Play::Pass, 3),
    (Play::Watch, 6),
    (Play::Unwatch, 3),
    (Play::WatchedCrash, 3),
    (Play::WatcherCrash, 1),
    (Play::Family, 6),
    (Play::FamilyFails, 2),
    (Play::ParentCrash, 2),
    (Play::ParentKilled, 2),
    (Play::Grandchildren, 2),
    (Play::TooManyChildren, 1),
    (Play::Redeploy, 4),
    (Play::RollingUpdate, 3),
    (Play::RecreateUpdate, 2),
    (Play::FailingUpdate, 2),
    (Play::Replicas, 2),
    (Play::OrderUpdate, 1),
    (Play::Passing, 5),
    (Play::PassingUpdate, 1),
    (Play::FailingDeploy, 2),
    (Play::Fresh, 1),
    (Play::Records, 2),
    (Play::Look, 3),
    (Play::Lines, 1),
];

impl Household {
    /// Draws a play.
    pub(crate) fn draw(&mut self) -> Play {
        self.random.weighted(&PLAYS).unwrap_or(Play::Echo)
    }

    /// Does a play. Boxed, as the plays differ much in size.
    pub(crate) async fn play(&mut self, play: Play) -> Outcome {
        match play {
            Play::Echo => Box::pin(self.echo()).await,
            Play::Count => Box::pin(self.counting()).await,
            Play::Burst => Box::pin(self.burst()).await,
            Play::Sends => Box::pin(self.sends()).await,
            Play::Between => Box::pin(self.between()).await,
            Play::Timeout => Box::pin(self.timeout()).await,
            Play::Spin => Box::pin(self.spin()).await,
            Play::Timers => Box::pin(self.timers()).await,
            Play::Gateway => Box::pin(self.gateway()).await,
            Play::Crash => Box::pin(self.crashing()).await,
            Play::Exit => Box::pin(self.exiting()).await,
            Play::CalleeCrash => Box::pin(self.callee_crash()).await,
            Play::TimersLost => Box::pin(self.timers_lost()).await,
            Play::Runaway => Box::pin(self.runaway()).await,
            Play::Frail => Box::pin(self.frail()).await,
            Play::Terminate => Box::pin(self.terminate()).await,
            Play::Storm => Box::pin(self.storm()).await,
            Play::Flood => Box::pin(self.flood()).await,
            Play::Stuck => Box::pin(self.stuck()).await,
            Play::TooMuchMemory => Box::pin(self.too_much_memory()).await,
            Play::Order => Box::pin(self.order()).await,
            Play::OrderBothWays => Box::pin(self.order_both_ways()).await,
            Play::Relay => Box::pin(self.relay()).await,
            Play::Deadlock => Box::pin(self.deadlock()).await,
            Play::OppositeRelays => Box::pin(self.opposite_relays()).await,
            Play::SlowChain => Box::pin(self.slow_chain()).await,
            Play::Pass => Box::pin(self.pass()).await,
            Play::Watch => Box::pin(self.watch()).await,
            Play::Unwatch => Box::pin(self.unwatch()).await,
            Play::WatchedCrash => Box::pin(self.watched_crash()).await,
            Play::WatcherCrash => Box::pin(self.watcher_crash()).await,
            play => self.play_with_services(play).await,
        }
    }

    /// Those that start and end more than messages.
    async fn play_with_services(&mut self, play: Play) -> Outcome {
        match play {
            Play::Family => Box::pin(self.family()).await,
            Play::FamilyFails => Box::pin(self.family_fails()).await,
            Play::ParentCrash => Box::pin(self.parent_crash()).await,
            Play::ParentKilled => Box::pin(self.parent_killed()).await,
            Play::Grandchildren => Box::pin(self.grandchildren()).await,
            Play::TooManyChildren => Box::pin(self.too_many_children()).await,
            Play::Redeploy => Box::pin(self.redeploy()).await,
            Play::RollingUpdate => Box::pin(self.rolling_update()).await,
            Play::RecreateUpdate => Box::pin(self.recreate_update()).await,
            Play::FailingUpdate => Box::pin(self.failing_update()).await,
            Play::Replicas => Box::pin(self.change_replicas()).await,
            Play::OrderUpdate => Box::pin(self.order_update()).await,
            Play::Passing => Box::pin(self.passing_service()).await,
            Play::PassingUpdate => Box::pin(self.passing_update()).await,
            Play::FailingDeploy => Box::pin(self.failing_deploy()).await,
            Play::Fresh => Box::pin(self.fresh()).await,
            Play::Records => Box::pin(self.records()).await,
            Play::Lines => Box::pin(self.lines()).await,
            _ => Box::pin(self.look()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_play_is_drawn() {
        for (index, (play, weight)) in PLAYS.iter().enumerate() {
            assert!(*weight > 0);
            assert!(PLAYS[..index].iter().all(|(other, _)| other != play), "{play:?} twice");
        }
    }
}
