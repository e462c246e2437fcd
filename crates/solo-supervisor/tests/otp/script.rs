//! What a comparison is made of: a tree of children, and steps that are taken one by one.

use std::fmt;

use solo_supervisor::{AutoShutdown, ChildOptions, Strategy};
use solo_types::RestartMode;

use crate::terms::Term;

/// Levels of supervisors.
const DEPTH_MAX: u32 = 3;

/// Children that a supervisor begins with. Steps name up to [`INDEX_MAX`].
const CHILDREN_MAX: u64 = 5;

/// Names of children of one supervisor: some that it begins with, some that steps add.
const INDEX_MAX: u64 = 6;

const STEPS_MAX: u64 = 30;

/// A tree and what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// A supervisor.
    pub(crate) tree: Node,
    pub(crate) steps: Vec<Step>,
}

/// A child. Its name is its parent's, a dot and an index, so that names are unique in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) options: ChildOptions,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Worker {
        /// Of its starts, in the whole run of the script; [`Outcome::Runs`] ever after.
        outcomes: Vec<Outcome>,
    },
    Supervisor {
        strategy: Strategy,
        max_restarts: u32,
        auto_shutdown: AutoShutdown,
        children: Vec<Node>,
    },
}

/// How a start ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Runs,
    Fails,
    /// OTP's `ignore`.
    Ignored,
}

/// How a worker ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Normal,
    Shutdown,
    /// `{shutdown, Term}`.
    ShutdownWith,
    Abnormal,
    Killed,
}

/// One thing that is done, after which the tree comes to rest. The first name is a supervisor's.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Crash(String, Reason),
    /// Several workers of one supervisor end before it takes notice of the first.
    Burst(String, Vec<(String, Reason)>),
    Start(String, Node),
    Terminate(String, String),
    Restart(String, String),
    Delete(String, String),
    Stop,
}

impl Script {
    /// The script of that number. It always ends with [`Step::Stop`].
    pub(crate) fn random(seed: u64, index: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index);
        // Every second tree has no failing starts, or few scripts would come far.
        let mut maker = Maker { failing: random.chance(50), random, supervisors: Vec::new() };
        let tree = maker.supervisor("r".to_owned(), RestartMode::Permanent.into(), 1);
        let count = maker.random.below(STEPS_MAX);
        let mut steps: Vec<Step> = (0..count).map(|_| maker.step()).collect();
        steps.push(Step::Stop);
        Self { tree, steps }
    }

    /// As `witness.erl` reads it.
    pub(crate) fn term(&self) -> Term {
        let steps = self.steps.iter().map(Step::term).collect();
        Term::Tuple(vec![self.tree.term(), Term::List(steps)])
    }
}

/// Steele, Lea and Flood's generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(items.len() as u64)).expect("an index");
        &items[index]
    }
}

struct Maker {
    random: Random,
    failing: bool,
    /// Supervisors that there may be.
    supervisors: Vec<Known>,
}

/// What steps are made from.
#[derive(Clone)]
struct Known {
    name: String,
    auto_shutdown: AutoShutdown,
    /// Children that it begins with.
    count: u64,
}

impl Maker {
    fn supervisor(&mut self, name: String, options: ChildOptions, depth: u32) -> Node {
        use AutoShutdown as A;
        use Strategy as S;
        let strategy = *self.random.pick(&[S::OneForOne, S::OneForAll, S::RestForOne]);
        let max_restarts = *self.random.pick(&[0, 1, 2, 3, 5, 10, 100]);
        let auto_shutdown =
            *self.random.pick(&[A::Never, A::Never, A::AnySignificant, A::AllSignificant]);
        let count = self.random.below(CHILDREN_MAX + 1);
        self.supervisors.push(Known { name: name.clone(), auto_shutdown, count });
        let children =
            (0..count).map(|index| self.child(&name, index, auto_shutdown, depth)).collect();
        let kind = Kind::Supervisor { strategy, max_restarts, auto_shutdown, children };
        Node { name, options, kind }
    }

    fn child(&mut self, parent: &str, index: u64, auto: AutoShutdown, depth: u32) -> Node {
        use RestartMode as M;
        let mode = *self.random.pick(&[M::Permanent, M::Transient, M::Temporary]);
        let significant =
            auto != AutoShutdown::Never && mode != M::Permanent && self.random.chance(50);
        let options = ChildOptions { mode, significant };
        let name = format!("{parent}.{index}");
        if depth < DEPTH_MAX && self.random.chance(30) {
            return self.supervisor(name, options, depth + 1);
        }
        let mut outcomes = Vec::new();
        if self.failing && self.random.chance(60) {
            // A tree whose first starts fail ends before its first step.
            if self.random.chance(95) {
                outcomes.push(Outcome::Runs);
            }
            for _ in 0..self.random.below(6) {
                use Outcome as O;
                outcomes.push(*self.random.pick(&[O::Runs, O::Fails, O::Fails, O::Ignored]));
            }
        }
        Node { name, options, kind: Kind::Worker { outcomes } }
    }

    fn step(&mut self) -> Step {
        let known = self.random.pick(&self.supervisors).clone();
        let child = self.child_name(&known);
        match self.random.below(100) {
            0..45 => Step::Crash(child, self.reason()),
            // Not where the two are known to differ: see `solo_supervisor::tree`.
            45..57 if self.failing && known.auto_shutdown == AutoShutdown::AllSignificant => {
                Step::Crash(child, self.reason())
            }
            45..57 => {
                let count = 2 + self.random.below(3);
                let crashes =
                    (0..count).map(|_| (self.child_name(&known), self.reason())).collect();
                Step::Burst(known.name, crashes)
            }
            57..72 => {
                let depth = if self.random.chance(20) { DEPTH_MAX - 1 } else { DEPTH_MAX };
                let index = self.random.below(INDEX_MAX);
                let mut child = self.child(&known.name, index, known.auto_shutdown, depth);
                // Whatever its mode, and where nothing may be significant.
                child.options.significant |= self.random.chance(10);
                Step::Start(known.name, child)
            }
            72..84 => Step::Terminate(known.name, child),
            84..94 => Step::Restart(known.name, child),
            _ => Step::Delete(known.name, child),
        }
    }

    /// Mostly of a child that there is from the beginning.
    fn child_name(&mut self, known: &Known) -> String {
        let first = known.count > 0 && self.random.chance(80);
        let index = self.random.below(if first { known.count } else { INDEX_MAX });
        format!("{}.{index}", known.name)
    }

    fn reason(&mut self) -> Reason {
        use Reason as R;
        *self.random.pick(&[
            R::Normal,
            R::Shutdown,
            R::ShutdownWith,
            R::Abnormal,
            R::Abnormal,
            R::Abnormal,
            R::Killed,
        ])
    }
}

fn binary(text: &str) -> Term {
    Term::Binary(text.to_owned())
}

impl Node {
    fn term(&self) -> Term {
        let options = [
            binary(&self.name),
            Term::Atom(self.options.mode.as_str()),
            Term::boolean(self.options.significant),
        ];
        let (kind, rest) = match &self.kind {
            Kind::Worker { outcomes } => {
                let outcomes = outcomes.iter().map(|outcome| match outcome {
                    Outcome::Runs => Term::Atom("ok"),
                    Outcome::Fails => Term::Atom("fail"),
                    Outcome::Ignored => Term::Atom("ignore"),
                });
                ("worker", vec![Term::List(outcomes.collect())])
            }
            Kind::Supervisor { strategy, max_restarts, auto_shutdown, children } => {
                let flags = Term::Tuple(vec![
                    Term::Atom(strategy.as_str()),
                    Term::Integer(*max_restarts),
                    Term::Atom(auto_shutdown.as_str()),
                ]);
                let children = children.iter().map(Self::term).collect();
                ("supervisor", vec![flags, Term::List(children)])
            }
        };
        Term::Tuple([Term::Atom(kind)].into_iter().chain(options).chain(rest).collect())
    }
}

impl Reason {
    fn term(self) -> Term {
        match self {
            Self::Normal => Term::Atom("normal"),
            Self::Shutdown => Term::Atom("shutdown"),
            Self::ShutdownWith => {
                Term::Tuple(vec![Term::Atom("shutdown"), Term::Atom("with_a_reason")])
            }
            Self::Abnormal => Term::Atom("abnormal"),
            Self::Killed => Term::Atom("kill"),
        }
    }
}

impl Step {
    fn term(&self) -> Term {
        Term::Tuple(match self {
            Self::Crash(name, reason) => vec![Term::Atom("crash"), binary(name), reason.term()],
            Self::Burst(supervisor, crashes) => {
                let crash = |(name, reason): &(String, Reason)| {
                    Term::Tuple(vec![binary(name), reason.term()])
                };
                let crashes = Term::List(crashes.iter().map(crash).collect());
                vec![Term::Atom("burst"), binary(supervisor), crashes]
            }
            Self::Start(supervisor, child) => {
                vec![Term::Atom("start"), binary(supervisor), child.term()]
            }
            Self::Terminate(supervisor, child) => {
                vec![Term::Atom("terminate"), binary(supervisor), binary(child)]
            }
            Self::Restart(supervisor, child) => {
                vec![Term::Atom("restart"), binary(supervisor), binary(child)]
            }
            Self::Delete(supervisor, child) => {
                vec![Term::Atom("delete"), binary(supervisor), binary(child)]
            }
            Self::Stop => return Term::Atom("stop"),
        })
    }
}

/// One line per child and per step.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tree)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Start(supervisor, child) => write!(f, "start below {supervisor}: {child}"),
            other => writeln!(f, "{other:?}"),
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let significant = if self.options.significant { " significant" } else { "" };
        write!(f, "{} {}{significant}", self.name, self.options.mode.as_str())?;
        match &self.kind {
            Kind::Worker { outcomes } => writeln!(f, " {outcomes:?}"),
            Kind::Supervisor { strategy, max_restarts, auto_shutdown, children } => {
                let (strategy, auto_shutdown) = (strategy.as_str(), auto_shutdown.as_str());
                writeln!(f, " {strategy} max_restarts {max_restarts} {auto_shutdown}")?;
                children.iter().try_for_each(|child| write!(f, "{child}"))
            }
        }
    }
}
