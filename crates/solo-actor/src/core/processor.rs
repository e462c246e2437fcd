//! What one thread remembers between its choices: whose turn it is, who may run on in a slice, and
//! whether to call for help.

use super::{BACKLOG_MAX, BACKLOG_NS, Entity, SYSTEM_STREAK_NS, Tier, place};

/// Choices of one thread. It says when a slice begins and ends, and asks.
#[derive(Debug, Default)]
pub struct Processor {
    /// Of the actor that the slice was given to.
    slice_tier: Option<Tier>,
    slice_began_ns: u64,
    /// Slices of system-tier actors in a row.
    streak_ns: u64,
    /// The user tier has this slice although system-tier actors wait.
    granted: bool,
    /// The first that waited on other threads when the slice began.
    others: u64,
    /// Since when something waits here, or was called for.
    backlog_since_ns: Option<u64>,
}

/// From whom to pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// System-tier actors first.
    Usual,
    /// The system tier had its time: a user-tier actor of the own queue first.
    User,
}

/// What an actor that was woken must not be ahead of to run at once, in the slice of who woke it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUp {
    /// Place of the first that waits.
    first: u64,
    /// Virtual time of all.
    clock: u64,
}

impl Turn {
    /// The place at which others see an actor that was picked by this turn: what comes before that
    /// interrupts it. Nothing interrupts a slice that the system tier has left to the user tier.
    #[must_use]
    pub fn shown(self, tier: Tier, virtual_time: u64) -> u64 {
        if self.grants(tier) { 0 } else { place(tier, virtual_time) }
    }

    fn grants(self, tier: Tier) -> bool {
        self == Self::User && tier == Tier::User
    }
}

impl Processor {
    /// The slice is over.
    pub fn end_slice(&mut self, now_ns: u64) {
        let slice_ns = now_ns.saturating_sub(self.slice_began_ns);
        // Who runs within the slice of another does not count: a system-tier actor that calls one of
        // the user tier has not left that tier its part.
        self.streak_ns = match self.slice_tier.take() {
            Some(Tier::System) => self.streak_ns.saturating_add(slice_ns),
            Some(Tier::User) | None => 0,
        };
        self.slice_began_ns = now_ns;
    }

    /// Nothing is to be done here.
    pub fn rest(&mut self) {
        self.slice_tier = None;
        self.streak_ns = 0;
        self.backlog_since_ns = None;
    }

    /// Who is picked from now.
    #[must_use]
    pub fn turn(&self) -> Turn {
        if self.streak_ns >= SYSTEM_STREAK_NS { Turn::User } else { Turn::Usual }
    }

    /// A slice begins for an actor of `tier`, picked by `turn`. `others`: place of the first that waits
    /// on other threads.
    pub fn begin_slice(&mut self, turn: Turn, tier: Tier, others: u64) {
        self.slice_tier = Some(tier);
        self.granted = turn.grants(tier);
        self.others = others;
        if turn == Turn::User {
            self.streak_ns = 0;
        }
    }

    /// What an actor that was woken in this slice has to pass. `own_head`: of the own queue.
    #[must_use]
    pub fn next_up(&self, own_head: u64, clock: u64) -> NextUp {
        let first = if self.granted { u64::MAX } else { own_head.min(self.others) };
        NextUp { first, clock }
    }

    /// Whether to wake a thread that sleeps because of what waits here: so many actors, and `last_ran_ns`
    /// is how long the last one ran.
    pub fn calls_for_help(&mut self, waiting: usize, now_ns: u64, last_ran_ns: u64) -> bool {
        if waiting == 0 {
            self.backlog_since_ns = None;
            return false;
        }
        let since_ns = *self.backlog_since_ns.get_or_insert(now_ns);
        let waited_ns = now_ns.saturating_sub(since_ns).max(last_ran_ns);
        if waited_ns >= BACKLOG_NS {
            // One call; who comes takes a while.
            self.backlog_since_ns = Some(now_ns);
        }
        waiting >= BACKLOG_MAX || waited_ns >= BACKLOG_NS
    }
}

impl NextUp {
    /// Wakes `entity`, and tells whether it runs at once: unless it is ahead of what waits by more than
    /// a slice of its own. Two that wake each other could keep a thread for ever otherwise.
    pub fn admits(&self, entity: &mut Entity) -> bool {
        entity.wake(self.clock);
        let ahead = entity.virtual_time().saturating_sub(entity.slice_virtual());
        place(entity.tier(), ahead) <= self.first
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLICE_NS, SLICE_VIRTUAL, Weight};
    use super::*;

    fn slices(processor: &mut Processor, tier: Tier, slices: u64) -> Turn {
        for _ in 0..slices {
            processor.begin_slice(Turn::Usual, tier, u64::MAX);
            let now_ns = processor.slice_began_ns + SLICE_NS;
            processor.end_slice(now_ns);
        }
        processor.turn()
    }

    #[test]
    fn the_user_tier_gets_a_turn_after_a_streak() {
        let mut processor = Processor::default();
        assert_eq!(slices(&mut processor, Tier::System, 19), Turn::Usual);
        assert_eq!(slices(&mut processor, Tier::User, 1), Turn::Usual);
        assert_eq!(slices(&mut processor, Tier::System, 20), Turn::User);
        processor.begin_slice(Turn::User, Tier::System, u64::MAX);
        assert_eq!(processor.turn(), Turn::Usual, "nobody was there to use it");
        processor.rest();
        assert_eq!(slices(&mut processor, Tier::System, 19), Turn::Usual);
    }

    #[test]
    fn who_is_ahead_does_not_run_in_the_slice_of_another() {
        let mut processor = Processor::default();
        processor.begin_slice(Turn::Usual, Tier::User, u64::MAX);
        let mut entity = Entity::new(Weight::default(), Tier::User, None);
        entity.start(3 * SLICE_VIRTUAL);
        let at = |virtual_time| place(Tier::User, virtual_time);
        assert!(processor.next_up(u64::MAX, 0).admits(&mut entity), "nobody waits");
        assert!(processor.next_up(at(2 * SLICE_VIRTUAL), 0).admits(&mut entity));
        assert!(!processor.next_up(at(2 * SLICE_VIRTUAL - 2), 0).admits(&mut entity));
        let system = place(Tier::System, 100 * SLICE_VIRTUAL);
        assert!(!processor.next_up(system, 0).admits(&mut entity));
        processor.begin_slice(Turn::Usual, Tier::User, at(SLICE_VIRTUAL));
        assert!(!processor.next_up(u64::MAX, 0).admits(&mut entity), "one waits elsewhere");
        processor.begin_slice(Turn::User, Tier::User, at(SLICE_VIRTUAL));
        assert!(processor.next_up(system, 0).admits(&mut entity), "the slice was granted");
    }

    #[test]
    fn help_is_called_for_what_waits_long_or_is_much() {
        let mut processor = Processor::default();
        assert!(!processor.calls_for_help(0, 0, BACKLOG_NS));
        assert!(!processor.calls_for_help(1, 0, 0));
        assert!(!processor.calls_for_help(2, BACKLOG_NS - 1, 0));
        assert!(processor.calls_for_help(1, BACKLOG_NS, 0));
        assert!(!processor.calls_for_help(1, BACKLOG_NS + 1, 0), "one was called");
        assert!(processor.calls_for_help(1, BACKLOG_NS + 2, BACKLOG_NS));
        assert!(processor.calls_for_help(BACKLOG_MAX, BACKLOG_NS + 3, 0));
        assert!(!processor.calls_for_help(0, 5 * BACKLOG_NS, 0));
        assert!(!processor.calls_for_help(1, 9 * BACKLOG_NS, 0));
    }
}
