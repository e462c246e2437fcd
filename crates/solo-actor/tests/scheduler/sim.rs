//! Processors, actors and time, all simulated, around the real decisions of `solo_actor::core`.
//!
//! What is simulated is the loop of `worker.rs` and the placing of `executor.rs`, step by step and
//! without their locks: when those change, this must follow. Time passes only while actors run, so that
//! a minute takes a fraction of a second, and a case that fails does so each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use solo_actor::core::{
    Entity, Picked, Processor, Quota, RunQueue, SLICE_NS, SLICE_VIRTUAL, Tier, Turn, Weight,
    deserves_ring, first, place, start, target, victim,
};

/// A running actor asks so often whether it should give way.
pub(crate) const GRAIN_NS: u64 = 20_000;

/// So long it takes until a thread that sleeps is awake.
pub(crate) const ROUSE_NS: u64 = 30_000;

/// How an actor spends its life.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Life {
    /// Computes for ever.
    Hog,
    /// Computes, and is woken from outside some time after that.
    Sleeper { burst_ns: u64, pause_ns: u64 },
    /// Computes, wakes its peer and sleeps.
    Talker { burst_ns: u64, peer: usize },
    /// Wakes its driver, computes until it must give way, and sleeps.
    Rider { driver: usize },
    /// Computes and ends.
    Once { burst_ns: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Scheduled,
    Running,
    Notified,
    Done,
}

#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) entity: Entity,
    life: Life,
    state: State,
    /// Of the burst.
    left_ns: u64,
    last: usize,
    since_ns: u64,
    cpu_ns: u64,
    /// The longest time that it could have run and did not, up to when it last began to run.
    waited_max_ns: u64,
}

#[derive(Debug, Default)]
struct Cpu {
    queue: RunQueue<usize>,
    processor: Processor,
    running_place: u64,
    running_tier: Option<Tier>,
    next: Option<usize>,
    rung: bool,
    slice_began_ns: u64,
    last_ran_ns: u64,
    run: Option<(usize, u64)>,
    /// Tells events of this run from those of an earlier one.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    RunEnds { cpu: usize, generation: u64 },
    Rouse { cpu: usize, generation: u64 },
    Start { actor: usize },
    Wake { actor: usize },
}

#[derive(Debug, Clone, Copy)]
enum Arrival {
    Starts,
    Woken,
    RanOn,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    now: u64,
    last_start: u64,
    step: u64,
}

#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) now_ns: u64,
    pub(crate) actors: Vec<Actor>,
    cpus: Vec<Cpu>,
    clocks: [Clock; 2],
    asleep: Vec<usize>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    wasting_since_ns: Option<u64>,
    /// The longest time that a processor slept while an actor waited.
    pub(crate) wasted_max_ns: u64,
    pub(crate) idle_ns: u64,
}

impl Sim {
    pub(crate) fn new(processors: usize) -> Self {
        let cpu = |_| Cpu { running_place: u64::MAX, ..Cpu::default() };
        Self {
            now_ns: 0,
            actors: Vec::new(),
            cpus: (0..processors).map(cpu).collect(),
            clocks: [Clock { now: 0, last_start: 0, step: SLICE_VIRTUAL }; 2],
            asleep: (0..processors).collect(),
            events: BinaryHeap::new(),
            sequence: 0,
            wasting_since_ns: None,
            wasted_max_ns: 0,
            idle_ns: 0,
        }
    }

    /// Adds an actor that starts at `at_ns`.
    pub(crate) fn add(
        &mut self,
        at_ns: u64,
        (weight, tier, quota): (u64, Tier, Option<Quota>),
        life: Life,
    ) -> usize {
        let entity = Entity::new(Weight::new(weight), tier, quota);
        self.actors.push(Actor {
            entity,
            life,
            state: State::Idle,
            left_ns: burst(life),
            last: 0,
            since_ns: 0,
            cpu_ns: 0,
            waited_max_ns: 0,
        });
        let actor = self.actors.len() - 1;
        self.at(at_ns, Event::Start { actor });
        actor
    }

    /// A user-tier actor without a quota that starts at once.
    pub(crate) fn user(&mut self, weight: u64, life: Life) -> usize {
        self.add(self.now_ns, (weight, Tier::User, None), life)
    }

    /// From its next burst on it lives like this.
    pub(crate) fn change(&mut self, actor: usize, life: Life) {
        self.actors[actor].life = life;
        self.actors[actor].left_ns = burst(life);
    }

    /// Wakes from outside at `at_ns`.
    pub(crate) fn wake_at(&mut self, at_ns: u64, actor: usize) {
        self.at(at_ns, Event::Wake { actor });
    }

    /// Looks at waits and at idle processors from now on.
    pub(crate) fn forget_waits(&mut self) {
        self.actors.iter_mut().for_each(|actor| actor.waited_max_ns = 0);
        self.wasted_max_ns = 0;
        self.idle_ns = 0;
    }

    /// The longest time that an actor could have run and did not.
    pub(crate) fn waited_max_ns(&self, actor: usize) -> u64 {
        let actor = &self.actors[actor];
        let waits_ns = match actor.state {
            State::Scheduled => self.now_ns - actor.since_ns,
            State::Idle | State::Running | State::Notified | State::Done => 0,
        };
        actor.waited_max_ns.max(waits_ns)
    }

    /// Actors that have not ended.
    pub(crate) fn alive(&self) -> usize {
        self.actors.iter().filter(|actor| actor.state != State::Done).count()
    }

    pub(crate) fn cpu_ns(&self, actor: usize) -> u64 {
        self.actors[actor].cpu_ns
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, end_ns: u64) {
        while let Some(Reverse((at_ns, _, event))) = self.events.peek().copied() {
            if at_ns > end_ns {
                break;
            }
            self.events.pop();
            let asleep = u64::try_from(self.asleep.len()).expect("few");
            self.idle_ns += asleep * (at_ns - self.now_ns);
            self.now_ns = at_ns;
            self.happens(event);
            self.look_for_waste();
        }
        self.now_ns = end_ns;
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_ns, self.sequence, event)));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::RunEnds { cpu, generation } if self.cpus[cpu].generation == generation => {
                self.run_ends(cpu);
            }
            Event::Rouse { cpu, generation } if self.cpus[cpu].generation == generation => {
                self.asleep.retain(|sleeper| *sleeper != cpu);
                self.dispatch(cpu);
            }
            Event::RunEnds { .. } | Event::Rouse { .. } => {}
            Event::Start { actor } => {
                self.schedule(actor);
                self.submit_from_outside(actor, Arrival::Starts);
            }
            Event::Wake { actor } => self.wake(actor, None),
        }
    }

    fn look_for_waste(&mut self) {
        let waits = |cpu: &Cpu| cpu.next.is_some() || cpu.queue.head() != u64::MAX;
        let wasting = !self.asleep.is_empty() && self.cpus.iter().any(waits);
        match self.wasting_since_ns {
            None if wasting => self.wasting_since_ns = Some(self.now_ns),
            Some(since_ns) => {
                self.wasted_max_ns = self.wasted_max_ns.max(self.now_ns - since_ns);
                if !wasting {
                    self.wasting_since_ns = None;
                }
            }
            None => {}
        }
    }

    // What executor.rs and current.rs do.

    fn schedule(&mut self, actor: usize) {
        self.actors[actor].state = State::Scheduled;
        self.actors[actor].since_ns = self.now_ns;
    }

    fn wake(&mut self, actor: usize, by: Option<usize>) {
        match self.actors[actor].state {
            State::Idle => self.schedule(actor),
            State::Running => {
                self.actors[actor].state = State::Notified;
                return;
            }
            State::Scheduled | State::Notified | State::Done => return,
        }
        let Some(cpu) = by else {
            return self.submit_from_outside(actor, Arrival::Woken);
        };
        let tier = |actor: usize| self.actors[actor].entity.tier();
        let (next, displaced) = match self.cpus[cpu].next {
            Some(waiting) if tier(waiting) < tier(actor) => (waiting, Some(actor)),
            waiting => (actor, waiting),
        };
        self.cpus[cpu].next = Some(next);
        if let Some(displaced) = displaced {
            self.queue(displaced, cpu, Arrival::Woken);
        }
    }

    fn submit_from_outside(&mut self, actor: usize, arrival: Arrival) {
        let last = self.actors[actor].last;
        let target = target(last, self.cpus.len(), |cpu| self.cpus[cpu].running_place);
        let place = self.queue(actor, target, arrival);
        if !self.rouse_one(target) && deserves_ring(place, self.cpus[target].running_place) {
            self.ring(target);
        }
    }

    fn queue(&mut self, actor: usize, cpu: usize, arrival: Arrival) -> u64 {
        let entity = &mut self.actors[actor].entity;
        let clock = &mut self.clocks[entity.tier() as usize];
        match arrival {
            Arrival::Starts => {
                clock.step = clock.step.max(entity.slice_virtual());
                clock.last_start = start(clock.now, clock.last_start);
                entity.start(clock.last_start);
            }
            Arrival::Woken => entity.wake(clock.now),
            Arrival::RanOn => entity.keep_up(clock.now, clock.step),
        }
        self.cpus[cpu].queue.push(actor, entity, self.now_ns);
        place(entity.tier(), entity.virtual_time())
    }

    /// Wakes a thread that sleeps, `preferred` if it does.
    fn rouse_one(&mut self, preferred: usize) -> bool {
        let place = self.asleep.iter().position(|sleeper| *sleeper == preferred);
        let taken = match place {
            Some(place) => Some(self.asleep.swap_remove(place)),
            None => self.asleep.pop(),
        };
        if let Some(cpu) = taken {
            self.cpus[cpu].generation += 1;
            let generation = self.cpus[cpu].generation;
            self.at(self.now_ns + ROUSE_NS, Event::Rouse { cpu, generation });
        }
        taken.is_some()
    }

    fn ring(&mut self, cpu: usize) {
        if std::mem::replace(&mut self.cpus[cpu].rung, true) {
            return;
        }
        if let Some((actor, began_ns)) = self.cpus[cpu].run {
            self.plan_end(cpu, actor, began_ns);
        }
    }

    // What worker.rs does.

    fn dispatch(&mut self, cpu: usize) {
        for _ in 0..10_000 {
            match self.next(cpu) {
                Some((actor, next_up)) => {
                    if self.begin(cpu, actor, next_up) {
                        return;
                    }
                }
                None => {
                    if self.sleeps(cpu) {
                        return;
                    }
                }
            }
        }
        panic!("processor {cpu} turns in circles: {self:?}");
    }

    /// Answers also whether it runs in the slice of who woke it.
    fn next(&mut self, cpu: usize) -> Option<(usize, bool)> {
        let me = &mut self.cpus[cpu];
        if let Some(actor) = me.next.take() {
            if self.now_ns - me.slice_began_ns < SLICE_NS && !me.rung {
                return Some((actor, true));
            }
            self.queue(actor, cpu, Arrival::Woken);
        }
        self.pick(cpu).map(|actor| (actor, false))
    }

    fn admits(&mut self, cpu: usize, actor: usize) -> bool {
        let own = self.cpus[cpu].queue.head();
        self.watch_backlog(cpu, usize::from(own != u64::MAX));
        let entity = &mut self.actors[actor].entity;
        let clock = self.clocks[entity.tier() as usize].now;
        let me = &mut self.cpus[cpu];
        if me.running_tier != Some(entity.tier()) {
            me.running_tier = Some(entity.tier());
            me.running_place = place(entity.tier(), clock);
        }
        me.processor.next_up(own, clock).admits(entity)
    }

    fn watch_backlog(&mut self, cpu: usize, waiting: usize) {
        let me = &mut self.cpus[cpu];
        if me.processor.calls_for_help(waiting, self.now_ns, me.last_ran_ns) {
            self.rouse_one(cpu);
        }
    }

    fn pick(&mut self, cpu: usize) -> Option<usize> {
        let me = &mut self.cpus[cpu];
        me.rung = false;
        me.processor.end_slice(self.now_ns);
        me.slice_began_ns = self.now_ns;
        loop {
            let turn = self.cpus[cpu].processor.turn();
            let others = self.first_of_others(cpu);
            let from = match turn {
                Turn::Usual => victim(others, self.cpus[cpu].queue.head()),
                Turn::User => None,
            };
            let given =
                from.and_then(|other| self.cpus[other].queue.pick(Turn::Usual, self.now_ns));
            let pulled = given.is_some();
            match given.or_else(|| self.take_own(cpu, turn))? {
                Picked::Released { actor, since_ns } => {
                    self.actors[actor].entity.note_throttled(self.now_ns - since_ns);
                    self.actors[actor].since_ns = self.now_ns;
                    self.queue(actor, cpu, Arrival::Woken);
                }
                Picked::Runs { actor, tier, virtual_time } => {
                    let clock = &mut self.clocks[tier as usize];
                    clock.now = clock.now.max(virtual_time);
                    let others = if pulled { self.first_of_others(cpu) } else { others };
                    let me = &mut self.cpus[cpu];
                    me.processor.begin_slice(turn, tier, others.0);
                    me.running_tier = Some(tier);
                    me.running_place = turn.shown(tier, virtual_time);
                    return Some(actor);
                }
            }
        }
    }

    fn first_of_others(&self, cpu: usize) -> (u64, usize) {
        let others = self.cpus.iter().enumerate().filter(|(other, _)| *other != cpu);
        first(others.map(|(other, cpu)| (cpu.queue.head(), other)))
    }

    fn take_own(&mut self, cpu: usize, turn: Turn) -> Option<Picked<usize>> {
        let picked = self.cpus[cpu].queue.pick(turn, self.now_ns);
        self.watch_backlog(cpu, self.cpus[cpu].queue.len());
        picked
    }

    fn begin(&mut self, cpu: usize, actor: usize, in_slice: bool) -> bool {
        let admitted = !in_slice || self.admits(cpu, actor);
        let now_ns = self.now_ns;
        let me = &mut self.actors[actor];
        me.last = cpu;
        if !admitted || me.entity.throttled_until(now_ns).is_some() {
            self.queue(actor, cpu, Arrival::RanOn);
            return false;
        }
        me.state = State::Running;
        me.waited_max_ns = me.waited_max_ns.max(now_ns - me.since_ns);
        if let Life::Rider { driver } = me.life {
            self.wake(driver, Some(cpu));
        }
        self.plan_end(cpu, actor, now_ns);
        true
    }

    /// The actor runs until its burst is over or until it asks and must give way.
    fn plan_end(&mut self, cpu: usize, actor: usize, began_ns: u64) {
        let me = &mut self.cpus[cpu];
        let over_ns = if me.rung { self.now_ns } else { me.slice_began_ns + SLICE_NS };
        let asks = over_ns.saturating_sub(began_ns).div_ceil(GRAIN_NS).max(1);
        let left_ns = self.actors[actor].left_ns;
        let until_ns = began_ns.saturating_add(left_ns).min(began_ns + asks * GRAIN_NS);
        me.run = Some((actor, began_ns));
        me.generation += 1;
        let generation = me.generation;
        self.at(until_ns, Event::RunEnds { cpu, generation });
    }

    fn run_ends(&mut self, cpu: usize) {
        let (actor, began_ns) = self.cpus[cpu].run.take().expect("it runs");
        let ran_ns = self.now_ns - began_ns;
        let me = &mut self.actors[actor];
        me.left_ns = me.left_ns.saturating_sub(ran_ns);
        let (life, over) = (me.life, me.left_ns == 0);
        if over {
            me.left_ns = burst(life);
        }
        let mut goes_on = false;
        match life {
            Life::Sleeper { pause_ns, .. } if over => {
                self.at(self.now_ns + pause_ns, Event::Wake { actor });
            }
            Life::Talker { peer, .. } if over => self.wake(peer, Some(cpu)),
            Life::Once { .. } if over => self.actors[actor].state = State::Done,
            Life::Rider { .. } => {}
            Life::Hog | Life::Sleeper { .. } | Life::Talker { .. } | Life::Once { .. } => {
                goes_on = true;
            }
        }
        let me = &mut self.actors[actor];
        me.cpu_ns += ran_ns;
        me.entity.charge(ran_ns, self.now_ns);
        self.cpus[cpu].last_ran_ns = ran_ns;
        let state = me.state;
        if state != State::Done {
            me.state = State::Idle;
            if goes_on || state == State::Notified {
                self.schedule(actor);
                self.queue(actor, cpu, Arrival::RanOn);
            }
        }
        self.dispatch(cpu);
    }

    /// False: there is work.
    fn sleeps(&mut self, cpu: usize) -> bool {
        let me = &mut self.cpus[cpu];
        me.running_place = u64::MAX;
        me.processor.rest();
        if self.cpus.iter().any(|cpu| cpu.queue.head() != u64::MAX) {
            return false;
        }
        let me = &mut self.cpus[cpu];
        me.generation += 1;
        let generation = me.generation;
        if let Some(at_ns) = me.queue.next_release_ns() {
            self.at(at_ns.max(self.now_ns), Event::Rouse { cpu, generation });
        }
        self.asleep.push(cpu);
        true
    }
}

fn burst(life: Life) -> u64 {
    match life {
        Life::Hog | Life::Rider { .. } => u64::MAX,
        Life::Sleeper { burst_ns, .. }
        | Life::Talker { burst_ns, .. }
        | Life::Once { burst_ns } => burst_ns,
    }
}

/// What each of the hogs is due, in processors: by weight, but none more than one, and what one cannot
/// use goes to the others.
pub(crate) fn ideal(weights: &[u64], processors: f64) -> Vec<f64> {
    let mut shares = vec![0.0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = processors;
    loop {
        #[expect(clippy::cast_precision_loss, reason = "weights are small")]
        let weight = |actor: &usize| weights[*actor] as f64;
        let total: f64 = open.iter().map(weight).sum();
        let full: Vec<usize> =
            open.iter().copied().filter(|actor| weight(actor) / total * left >= 1.0).collect();
        if full.is_empty() || left <= 0.0 {
            open.iter().for_each(|actor| shares[*actor] = left.max(0.0) * weight(actor) / total);
            return shares;
        }
        full.iter().for_each(|actor| shares[*actor] = 1.0);
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let used = full.len() as f64;
        left -= used;
        open.retain(|actor| !full.contains(actor));
        if open.is_empty() {
            return shares;
        }
    }
}
