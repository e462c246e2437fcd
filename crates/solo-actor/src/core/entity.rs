//! What the scheduler knows of one actor.

use super::{QUOTA_PERIOD_NS, SLICE_NS, WAKE_CREDIT};

/// Virtual time per nanosecond and weight: an actor of weight 2, the smallest, uses up 32 per
/// nanosecond, which a `u64` holds for 18 years of processor time.
pub(super) const SCALE: u64 = 64;

/// Relative share of processor time: `cpu_shares`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(u32);

/// System-tier actors go ahead of user-tier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// What the node or its operator depends on.
    System,
    /// Everything else.
    #[default]
    User,
}

/// What becomes of an actor that used up its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaMode {
    /// It does not run until the period is over.
    Throttle,
    /// It runs on; the period counts as exceeded.
    Watch,
}

/// A hard quota of processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Of one processor, 1 to 100.
    pub percent: u8,
    /// What happens then.
    pub mode: QuotaMode,
}

/// Weight, virtual time and quota of one actor.
#[derive(Debug, Clone)]
pub struct Entity {
    weight: Weight,
    tier: Tier,
    /// Virtual time of a slice at its weight.
    slice_virtual: u64,
    virtual_time: u64,
    /// Below one unit of virtual time; times the weight.
    remainder: u64,
    quota: Option<Account>,
}

#[derive(Debug, Clone)]
struct Account {
    allowed_ns: u64,
    mode: QuotaMode,
    period_began_ns: u64,
    used_ns: u64,
    /// In this period it was seen to be over.
    over: bool,
    /// It may run once although it is over.
    excused: bool,
    exceeded: u64,
    throttled_ns: u64,
}

impl Weight {
    /// Of a service that states none.
    pub const DEFAULT: u32 = 1_024;

    /// `shares` from 2 to 262,144; what is outside is moved to the bound.
    #[must_use]
    pub fn new(shares: u64) -> Self {
        Self(u32::try_from(shares.clamp(2, 262_144)).unwrap_or(Self::DEFAULT))
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

impl Entity {
    /// An actor that never ran.
    #[must_use]
    pub fn new(weight: Weight, tier: Tier, quota: Option<Quota>) -> Self {
        let quota = quota.map(|Quota { percent, mode }| Account {
            allowed_ns: QUOTA_PERIOD_NS / 100 * u64::from(percent.clamp(1, 100)),
            mode,
            period_began_ns: 0,
            used_ns: 0,
            over: false,
            excused: false,
            exceeded: 0,
            throttled_ns: 0,
        });
        let slice_virtual = SLICE_NS * SCALE / u64::from(weight.0);
        Self { weight, tier, slice_virtual, virtual_time: 0, remainder: 0, quota }
    }

    /// Its tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Its virtual time: the lower, the sooner it runs.
    #[must_use]
    pub fn virtual_time(&self) -> u64 {
        self.virtual_time
    }

    /// By how much a slice advances it.
    #[must_use]
    pub fn slice_virtual(&self) -> u64 {
        self.slice_virtual
    }

    /// It starts, at a time that [`start`](super::start) gave.
    pub fn start(&mut self, virtual_time: u64) {
        self.virtual_time = virtual_time;
    }

    /// It was woken when the virtual time of all was `clock`.
    pub fn wake(&mut self, clock: u64) {
        self.virtual_time = self.virtual_time.max(clock.saturating_sub(WAKE_CREDIT));
    }

    /// It ran and would run on. Whoever has a whole thread and would deserve more falls behind `clock`
    /// for ever; of that it may save up two steps of `step`, the longest by which any actor advances
    /// in a slice. In less than that one can be behind that had to wait, and that is made good.
    pub fn keep_up(&mut self, clock: u64, step: u64) {
        let floor = clock.saturating_sub(step.saturating_mul(2));
        self.virtual_time = self.virtual_time.max(floor);
    }

    /// It ran for `ran_ns` until `now_ns`.
    pub fn charge(&mut self, ran_ns: u64, now_ns: u64) {
        let weight = u64::from(self.weight.0);
        let units = ran_ns.saturating_mul(SCALE).saturating_add(self.remainder);
        self.virtual_time = self.virtual_time.saturating_add(units / weight);
        self.remainder = units % weight;
        if let Some(account) = &mut self.quota {
            account.charge(ran_ns, now_ns);
        }
    }

    /// Others ran for `ran_ns` within its slice, at its wish: that is the slice of nobody else, though
    /// the quota is theirs. Charged to either side, so that nobody gains by having others work.
    pub fn charge_for_others(&mut self, ran_ns: u64) {
        let units = ran_ns.saturating_mul(SCALE) / u64::from(self.weight.0);
        self.virtual_time = self.virtual_time.saturating_add(units);
    }

    /// Whether its quota may keep it from running.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.quota.as_ref().is_some_and(|account| account.mode == QuotaMode::Throttle)
    }

    /// It may run once whatever its quota says; the next periods pay for that.
    pub fn excuse(&mut self) {
        if let Some(account) = &mut self.quota {
            account.excused = true;
        }
    }

    /// Until when its quota keeps it from running; `None` while it may run.
    pub fn throttled_until(&mut self, now_ns: u64) -> Option<u64> {
        let account = self.quota.as_mut().filter(|account| account.mode == QuotaMode::Throttle)?;
        account.roll(now_ns);
        if account.excused {
            return None;
        }
        let next_ns = account.period_began_ns.saturating_add(QUOTA_PERIOD_NS);
        (account.used_ns >= account.allowed_ns).then_some(next_ns)
    }

    /// It was kept from running for so long.
    pub fn note_throttled(&mut self, waited_ns: u64) {
        if let Some(account) = &mut self.quota {
            account.throttled_ns = account.throttled_ns.saturating_add(waited_ns);
        }
    }

    /// Periods in which it used up its quota.
    #[must_use]
    pub fn exceeded(&self) -> u64 {
        self.quota.as_ref().map_or(0, |account| account.exceeded)
    }

    /// Time that its quota kept it from running.
    #[must_use]
    pub fn throttled_ns(&self) -> u64 {
        self.quota.as_ref().map_or(0, |account| account.throttled_ns)
    }
}

impl Account {
    fn charge(&mut self, ran_ns: u64, now_ns: u64) {
        self.roll(now_ns);
        self.excused = false;
        self.used_ns = self.used_ns.saturating_add(ran_ns);
        if self.used_ns >= self.allowed_ns && !self.over {
            self.over = true;
            self.exceeded += 1;
        }
    }

    /// Begins the period of `now_ns`. What was used beyond the quota is owed to the next periods.
    fn roll(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.period_began_ns) / QUOTA_PERIOD_NS;
        if passed == 0 {
            return;
        }
        self.period_began_ns += passed * QUOTA_PERIOD_NS;
        let given_back = self.allowed_ns.saturating_mul(passed);
        self.used_ns = match self.mode {
            QuotaMode::Throttle => self.used_ns.saturating_sub(given_back),
            QuotaMode::Watch => 0,
        };
        self.over = false;
    }
}
