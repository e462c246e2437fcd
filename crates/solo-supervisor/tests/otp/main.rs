//! Compares [`solo_supervisor::SupervisorCore`] with Erlang's own `supervisor` (SPEC P4, S3).
//!
//! Random trees and random scripts (`script`) run through a small pure world of cores
//! (`simulation`) and through OTP (`erlang`, `witness.erl`). Both write a trace: for each step what
//! it answered, every start and stop in order, which supervisors ended and why, and how the tree
//! stands then. The traces must be the same text. A difference is made small before it is shown.
//!
//! `SOLO_OTP_SCRIPTS` and `SOLO_OTP_SEED` run more scripts, or others.

mod erlang;
mod script;
mod shrink;
mod simulation;
mod terms;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use erlang::Erlang;
use script::Script;

/// As many as issue and release notes promise.
const SCRIPTS: u64 = 10_000;

/// Erlang nodes beside each other; each has one scheduler, and the cores are simulated in no time.
const NODES: u64 = 2;

/// What traces show of the things that a comparison is about, and how often 10,000 scripts do at
/// least: else they have become too tame to prove anything.
const SEEN: [(&str, u64); 16] = [
    (" +", 40_000),
    (" -", 25_000),
    (" !", 1_500),
    (" ~", 500),
    (" ^", 12_000),
    (":ordered", 10_000),
    (":too_many_restarts", 1_400),
    (":auto_shutdown", 1_000),
    (":start_failed", 400),
    ("\nok:", 25_000),
    ("\nfailed:", 100),
    ("\nundefined:", 50),
    ("\nalready_present:", 300),
    ("\nbad_combination:", 500),
    ("\nrunning:", 3_500),
    ("\nnot_found:", 6_000),
];

/// What [`SEEN`] counts, and how often it occurred.
struct Census([AtomicU64; SEEN.len()]);

impl Census {
    fn take(&self, trace: &str) {
        for ((what, _), count) in SEEN.iter().zip(&self.0) {
            let times = u64::try_from(trace.matches(what).count()).unwrap_or(u64::MAX);
            count.fetch_add(times, Ordering::Relaxed);
        }
    }

    /// Fails where something is missing. Of a few scripts it asks nothing.
    #[expect(clippy::print_stderr, reason = "whoever runs more scripts wants to see what they did")]
    fn check(&self, scripts: u64) {
        let seen = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = SEEN.iter().zip(&self.0).map(|((what, _), count)| (*what, seen(count)));
        eprintln!("{scripts} scripts: {:?}", counts.collect::<Vec<_>>());
        for ((what, least), count) in SEEN.iter().zip(&self.0) {
            let (seen, least) = (seen(count), least * (scripts / SCRIPTS));
            assert!(seen >= least, "{what:?} occurred {seen} times, expected {least} at least");
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number: {text}")),
        Err(_) => default,
    }
}

#[test]
fn random_trees_behave_as_those_of_otp() {
    let scripts = setting("SOLO_OTP_SCRIPTS", SCRIPTS);
    let seed = setting("SOLO_OTP_SEED", 1);
    let census = Census(std::array::from_fn(|_| AtomicU64::new(0)));
    let failure = Mutex::new(None);
    let stop = AtomicBool::new(false);
    let compare = |node: u64| {
        let mut erlang = Erlang::start();
        for index in (node..scripts).step_by(usize::try_from(NODES).unwrap_or(1)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let script = Script::random(seed, index);
            let (ours, theirs) = (simulation::run(&script), erlang.run(&script));
            census.take(&theirs);
            if ours != theirs {
                stop.store(true, Ordering::Relaxed);
                let text = shrink::describe(script, &mut erlang);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(format!("seed {seed}, script {index}: {text}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for node in 0..NODES {
            scope.spawn(move || compare(node));
        }
    });
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    census.check(scripts);
}
